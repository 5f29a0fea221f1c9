"""What happened, as a manager would say it, and what to do next. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from batch.models import About, Status
from batch.report.summary import RunState, Summary
from batch.report.words import counted

INTERRUPTED = "interrupted"  # the reason that a run gives when its person stopped it
UNDO = "undo of "  # what the sheet of a run is called that takes another back
_REPORTS = Path("reports")  # where the commands look unless they are told


class Tone(StrEnum):
    """How the end of a run is to be taken, at a glance."""

    GOOD = "good"
    MEND = "mend"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do, with the command that does it; empty where none does."""

    text: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """`end` is one of a few words. `reason`: why the run stopped early, empty if it did not."""

    tone: Tone
    end: str
    sentence: str
    reason: str
    steps: Sequence[Step]


@dataclass(frozen=True, slots=True)
class Ending:
    """What the story is told from. `tokens`: how many were changed. `fix`: the name of the file
    with the rows to mend. `moved`: fields moved that nobody asked to. `closed`: the last process
    at work on the run came to its own end. `reading`: the options with which the sheet was read.
    """

    summary: Summary
    tokens: int
    fix: str
    moved: bool
    closed: bool
    reading: Sequence[str] = ()

    def count(self, *statuses: Status) -> int:
        """The rows that ended in one of these ways."""
        return sum(self.summary.counts[status] for status in statuses)

    @property
    def done(self) -> int:
        """The rows that are as asked."""
        return self.count(Status.UPDATED, Status.UNCHANGED)

    @property
    def left(self) -> int:
        """The rows that going on with the run would settle."""
        return self.count(Status.NOT_SENT, Status.UNKNOWN)

    @property
    def undone(self) -> str:
        """The run that this one takes back; empty for an ordinary one."""
        sheet = self.summary.sheet
        return sheet.removeprefix(UNDO) if sheet.startswith(UNDO) and not self._has_file else ""

    @property
    def _has_file(self) -> bool:
        return bool(self.summary.sha256)

    @property
    def state(self) -> RunState:
        """How far the run has come; `closed` decides where a later process was killed."""
        return self.summary.state if self.closed else RunState.UNFINISHED


def reading_options(about: About) -> list[str]:
    """The options without which a sheet of the run would be read otherwise."""
    words = []
    timezone, date_order = about.settings.get("timezone"), about.settings.get("date_order")
    if timezone and timezone != "UTC":
        words += ["--timezone", str(timezone)]
    if date_order:
        words += ["--date-order", str(date_order)]
    if about.clear_marker != "NULL":
        words += ["--clear-marker", about.clear_marker]
    for heading, meaning in about.mapping.items():
        words += ["--map", f"{heading}={meaning}"]
    return words


def command(summary: Summary, name: str, target: str = "", options: Sequence[str] = ()) -> str:
    """A command about the run, or about the target, as typed where the run was begun."""
    folder = Path(summary.folder)
    words = ["token-batch", name, target or summary.run, *options]
    if folder.parent != _REPORTS:
        words += ["--reports", str(folder.parent)]
    if summary.simulated:
        words.append("--simulate")
    return shlex.join(words)


def story(ending: Ending) -> Story:
    """The run's story so far."""
    summary = ending.summary
    if ending.state is RunState.UNFINISHED:
        tone, end = Tone.OPEN, "Not finished"
        sentence = (
            "The run has not come to its end, because it was killed or is still at work: so far "
            f"{_so_far(ending)}."
        )
    elif ending.left:
        tone, end, sentence = Tone.OPEN, _open_end(summary), f"{_stopped(ending)}."
    elif summary.all_well and not ending.moved:
        tone, end, sentence = Tone.GOOD, "Finished", f"{_all_well(ending)}."
    else:
        tone, end, sentence = Tone.MEND, "Finished, not all well", f"{_some_not(ending)}."
    reason = "" if summary.stopped == INTERRUPTED or not ending.closed else summary.stopped
    return Story(tone, end, sentence, reason, list(_steps(ending)))


def _things(ending: Ending, number: int) -> str:
    return counted(number, "token" if ending.undone else "row")


def _as_asked(ending: Ending) -> str:
    if ending.undone:
        return f"as before the run {ending.undone}"
    return "as the sheet asks"


def _all_well(ending: Ending) -> str:
    number, unchanged = ending.summary.rows, ending.count(Status.UNCHANGED)
    if not number:
        return "There were no rows, so there was nothing to do"
    some = _things(ending, number)
    subject = f"The one {some.removeprefix('1 ')} is" if number == 1 else f"All {some} are"
    if unchanged == number:
        return f"{subject} already {_as_asked(ending)}: nothing needed to be sent"
    told = f"{counted(ending.tokens, 'token')} {_was(ending.tokens)} changed"
    if unchanged:
        already = "was already right" if unchanged == 1 else "were already right"
        told += f", and {_things(ending, unchanged)} {already}"
    return f"{subject} {_as_asked(ending)}: {told}"


def _some_not(ending: Ending) -> str:
    if ending.done == ending.summary.rows:
        return f"{_all_well(ending)}, but other fields moved that nobody asked to"
    return f"{_so_far(ending)}; {_joined(_shortfalls(ending))}"


def _open_end(summary: Summary) -> str:
    if summary.stopped == INTERRUPTED:
        return "Interrupted"
    return "Stopped early" if summary.stopped else "Not all known yet"


def _stopped(ending: Ending) -> str:
    parts = list(_shortfalls(ending))
    told = f"{_so_far(ending)}; {'of the others, ' if len(parts) > 1 else ''}{_joined(parts)}"
    if not ending.summary.stopped:
        return told
    interrupted = ending.summary.stopped == INTERRUPTED
    return f"The run {'was interrupted' if interrupted else 'stopped early'}: {told}"


def _so_far(ending: Ending) -> str:
    number = ending.summary.rows
    done = f"{ending.done:,}" if ending.done else "none"
    verb = "are" if ending.done > 1 else "is"
    return f"{done} of {_things(ending, number)} {verb} {_as_asked(ending)}"


def _shortfalls(ending: Ending) -> Iterator[str]:
    wrong = ending.count(Status.INVALID, Status.NOT_FOUND, Status.REJECTED)
    if wrong:
        yield f"{wrong:,} {'needs' if wrong == 1 else 'need'} mending"
    conflict = ending.count(Status.CONFLICT)
    if conflict:
        yield f"{conflict:,} {_was(conflict)} left alone, because somebody else made a change"
    failed = ending.count(Status.FAILED)
    if failed:
        yield f"{failed:,} failed"
    unsent = ending.count(Status.NOT_SENT)
    if unsent:
        yield f"{unsent:,} {_was(unsent)} not sent"
    unknown = ending.count(Status.UNKNOWN)
    if unknown:
        yield f"{unknown:,} {_was(unknown)} sent without an answer"


def _steps(ending: Ending) -> Iterator[Step]:
    is_open = bool(ending.left) or ending.state is RunState.UNFINISHED
    to_mend = ending.summary.rows - ending.done - ending.left
    if ending.moved:
        yield Step(
            "Fields have moved though nobody asked for it. This puts them back, with all else that "
            "the run has changed:",
            command(ending.summary, "undo"),
        )
    if ending.moved and is_open and not ending.undone:
        yield Step(
            "Then hand the sheet in again, with these fields sent along as they are:",
            command(
                ending.summary,
                "apply",
                ending.summary.sheet,
                [*ending.reading, "--pin-defaults"],
            ),
        )
    elif is_open:
        reason = ending.summary.stopped not in {"", INTERRUPTED} and ending.closed
        first = "When what stopped it is mended, go" if reason else "Go"
        yield Step(
            f"{first} on with the run. What is done stays done, and what is left is sent:",
            command(ending.summary, "resume"),
        )
    if to_mend:
        yield from _mending(ending, to_mend, is_open=is_open)
    if not (is_open or to_mend or ending.moved):
        yield from _nothing(ending)


def _mending(ending: Ending, to_mend: int, *, is_open: bool) -> Iterator[Step]:
    rows = _things(ending, to_mend)
    path = str(Path(ending.summary.folder) / ending.fix)
    when = "When the run has come to its end, open" if is_open else "Open"
    wrong = to_mend - ending.count(Status.FAILED)
    what = "mend them" if wrong else "there is nothing to mend in them"
    yield Step(
        f"{when} {ending.fix}, which holds the {rows} as handed in, each with what was wrong; "
        f"{what}, and hand the file in:",
        command(ending.summary, "apply", path, ending.reading),
    )


def _nothing(ending: Ending) -> Iterator[Step]:
    if not ending.tokens:
        yield Step("Nothing. The tokens are as they were.")
        return
    yield Step(
        "Nothing. Should it have been a mistake, this takes it back:",
        command(ending.summary, "undo"),
    )


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _joined(parts: Iterator[str] | Sequence[str]) -> str:
    *before, last = parts
    return f"{', '.join(before)} and {last}" if before else last


MEANINGS: Mapping[Status, tuple[str, str]] = {
    Status.UPDATED: ("Updated", "The token is as asked, and this run made it so."),
    Status.UNCHANGED: ("Unchanged", "It was so already: nothing was sent."),
    Status.INVALID: ("Invalid", "Something in the row itself is wrong: it was never sent."),
    Status.NOT_FOUND: ("Not found", "The token, or the customer it names, does not exist."),
    Status.REJECTED: ("Rejected", "The API refused the change."),
    Status.FAILED: ("Failed", "It was tried again and again, and has not been changed."),
    Status.UNKNOWN: ("Unknown", "It was sent and no answer came. Going on with the run finds out."),
    Status.CONFLICT: ("Conflict", "Somebody else changed the token meanwhile: it was left alone."),
    Status.NOT_SENT: ("Not sent", "The run stopped before it. Going on with the run sends it."),
}
"""Each status in a word and in a sentence."""
