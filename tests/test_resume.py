"""Every state that a crash can leave, built by hand and resumed."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from runs import (
    FIRST,
    Cells,
    Quiet,
    apply,
    comments,
    hurry,
    lines,
    resume,
    settings_for,
    shows,
    statuses,
    write_sheet,
)

from batch import history, run
from batch.check import Source
from batch.errors import (
    BusyError,
    Interrupted,
    JournalError,
    KeyRefused,
    NotAsAsked,
    NothingSent,
    RunError,
    Unavailable,
)
from batch.journal import FILE_NAME, Journal
from batch.models import Field, Operation, Outcome, Row, Status, Token
from batch.simulator import Behaviour, Fault, Faults, Planned, SimulatedApi

FOREVER = float("inf")
NAME = "20261101-020000-sheet"


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def api() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=80, behaviour=Behaviour(limits=None)) as running:
        yield running


class Crashed:
    """A run's journal as a crash left it: one row, and one operation, a token from FIRST on."""

    def __init__(self, api: SimulatedApi, folder: Path, *, confirmed: bool = True) -> None:
        self._api = api
        self.folder = folder / "reports" / NAME
        self.folder.mkdir(parents=True)
        self._journal = Journal.create(self.folder)
        self._operations: list[Operation] = []
        self._then: list[Callable[[int], asyncio.Future[None] | None]] = []
        self._confirmed = confirmed

    def operation(
        self,
        then: Callable[[Journal, int], asyncio.Future[None]] | None = None,
        *,
        applied: bool = False,
        **asked: str | bool,
    ) -> int:
        """One more, read as the token is now; `then` is what the run did of it."""
        number = len(self._operations) + 1
        token_id = FIRST + number - 1
        token = Token(**_arguments(self._api.token(token_id) or {}))
        changes = {Field(name): value for name, value in (asked or _asked(number)).items()}
        self._operations.append(Operation(token, changes, (number + 1,)))
        self._then.append(lambda its: then(self._journal, its) if then else None)
        if applied:
            self._api.change(token_id, **{str(name): value for name, value in changes.items()})
        return token_id

    def write(self) -> None:
        """Put it all on the disk and forget it."""
        asyncio.run(self._write())
        self._journal.close()

    async def _write(self) -> None:
        journal = self._journal
        journal.note(
            simulated=False,
            sheet="sheet.csv",
            sha256="0" * 64,
            headers=["id", "comment"],
            clear_marker="NULL",
            base_url=self._api.url,
            who="nobody",
            version="0",
            started_at=datetime.now(UTC),
        )
        rows = [operation.rows[0] for operation in self._operations]
        journal.add_rows(Row(row, (str(FIRST + row - 2), "x")) for row in rows)
        journal.add_operations(self._operations)
        if self._confirmed:
            journal.note(operations=len(rows), confirmed_at=datetime.now(UTC))
        for number, then in enumerate(self._then, start=1):
            durable = then(number)
            if durable:
                await durable


def _asked(number: int) -> dict[str, str | bool]:
    return {"comment": f"asked {number}"}


def _arguments(token: dict[str, Any]) -> dict[str, Any]:
    names = ("id", "identifier", *(name for name in Field if name is not Field.APP_USER_ID))
    return {str(name): token[name] for name in names}


def sending(journal: Journal, number: int) -> asyncio.Future[None]:
    return journal.start(number)


def settled(status: Status) -> Callable[[Journal, int], asyncio.Future[None]]:
    def settle(journal: Journal, number: int) -> asyncio.Future[None]:
        return journal.settle(number, Outcome(status, "earlier", "earlier", 500, attempts=2))

    return settle


class TestEachState:
    def test_planned_is_sent(self, api: SimulatedApi, tmp_path: Path) -> None:
        crashed = Crashed(api, tmp_path)
        token = crashed.operation()
        crashed.write()
        ended = resume(api, tmp_path, NAME)
        assert statuses(ended) == ["updated"]
        assert shows(api.token(token), {"comment": "asked 1"})
        assert len(api.writes) == 1

    def test_planned_and_meanwhile_so_is_unchanged(self, api: SimulatedApi, tmp_path: Path) -> None:
        crashed = Crashed(api, tmp_path)
        crashed.operation(applied=True)
        crashed.write()
        assert statuses(resume(api, tmp_path, NAME)) == ["unchanged"]
        assert not api.writes

    def test_sending_and_applied_is_updated_without_a_second_request(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        crashed = Crashed(api, tmp_path)
        crashed.operation(sending, applied=True)
        crashed.write()
        ended = resume(api, tmp_path, NAME)
        assert statuses(ended) == ["updated"]
        assert not api.writes
        assert "settled by reading the token" in lines(ended)[0]["message"]

    @pytest.mark.parametrize("then", [sending, settled(Status.UNKNOWN)])
    def test_what_else_the_lost_answer_would_have_shown_stops_the_run_once(
        self,
        api: SimulatedApi,
        tmp_path: Path,
        then: Callable[[Journal, int], asyncio.Future[None]],
    ) -> None:
        crashed = Crashed(api, tmp_path)
        api.change(FIRST, isActive=False)
        token = crashed.operation(then, applied=True)
        other = crashed.operation()
        api.change(token, isActive=True)  # as a server does that gives defaults
        crashed.write()

        ended = resume(api, tmp_path, NAME)

        assert isinstance(ended.stop, NotAsAsked)
        assert "isActive false → true; --pin-defaults" in str(ended.stop)
        assert statuses(ended) == ["updated", "not_sent"]
        assert lines(ended)[0]["code"] == "side_effect"
        assert not api.writes
        assert statuses(resume(api, tmp_path, NAME)) == ["updated", "updated"]
        assert [request.token_id for request in api.writes] == [other]

    def test_sending_and_not_applied_is_sent(self, api: SimulatedApi, tmp_path: Path) -> None:
        crashed = Crashed(api, tmp_path)
        token = crashed.operation(sending)
        crashed.write()
        assert statuses(resume(api, tmp_path, NAME)) == ["updated"]
        assert [request.token_id for request in api.writes] == [token]

    @pytest.mark.parametrize("then", [None, sending, settled(Status.UNKNOWN)])
    @pytest.mark.parametrize("applied", [False, True])
    def test_changed_by_someone_else_is_a_conflict_and_left_alone(
        self,
        api: SimulatedApi,
        tmp_path: Path,
        then: Callable[[Journal, int], asyncio.Future[None]] | None,
        *,
        applied: bool,
    ) -> None:
        crashed = Crashed(api, tmp_path)
        token = crashed.operation(then, applied=applied)
        api.change(token, comment="someone else's")
        crashed.write()
        ended = resume(api, tmp_path, NAME)
        assert statuses(ended) == ["conflict"]
        assert not api.writes
        assert shows(api.token(token), {"comment": "someone else's"})
        assert 'comment is now "someone else\'s"' in lines(ended)[0]["message"]

    def test_another_field_changed_by_someone_else_is_no_conflict_and_stays(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        crashed = Crashed(api, tmp_path)
        token = crashed.operation(sending)
        api.change(token, billingReference="someone else's")
        crashed.write()
        ended = resume(api, tmp_path, NAME)
        assert statuses(ended) == ["updated"]
        assert lines(ended)[0]["code"] == ""
        asked = {"comment": "asked 1", "billingReference": "someone else's"}
        assert shows(api.token(token), asked)

    @pytest.mark.parametrize("then", [None, sending, settled(Status.UNKNOWN)])
    def test_a_deleted_token_is_not_found(
        self,
        api: SimulatedApi,
        tmp_path: Path,
        then: Callable[[Journal, int], asyncio.Future[None]] | None,
    ) -> None:
        crashed = Crashed(api, tmp_path)
        token = crashed.operation(then)
        api.delete(token)
        crashed.write()
        assert statuses(resume(api, tmp_path, NAME)) == ["not_found"]
        assert not api.writes

    def test_unknown_and_applied_is_updated(self, api: SimulatedApi, tmp_path: Path) -> None:
        crashed = Crashed(api, tmp_path)
        crashed.operation(settled(Status.UNKNOWN), applied=True)
        crashed.write()
        ended = resume(api, tmp_path, NAME)
        assert statuses(ended) == ["updated"]
        assert lines(ended)[0]["attempts"] == "2"
        assert not api.writes

    def test_unknown_and_not_applied_is_sent(self, api: SimulatedApi, tmp_path: Path) -> None:
        crashed = Crashed(api, tmp_path)
        crashed.operation(settled(Status.UNKNOWN))
        crashed.write()
        ended = resume(api, tmp_path, NAME)
        assert statuses(ended) == ["updated"]
        assert lines(ended)[0]["attempts"] == "3"
        assert lines(ended)[0]["code"] == ""

    def test_unknown_that_stops_again_before_it_is_sent_tells_nothing_of_before(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        crashed = Crashed(api, tmp_path)
        crashed.operation()
        crashed.operation(settled(Status.UNKNOWN))
        crashed.write()
        api.faults = Faults(script=[Planned(Fault.FORBIDDEN)])
        ended = resume(api, tmp_path, NAME)
        assert statuses(ended) == ["not_sent", "not_sent"]
        told = {name: lines(ended)[1][name] for name in ("message", "code", "finished_at")}
        assert told == {"message": "", "code": "", "finished_at": ""}

    @pytest.mark.parametrize("status", sorted(set(Status) - {Status.UNKNOWN, Status.NOT_SENT}))
    def test_settled_is_final_and_nothing_is_sent(
        self, api: SimulatedApi, tmp_path: Path, status: Status
    ) -> None:
        crashed = Crashed(api, tmp_path)
        crashed.operation(settled(status))
        crashed.write()
        ended = resume(api, tmp_path, NAME)
        assert statuses(ended) == [str(status)]
        assert lines(ended)[0]["attempts"] == "2"
        assert not api.requests
        assert ended.stop is None

    def test_the_undo_of_what_was_settled_by_looking_has_the_old_value(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        api.change(FIRST, comment="old")
        crashed = Crashed(api, tmp_path)
        crashed.operation(sending, applied=True)
        crashed.write()
        resume(api, tmp_path, NAME)
        undo = (crashed.folder / "undo.csv").read_text(encoding="utf-8-sig")
        assert undo.splitlines() == ["id,comment", f"{FIRST},old"]

    def test_an_unconfirmed_run_is_refused(self, api: SimulatedApi, tmp_path: Path) -> None:
        crashed = Crashed(api, tmp_path, confirmed=False)
        crashed.operation()
        crashed.write()
        with pytest.raises(RunError, match="before its plan was confirmed"):
            resume(api, tmp_path, NAME)
        assert not api.requests

    def test_states_side_by_side(self, api: SimulatedApi, tmp_path: Path) -> None:
        crashed = Crashed(api, tmp_path)
        crashed.operation(settled(Status.UPDATED), applied=True)
        crashed.operation(settled(Status.REJECTED))
        crashed.operation(sending, applied=True)
        crashed.operation(sending)
        changed = crashed.operation(sending)
        crashed.operation(settled(Status.UNKNOWN), applied=True)
        deleted = crashed.operation(settled(Status.UNKNOWN))
        crashed.operation()
        crashed.operation(applied=True)
        api.change(changed, comment="someone else's")
        api.delete(deleted)
        crashed.write()
        ended = resume(api, tmp_path, NAME)
        assert statuses(ended) == [
            "updated",
            "rejected",
            "updated",
            "updated",
            "conflict",
            "updated",
            "not_found",
            "updated",
            "unchanged",
        ]
        assert {request.token_id for request in api.writes} == {FIRST + 3, FIRST + 7}
        sent = len(api.requests)
        assert statuses(resume(api, tmp_path, NAME)) == statuses(ended)
        assert len(api.requests) == sent

    def test_part_of_what_was_asked_is_completed(self, api: SimulatedApi, tmp_path: Path) -> None:
        crashed = Crashed(api, tmp_path)
        token = crashed.operation(sending, comment="asked", billingReference="asked")
        api.change(token, comment="asked")
        crashed.write()
        ended = resume(api, tmp_path, NAME)
        assert statuses(ended) == ["updated"]
        assert shows(api.token(token), {"comment": "asked", "billingReference": "asked"})

    def test_deactivations_go_first_again(self, api: SimulatedApi, tmp_path: Path) -> None:
        off = next(n for n, t in api.tokens().items() if n > FIRST + 3 and t["isActive"])
        rows: list[Cells] = [*comments(3), {"id": off, "isActive": "no"}]
        for each in (*range(FIRST, FIRST + 3), off):  # all show the API's defaults alike
            api.change(each, isActive=1, roamingEnabled=1)
        api.faults = Faults(script=[Planned(Fault.FORBIDDEN)])
        apply(api, tmp_path, rows)
        assert statuses(resume(api, tmp_path, workers=1)) == ["updated"] * 4
        assert [r.token_id for r in api.writes][1:] == [off, FIRST, FIRST + 1, FIRST + 2]


class TestWhatResumingNeeds:
    def test_a_bad_key_changes_nothing_and_the_reports_are_there(self, tmp_path: Path) -> None:
        with SimulatedApi(tokens=20, behaviour=Behaviour(limits=None, key="good")) as api:
            crashed = Crashed(api, tmp_path)
            crashed.operation(sending, applied=True)
            crashed.operation()
            crashed.write()
            try:
                stop = resume(api, tmp_path, NAME, api_key="bad").stop
            except KeyRefused as error:
                stop = error
            assert isinstance(stop, KeyRefused)
            assert not api.writes
            assert statuses(crashed.folder) == ["unknown", "not_sent"]
            assert statuses(resume(api, tmp_path, NAME, api_key="good")) == ["updated"] * 2

    def test_an_api_that_is_away_changes_nothing_and_the_reports_are_there(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        crashed = Crashed(api, tmp_path)
        crashed.operation(sending, applied=True)
        crashed.operation()
        crashed.write()
        api.stop()
        try:
            stop = resume(api, tmp_path, NAME).stop
        except Unavailable as error:
            stop = error
        assert isinstance(stop, Unavailable)
        api.start()
        assert statuses(crashed.folder) == ["unknown", "not_sent"]

    def test_two_at_once_are_one_too_many(self, api: SimulatedApi, tmp_path: Path) -> None:
        crashed = Crashed(api, tmp_path)
        for _ in range(20):
            crashed.operation()
        crashed.write()
        api.faults = Faults(latency=0.05)
        refused: list[BaseException] = []

        def resume_too(*_: object) -> None:
            try:
                resume(api, tmp_path, NAME)
            except BusyError as error:
                refused.append(error)

        def at_the_first(*_: object) -> None:
            if not refused:
                thread = threading.Thread(target=resume_too)
                thread.start()
                thread.join(timeout=5)

        ended = resume(api, tmp_path, NAME, Quiet(settling=at_the_first), workers=1)
        assert refused
        assert statuses(ended) == ["updated"] * 20
        assert len(api.writes) == 20

    @pytest.mark.parametrize("killed", ["before its tables", "before its facts", "empty"])
    def test_a_run_killed_while_it_was_made_does_not_hide_the_others(
        self, api: SimulatedApi, tmp_path: Path, killed: str
    ) -> None:
        ended = apply(api, tmp_path, comments(3))
        folder = tmp_path / "reports" / "20991231-235959-killed"
        folder.mkdir()
        if killed == "before its facts":
            Journal.create(folder).close()
        elif killed == "before its tables":
            with closing(sqlite3.connect(folder / FILE_NAME)) as made:
                made.execute("PRAGMA journal_mode = WAL")
        else:
            (folder / FILE_NAME).touch()
        found = history.runs(tmp_path / "reports")
        assert [summary.run for summary in found] == [ended.summary.run]
        assert statuses(resume(api, tmp_path)) == ["updated"] * 3


class TestNoRunIsLeft:
    def test_when_the_plan_is_declined(self, api: SimulatedApi, tmp_path: Path) -> None:
        source = Source(str(write_sheet(tmp_path, comments(3))))
        declining = run.apply(source, settings_for(api, tmp_path), Quiet(answer=False))
        assert asyncio.run(declining) is None
        assert not list((tmp_path / "reports").iterdir())
        assert not api.writes

    def test_when_the_api_does_not_answer(self, api: SimulatedApi, tmp_path: Path) -> None:
        api.stop()
        with pytest.raises(NothingSent):
            apply(api, tmp_path, comments(3), tries=1)
        assert not list((tmp_path / "reports").iterdir())

    def test_when_it_is_interrupted_at_the_question(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        def interrupt() -> None:
            raise KeyboardInterrupt

        with pytest.raises(Interrupted, match="nothing was sent"):
            apply(api, tmp_path, comments(3), Quiet(confirmed=interrupt))
        assert not list((tmp_path / "reports").iterdir())
        assert not api.writes


class TestTheRecordItself:
    def test_is_kept_when_it_cannot_be_asked_whether_it_is_needed(
        self, api: SimulatedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(_: Journal) -> bool:
            raise sqlite3.OperationalError("disk I/O error")

        monkeypatch.setattr(Journal, "is_confirmed", property(fail))
        with pytest.raises(JournalError):
            apply(api, tmp_path, comments(3))
        monkeypatch.undo()
        assert statuses(resume(api, tmp_path)) == ["updated"] * 3

    def test_text_that_is_no_text_does_not_hang_the_run(self, tmp_path: Path) -> None:
        # JSON can hold half a character ("\ud800"), and so can an API's message.
        folder = tmp_path / "run"
        folder.mkdir()
        journal = Journal.create(folder)

        async def settle() -> None:
            with suppress(JournalError):
                async with asyncio.timeout(1):
                    await journal.settle(1, Outcome(Status.REJECTED, json.loads('"bad \\ud800"')))

        asyncio.run(settle())
        journal.close()

    def test_a_record_that_cannot_be_written_stops_the_run_and_costs_no_row(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        api.faults = Faults(latency=0.005)
        folder: list[Path] = []

        def fill(*_: object) -> None:
            if not folder:
                folder.extend((tmp_path / "reports").iterdir())
                with closing(sqlite3.connect(folder[0] / FILE_NAME)) as other:
                    other.execute(
                        "CREATE TRIGGER full BEFORE UPDATE ON operations "
                        "BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
                    )

        with suppress(JournalError):
            apply(api, tmp_path, comments(60), Quiet(settling=fill))
        with closing(sqlite3.connect(folder[0] / FILE_NAME)) as other:
            other.execute("DROP TRIGGER full")
        written = len(api.writes)
        assert written < 60
        ended = resume(api, tmp_path)
        assert statuses(ended) == ["updated"] * 60
        assert len(api.writes) == 60

    def test_reports_say_what_the_record_says_after_each_end(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        api.faults = Faults(script=[Planned(Fault.FORBIDDEN, nth=4, times=FOREVER)])
        ended = apply(api, tmp_path, comments(10), workers=1)
        summary = json.loads((Path(ended.summary.folder) / "summary.json").read_text("utf-8"))
        assert summary["counts"]["updated"] == statuses(ended).count("updated") == 3
        assert summary["counts"]["not_sent"] == statuses(ended).count("not_sent") == 7
        assert ended.summary.stopped
