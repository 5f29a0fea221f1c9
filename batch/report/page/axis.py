"""Where instants and numbers stand in a plot, and which of them are named. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from batch.report.page.timeline import Span, moment

_SECOND, _MINUTE, _HOUR, _DAY = 1000, 60_000, 3_600_000, 86_400_000
_STEPS = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(_SECOND * n for n in (1, 2, 5, 10, 15, 30)),
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14, 28, 91, 364)),
)
_SHORT = 2 * _MINUTE  # a run up to here is told by the time since its start, others by the clock
_FEWEST_TICKS = 3
_FINER = 3  # steps down, where the fitting one gives fewer
_BREAK = 30.0  # width of a time that is too long to be shown
_BREAKS_SHARE = 0.4  # of the plot, at most, for all such times
_LONG_STOP = 0.15  # of the time at work: a longer stop is not shown in its length


@dataclass(frozen=True, slots=True)
class Piece:
    """A time from `start` to `end` that stands between two places. `broken`: not in its length."""

    start: float
    end: float
    left: float
    right: float
    broken: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """A place that is named, with a second line where a day begins to be spoken of."""

    place: float
    label: str
    below: str = ""


class TimeAxis:
    """Times of work in one scale from `left` to `right`; long stops between them are cut short."""

    def __init__(self, work: Sequence[Span], left: float, right: float) -> None:
        self.pieces = _pieces(work, left, right)

    @property
    def start(self) -> float:
        """Its first instant."""
        return self.pieces[0].start

    @property
    def is_broken(self) -> bool:
        """Whether some time is not shown in its length."""
        return any(piece.broken for piece in self.pieces)

    def place(self, at: float) -> float:
        """Where an instant stands; one outside stands at the nearer end."""
        for piece in self.pieces:
            if at <= piece.end:
                break
        length = piece.end - piece.start
        share = (at - piece.start) / length if length else 0.0
        return piece.left + min(max(share, 0.0), 1.0) * (piece.right - piece.left)

    def ticks(self, spacing: float) -> list[Tick]:
        """Round times, at least so far apart from each other."""
        shown = [piece for piece in self.pieces if not piece.broken]
        scale = max((p.right - p.left) / (p.end - p.start or 1.0) for p in shown)
        fitting = next((n for n, step in enumerate(_STEPS) if step * scale >= spacing), -1)
        found = self._ticks(_STEPS[fitting], spacing)
        if len(found) < _FEWEST_TICKS and fitting >= _FINER:
            # Between stops there may be no time that is so round.
            return self._ticks(_STEPS[fitting - _FINER], spacing)
        return found

    def _ticks(self, step: int, spacing: float) -> list[Tick]:
        since = self.start if self.pieces[-1].end - self.start <= _SHORT else None
        found: list[Tick] = []
        day = ""
        for at in self._round_times(step, since or 0.0):
            place = self.place(at)
            if found and place - found[-1].place < spacing:
                continue
            if since is not None:
                found.append(Tick(place, _elapsed(at - since, step)))
                continue
            date = _date(at) if step < _DAY else ""
            found.append(Tick(place, _clock(at, step), date if date != day else ""))
            day = date
        return found

    def _round_times(self, step: int, since: float) -> Iterator[float]:
        for piece in self.pieces:
            number = math.ceil((piece.start - since) / step)
            while not piece.broken and (at := since + number * step) <= piece.end:
                yield at
                number += 1


def _pieces(work: Sequence[Span], left: float, right: float) -> list[Piece]:
    spans: list[tuple[Span, bool]] = []
    busy = sum(end - start for start, end in work)
    for start, end in work:
        if spans:
            stop = spans[-1][0][1], start
            spans.append((stop, stop[1] - stop[0] > max(_LONG_STOP * busy, 1.0)))
        spans.append(((start, end), False))
    broken = sum(cut for _, cut in spans)
    width = min(_BREAK, _BREAKS_SHARE * (right - left) / broken) if broken else 0.0
    length = sum(end - start for (start, end), cut in spans if not cut)
    scale = (right - left - broken * width) / (length or 1.0)
    pieces = []
    for (start, end), cut in spans:
        until = left + (width if cut else (end - start) * scale)
        pieces.append(Piece(start, end, left, until, cut))
        left = until
    return pieces


def _elapsed(passed: float, step: int) -> str:
    if step < _SECOND:
        return f"{passed:.0f} ms"
    return f"{passed / _SECOND:.0f} s"


def _clock(at: float, step: int) -> str:
    if step >= _DAY:
        return _date(at)
    return f"{moment(at):%H:%M}" if step >= _MINUTE else f"{moment(at):%H:%M:%S}"


def _date(at: float) -> str:
    return f"{moment(at).day} {moment(at):%b}"


def counting_ticks(most: int, wanted: int = 4) -> list[int]:
    """Round numbers from 0 up to the first that is not below `most`."""
    step = next(step for step in _round_numbers() if step * wanted >= most)
    return list(range(0, most + step, step)) if most % step else list(range(0, most + 1, step))


def _round_numbers() -> Iterator[int]:
    power = 1
    while True:
        yield from (power, 2 * power, 5 * power)
        power *= 10


def duration_ticks(shortest: float, longest: float) -> list[float]:
    """Round seconds between two, for an axis of logarithms: 1-2-5, or nearer to each other."""
    low, high = math.floor(math.log10(shortest)), math.ceil(math.log10(longest))
    for digits in ((1,), (1, 2, 5), tuple(range(1, 10)), tuple(n / 10 for n in range(10, 100))):
        found = [
            value
            for power in range(low, high + 1)
            for digit in digits
            if shortest <= (value := digit * 10.0**power) <= longest
        ]
        if len(found) >= 3:  # noqa: PLR2004 - fewer do not show that the scale is no even one
            return found
    return found
