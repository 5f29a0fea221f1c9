"""The two pictures of a run, drawn in one size for pages and paper and in one for phones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from batch.report.page.axis import TimeAxis, counting_ticks, duration_ticks
from batch.report.page.svg import LETTER, Frame, Labels, Picture
from batch.report.page.timeline import Durations, Timeline, moment
from batch.report.words import counted, lasting

FEWEST = 3  # changes, or answers, that make a picture
_NARROWEST = 1.05  # the longest answer over the shortest: below it there is nothing to see
_STRIP = 22.0  # height of the strip of requests that came to nothing
_FULL = 3  # requests at one place that fill its height, at least
_STRIP_SPACE = _STRIP + 8.0  # with the distance from what is above it
_LONG = 10  # of a unit, from which on numbers on an axis are told in it
_TIMES_SPACE = 46.0  # for the names of times, in two lines
_WIDE_TICKS, _NARROW_TICKS = 84.0, 70.0  # between named times


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture in both its sizes, and what it shows in sentences. Without pictures where there
    is nothing to see in one. `legend`: what its colours mean, by their class.
    """

    told: Sequence[str]
    wide: str = ""
    narrow: str = ""
    legend: Mapping[str, str] = field(default_factory=dict)


def progress(line: Timeline, planned: int) -> Plot:
    """How many of the planned changes were settled when, with what held them up."""
    told = _progress_told(line, planned)
    settled = line.settled
    if settled.totals.total() < FEWEST or settled.last - settled.first < 1:
        return Plot(told)
    strip = _STRIP_SPACE if line.failures.totals else 0.0
    frames = {
        "wide": Frame(760, 300 + strip, 56, 28, 14, _TIMES_SPACE + strip),
        "narrow": Frame(340, 270 + strip, 44, 28, 8, _TIMES_SPACE + strip),
    }
    wide, narrow = (str(_progress(line, planned, size, frames[size], told)) for size in frames)
    return Plot(told, wide, narrow, dict(_legend(line)))


def answers(durations: Durations) -> Plot:
    """How many answers took how long."""
    if not durations.count:
        return Plot(["No answer decided about a change, so there are no response times."])
    median, most = durations.share(0.5), durations.share(0.95)
    sentence = (
        f"Half of {counted(durations.count, 'answer')} came within {lasting(median)}, "
        f"95 % within {lasting(most)}; the slowest took {lasting(durations.longest)}."
    )
    told = [sentence]
    if durations.count < FEWEST or durations.longest < _NARROWEST * durations.shortest:
        return Plot(told)
    frames = {"wide": Frame(760, 240, 56, 44, 14, 36), "narrow": Frame(340, 220, 44, 44, 8, 36)}
    wide, narrow = (str(_answers(durations, size, frames[size], told)) for size in frames)
    return Plot(told, wide, narrow)


def _legend(line: Timeline) -> Iterator[tuple[str, str]]:
    yield "well-area", "as asked"
    if line.settled.totals["badly"]:
        yield "badly-area", "ended otherwise"
    if line.pauses:
        yield "away", "service away"
    if line.stops:
        yield "stopped", "nobody at work on it"
    if line.failures.totals["429"]:
        yield "try-429", "asked to slow down (429)"
    if line.failures.totals["other"]:
        yield "try-other", "request that came to nothing"


def _progress(
    line: Timeline, planned: int, size: str, frame: Frame, told: Sequence[str]
) -> Picture:
    picture = Picture(
        f"progress-{size}", frame, title="Changes settled over time", description=" ".join(told)
    )
    axis = TimeAxis(line.work, frame.left, frame.inner_right)
    total = line.settled.totals.total()
    top = _counts_axis(picture, max(total, planned))
    _hold_ups(picture, axis, line)
    if planned > total:
        y = frame.base - (frame.base - frame.top) * planned / top
        picture.line(frame.left, y, frame.inner_right, y, "mark")
        picture.text(frame.left + 6, y + 14, f"{planned:,} planned", "start")
    _curves(picture, axis, line, top)
    _failures(picture, axis, line)
    _times(picture, axis, _WIDE_TICKS if size == "wide" else _NARROW_TICKS)
    return picture


def _counts_axis(picture: Picture, most: int) -> int:
    """The lines of round numbers; the highest of them."""
    frame = picture.frame
    ticks = counting_ticks(most)
    for tick in ticks:
        y = frame.base - (frame.base - frame.top) * tick / ticks[-1]
        picture.line(frame.left, y, frame.inner_right, y, "axis" if tick == 0 else "grid")
        picture.text(frame.left - 6, y + 4, _short(tick, ticks[-1]), "end")
    return ticks[-1]


def _short(number: int, highest: int) -> str:
    """In the unit of the axis' highest number."""
    for unit, sign in ((1_000_000, "M"), (1_000, "k")):
        if highest >= _LONG * unit and number:
            return f"{number / unit:g} {sign}"
    return f"{number:,}"


def _hold_ups(picture: Picture, axis: TimeAxis, line: Timeline) -> None:
    frame = picture.frame
    labels = Labels(picture, frame.top - 10)
    for start, end in line.stops:
        left, right = axis.place(start), axis.place(end)
        picture.box(left, frame.top, right, frame.base, "stopped")
        labels.say((left + right) / 2, f"stopped {lasting((end - start) / 1000)}")
    for start, end, _ in line.pauses:
        left, right = axis.place(start), axis.place(end)
        picture.box(left, frame.top, max(right, left + 1.5), frame.base, "away")
        labels.say((left + right) / 2, f"away {lasting((end - start) / 1000)}")
    for piece in axis.pieces:
        if piece.broken:
            for x in (piece.left, piece.right):
                slash = [(x - 3, frame.base + 5), (x + 3, frame.base - 5)]
                picture.path(slash, "axis", closed=False)


def _curves(picture: Picture, axis: TimeAxis, line: Timeline, top: int) -> None:
    """Everything settled, and above it the share that went badly."""
    frame = picture.frame
    done: Counter[str] = Counter()
    all_points, well_points = [(axis.place(line.work[0][0]), frame.base)], []
    well_points += all_points
    scale = (frame.base - frame.top) / top
    for at, kinds in line.settled.bins():
        done.update(kinds)
        x = axis.place(at)
        for points, count in ((all_points, done.total()), (well_points, done["well"])):
            _step(points, x, frame.base - scale * count)
    end = axis.place(line.work[-1][1])
    for points in (all_points, well_points):
        points.append((end, points[-1][1]))
    floor = [(end, frame.base), (all_points[0][0], frame.base)]
    if done["badly"]:
        picture.path([*all_points, *reversed(well_points)], "badly-area", closed=True)
        picture.path(all_points, "badly-line", closed=False)
    picture.path([*well_points, *floor], "well-area", closed=True)
    picture.path(well_points, "well-line", closed=False)


def _step(points: list[tuple[float, float]], x: float, y: float) -> None:
    """Up at x. Several within half a pixel are one."""
    last_x, last_y = points[-1]
    if x - last_x < 0.5 and len(points) > 1:  # noqa: PLR2004 - pixels
        points[-1] = last_x, y
    else:
        points += [(x, last_y), (x, y)] if x - last_x > 2 else [(x, y)]  # noqa: PLR2004 - pixels


def _failures(picture: Picture, axis: TimeAxis, line: Timeline) -> None:
    """A strip below the axis in which each request that came to nothing leaves a mark."""
    if not line.failures.totals:
        return
    frame = picture.frame
    floor = frame.base + _STRIP_SPACE
    columns: dict[int, Counter[str]] = {}
    for at, kinds in line.failures.bins():
        columns.setdefault(int(axis.place(at) // 3), Counter()).update(kinds)
    most = max(_FULL, *(kinds.total() for kinds in columns.values()))
    for place, kinds in columns.items():
        y = floor
        for kind in ("429", "other"):
            if kinds[kind]:
                height = max(3.0, _STRIP * kinds[kind] / most)
                picture.box(place * 3, y - height, place * 3 + 2.2, y, f"try-{kind}")
                y -= height
    picture.text(frame.left - 6, floor - 4, "retries", "end")


def _times(picture: Picture, axis: TimeAxis, spacing: float) -> None:
    y = picture.frame.height - _TIMES_SPACE
    picture.line(picture.frame.left, y, picture.frame.inner_right, y, "axis")
    for tick in axis.ticks(spacing):
        picture.line(tick.place, y, tick.place, y + 4, "axis")
        picture.text(tick.place, y + 18, tick.label)
        if tick.below:
            picture.text(tick.place, y + 33, tick.below)


def _progress_told(line: Timeline, planned: int) -> list[str]:
    settled = line.settled
    total = settled.totals.total()
    if not total:
        return ["No change was settled, so there is no progress to show."]
    first, last = moment(settled.first), moment(settled.last)
    number = (
        f"{total:,} of {counted(planned, 'change')}"
        if planned > total
        else counted(total, "change")
    )
    sentence = (
        f"{number} settled from {first:%Y-%m-%d %H:%M:%S} to "
        f"{last:%Y-%m-%d %H:%M:%S} UTC, in {lasting((settled.last - settled.first) / 1000)}."
    )
    told = [sentence]
    failed = line.failures.totals
    if failed:
        told.append(
            f"{counted(failed.total(), 'request')} came to nothing, {failed['429']:,} of them "
            "because the API asked to slow down (429)."
        )
    told += [_told_stop(*stop) for stop in line.stops[:_SAID]]
    told += [_told_pause(*pause) for pause in line.pauses[:_SAID]]
    if TimeAxis(line.work, 0.0, 1.0).is_broken:
        told.append("A stop that is too long for the picture is not drawn in its length.")
    left = max(0, len(line.stops) - _SAID) + max(0, len(line.pauses) - _SAID)
    return [*told, f"{counted(left, 'more interruption')}."] if left else told


_SAID = 6  # stops, and pauses, that are told one by one


def _told_stop(start: float, end: float) -> str:
    return (
        f"Nobody was at work on it from {moment(start):%d %b %H:%M:%S} to "
        f"{moment(end):%d %b %H:%M:%S}, for {lasting((end - start) / 1000)}."
    )


def _told_pause(start: float, end: float, cause: str) -> str:
    return (
        f"The service was away from {moment(start):%d %b %H:%M:%S} for "
        f"{lasting((end - start) / 1000)}: {cause.rstrip('.')}."
    )


def _answers(durations: Durations, size: str, frame: Frame, told: Sequence[str]) -> Picture:
    title = "How long the API took to answer"
    picture = Picture(f"answers-{size}", frame, title=title, description=" ".join(told))
    most = min(38 if size == "wide" else 20, max(5, round(2 * durations.count**0.5)))
    columns = list(durations.columns(most))
    edges = [columns[0][0], *(until for _, until, _ in columns)]
    step = (frame.inner_right - frame.left) / (len(edges) - 1)
    top = _counts_axis(picture, max(count for *_, count in columns))
    for number, (_, _, count) in enumerate(columns):
        x = frame.left + number * step
        y = frame.base - (frame.base - frame.top) * count / top
        picture.box(x + 0.5, y, x + step - 0.5, frame.base, "column-bar")

    def place(seconds: float) -> float:
        for number, (low, high) in enumerate(pairwise(edges)):
            if seconds <= high:
                share = max(0.0, (seconds - low) / (high - low))
                return frame.left + (number + share) * step
        return frame.inner_right

    labels = Labels(picture, frame.base + 18)
    for seconds in duration_ticks(edges[0], edges[-1]):
        picture.line(place(seconds), frame.base, place(seconds), frame.base + 4, "axis")
        labels.say(place(seconds), lasting(seconds))
    median, nearly_all = durations.share(0.5), durations.share(0.95)
    _mark(picture, place(median), 30, f"half within {lasting(median)}", after=False)
    _mark(picture, place(nearly_all), 14, f"95 % within {lasting(nearly_all)}", after=True)
    return picture


def _mark(picture: Picture, x: float, y: float, text: str, *, after: bool) -> None:
    """A line with words on the side where they do not meet another mark, if there is room."""
    picture.line(x, y - 9, x, picture.frame.base, "mark")
    width = len(text) * LETTER + 5
    after = x + width < picture.frame.width if after else x < width
    picture.text(x + 5 if after else x - 5, y, text, "start" if after else "end")
