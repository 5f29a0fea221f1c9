"""What a person at a terminal sees, and what a job's log says: the only rich."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.prompt import Confirm, Prompt
from rich.table import Table

from batch.check import Checked
from batch.models import Operation, Outcome, Problem, Rate, Status, shown
from batch.report import Cause, RunState, Summary, Told, Verification, causes_of
from batch.run import Ended, Exported, Proposal

LOG = logging.getLogger("token-batch")
LOG_EVERY_HERE = 2.0  # seconds between two lines about reading before somebody's eyes
LOG_EVERY = 60.0  # seconds between two lines about progress where there is no bar
NAMED = 5  # tokens that a warning names
_WHERE = 18  # characters of the cells that a cause names
SHOWN_AT_END = 5  # causes, after a run whose plan has shown them
SHOWN = 10  # problems or operations shown on a terminal; all of them are in --json and the reports


class JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        return json.dumps(
            {
                "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="seconds"),
                "level": record.levelname.lower(),
                "message": record.getMessage(),
            },
            ensure_ascii=False,
        )


class Stderr(logging.StreamHandler[TextIO]):
    """What sys.stderr is at the moment: while there is a bar, a way to write above it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


def log_error(sentence: str) -> None:
    """The one sentence that says why a command ends."""
    if any(isinstance(handler.formatter, JsonLines) for handler in LOG.handlers):
        LOG.error(sentence)
    else:
        sys.stderr.write(f"token-batch: {sentence}\n")


def start_logging(log_format: str) -> None:
    """Log to stderr, as text or JSON lines."""
    handler = Stderr()
    if log_format == "json":
        handler.setFormatter(JsonLines())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    LOG.handlers[:] = [handler]
    LOG.setLevel(logging.INFO)


def time_left(operations: int, rate: Rate) -> timedelta:
    """The least time that so many requests take: a full budget at once, then one each window."""
    windows = max(0, -(-operations // rate.limit) - 1)
    return timedelta(seconds=windows * rate.seconds)


class Terminal:
    """The audience at the keyboard, or a job's log.

    Results go to stdout unless they are wanted as JSON; everything else goes to stderr. A bar
    and a question need a terminal there; without one there is a log line a minute.
    """

    def __init__(self, *, write_rate: Rate, yes: bool, simulated: bool, as_json: bool) -> None:
        self._rate = write_rate
        self._yes = yes
        self._simulated = simulated
        self._errors = Console(stderr=True, highlight=False)
        self._results = self._errors if as_json else Console(highlight=False)
        self._as_json = as_json
        self._progress: _Progress | None = None
        self._told_at = time.monotonic()

    # While a run goes on (batch.run.Audience)

    def reading(self, seen: int, count: int) -> None:
        """Tokens read so far."""
        now = time.monotonic()
        every = LOG_EVERY_HERE if self._errors.is_terminal else LOG_EVERY
        if seen == count or now - self._told_at > every:
            self._told_at = now
            LOG.info("%s%s of %s tokens read", self._prefix, f"{seen:,}", f"{count:,}")

    @property
    def can_be_asked(self) -> bool:
        """Whether somebody sits there who has not said yes beforehand."""
        return not self._yes

    def proposed(self, proposal: Proposal) -> None:
        """Show the plan, unless a job wants nothing but the summary."""
        if not (self._as_json and self._yes):
            self.show_plan(proposal)

    def confirm(self, proposal: Proposal) -> bool:
        """Ask, unless the answer was given beforehand or nothing would change; a second time if
        the plan switches many tokens off.
        """
        if self._yes or not proposal.plan.operations:
            return True
        question = f"{self._prefix}Change {_counted(len(proposal.plan.operations), 'token')} now?"
        off = str(proposal.plan.deactivations)
        with _ctrl_c_interrupts():
            try:
                if not Confirm.ask(question, console=self._errors, default=False):
                    return False
                if not proposal.ask_again:
                    return True
                again = f"{self._prefix}{off} tokens stop working. Type {off} to go on"
                return Prompt.ask(again, console=self._errors, default="") == off
            except EOFError:
                self._errors.print()
                return False
            except KeyboardInterrupt:
                self._errors.print()
                raise

    def sending(self, run: str, operations: int) -> None:
        """The sending begins."""
        LOG.info("%srun %s: %s", self._prefix, run, _counted(operations, "change"))
        self._progress = _Progress(self._errors, operations, self._rate)

    def settled(self, operation: Operation, outcome: Outcome) -> None:  # noqa: ARG002
        """One operation has its outcome."""
        if self._progress:
            self._progress.settled(outcome)

    def paused(self, message: str) -> None:
        """The service is away."""
        LOG.info("%s%s", self._prefix, message)

    def resumed(self, seconds: float) -> None:
        """It is back."""
        LOG.info("%sthe API is back after %s s", self._prefix, f"{seconds:.0f}")

    def stopping(self) -> None:
        """The first Ctrl-C."""
        LOG.info("stopping: requests under way finish; once more quits at once")

    def quitting(self) -> None:
        """The second Ctrl-C: the terminal is left as it was found."""
        if self._progress:
            self._progress.stop()

    def sent(self) -> None:
        """The sending is over."""
        if self._progress:
            self._progress.stop()

    # Results

    def show_check(self, checked: Checked) -> None:
        """What a sheet holds and what is wrong with it."""
        valid = checked.rows - checked.invalid_rows
        self._say(f"{_plain(checked.name)}: {valid:,} of {_counted(checked.rows, 'row')} valid")
        self._how_it_was_read(checked)
        self._more(self._causes(causes_of(map(_told, checked.problems))))

    def show_plan(self, proposal: Proposal) -> None:
        """What would change, and what it would take."""
        plan = proposal.plan
        checked = proposal.checked
        self._say(
            f"{_plain(checked.name)}: {_counted(checked.rows, 'row')}, "
            f"{_counted(len(plan.operations), 'token')} to change"
        )
        self._how_it_was_read(checked)
        self._counts(proposal.counts())
        if plan.operations:
            self._changes(plan.operations)
            fields = ", ".join(f"{name} {number:,}" for name, number in plan.fields().items())
            self._say(f"Changes by field: {fields}")
        self._warnings(proposal)
        self._say(self._effort(proposal))
        settled = (
            (row.row, row.outcome.status, row.outcome.code, row.outcome.message)
            for row in plan.settled
        )
        self._more(self._causes(causes_of(chain(map(_told, checked.problems), settled))))

    def show_end(self, ended: Ended) -> None:
        """How a run ended, and the next step."""
        summary = ended.summary
        self._say(f"[bold]{_plain(ended.told.story.sentence)}[/bold]")
        self._counts(summary.counts)
        self._say(
            f"{summary.rows:,} rows, {summary.requests.total:,} requests, "
            f"{summary.requests.retries:,} retries, {summary.seconds:.1f} s"
        )
        left_out = self._causes(ended.told.problems.causes, SHOWN_AT_END)
        if left_out:
            self._say(f"… and {left_out:,} more causes in report.html")
        if summary.state is not RunState.FINISHED:
            self._say(_why_unfinished(summary))
        for step in ended.told.story.steps:
            self._say(_plain(step.text))
            if step.command:
                self._to_copy(step.command)
        self._say(f"Reports: {_plain(summary.folder)}")

    def show_export(self, exported: Exported) -> None:
        """What was written, and what was left out of it."""
        left_out = exported.left_empty
        self._say(f"{_counted(exported.tokens, 'token')} written to {_plain(str(exported.path))}")
        if left_out:
            shown = ", ".join(
                f"{each.column} of token {each.token_id}" for each in left_out[:SHOWN]
            )
            more = f" and {len(left_out) - SHOWN:,} more" if len(left_out) > SHOWN else ""
            self._say(
                f"Left empty, for no sheet brings them back as they are: {_plain(shown)}{more}. "
                "Handed back, an empty cell changes nothing."
            )

    def show_verification(self, verification: Verification) -> None:
        """Where the account differs from what a run wrote."""
        found = verification.differences
        tokens = _counted(verification.tokens, "token")
        if not found:
            self._say(f"{_plain(verification.run)}: all of {tokens} are as the run wrote them")
            return
        self._say(f"{_plain(verification.run)}: {_counted(len(found), 'difference')} in {tokens}")
        table = Table("token", "label", "field", box=None, pad_edge=False)
        table.add_column("written → now", overflow="fold")
        for each in found[:SHOWN]:
            change = f"{each.written} → {each.now}" if each.field else each.now
            table.add_row(str(each.token_id), *map(_plain, (each.label, each.field, change)))
        self._results.print(table)
        self._more(len(found) - SHOWN)

    def show_runs(self, summaries: Sequence[Summary]) -> None:
        """The history, a line a run."""
        if not summaries:
            self._say("There is no run yet")
            return
        table = Table(box=None, pad_edge=False)
        table.add_column("run", overflow="fold")
        for name in ("rows", "ended well", "state"):
            table.add_column(name)
        for summary in summaries:
            well = summary.counts[Status.UPDATED] + summary.counts[Status.UNCHANGED]
            table.add_row(
                _plain(summary.run),
                f"{summary.rows:,}",
                f"{well:,}",
                f"{summary.state.value}{', simulated' if summary.simulated else ''}",
            )
        self._results.print(table)

    @property
    def _prefix(self) -> str:
        return "SIMULATED: " if self._simulated else ""

    def _say(self, text: str) -> None:
        # A pipe has no width to wrap at: a line there stays one line.
        self._results.print(f"{self._prefix}{text}", soft_wrap=not self._results.is_terminal)

    def _how_it_was_read(self, checked: Checked) -> None:
        if checked.ignored:
            self._say(f"Ignored columns: {_plain(', '.join(checked.ignored))}")
        if checked.unheaded:
            columns = "column" if len(checked.unheaded) == 1 else "columns"
            letters = ", ".join(checked.unheaded)
            self._say(f"Ignored, for want of a heading: {columns} {letters}")
        if checked.hidden_rows:
            self._say(
                f"Hidden rows: {checked.hidden_rows:,}, read like all others although a filter or "
                "a person has hidden them in the sheet"
            )
        if checked.total_row:
            self._say(f"Row {checked.total_row} is left out: it is the line of totals")

    def _counts(self, counts: dict[Status, int]) -> None:
        table = Table(box=None, show_header=False, pad_edge=False)
        for status, number in counts.items():
            if number:
                table.add_row(f"{number:,}", status.value.replace("_", " "))
        if table.row_count:
            self._results.print(table)

    def _changes(self, operations: Sequence[Operation]) -> None:
        table = Table("token", "label", box=None, pad_edge=False)
        table.add_column("old → new", overflow="fold")
        for operation in operations[:SHOWN]:
            label = operation.token.identifier.label or ""
            table.add_row(str(operation.token.id), _plain(label), _plain(operation.difference))
        self._results.print(table)
        self._more(len(operations) - SHOWN)

    def _warnings(self, proposal: Proposal) -> None:
        plan = proposal.plan
        off = [operation for operation in plan.operations if operation.deactivates]
        self._warn(off, "would stop working")
        self._warn(plan.to_new_customers(), "would be billed to another customer")
        self._warn(plan.expired(datetime.now(UTC)), "would expire in the past")
        for name, value in plan.uniform().items():
            self._say(f"{name} would be {_plain(shown(value))} in every token that it changes in")
        if proposal.ask_again:
            self._say(
                f"[bold]A job must allow so many to stop working: "
                f"--max-deactivations {plan.deactivations}[/bold]"
            )
        if plan.operations and not plan.can_tell:
            self._say("No answer to this plan could show whether the API resets what is left out")
        for objection in proposal.objections:
            self._say(f"[bold]Refused: {objection}[/bold]")

    def _warn(self, operations: Sequence[Operation], what: str) -> None:
        if not operations:
            return
        names = [str(each.token.identifier.label or each.token.id) for each in operations]
        more = " …" if len(names) > NAMED else ""
        listed = _plain(", ".join(names[:NAMED]))
        self._say(f"[bold]{_counted(len(names), 'token')} {what}[/bold]: {listed}{more}")

    def _causes(self, causes: Sequence[Cause], shown: int = SHOWN) -> int:
        """What is wrong, each cause once, those of most rows first; how many are left out."""
        if not causes:
            return 0
        table = Table(box=None, pad_edge=False, header_style="")
        table.add_column("rows", justify="right")
        table.add_column("where", overflow="fold", max_width=_WHERE)
        table.add_column("what is wrong", overflow="fold")
        for cause in causes[:shown]:
            table.add_row(f"{cause.rows:,}", cause.places, _plain(str(cause)))
        self._results.print(table)
        return max(0, len(causes) - shown)

    def _effort(self, proposal: Proposal) -> str:
        number = len(proposal.plan.operations)
        used = f"{_counted(proposal.reads, 'request')} used to read"
        if not number:
            return f"Nothing to send; {used}"
        left = time_left(number, self._rate)
        duration = f"at least {left}" if left else "done at once"
        return f"{_counted(number, 'request')} to send at {self._rate}: {duration}; {used}"

    def _more(self, left_out: int) -> None:
        if left_out > 0:
            self._say(f"… and {left_out:,} more (--json lists all)")

    def next_step(self, text: str) -> None:
        """What to do now."""
        self._to_copy(f"Next: {text}")

    def _to_copy(self, text: str) -> None:
        # Never wrapped: it is there to be copied.
        self._results.print(f"{self._prefix}{_plain(text)}", soft_wrap=True)


class _Progress:
    """A bar on a terminal, a log line a minute elsewhere."""

    def __init__(self, console: Console, operations: int, rate: Rate) -> None:
        self._total = operations
        self._rate = rate
        self._began = time.monotonic()
        self._counts: Counter[Status] = Counter()
        self._bar: Progress | None = None
        self._timer: asyncio.TimerHandle | None = None
        if console.is_terminal and operations:
            self._bar = Progress(
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[told]}"),
                console=console,
                transient=True,
            )
            self._task = self._bar.add_task("", total=operations, told="")
            self._bar.start()
        else:
            self._log_later()

    def settled(self, outcome: Outcome) -> None:
        """One more."""
        self._counts[outcome.status] += 1
        if self._bar:
            self._bar.update(self._task, advance=1, told=self._told())

    def stop(self) -> None:
        """Leave the terminal as it was."""
        if self._bar:
            self._bar.stop()
        if self._timer:
            self._timer.cancel()

    def _log_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOG_EVERY, self._log)

    def _log(self) -> None:
        LOG.info("%s of %s changes: %s", self._counts.total(), self._total, self._told())
        self._log_later()

    def _told(self) -> str:
        seconds = time.monotonic() - self._began
        done = self._counts.total()
        per_minute = 60 * done / seconds if seconds else 0
        by_budget = time_left(self._total, self._rate).total_seconds() - seconds
        by_speed = (self._total - done) * seconds / done if done else 0
        left = timedelta(seconds=round(max(0.0, by_budget, by_speed)))
        counts = " ".join(f"{number} {status}" for status, number in self._counts.items())
        return f"{counts} {per_minute:,.0f}/min {left} left"


@contextmanager
def _ctrl_c_interrupts() -> Iterator[None]:
    """Asyncio takes the first Ctrl-C for itself; at a question it must be heard at once."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _why_unfinished(summary: Summary) -> str:
    unknown = summary.counts[Status.UNKNOWN]
    if summary.state is RunState.STOPPED and not summary.stopped and unknown:
        return f"[bold]Not known yet:[/bold] {_counted(unknown, 'row')}; resuming reads the tokens"
    stopped = summary.stopped or "killed, or still under way"
    return f"[bold]Stopped early:[/bold] {_plain(stopped)}"


def _told(problem: Problem) -> Told:
    return problem.row, Status.INVALID, "", str(problem)


def _plain(text: str) -> str:
    """Text of a sheet or of the API, in which rich must not look for markup."""
    return escape(text)
