"""What the journal was told is on the disk, whole, whatever happens next."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from batch.errors import JournalError, RunError, TokenBatchError
from batch.journal import CHUNK, FILE_NAME, Journal
from batch.journal_schema import VERSION
from batch.models import (
    About,
    Covered,
    Entry,
    Field,
    Identifier,
    Line,
    Operation,
    Outcome,
    Requests,
    Row,
    State,
    Status,
    Token,
    Value,
)

T = TypeVar("T")

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "simulated": False,
    "sheet": "kort.csv",
    "sha256": "0" * 64,
    "headers": ["id", "comment"],
    "clear_marker": "NULL",
    "base_url": "https://api.example",
    "who": "søren",
    "version": "1",
    "started_at": NEW_YEAR,
}

JOURNALS = Path(__file__).parent / "journals"


def token(token_id: int = 1, **values: Any) -> Token:
    fields: dict[str, Any] = {
        "valid_from": NEW_YEAR,
        "is_active": True,
        "roaming_enabled": True,
        "customer_id": 2001,
        "comment": "old",
    }
    label = values.pop("label", f"DK-{token_id}")
    identifier = Identifier(type="rfid", uid=None, label=label, app_user_id=None)
    return Token(id=token_id, identifier=identifier, **(fields | values))


def operation(number: int, *rows: int) -> Operation:
    return Operation(token(number), {Field.COMMENT: f"new {number}"}, rows or (number + 1,))


def outcome(status: Status = Status.UPDATED, **facts: Any) -> Outcome:
    given: dict[str, Any] = {"finished_at": NEW_YEAR, "attempts": 1}
    return Outcome(status, **(given | facts))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with contextlib.closing(Journal.create(tmp_path)) as made:
        yield made


@pytest.fixture
def planned(journal: Journal) -> Journal:
    """A run of five rows and as many operations."""
    begin(journal, [operation(number) for number in range(1, 6)])
    return journal


def begin(journal: Journal, operations: Sequence[Operation]) -> None:
    journal.note(**FACTS)
    rows = sorted(row for each in operations for row in each.rows)
    journal.add_rows(Row(row, (str(row), "new")) for row in rows)
    journal.add_operations(operations)


def in_loop(work: Callable[[], Awaitable[T]]) -> T:
    async def scenario() -> T:
        # Python 3.11 cannot parse a file while asyncio logs a failure that nobody asked for.
        asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
        async with asyncio.timeout(5):  # nothing that the journal was told may wait for ever
            return await work()

    return asyncio.run(scenario())


def on_disk(journal: Journal, sql: str) -> list[tuple[Any, ...]]:
    """What another process sees."""
    path = f"file:{journal.folder / FILE_NAME}?mode=ro"
    with contextlib.closing(sqlite3.connect(path, uri=True)) as other:
        return other.execute(sql).fetchall()


def states(journal: Journal) -> dict[int, str]:
    return dict(on_disk(journal, "SELECT number, state FROM operations"))


# Durable when awaited


def test_each_state_of_an_operation_is_on_the_disk_once_it_was_awaited(planned: Journal) -> None:
    seen = [states(planned)[1]]

    async def scenario() -> None:
        await planned.start(1)
        seen.append(states(planned)[1])
        await planned.release(1, 2)
        seen.append(states(planned)[1])
        await planned.start(1)
        seen.append(states(planned)[1])
        await planned.settle(1, outcome(Status.UNKNOWN))
        seen.append(states(planned)[1])
        await planned.replan(1, operation(1))
        seen.append(states(planned)[1])

    in_loop(scenario)

    assert seen == ["planned", "sending", "planned", "sending", "settled", "planned"]
    assert set(list(states(planned).values())[1:]) == {"planned"}


def test_an_outcome_is_on_the_disk_with_all_its_facts(planned: Journal) -> None:
    told = outcome(
        Status.FAILED,
        message="nej ø 🚗",
        code="no_answer",
        http_status=503,
        attempts=6,
        request_id="req_1",
        after=token(1, comment="other"),
    )

    async def scenario() -> list[tuple[Any, ...]]:
        await planned.settle(1, told)
        return on_disk(
            planned,
            "SELECT after, status, message, code, http_status, attempts, request_id, finished_at "
            "FROM operations WHERE number = 1",
        )

    ((after, *found),) = in_loop(scenario)

    finished = "2026-01-01T00:00:00.000Z"
    assert found == ["failed", "nej ø 🚗", "no_answer", 503, 6, "req_1", finished]
    assert TypeAdapter(Token).validate_json(after) == token(1, comment="other")


def test_what_comes_before_the_sending_is_on_the_disk_when_it_returns(journal: Journal) -> None:
    journal.note(sheet="a.csv")
    journal.note(sheet="b.csv")
    noted = on_disk(journal, "SELECT * FROM about")
    journal.add_rows([Row(2, ("x", True)), Row(3, ())])
    rows = on_disk(journal, "SELECT number, cells FROM rows")
    journal.settle_rows([(2, outcome(Status.INVALID, message="no"), None)])
    settled = on_disk(journal, "SELECT number, status FROM rows")
    journal.add_operations([operation(1, 3)])
    planned = on_disk(journal, "SELECT number, state FROM operations")

    assert noted == [("sheet", '"b.csv"')]
    assert rows == [(2, '["x", true]'), (3, "[]")]
    assert settled == [(2, "invalid"), (3, None)]
    assert planned == [(1, "planned")]


def test_a_journal_that_was_closed_is_found_again_as_it_was(planned: Journal) -> None:
    async def scenario() -> None:
        await planned.settle(2, outcome(message="done"))

    in_loop(scenario)
    before = (planned.about(), list(planned.unsettled()), list(planned.lines()))
    planned.close()

    with contextlib.closing(Journal.open(planned.folder)) as again:
        assert (again.about(), list(again.unsettled()), list(again.lines())) == before


def test_a_journal_whose_process_was_killed_is_found_again_as_it_was(
    planned: Journal, tmp_path: Path
) -> None:
    async def scenario() -> None:
        await asyncio.gather(planned.start(1), planned.settle(2, outcome()))
        # What a killed process leaves: its files as they are now, nothing closed.
        shutil.copytree(planned.folder, tmp_path / "left")

    in_loop(scenario)

    with contextlib.closing(Journal.open(tmp_path / "left")) as again:
        assert [(entry.number, entry.state) for entry in again.unsettled()] == [
            (1, State.SENDING),
            *((number, State.PLANNED) for number in (3, 4, 5)),
        ]
        assert again.counts() == {Status.UPDATED: 1, Status.UNKNOWN: 1, Status.NOT_SENT: 3}


# Together


def commits_of(journal: Journal, work: Callable[[], Awaitable[object]]) -> int:
    statements: list[str] = []
    journal._writer.set_trace_callback(statements.append)
    in_loop(work)
    journal._writer.set_trace_callback(None)
    return sum(statement.strip().upper() == "COMMIT" for statement in statements)


def test_what_comes_at_once_waits_for_the_disk_together(journal: Journal) -> None:
    begin(journal, [operation(number) for number in range(1, 201)])

    async def all_at_once() -> None:
        await asyncio.gather(*(journal.settle(number, outcome()) for number in range(1, 201)))

    assert commits_of(journal, all_at_once) <= 2
    assert set(states(journal).values()) == {"settled"}


def test_what_comes_while_the_disk_is_busy_shares_the_next_commit(journal: Journal) -> None:
    begin(journal, [operation(number) for number in range(1, 65)])

    async def settle(number: int) -> None:
        await journal.start(number)
        await journal.settle(number, outcome())

    async def all_at_once() -> None:
        await asyncio.gather(*(settle(number) for number in range(1, 65)))

    assert commits_of(journal, all_at_once) <= 16
    assert set(states(journal).values()) == {"settled"}


def test_one_after_the_other_each_has_its_own_commit(planned: Journal) -> None:
    async def one_by_one() -> None:
        for number in range(1, 6):
            await planned.start(number)

    assert commits_of(planned, one_by_one) == 5


def test_changes_of_one_operation_keep_their_order(planned: Journal) -> None:
    async def scenario() -> None:
        await asyncio.gather(
            planned.start(1),
            planned.release(1, 2),
            planned.start(1),
            planned.settle(1, outcome(attempts=3)),
        )

    in_loop(scenario)

    found = on_disk(planned, "SELECT state, status, attempts FROM operations WHERE number = 1")
    assert found == [("settled", "updated", 5)]


def test_one_who_stops_waiting_disturbs_nobody(planned: Journal) -> None:
    async def scenario() -> None:
        given_up, other = planned.start(1), planned.start(2)
        given_up.cancel()
        await other

    in_loop(scenario)

    assert states(planned)[2] == "sending"


# What a run that ended early leaves


def crashed(planned: Journal) -> None:
    """One operation of each kind: updated, sending, known to be unknown, planned, released."""

    async def scenario() -> None:
        await planned.settle(1, outcome())
        await planned.start(2)
        await planned.start(3)
        await planned.settle(3, outcome(Status.UNKNOWN, message="no answer"))
        await planned.start(5)
        await planned.release(5, 4)

    in_loop(scenario)


def test_every_operation_without_a_known_end_is_found_again_with_its_rows(
    planned: Journal,
) -> None:
    crashed(planned)

    assert list(planned.unsettled()) == [
        Entry(2, operation(2), State.SENDING),
        Entry(3, operation(3), State.SETTLED),
        Entry(4, operation(4), State.PLANNED),
        Entry(5, operation(5), State.PLANNED),
    ]
    assert [entry.may_have_been_sent for entry in planned.unsettled()] == [True, True, False, False]


def test_the_reports_tell_what_is_known_of_a_run_that_ended_early(planned: Journal) -> None:
    crashed(planned)

    told = {line.row: (line.status, line.attempts) for line in planned.lines()}
    assert told == {
        2: (Status.UPDATED, 1),
        3: (Status.UNKNOWN, 0),
        4: (Status.UNKNOWN, 1),
        5: (Status.NOT_SENT, 0),
        6: (Status.NOT_SENT, 4),
    }
    assert planned.counts() == Counter(status for status, _ in told.values())
    unfinished = [line.row for line in planned.lines() if line.finished_at is None]
    assert unfinished == [3, 5, 6]


def test_an_operation_that_is_to_be_sent_anew_says_nothing_of_its_former_end(
    planned: Journal,
) -> None:
    former = outcome(
        Status.UNKNOWN, message="no answer", code="no_answer", http_status=503, request_id="req_1"
    )

    async def scenario() -> None:
        await planned.start(1)
        await planned.settle(1, former)
        await planned.replan(1, operation(1))

    in_loop(scenario)

    line = next(planned.lines())
    assert (line.status, line.attempts) == (Status.NOT_SENT, 1)
    assert (line.http_status, line.code, line.message) == (None, "", "")
    assert (line.request_id, line.finished_at) == ("", None)


def test_an_operation_planned_anew_has_its_new_token_and_changes(planned: Journal) -> None:
    anew = Operation(token(1, comment="moved"), {Field.IS_ACTIVE: False}, (2,))

    async def scenario() -> None:
        await planned.start(1)
        await planned.replan(1, anew)

    in_loop(scenario)

    assert next(planned.unsettled()) == Entry(1, anew, State.PLANNED)


def test_attempts_of_all_sittings_add_up(planned: Journal) -> None:
    async def scenario() -> None:
        await planned.release(1, 2)
        await planned.settle(1, outcome(Status.UNKNOWN, attempts=6))
        await planned.replan(1, operation(1))
        await planned.settle(1, outcome(attempts=1))

    in_loop(scenario)

    assert next(planned.lines()).attempts == 9


def test_a_long_run_is_told_in_order_while_it_is_being_settled(journal: Journal) -> None:
    number_of = 2 * CHUNK + 1
    begin(journal, [operation(number) for number in range(1, number_of + 1)])
    told = []

    async def scenario() -> None:
        for entry in journal.unsettled():
            told.append(entry.number)
            if entry.number % 3 == 0:
                await journal.settle(entry.number, outcome())

    in_loop(scenario)

    assert told == list(range(1, number_of + 1))
    assert journal.counts()[Status.UPDATED] == number_of // 3


def test_rows_of_one_operation_share_its_end_and_the_others_keep_theirs(journal: Journal) -> None:
    journal.note(**FACTS)
    journal.add_rows(Row(number, (str(number),)) for number in (2, 3, 4, 5, 6))
    journal.settle_rows(
        [
            (3, outcome(Status.INVALID, message="no", code="invalid_row"), None),
            (5, outcome(Status.UNCHANGED), token(9).name),
        ]
    )
    journal.add_operations([operation(1, 2, 6), operation(2, 4)])

    async def scenario() -> None:
        await journal.settle(1, outcome(http_status=200))

    in_loop(scenario)

    lines = list(journal.lines())
    assert [(line.row, line.status, line.token_id, line.label) for line in lines] == [
        (2, Status.UPDATED, 1, "DK-1"),
        (3, Status.INVALID, None, ""),
        (4, Status.NOT_SENT, 2, "DK-2"),
        (5, Status.UNCHANGED, 9, "DK-9"),
        (6, Status.UPDATED, 1, "DK-1"),
    ]
    assert lines[0].changes == 'comment: "old" → "new 1"'
    assert rows_that_ended(journal, Status.UPDATED) == [2, 6]
    assert rows_that_ended(journal, Status.INVALID, Status.NOT_SENT) == [3, 4]
    assert rows_that_ended(journal) == []


def rows_that_ended(journal: Journal, *statuses: Status) -> list[int]:
    return [row.row for row in journal.handed_in(statuses)]


def test_only_what_was_updated_is_told_as_such(planned: Journal) -> None:
    crashed(planned)

    assert [token.id for token, _ in planned.updated()] == [1]
    assert planned.updated_fields() == {Field.COMMENT}


def test_another_process_can_read_while_the_run_goes_on(planned: Journal) -> None:
    async def scenario() -> tuple[int, int]:
        with contextlib.closing(Journal.open(planned.folder)) as watching:
            before = watching.counts()[Status.UPDATED]
            await planned.settle(1, outcome())
            return before, watching.counts()[Status.UPDATED]

    assert in_loop(scenario) == (0, 1)


# What it is about


def test_the_facts_of_a_run_come_back_as_they_were(journal: Journal) -> None:
    requests = Requests(total=9, reads=4, writes=5, retries=1, refusals_429=2)
    facts = FACTS | {"confirmed_at": NEW_YEAR, "requests": requests, "seconds": 1.5, "stopped": "ø"}
    journal.note(**facts)

    assert journal.about() == About(**facts)
    assert journal.is_confirmed


def test_a_run_that_nobody_confirmed_is_known_as_such(journal: Journal) -> None:
    journal.note(**FACTS)

    assert not journal.is_confirmed
    assert journal.about().confirmed_at is None


def test_a_run_that_was_never_begun_says_so(journal: Journal) -> None:
    with pytest.raises(RunError, match="never begun"):
        journal.about()


# Files that are no journal


def reading(folder: Path) -> None:
    """All that a command may do first with a run's journal."""
    with contextlib.closing(Journal.open(folder)) as opened:
        opened.about()
        opened.counts()
        list(opened.lines())
        list(opened.unsettled())


def test_a_folder_without_a_journal_holds_no_run(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match="holds no run"):
            Journal.open(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_journals_place_holds_no_run(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()

    with pytest.raises(RunError):
        Journal.open(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"no database", b"\x00" * 4096, b"SQLite format 3\x00", b"SQLite format 3\x00" * 512],
    ids=["empty", "text", "zeros", "its beginning", "nonsense"],
)
def test_a_file_that_is_no_database_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)

    with pytest.raises(RunError, match=FILE_NAME):
        Journal.open(tmp_path)


@pytest.mark.parametrize("version", [VERSION + 1, 2**31 - 1])
def test_a_journal_of_a_newer_version_is_not_read(planned: Journal, version: int) -> None:
    planned._writer.execute(f"PRAGMA user_version = {version}")
    planned.close()

    with pytest.raises(RunError, match="newer version"):
        Journal.open(planned.folder)


def of_version(version: int, folder: Path) -> Path:
    """A run as the program of that time left it: five rows, two of them sent."""
    script = (JOURNALS / f"version_{version}.sql").read_text(encoding="utf-8")
    with contextlib.closing(sqlite3.connect(folder / FILE_NAME)) as file:
        file.executescript(script)
    return folder


@pytest.mark.parametrize("version", range(1, VERSION))
def test_a_journal_of_an_older_version_is_told_and_brought_up_in_place(
    tmp_path: Path, version: int
) -> None:
    folder = of_version(version, tmp_path)
    for _ in range(2):
        with contextlib.closing(Journal.open(folder)) as journal:
            assert [(line.row, line.status) for line in journal.lines()] == [
                (2, "updated"),
                (3, "invalid"),
                (4, "not_found"),
                (5, "updated"),
                (6, "unchanged"),
            ]
            assert journal.about().who == "søren"
            assert [each.operation.token.id for each in journal.written()] == [100001, 100003]
            assert list(journal.failed_attempts()) == []
            assert journal.sittings() == []
            assert [list(row.cells) for row in journal.handed_in([Status.INVALID])] == [
                ["100002", "", "perhaps"]
            ]
            assert journal._reader.execute("PRAGMA user_version").fetchone() == (VERSION,)


@pytest.mark.parametrize("version", range(1, VERSION))
def test_an_older_version_and_this_one_come_to_the_same_tables(
    tmp_path: Path, version: int
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    Journal.open(of_version(version, tmp_path / "old")).close()
    Journal.create(tmp_path / "new").close()

    def tables(folder: Path) -> set[tuple[Any, ...]]:
        """Every column of every table and view, with its type and whether it may be NULL."""
        with contextlib.closing(sqlite3.connect(folder / FILE_NAME)) as file:
            return set(
                file.execute(
                    'SELECT t.name, c.cid, c.name, c.type, c."notnull", c.pk '
                    "FROM sqlite_schema AS t, pragma_table_info(t.name) AS c "
                    "WHERE t.type IN ('table', 'view')"
                )
            )

    assert tables(tmp_path / "old") == tables(tmp_path / "new")


def test_a_file_without_a_version_is_no_journal(planned: Journal) -> None:
    planned._writer.execute("PRAGMA user_version = 0")
    planned.close()

    with pytest.raises(RunError, match="not written by token-batch"):
        Journal.open(planned.folder)


def test_failed_attempts_are_kept_with_their_time_and_cause(planned: Journal) -> None:
    async def attempted() -> None:
        planned.attempt(1, http_status=503, request_id="req_1", failure="try later")
        planned.attempt(1, http_status=None, request_id="", failure="no answer")
        await planned.start(1)

    asyncio.run(attempted())

    found = list(planned.failed_attempts())
    assert [(each.token_id, *each[4:]) for each in found] == [
        (1, 503, "req_1", "try later"),
        (1, None, "", "no answer"),
    ]
    assert all(each.at.endswith("Z") for each in found)


def test_facts_are_noted_between_the_changes_that_come_while_sending(planned: Journal) -> None:
    async def scenario() -> None:
        planned.attempt(1, http_status=503, request_id="", failure="try later")
        await asyncio.sleep(0)  # its way to the disk begins
        with pytest.raises(RuntimeError, match="caught_up"):
            planned.note(seconds=1.0)
        await planned.caught_up()
        planned.note(seconds=1.0)

    in_loop(scenario)

    assert planned.about().seconds == 1.0
    assert len(list(planned.failed_attempts())) == 1


@pytest.mark.parametrize("table", ["rows", "operations", None])
def test_a_journal_that_is_damaged_inside_is_named_before_anything_is_done(
    planned: Journal, table: str | None
) -> None:
    planned.close()
    path = planned.folder / FILE_NAME
    if table:
        with contextlib.closing(sqlite3.connect(path)) as file:
            file.execute(f"DROP TABLE {table}")
            file.execute("DROP VIEW lines")
    else:
        content = bytearray(path.read_bytes())
        content[4096:] = random.Random(1).randbytes(len(content) - 4096)
        path.write_bytes(content)

    with Journal.open(planned.folder) as journal, pytest.raises(RunError, match="damaged"):
        journal.refuse_damaged()


def test_what_sqlite_finds_wrong_is_told_in_our_words(planned: Journal) -> None:
    planned._writer.execute("DROP VIEW lines")
    with pytest.raises(JournalError, match="cannot be read"), planned:
        list(planned.lines())


def test_a_run_in_an_archive_that_cannot_be_written_is_read(
    planned: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned.close()
    files = set(planned.folder.iterdir())
    monkeypatch.setattr("batch.journal.os.access", lambda *_: False)

    with Journal.open(planned.folder) as journal:
        assert len(list(journal.lines())) == 5
        with pytest.raises(JournalError, match="readonly"):
            journal.note(seconds=1.0)
    assert set(planned.folder.iterdir()) == files


def test_another_programs_database_is_not_taken_for_a_journal(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as foreign:
        foreign.execute("CREATE TABLE about (version INTEGER)")
        foreign.execute(f"PRAGMA user_version = {VERSION}")
        foreign.commit()
    before = (tmp_path / FILE_NAME).read_bytes()

    with pytest.raises(RunError, match=FILE_NAME):
        reading(tmp_path)
    assert (tmp_path / FILE_NAME).read_bytes() == before


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.9])
def test_a_journal_that_was_cut_off_is_named_and_not_a_fault_of_the_program(
    journal: Journal, share: float
) -> None:
    begin(journal, [operation(number) for number in range(1, 301)])
    journal.close()
    path = journal.folder / FILE_NAME
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])

    with pytest.raises(RunError, match=FILE_NAME):
        reading(journal.folder)


def test_a_journal_is_never_made_over_another(planned: Journal) -> None:
    planned.close()

    with pytest.raises(RunError, match="cannot be made"):
        Journal.create(planned.folder)
    with contextlib.closing(Journal.open(planned.folder)) as again:
        assert len(list(again.unsettled())) == 5


def test_a_journal_needs_its_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be made"):
        Journal.create(tmp_path / "missing")


# A disk that refuses

LONG = "x" * 1_000_000


@contextlib.contextmanager
def full_by_pages(journal: Journal) -> Iterator[None]:
    (pages,) = journal._writer.execute("PRAGMA page_count").fetchone()
    journal._writer.execute(f"PRAGMA max_page_count = {pages}")
    yield
    journal._writer.execute(f"PRAGMA max_page_count = {2**30}")


@contextlib.contextmanager
def full_by_the_system(journal: Journal) -> Iterator[None]:
    """No file of this process can grow beyond what the journal has now."""
    largest = max(path.stat().st_size for path in journal.folder.iterdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


Full = Callable[[Journal], contextlib.AbstractContextManager[None]]
FULL = pytest.mark.parametrize("full", [full_by_pages, full_by_the_system])


@FULL
def test_what_a_full_disk_refuses_is_told_and_not_half_written(
    planned: Journal, full: Full
) -> None:
    async def scenario() -> list[object]:
        with full(planned):
            results = await asyncio.gather(
                planned.start(1),
                planned.settle(2, outcome(message=LONG)),
                planned.start(3),
                return_exceptions=True,
            )
        return list(results)

    results = in_loop(scenario)

    assert [type(result) for result in results] == [JournalError] * 3
    assert set(states(planned).values()) == {"planned"}


@FULL
def test_once_there_is_room_again_the_journal_goes_on(planned: Journal, full: Full) -> None:
    async def scenario() -> None:
        with full(planned), pytest.raises(JournalError, match=FILE_NAME):
            await planned.settle(1, outcome(message=LONG))
        await planned.settle(1, outcome(message="done"))

    in_loop(scenario)

    assert next(planned.lines()).message == "done"


@FULL
@pytest.mark.parametrize(
    "work",
    [
        lambda journal: journal.note(stopped=LONG),
        lambda journal: journal.add_rows([Row(7, ("a",)), Row(8, (LONG,))]),
        lambda journal: journal.settle_rows(
            [(2, outcome(), None), (3, outcome(message=LONG), None)]
        ),
        lambda journal: journal.add_operations(
            [Operation(token(), {Field.COMMENT: LONG[:99]}, ()) for _ in range(9000)]
        ),
    ],
    ids=["note", "add_rows", "settle_rows", "add_operations"],
)
def test_what_comes_before_the_sending_is_written_whole_or_not_at_all(
    journal: Journal, full: Full, work: Callable[[Journal], None]
) -> None:
    journal.note(**FACTS)
    journal.add_rows([Row(2, ("a",)), Row(3, ("b",))])
    before = on_disk(journal, "SELECT * FROM lines")

    with full(journal), pytest.raises(JournalError, match="cannot be written"):
        work(journal)

    assert on_disk(journal, "SELECT * FROM lines") == before
    assert on_disk(journal, "SELECT * FROM operations") == []
    assert journal.about() == About(**FACTS)


def test_a_change_after_the_journal_was_closed_fails_and_does_not_wait_for_ever(
    planned: Journal,
) -> None:
    planned.close()

    async def scenario() -> None:
        with pytest.raises(JournalError):
            await asyncio.wait_for(planned.start(1), timeout=1)

    in_loop(scenario)


def test_a_text_that_no_file_can_hold_makes_nobody_wait_for_ever(planned: Journal) -> None:
    half_an_emoji = outcome(Status.REJECTED, message="Comment too long: \ud83d")

    async def scenario() -> list[object]:
        together = asyncio.gather(
            planned.start(2), planned.settle(1, half_an_emoji), return_exceptions=True
        )
        results = await asyncio.wait_for(together, timeout=1)
        await asyncio.wait_for(planned.start(3), timeout=1)
        return list(results)

    of_start, of_settle = in_loop(scenario)

    for result in (of_start, of_settle):
        assert result is None or isinstance(result, TokenBatchError)
    # Whoever was told that it failed finds nothing of it on the disk.
    assert states(planned)[2] == ("planned" if of_start else "sending")
    assert states(planned)[1] == ("planned" if of_settle else "settled")
    assert states(planned)[3] == "sending"


# Everything that a token or a cell can hold

INSTANTS = st.datetimes(
    datetime(1970, 1, 2),  # noqa: DTZ001 - a zone is added
    datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
).map(lambda instant: instant.replace(microsecond=instant.microsecond // 1000 * 1000))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=100)
LABELS = TEXTS.filter(lambda text: "\x00" not in text)  # no card has one printed on it
NUMBERS = st.integers(1, 2**53)


def in_order(changes: dict[Field, Value]) -> dict[Field, Value]:
    """As the API's page has them, which is how differences are told."""
    return {name: changes[name] for name in Field if name in changes}


CHANGES: st.SearchStrategy[dict[Field, Value]] = (
    st.fixed_dictionaries(
        {},
        optional={
            Field.VALID_FROM: INSTANTS,
            Field.EXPIRES_AT: st.none() | INSTANTS,
            Field.IS_ACTIVE: st.booleans(),
            Field.ROAMING_ENABLED: st.booleans(),
            Field.PRIORITY_CHARGING_ENABLED: st.booleans(),
            Field.BILLING_REFERENCE: st.none() | TEXTS,
            Field.COMMENT: st.none() | TEXTS,
            Field.APP_USER_ID: NUMBERS,
            Field.CUSTOMER_ID: NUMBERS,
        },
    )
    .filter(bool)
    .map(in_order)
)
TOKENS = st.builds(
    Token,
    id=NUMBERS,
    identifier=st.builds(
        Identifier,
        type=st.sampled_from(["rfid", "virtual", "vehicleId"]),
        uid=st.none() | TEXTS,
        label=st.none() | LABELS,
        app_user_id=st.none() | NUMBERS,
    ),
    valid_from=st.none() | INSTANTS,
    is_active=st.booleans(),
    roaming_enabled=st.booleans(),
    customer_id=st.none() | NUMBERS,
    priority_charging_enabled=st.none() | st.booleans(),
    expires_at=st.none() | INSTANTS,
    billing_reference=st.none() | TEXTS,
    comment=st.none() | TEXTS,
)


@contextlib.contextmanager
def fresh_journal() -> Iterator[Journal]:
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(Journal.create(Path(folder))) as journal,
    ):
        journal._writer.execute("PRAGMA synchronous = OFF")  # many journals, none to be kept
        yield journal


@settings(max_examples=40)
@given(planned=st.lists(st.tuples(TOKENS, CHANGES), min_size=1, max_size=8), after=TOKENS)
def test_tokens_and_changes_come_back_as_they_were(
    planned: list[tuple[Token, dict[Field, Value]]], after: Token
) -> None:
    operations = [
        Operation(found, changes, (number + 2,)) for number, (found, changes) in enumerate(planned)
    ]
    with fresh_journal() as journal:
        begin(journal, operations)

        assert [entry.operation for entry in journal.unsettled()] == operations
        told = [(line.token_id, line.label, line.changes) for line in journal.lines()]
        assert told == [
            (each.token.id, each.token.identifier.label or "", each.difference)
            for each in operations
        ]

        async def scenario() -> None:
            await journal.settle(1, outcome(after=after))

        in_loop(scenario)
        expected = operations[0]
        assert [(token, set(fields)) for token, fields in journal.updated()] == [
            (expected.token, set(expected.changes))
        ]
        assert journal.updated_fields() == set(expected.changes)


def test_cells_come_back_as_they_were_handed_in(journal: Journal) -> None:
    cells = (
        "",
        " as it is ",
        "=1+1",
        "ø\n\t\"'\\🚗",
        "\x00\u2028\ufeff",
        True,
        67890.0,
        1.5,
        datetime(2026, 7, 1, 14, 30),  # noqa: DTZ001 - as Excel stores it
        date(2026, 7, 1),
        time(14, 30),
        timedelta(hours=30),
        Covered("C5:C7"),
    )
    journal.add_rows([Row(2, cells)])

    (row,) = journal.handed_in([Status.NOT_SENT])

    assert row.cells == list(cells)
    assert [type(cell) for cell in row.cells] == [type(cell) for cell in cells]


@settings(max_examples=30)
@given(message=TEXTS, code=TEXTS, request_id=TEXTS)
def test_whatever_the_api_says_comes_back_as_it_was(
    message: str, code: str, request_id: str
) -> None:
    told = outcome(Status.REJECTED, message=message, code=code, request_id=request_id)
    with fresh_journal() as journal:
        begin(journal, [operation(1)])
        in_loop(lambda: journal.settle(1, told))

        (line,) = journal.lines()
        assert (line.message, line.code, line.request_id) == (message, code, request_id)


def test_a_line_has_all_that_the_reports_tell(planned: Journal) -> None:
    told = outcome(Status.REJECTED, message="no", code="bad", http_status=400, request_id="r")
    in_loop(lambda: planned.settle(1, told))

    changes = 'comment: "old" → "new 1"'
    moment = "2026-01-01T00:00:00.000Z"
    assert next(planned.lines()) == Line(
        2, 1, "DK-1", "rejected", changes, 400, 1, "bad", "no", "r", moment
    )
