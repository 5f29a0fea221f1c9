"""The conductor: which stage follows which, and what is kept when one of them ends early."""

from __future__ import annotations

import asyncio
import getpass
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Protocol

from batch import __version__, doubt, export, plan, report, saved_plan
from batch.check import (
    Checked,
    Source,
    check_sheet,
    open_source,
    refuse_if_strict,
    validator_for,
)
from batch.client.pacing import Budget, Pace
from batch.client.retrying import Retrying
from batch.client.shared_budget import Kind, shared_budget
from batch.client.token_client import TokenClient, Traffic
from batch.client.transport import transport_to
from batch.errors import (
    Abandoned,
    Interrupted,
    NothingSent,
    RunError,
    StopRun,
    UsageError,
)
from batch.folders import (
    existing_run,
    keep_workbook,
    new_run,
    read_run,
    working_on_sheet,
)
from batch.interruption import Interruption
from batch.journal import Journal
from batch.lookup import ById, Lookup
from batch.models import (
    Operation,
    Outcome,
    Rate,
    Requests,
    Selection,
    Status,
)
from batch.read import Sheet
from batch.reverse import reverse_of
from batch.send import Sender
from batch.settings import Settings
from batch.state import state_folder

SIMULATED = "the simulated API"
_LOG = logging.getLogger("token-batch")


@dataclass(frozen=True, slots=True)
class Proposal:
    """A plan with the sheet it comes from, and what reading the tokens cost.

    `objections`: why it must not be sent. `ask_again`: it switches many tokens off, and nobody
    has said how many may be.
    """

    checked: Checked
    plan: plan.Plan
    reads: int
    objections: Sequence[str] = ()
    ask_again: bool = False

    def counts(self) -> dict[Status, int]:
        """Rows that already have their outcome, by it."""
        found = dict.fromkeys(Status, 0)
        found[Status.INVALID] = self.checked.invalid_rows
        for settled in self.plan.settled:
            found[settled.outcome.status] += 1
        for status, number in self.checked.settled.items():
            found[status] += number
        return found


class Audience(Protocol):
    """Who watches a run, and is asked."""

    def reading(self, seen: int, count: int) -> None: ...
    @property
    def can_be_asked(self) -> bool: ...
    def proposed(self, proposal: Proposal) -> None: ...
    def confirm(self, proposal: Proposal) -> bool: ...
    def sending(self, run: str, operations: int) -> None: ...
    def settled(self, operation: Operation, outcome: Outcome) -> None: ...
    def paused(self, message: str) -> None: ...
    def resumed(self, seconds: float) -> None: ...
    def stopping(self) -> None: ...
    def quitting(self) -> None: ...
    def sent(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run, or a sitting of it, ended. `stop` is None when it came to its end."""

    told: report.Facts
    stop: StopRun | None = None
    interrupted: bool = False

    @property
    def summary(self) -> report.Summary:
        """The run in figures."""
        return self.told.summary


# The commands


def check(source: Source, settings: Settings) -> Checked:
    """Read and validate a sheet; nothing is asked of the API."""
    return check_sheet(open_source(source, settings), settings)


async def propose(
    source: Source, settings: Settings, audience: Audience, out: Path | None = None
) -> Proposal:
    """Check a sheet, read its tokens, and say what would change; `out`: where to save the plan."""
    sheet = open_source(source, settings)
    checked = _checked(sheet, settings)
    async with _connected(settings) as client:
        with _nothing_done():
            proposal = await _propose(checked, client, settings, audience)
    if out:
        facts = _facts(checked, settings)
        saved = saved_plan.of_plan(
            proposal.plan,
            checked,
            sheet.rows(),
            made_at=datetime.now(UTC),
            **{name: facts[name] for name in ("who", "base_url", "clear_marker")},
        )
        saved_plan.save(saved, out)
    return proposal


async def apply(source: Source, settings: Settings, audience: Audience) -> Ended | None:
    """From a sheet to its reports. None when the plan was declined.

    UsageError leaves no run behind: nothing was sent. StopRun and anything else that comes
    after the plan was confirmed leave one that can be resumed.
    """
    if Path(source.path).suffix.lower() == saved_plan.SUFFIX:
        saved = _of_this_account(saved_plan.load(Path(source.path)), settings)
        name, sha256, check = saved.sheet, saved.sha256, partial(saved_plan.asked_by, saved)
    else:
        sheet = open_source(source, settings)
        name, sha256, check = sheet.name, sheet.sha256, partial(_checked, sheet, settings)
    with working_on_sheet(name, _digest(sha256, settings)):
        return await _carry_out(name, check, settings, audience)


def _of_this_account(saved: saved_plan.SavedPlan, settings: Settings) -> saved_plan.SavedPlan:
    if saved.base_url != _account(settings):
        raise RunError(f"the plan was made for {saved.base_url}, not for {_account(settings)}")
    return saved


def _checked(sheet: Sheet, settings: Settings, journal: Journal | None = None) -> Checked:
    checked = check_sheet(sheet, settings, journal)
    refuse_if_strict(checked, settings)
    if journal and sheet.kind == "xlsx":
        journal.note(kept=keep_workbook(sheet.path, sheet.sha256, journal.folder))
    return checked


async def undo(folder: Path, settings: Settings, audience: Audience) -> Ended | None:
    """Put back what a run has changed: a run like any other. None when the plan was declined.

    Only fields that the run has moved, and only in tokens that still hold what it has left there;
    others are conflicts.
    """
    with existing_run(folder) as undone, _alone_with_sheet_of(undone, settings):
        _refuse_another_account(undone, settings)
        await _look_at_doubtful(undone, settings, audience)
        reverse = partial(reverse_of, undone, settings.clear_marker)
        if _was_pinned(undone) or undone.has_side_effects:
            settings = _pinned(settings)  # or putting back would move what it moved before
        name = f"undo {_untimed(folder.name)}"
        ended = await _carry_out(name, reverse, settings, audience)
        if ended:
            undone.note(undone_by=ended.summary.run)
        return ended


async def _look_at_doubtful(undone: Journal, settings: Settings, audience: Audience) -> None:
    """What no answer told when the run was sent, the tokens tell now: all that it has changed is
    to be put back.
    """
    if next(undone.doubtful(), None) is None:
        return
    async with _connected(settings) as client:
        with _nothing_done():
            await doubt.correct(undone, _lookup(client, settings, audience))
    _report(undone)


def _was_pinned(journal: Journal) -> bool:
    return any(each.settings.get("pin_defaults") == str(True) for each in journal.sittings())


def _pinned(settings: Settings) -> Settings:
    return settings.model_copy(update={"pin_defaults": True})


async def _carry_out(
    name: str,
    check: Callable[[Journal], Checked],
    settings: Settings,
    audience: Audience,
) -> Ended | None:
    """Plan what is asked, confirm, send, report."""
    started_at = datetime.now(UTC)
    read_at = asyncio.get_running_loop().time()
    async with _connected(settings) as client:
        with (
            Interruption(audience) as interruption,
            new_run(settings.reports, name, started_at) as journal,
        ):
            with _nothing_done():
                checked = check(journal)
                journal.note(started_at=started_at, **_facts(checked, settings))
                proposal = await _propose(checked, client, settings, audience)
                audience.proposed(proposal)
                _refuse_objectionable(proposal, audience)
                if not audience.confirm(proposal):
                    return None
                interruption.arm()
                _record_plan(journal, proposal.plan)
                # A long run needs no more of them than its journal holds.
                del proposal, checked
            return await _send(journal, client, settings, audience, interruption, read_at)


async def resume(folder: Path, settings: Settings, audience: Audience) -> Ended:
    """Go on with a run that stopped, however it stopped."""
    with (
        Interruption(audience) as interruption,
        existing_run(folder) as journal,
        _alone_with_sheet_of(journal, settings),
    ):
        _refuse_another_account(journal, settings)
        undone_by = journal.about().undone_by
        if undone_by:
            raise RunError(f"{folder.name} was taken back by {undone_by}: hand its sheet in again")
        settings = _pinned(settings) if _was_pinned(journal) else settings
        read_at = asyncio.get_running_loop().time()
        async with _connected(settings) as client:
            interruption.arm()
            return await _send(
                journal, client, settings, audience, interruption, read_at, look_first=True
            )


@contextmanager
def _alone_with_sheet_of(journal: Journal, settings: Settings) -> Iterator[None]:
    about = journal.about()
    if about.sha256:
        with working_on_sheet(about.sheet, _digest(about.sha256, settings)):
            yield
    else:  # an undo is of no sheet
        yield


async def verify(folder: Path, settings: Settings, audience: Audience) -> report.Verification:
    """Read the tokens that a run has updated, and tell where they differ from what it wrote."""
    with read_run(folder) as journal:
        _refuse_another_account(journal, settings)
        written = [each.operation for each in journal.written() if each.is_ours]
    tokens = ById(operation.token.id for operation in written)
    if written:
        async with _connected(settings) as client:
            with _nothing_done():
                await _lookup(client, settings, audience).collect(tokens)
    found = [
        difference
        for operation in written
        for difference in report.differences(operation, tokens.found.get(operation.token.id))
    ]
    verification = report.Verification(folder.name, len(written), found)
    report.write_verification(folder, verification)
    return verification


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export holds. `left_empty`: values that it leaves out."""

    path: Path
    tokens: int
    left_empty: Sequence[export.LeftEmpty]


async def export_tokens(
    path: Path, selection: Selection, settings: Settings, audience: Audience, *, overwrite: bool
) -> Exported:
    """The account's tokens as a sheet that, handed back untouched, changes nothing."""
    export.check_target(path, overwrite=overwrite)
    async with _connected(settings) as client:
        with _nothing_done("written"):
            tokens = await _lookup(client, settings, audience).account(selection)
    left_empty = export.write(
        tokens,
        path,
        zone=settings.timezone,
        marker=settings.clear_marker,
        says=validator_for((), settings).says,
    )
    return Exported(path, len(tokens), left_empty)


def write_reports(folder: Path) -> Ended:
    """Write a run's reports again. RunError if one cannot be written."""
    with existing_run(folder) as journal:
        told, refused = report.write(journal)
    if refused:
        raise RunError(refused)
    return Ended(told)


def _report(journal: Journal) -> report.Facts:
    """What became of the rows does not hang on whether all reports can be written."""
    told, refused = report.write(journal)
    if refused:
        _LOG.error(refused)
    return told


# The stages


async def _propose(
    checked: Checked, client: TokenClient, settings: Settings, audience: Audience
) -> Proposal:
    named = plan.Named(checked.patches)
    retrying = Retrying(tries=settings.tries, rest=asyncio.sleep)
    await Lookup(client, retrying, audience.reading).collect(named)
    client.traffic.retries += retrying.retries
    made = plan.make(plan.handed_over(checked.patches), named, checked.expected)
    objections = plan.objections(
        made,
        max_changes=settings.max_changes,
        max_deactivations=settings.max_deactivations,
    )
    if checked.expected and made.finds_none:
        objections = [*objections, doubt.NONE_EXISTS]
    ask_again = settings.max_deactivations is None and made.deactivates_many
    return Proposal(checked, made, client.traffic.reads, objections, ask_again)


@contextmanager
def _nothing_done(done: str = "sent") -> Iterator[None]:
    try:
        yield
    except StopRun as error:
        raise NothingSent(f"{error}; nothing was {done}") from error
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        raise Interrupted(f"interrupted; nothing was {done}") from error


def _refuse_objectionable(proposal: Proposal, audience: Audience) -> None:
    if proposal.objections:
        raise UsageError(f"{'; '.join(proposal.objections)}: nothing was sent")
    if proposal.ask_again and not audience.can_be_asked:
        number = proposal.plan.deactivations
        raise UsageError(
            f"the plan switches {number:,} tokens off, which is many: nothing was sent; a job says "
            f"how many may be (--max-deactivations {number})"
        )


def _record_plan(journal: Journal, made: plan.Plan) -> None:
    journal.settle_rows(
        (row.row, row.outcome, row.token.name if row.token else None) for row in made.settled
    )
    journal.add_operations(made.operations)
    journal.note(operations=len(made.operations), confirmed_at=datetime.now(UTC))


async def _send(
    journal: Journal,
    client: TokenClient,
    settings: Settings,
    audience: Audience,
    interruption: Interruption,
    read_at: float,
    *,
    look_first: bool = False,
) -> Ended:
    """Send what is planned and report, however the sending ends. `read_at`: when the tokens were
    read at the earliest, in the loop's time.
    """
    before = journal.about()
    began = time.monotonic()
    sender = Sender(
        client,
        journal,
        workers=settings.workers,
        tries=settings.tries,
        pin_defaults=settings.pin_defaults,
        settled=audience.settled,
        again=lambda operation, now, sent: plan.again(operation, now, was_sent=sent),
        read_at=read_at,
        max_outage=settings.max_outage,
        paused=partial(_tell_pause, journal, audience),
        resumed=partial(_tell_return, journal, audience),
    )
    journal.begin_sitting(who=_who(), version=__version__, settings=settings.told())
    interruption.stops(sender)
    stop: StopRun | None = None
    try:
        if look_first:
            await doubt.settle(journal, Lookup(client, sender.retrying, audience.reading))
        audience.sending(journal.folder.name, journal.count_unsettled())
        await sender.send(journal.unsettled())
    except StopRun as reason:
        stop = reason
    except Abandoned:
        pass  # interrupted while looking: what follows says so
    finally:
        audience.sent()
        client.traffic.retries += sender.retrying.retries
        stopped = str(stop or ("interrupted" if interruption.happened else ""))
        await journal.caught_up()
        journal.end_sitting(stopped)
        journal.note(
            finished_at=datetime.now(UTC),
            stopped=stopped,
            requests=before.requests + _requests(client.traffic),
            seconds=round(before.seconds + time.monotonic() - began, 3),
        )
        told = _report(journal)
    return Ended(told, stop, interruption.happened)


def _tell_pause(journal: Journal, audience: Audience, cause: str) -> None:
    journal.pause(cause)
    audience.paused(cause)


def _tell_return(journal: Journal, audience: Audience, seconds: float) -> None:
    journal.unpause()
    audience.resumed(seconds)


# What the stages share


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[TokenClient]:
    transport = transport_to(
        settings.base_url, connect_timeout=settings.connect_timeout, timeout=settings.timeout
    )
    with (
        closing(_budget(settings, "reads", settings.read_rate)) as reads,
        closing(_budget(settings, "writes", settings.write_rate)) as writes,
    ):
        async with transport:
            yield TokenClient(
                transport,
                base_url=settings.base_url,
                key=settings.key,
                reads=Pace(settings.read_rate, budget=reads),
                writes=Pace(settings.write_rate, budget=writes),
                longest_pause=settings.max_outage,
            )


def _budget(settings: Settings, kind: Kind, rate: Rate) -> Budget:
    """What all processes of this machine share that use this key and URL."""
    if settings.simulated:  # each such process brings an API of its own
        return Budget(rate)
    key = settings.key.get_secret_value()
    return shared_budget(state_folder(), settings.base_url, key, kind, rate, warn=_LOG.warning)


def _lookup(client: TokenClient, settings: Settings, audience: Audience) -> Lookup:
    retrying = Retrying(tries=settings.tries, rest=asyncio.sleep)
    return Lookup(client, retrying, audience.reading)


def _requests(traffic: Traffic) -> Requests:
    return Requests(
        traffic.requests, traffic.reads, traffic.writes, traffic.retries, traffic.refusals_429
    )


def _facts(checked: Checked, settings: Settings) -> dict[str, object]:
    return {
        "simulated": settings.simulated,
        "sheet": checked.name,
        "sha256": checked.sha256,
        "headers": checked.headers,
        "meanings": checked.meanings,
        "worksheet": checked.worksheet,
        "header_row": checked.header_row,
        "mapping": checked.mapping,
        "clear_marker": settings.clear_marker,
        "base_url": _account(settings),
        "who": _who(),
        "version": __version__,
        "settings": settings.told(),
    }


def _refuse_another_account(journal: Journal, settings: Settings) -> None:
    about = journal.about()
    if about.base_url == _account(settings):
        return
    name = journal.folder.name
    if about.simulated:
        raise RunError(f"{name} was made with --simulate: go on with it in the same way")
    raise RunError(f"{name} was sent to {about.base_url}, not to {_account(settings)}")


def _digest(sha256: str, settings: Settings) -> str:
    """Of a sheet and the account that it goes to."""
    return hashlib.sha256(f"{_account(settings)} {sha256}".encode()).hexdigest()


def _account(settings: Settings) -> str:
    return SIMULATED if settings.simulated else settings.base_url


def _untimed(run: str) -> str:
    """A run's name without the time with which it begins."""
    return "-".join(run.split("-")[2:]) or run


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a user for this number
        return "unknown"
