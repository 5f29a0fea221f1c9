"""What the page tells, gathered from the run's record in one pass over each of its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from batch.models import SIDE_EFFECT, About, Sitting, Status
from batch.report.causes import Cause, Told, causes_of
from batch.report.page.changes import Changes, FieldChanges
from batch.report.page.plots import Plot, answers, progress
from batch.report.page.timeline import Durations, Events, milliseconds, timeline
from batch.report.record import Record
from batch.report.story import MEANINGS, Ending, Story, reading_options, story
from batch.report.summary import Summary, summarize

CAUSES_SHOWN = 12  # at once; the others of those listed after a click
CAUSES_LISTED = 60
TOO_MANY = 429
_WELL = frozenset({Status.UPDATED, Status.UNCHANGED})

_OPEN = frozenset({Status.NOT_SENT, Status.UNKNOWN})  # nothing is wrong with these as far as known


@dataclass(frozen=True, slots=True)
class StatusLine:
    """One status: its name, what it means, its rows and their share in percent."""

    status: Status
    name: str
    meaning: str
    rows: int
    share: float

    @property
    def percent(self) -> str:
        """The share to a tenth; neither nothing nor all where it is not."""
        if self.share < 0.1:  # noqa: PLR2004 - a tenth
            return "under 0.1"
        if 99.9 < self.share < 100:  # noqa: PLR2004
            return "over 99.9"
        return f"{self.share:.1f}".removesuffix(".0")


@dataclass(frozen=True, slots=True)
class Listed:
    """Causes to show at once and after a click; of those left out: how many, and their rows."""

    causes: Sequence[Cause]
    hidden: Sequence[Cause]
    more: int
    more_rows: int


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything on the page. `none`: the names of the statuses that no row has. `fix`: the name of
    the file with the rows to mend.
    """

    summary: Summary
    about: About
    story: Story
    statuses: Sequence[StatusLine]
    none: Sequence[str]
    problems: Listed
    notes: Listed
    fields: Sequence[FieldChanges]
    tokens: int
    progress: Plot
    answers: Plot
    sittings: Sequence[Sitting]
    names: Mapping[Status, str]
    fix: str


def facts_of(record: Record) -> Facts:
    """All that the record tells. Needs the same memory for any number of rows."""
    seen = _Rows()
    causes = sorted(causes_of(seen.told(record)), key=lambda cause: cause.status in _OPEN)
    settled, durations, changes = _operations(record)
    failures = Events()
    for attempt in record.failed_attempts():
        failures.add(
            milliseconds(attempt.at), "429" if attempt.http_status == TOO_MANY else "other"
        )
    sittings = record.sittings()
    summary = summarize(record)
    about = record.about()
    fix = "fix.xlsx" if about.worksheet else "fix.csv"
    ending = Ending(
        summary,
        changes.tokens,
        fix,
        seen.moved,
        not sittings or sittings[-1].ended_at is not None,
        reading_options(about),
    )
    return Facts(
        summary=summary,
        about=about,
        story=story(ending),
        statuses=list(_statuses(summary)),
        none=[MEANINGS[each][0].lower() for each in Status if not summary.counts[each]],
        problems=_listed([cause for cause in causes if cause.status not in _WELL]),
        notes=_listed([cause for cause in causes if cause.status in _WELL]),
        fields=changes.by_field(),
        tokens=changes.tokens,
        progress=progress(
            timeline(settled, failures, sittings, record.pauses()), summary.operations
        ),
        answers=answers(durations),
        sittings=sittings,
        names={status: MEANINGS[status][0] for status in Status},
        fix=fix,
    )


class _Rows:
    """The rows as they go by, and whether one says that its token moved in more than was asked."""

    def __init__(self) -> None:
        self.moved = False

    def told(self, record: Record) -> Iterator[Told]:
        for line in record.lines():
            self.moved = self.moved or line.code == SIDE_EFFECT
            yield line.row, Status(line.status), line.code, line.message


def _operations(record: Record) -> tuple[Events, Durations, Changes]:
    settled, durations, changes = Events(), Durations(), Changes()
    for at, status, difference, seconds in record.settled():
        settled.add(milliseconds(at), "well" if status in _WELL else "badly")
        if seconds is not None:
            durations.add(seconds)
        if status == Status.UPDATED:
            changes.add(difference)
    return settled, durations, changes


def _statuses(summary: Summary) -> Iterator[StatusLine]:
    for status, rows in summary.counts.items():
        if rows:
            yield StatusLine(status, *MEANINGS[status], rows, 100 * rows / summary.rows)


def _listed(causes: Sequence[Cause]) -> Listed:
    rest = causes[CAUSES_LISTED:]
    return Listed(
        causes[:CAUSES_SHOWN],
        causes[CAUSES_SHOWN:CAUSES_LISTED],
        len(rest),
        sum(cause.rows for cause in rest),
    )
