"""When what happened, in a memory that does not grow with the run. Instants are milliseconds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from batch.models import Sitting

MOST_BINS = 4000
PER_DECADE = 100  # bins of durations: each is 2.3 % longer than the one before

Span = tuple[float, float]


def milliseconds(instant: str) -> float:
    """Since the epoch, of an instant as by `iso`."""
    return round(datetime.fromisoformat(instant).timestamp() * 1000)


def moment(at: float) -> datetime:
    """The instant that so many milliseconds say."""
    return datetime.fromtimestamp(at / 1000, UTC)


@dataclass(slots=True)
class Events:
    """How many events of which kind happened when. Their instants are blurred, by doubling
    `width`, only as far as it takes to keep the number of bins below a limit.
    """

    width: int = 1
    first: float = math.inf
    last: float = -math.inf
    totals: Counter[str] = field(default_factory=Counter)
    _bins: dict[int, Counter[str]] = field(default_factory=dict)

    def add(self, at: float, kind: str) -> None:
        """One more."""
        self.first, self.last = min(self.first, at), max(self.last, at)
        self.totals[kind] += 1
        self._bins.setdefault(int(at // self.width), Counter())[kind] += 1
        while len(self._bins) > MOST_BINS:
            self._widen()

    def bins(self) -> Iterator[tuple[float, Counter[str]]]:
        """In order of time, each with an instant by which its events had happened."""
        for number in sorted(self._bins):
            end = min(float((number + 1) * self.width - 1), self.last)
            yield max(end, self.first), self._bins[number]

    def last_before(self, limit: float) -> float:
        """The last instant of an event before that one, or -inf."""
        return max((at for at, _ in self.bins() if at < limit), default=-math.inf)

    def _widen(self) -> None:
        self.width *= 2
        narrow, self._bins = self._bins, {}
        for number, kinds in narrow.items():
            self._bins.setdefault(number // 2, Counter()).update(kinds)


@dataclass(slots=True)
class Durations:
    """How long answers took, in seconds, to about 2 %."""

    count: int = 0
    longest: float = 0.0
    shortest: float = math.inf
    _bins: Counter[int] = field(default_factory=Counter)

    def add(self, seconds: float) -> None:
        """One more."""
        seconds = max(seconds, 1e-6)
        self.count += 1
        self.shortest, self.longest = min(self.shortest, seconds), max(self.longest, seconds)
        self._bins[math.floor(math.log10(seconds) * PER_DECADE)] += 1

    def share(self, wanted: float) -> float:
        """The seconds within which that share of the answers came."""
        left = wanted * self.count
        for number in sorted(self._bins):
            left -= self._bins[number]
            if left <= 0:
                middle: float = 10.0 ** ((number + 0.5) / PER_DECADE)
                return min(max(middle, self.shortest), self.longest)
        return self.longest

    def columns(self, most: int) -> Iterator[tuple[float, float, int]]:
        """At most so many bins of one width, without a gap: from, until, how many."""
        if not self._bins:
            return
        low, high = min(self._bins), max(self._bins) + 1
        together = -(-(high - low) // most)
        for start in range(low, high, together):
            count = sum(self._bins[number] for number in range(start, start + together))
            until = start + together
            yield 10.0 ** (start / PER_DECADE), 10.0 ** (until / PER_DECADE), count


@dataclass(frozen=True, slots=True)
class Timeline:
    """A run over time: what was settled (as `well` or `badly`), what came to nothing (`429` or
    `other`), when somebody was at work on it, and when the service was away, with the cause.
    """

    settled: Events
    failures: Events
    work: Sequence[Span] = ()
    pauses: Sequence[tuple[float, float, str]] = ()

    @property
    def stops(self) -> list[Span]:
        """When nobody was at work on it, between two times when somebody was."""
        return [
            (before[1], after[0]) for before, after in zip(self.work, self.work[1:], strict=False)
        ]


def timeline(
    settled: Events,
    failures: Events,
    sittings: Sequence[Sitting],
    pauses: Iterable[tuple[str, str | None, str]],
) -> Timeline:
    """The run over time. Whatever clocks said, times of work are in order and apart."""
    work = _merged(_spans(sittings, settled, failures))
    end = work[-1][1] if work else -math.inf
    away = []
    for began, ended, cause in pauses:
        start = milliseconds(began)
        until = milliseconds(ended) if ended else _end_of_work(work, start, end)
        if until > start:
            away.append((start, until, cause))
    return Timeline(settled, failures, work, away)


def _spans(sittings: Sequence[Sitting], *events: Events) -> Iterator[Span]:
    if not sittings:  # the journal of an older version does not tell
        yield from ((each.first, each.last) for each in events if each.totals)
        return
    following = [milliseconds(each.began_at) for each in sittings[1:]]
    for sitting, limit in zip(sittings, [*following, math.inf], strict=True):
        began = milliseconds(sitting.began_at)
        # A process that was killed left its last trace in what it had done.
        trace = max(each.last_before(limit) for each in events)
        ended = milliseconds(sitting.ended_at) if sitting.ended_at else trace
        yield began, max(began, ended)


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for began, ended in sorted(spans):
        if merged and began <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(ended, merged[-1][1])
        else:
            merged.append((began, ended))
    return merged


def _end_of_work(work: Sequence[Span], start: float, otherwise: float) -> float:
    return next((ended for began, ended in work if began <= start <= ended), otherwise)
