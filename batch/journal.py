"""The durable record of a run: the only SQL.

One SQLite file in the run's folder. It holds the sheet's rows as they were handed in, the
operations with the token as it was read, and how each ended, so that a run can go on and its
reports be written again without the sheet.

An operation is `planned`, then `sending` (durable before its request leaves), then `settled`
(durable before anybody is told). Commits are grouped: while one is on its way to the disk, the
changes that come in wait together for the next.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from batch.errors import JournalError, RunError
from batch.journal_schema import MIGRATIONS, SCHEMA, VERSION
from batch.models import (
    NOT_AS_ASKED,
    SIDE_EFFECT,
    About,
    Attempt,
    Cell,
    Covered,
    Entry,
    Field,
    HandedIn,
    Line,
    Operation,
    Outcome,
    Row,
    Sitting,
    State,
    Status,
    Token,
    TokenName,
    TokenPatch,
    Value,
    Written,
    iso,
)

APPLICATION = 0x746F6B62  # "tokb": marks the file as this program's
FILE_NAME = "journal.sqlite"
CHUNK = 100  # operations read at once while sending: more would hold the sending up


T = TypeVar("T")

_ROWS_AT_ONCE = 5000
_TOKEN = TypeAdapter(Token)
_KINDS: Mapping[str, type[datetime | date | time]] = {
    kind.__name__: kind for kind in (datetime, date, time)
}
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=iso)
_Change = tuple[str, Sequence[Any], asyncio.Future[None]]


def in_transactions(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in such lists as one transaction records."""
    iterator = iter(items)
    while some := list(islice(iterator, _ROWS_AT_ONCE)):
        yield some


class Journal:
    """A run's record. Every method that writes is durable when it returns or is awaited.

    JournalError when the disk or the file refuses.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / FILE_NAME
        address = _address(folder, "rw")
        # Commits leave the event loop for a thread; only one connection ever writes.
        self._writer = sqlite3.connect(address, uri=True, check_same_thread=False)
        self._reader = sqlite3.connect(address, uri=True)
        try:
            if os.access(folder, os.W_OK):  # else it is an archive, from which is only read
                self._writer.execute("PRAGMA journal_mode = WAL")
                self._writer.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error:
            self.close()
            raise
        self._waiting: list[_Change] = []
        self._committing: asyncio.Task[None] | None = None

    @classmethod
    def create(cls, folder: Path) -> Self:
        """A new journal in a folder that has none. RunError when it cannot be made."""
        try:
            # Closed again at once, so that its marks are in the file and not beside it.
            with closing(sqlite3.connect(folder / FILE_NAME)) as file:
                file.executescript(SCHEMA)
                file.execute(f"PRAGMA application_id = {APPLICATION}")
                file.execute(f"PRAGMA user_version = {VERSION}")
        except sqlite3.Error as error:
            raise RunError(f"{folder / FILE_NAME} cannot be made: {error}") from error
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The journal in this folder, brought to this version if an older one wrote it.

        RunError if there is none, or if a newer version wrote it.
        """
        if not (folder / FILE_NAME).is_file():
            raise RunError(f"{folder} holds no run: it has no {FILE_NAME}")
        version = _version_in(folder)
        if version > VERSION:
            raise RunError(f"{folder / FILE_NAME} was written by a newer version of token-batch")
        if version <= 0:
            raise RunError(f"{folder / FILE_NAME} was not written by token-batch, or is damaged")
        if version < VERSION:
            _migrate(folder, version)
        return cls(folder)

    def refuse_damaged(self) -> None:
        """RunError if the file is not whole; it is read from end to end."""
        try:
            (found,) = self._reader.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            found = str(error)
        tables = self._reader.execute("SELECT name FROM sqlite_schema") if found == "ok" else ()
        missing = {"about", "rows", "operations", "lines"} - {name for (name,) in tables}
        if missing:
            raise RunError(f"{self._path} is damaged ({found}): nothing was done with it")

    def close(self) -> None:
        """Close the file; nothing is lost, because nothing waits outside an `await`."""
        self._reader.close()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.close()
        if isinstance(error, sqlite3.Error):
            raise JournalError(f"{self._path} cannot be read: {error}") from error

    async def caught_up(self) -> None:
        """Wait until all that the journal was told while sending is on the disk, or has failed."""
        while commit := self._under_way:
            await asyncio.wait({commit})

    @property
    def _under_way(self) -> asyncio.Task[None] | None:
        # One that was cancelled with its loop is over and still known.
        return None if self._committing is None or self._committing.done() else self._committing

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        """A transaction of its own, between those of the changes that come while sending."""
        if self._under_way:
            raise RuntimeError("changes are on their way to the disk: wait until caught_up")
        with _sqlite_in_our_terms(self.folder), self._writer:
            yield

    # What a run is about

    def note(self, **facts: Any) -> None:
        """Remember facts of About by name; a later one replaces an earlier."""
        with self._at_once():
            self._writer.executemany(
                "INSERT OR REPLACE INTO about VALUES (?, ?)",
                [(name, json.dumps(value, default=_jsonable)) for name, value in facts.items()],
            )

    def about(self) -> About:
        """All facts noted. RunError when the run was not even begun."""
        facts = dict(self._reader.execute("SELECT name, value FROM about").fetchall())
        try:
            return About.model_validate({name: json.loads(facts[name]) for name in facts})
        except ValidationError as error:
            raise RunError(f"{self.folder} holds a run that was never begun") from error

    @property
    def is_confirmed(self) -> bool:
        """Whether somebody said yes to its plan."""
        found = self._reader.execute("SELECT 1 FROM about WHERE name = 'confirmed_at'")
        return found.fetchone() is not None

    def begin_sitting(self, *, who: str, version: str, settings: Mapping[str, Any]) -> None:
        """A process is at work on the run from now on."""
        with self._at_once():
            self._writer.execute(
                "INSERT INTO sittings (began_at, who, version, settings) VALUES (?, ?, ?, ?)",
                (_now(), who, version, _ENCODER.encode(settings)),
            )

    def end_sitting(self, stopped: str) -> None:
        """It no longer is; `stopped`: why it ended before every row had its outcome, or empty."""
        with self._at_once():
            self._writer.execute(
                "UPDATE sittings SET ended_at = ?, stopped = ? "
                "WHERE number = (SELECT MAX(number) FROM sittings)",
                (_now(), stopped),
            )

    def sittings(self) -> list[Sitting]:
        """Every process that was at work on the run, the first one first."""
        found = self._reader.execute(
            "SELECT began_at, ended_at, who, version, settings, stopped FROM sittings "
            "ORDER BY number"
        )
        return [
            Sitting(began, ended, who, version, json.loads(settings), stopped or "")
            for began, ended, who, version, settings, stopped in found
        ]

    # Before the sending

    def add_rows(self, rows: Iterable[Row]) -> None:
        """The sheet's rows, as handed in."""
        with self._at_once():
            self._writer.executemany(
                "INSERT INTO rows (number, cells) VALUES (?, ?)",
                ((row.number, _cells_json(row)) for row in rows),
            )

    def settle_rows(self, rows: Iterable[tuple[int, Outcome, TokenName | None]]) -> None:
        """Rows that need no request, each with its outcome and, where found, its token's name."""
        with self._at_once():
            self._writer.executemany(
                "UPDATE rows SET token_id = ?, label = ?, status = ?, code = ?, message = ?, "
                "finished_at = ?, bad_cells = ? WHERE number = ?",
                (
                    (
                        *(name or (None, None)),
                        outcome.status,
                        outcome.code,
                        outcome.message,
                        _moment(outcome),
                        _bad_cells_json(outcome),
                        row,
                    )
                    for row, outcome, name in rows
                ),
            )

    def add_operations(self, operations: Iterable[Operation]) -> None:
        """The plan, in the order of sending."""
        with self._at_once():
            numbered = list(enumerate(operations, start=1))
            self._writer.executemany(
                "INSERT INTO operations (number, token_id, token, changes, difference, state) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (
                        number,
                        operation.token.id,
                        _token_json(operation.token),
                        _ENCODER.encode(operation.changes),
                        operation.difference,
                        State.PLANNED,
                    )
                    for number, operation in numbered
                ),
            )
            self._writer.executemany(
                "UPDATE rows SET operation = ? WHERE number = ?",
                ((number, row) for number, operation in numbered for row in operation.rows),
            )
            # Filling an index takes longer than making it at the end.
            self._writer.execute("CREATE INDEX IF NOT EXISTS rows_by_operation ON rows (operation)")

    # While sending

    def start(self, number: int) -> asyncio.Future[None]:
        """A request for this operation is about to leave."""
        return self._change(
            "UPDATE operations SET state = ? WHERE number = ?", (State.SENDING, number)
        )

    def settle(self, number: int, outcome: Outcome) -> asyncio.Future[None]:
        """How the operation ended."""
        return self._change(
            "UPDATE operations SET state = ?, status = ?, code = ?, message = ?, http_status = ?, "
            "attempts = attempts + ?, request_id = ?, finished_at = ?, after = ?, bad_cells = ?, "
            "seconds = ? WHERE number = ?",
            (
                State.SETTLED,
                outcome.status,
                outcome.code,
                outcome.message,
                outcome.http_status,
                outcome.attempts,
                outcome.request_id,
                _moment(outcome),
                _token_json(outcome.after) if outcome.after else None,
                _bad_cells_json(outcome),
                outcome.seconds,
                number,
            ),
        )

    def release(self, number: int, attempts: int) -> asyncio.Future[None]:
        """The run stops, and no request for this operation can have been applied."""
        return self._change(
            "UPDATE operations SET state = ?, attempts = attempts + ? WHERE number = ?",
            (State.PLANNED, attempts, number),
        )

    def attempt(
        self, number: int, *, http_status: int | None, request_id: str, failure: str
    ) -> None:
        """A request for this operation came to nothing; nobody waits for that to be recorded."""
        self._unawaited(
            "INSERT INTO attempts VALUES (?, ?, ?, ?, ?)",
            (number, _now(), http_status, request_id, failure),
        )

    def pause(self, cause: str) -> None:
        """The service is away; nobody waits for that to be recorded."""
        self._unawaited("INSERT INTO pauses VALUES (?, NULL, ?)", (_now(), cause))

    def unpause(self) -> None:
        """It is back."""
        self._unawaited("UPDATE pauses SET ended_at = ? WHERE ended_at IS NULL", (_now(),))

    def _unawaited(self, sql: str, values: Sequence[Any]) -> None:
        # The next change that somebody waits for meets the same trouble.
        self._change(sql, values).add_done_callback(asyncio.Future.exception)

    def replan(self, number: int, operation: Operation) -> asyncio.Future[None]:
        """The operation against its token as it is now; no request for that has left."""
        return self._change(
            "UPDATE operations SET state = ?, token = ?, changes = ?, difference = ?, "
            "status = NULL, code = NULL, message = NULL, http_status = NULL, request_id = NULL, "
            "finished_at = NULL, after = NULL, bad_cells = NULL, seconds = NULL WHERE number = ?",
            (
                State.PLANNED,
                _token_json(operation.token),
                _ENCODER.encode(operation.changes),
                operation.difference,
                number,
            ),
        )

    def _change(self, sql: str, values: Sequence[Any]) -> asyncio.Future[None]:
        durable = asyncio.get_running_loop().create_future()
        self._waiting.append((sql, values, durable))
        if not self._under_way:
            self._committing = asyncio.ensure_future(self._commit())
        return durable

    async def _commit(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            together, self._waiting = self._waiting, []
            try:
                # Statements run here and only the wait for the disk in a thread: a thread that
                # shares Python with a busy event loop would wait for its turn at every one.
                for sql, values, _ in together:
                    self._writer.execute(sql, values)
                await loop.run_in_executor(None, self._write_to_disk)
            except Exception as error:  # noqa: BLE001 - whoever waits must learn of any
                _fail(together, JournalError(f"{self.folder / FILE_NAME}: {error}"))
                with suppress(sqlite3.Error):  # the file may be closed or gone
                    self._writer.rollback()
            else:
                for _, _, durable in together:
                    if not durable.done():
                        durable.set_result(None)
        self._committing = None

    def _write_to_disk(self) -> None:
        # A file that was removed can still be written to, and is lost all the same.
        if not self._path.exists():
            raise FileNotFoundError("it was removed while the run was under way")
        self._writer.commit()

    # Telling

    def unsettled(self) -> Iterator[Entry]:
        """Operations without a known outcome, in the order of sending, read in chunks."""
        return self._entries("state != ? OR status = ?", (State.SETTLED, Status.UNKNOWN))

    def doubtful(self) -> Iterator[Entry]:
        """Operations that the API may have carried out, or may still have, though none of its
        answers said so; those that it was not seen to have carried out when it was last looked.
        """
        return self._entries(
            "state = ? OR status = ? OR (status IN (?, ?) AND code != ? AND after IS NOT NULL)",
            (State.SENDING, Status.UNKNOWN, Status.FAILED, Status.REJECTED, NOT_AS_ASKED),
        )

    def _entries(self, condition: str, values: Sequence[str]) -> Iterator[Entry]:
        last = 0
        while True:
            found = self._reader.execute(
                "SELECT number, token, changes, state FROM operations "  # noqa: S608 - our own words
                f"WHERE number > ? AND ({condition}) ORDER BY number LIMIT ?",
                (last, *values, CHUNK),
            ).fetchall()
            if not found:
                return
            rows = self._rows_of(found[0][0], found[-1][0])
            for number, token, changes, state in found:
                operation = Operation(_token(token), _changes(changes), tuple(rows[number]))
                yield Entry(number, operation, State(state))
            last = found[-1][0]

    def count_unsettled(self) -> int:
        """How many operations have no known outcome."""
        found = self._reader.execute(
            "SELECT COUNT(*) FROM operations WHERE state != ? OR status = ?",
            (State.SETTLED, Status.UNKNOWN),
        )
        (number,) = found.fetchone()
        return int(number)

    def _rows_of(self, first: int, last: int) -> Mapping[int, list[int]]:
        rows: dict[int, list[int]] = {}
        for operation, row in self._reader.execute(
            "SELECT operation, number FROM rows WHERE operation BETWEEN ? AND ? ORDER BY number",
            (first, last),
        ):
            rows.setdefault(operation, []).append(row)
        return rows

    def counts(self) -> Counter[Status]:
        """Rows by outcome, as the report will show them."""
        found = self._reader.execute("SELECT status, COUNT(*) FROM lines GROUP BY status")
        return Counter({Status(status): count for status, count in found})

    def lines(self) -> Iterator[Line]:
        """All rows in the sheet's order, as the reports tell them."""
        found = self._reader.execute(
            "SELECT row, token_id, label, status, changes, http_status, attempts, code, message, "
            "request_id, finished_at FROM lines ORDER BY row"
        )
        return map(Line._make, found)

    def handed_in(self, statuses: Collection[Status] = tuple(Status)) -> Iterator[HandedIn]:
        """The rows that ended so, in the sheet's order, as they were handed in."""
        found = self._reader.execute(
            "SELECT row, status, message, cells, bad_cells FROM lines "
            "WHERE status IN (SELECT value FROM json_each(?)) ORDER BY row",
            (json.dumps(statuses),),
        )
        for row, status, message, cells, bad_cells in found:
            yield HandedIn(
                row, Status(status), message, _cells(cells), json.loads(bad_cells or "{}")
            )

    def settled(self) -> Iterator[tuple[str, str, str, float | None]]:
        """Each operation that has ended, in the order of sending: when, in which status, its old →
        new, and how long the answer took that decided, None if none did.
        """
        return self._reader.execute(
            "SELECT finished_at, status, difference, seconds FROM operations "
            "WHERE finished_at IS NOT NULL ORDER BY number"
        )

    def failed_attempts(self) -> Iterator[Attempt]:
        """Every request that came to nothing, in the order of the operations and of time."""
        found = self._reader.execute(
            "SELECT a.operation, o.token_id, json_extract(o.token, '$.identifier.label'), a.at, "
            "a.http_status, a.request_id, a.failure FROM attempts AS a "
            "JOIN operations AS o ON o.number = a.operation ORDER BY a.operation, a.rowid"
        )
        return map(Attempt._make, found)

    def pauses(self) -> list[tuple[str, str | None, str]]:
        """When the service was away: from when, until when (None: the run ended in it), why."""
        return self._reader.execute("SELECT began_at, ended_at, cause FROM pauses").fetchall()

    def updated_fields(self) -> set[Field]:
        """The fields that the run changed in any token."""
        found = self._reader.execute(
            "SELECT DISTINCT key FROM operations, json_each(changes) WHERE status = ?",
            (Status.UPDATED,),
        )
        return {Field(name) for (name,) in found}

    def written(self) -> Iterator[Written]:
        """Each operation after which its token was told by the API or looked at."""
        found = self._reader.execute(
            "SELECT token, changes, after, status = ? OR code = ? FROM operations "
            "WHERE after IS NOT NULL AND status != ? ORDER BY number",
            (Status.UPDATED, NOT_AS_ASKED, Status.UNCHANGED),
        )
        for before, changes, after, is_ours in found:
            operation = Operation(_token(before), _changes(changes), ())
            yield Written(operation, _token(after), bool(is_ours))

    @property
    def has_side_effects(self) -> bool:
        """Whether the API has moved a field that was not asked for."""
        found = self._reader.execute(
            "SELECT 1 FROM operations WHERE code = ? LIMIT 1", (SIDE_EFFECT,)
        )
        return found.fetchone() is not None

    def updated(self) -> Iterator[tuple[Token, Collection[Field]]]:
        """The tokens that the run changed, as they were before, and the fields it changed."""
        found = self._reader.execute(
            "SELECT token, changes FROM operations WHERE status = ? ORDER BY number",
            (Status.UPDATED,),
        )
        for token, changes in found:
            yield _token(token), json.loads(changes).keys()


def _fail(together: Iterable[_Change], error: JournalError) -> None:
    for _, _, durable in together:
        if not durable.done():
            durable.set_exception(error)


@contextmanager
def _sqlite_in_our_terms(folder: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise JournalError(f"{folder / FILE_NAME} cannot be written: {error}") from error


def _jsonable(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else asdict(value)


def _moment(outcome: Outcome) -> str | None:
    return iso(outcome.finished_at) if outcome.finished_at else None


def _bad_cells_json(outcome: Outcome) -> str | None:
    return _ENCODER.encode(outcome.bad_cells) if outcome.bad_cells else None


def _now() -> str:
    return iso(datetime.now(UTC))


def _cells_json(row: Row) -> str:
    return _ENCODER.encode([json_of_cell(cell) for cell in row.cells])


def json_of_cell(cell: Cell) -> Any:
    """Text and numbers as they are. A date and a time by their kind, because JSON has none."""
    if isinstance(cell, str | int | float):
        return cell
    if isinstance(cell, timedelta):
        return {"seconds": cell.total_seconds()}
    if isinstance(cell, Covered):
        return {"covered": cell.area}
    return {type(cell).__name__: cell.isoformat()}


def _cells(text: str) -> Sequence[Cell]:
    return [cell_of_json(cell) for cell in json.loads(text)]


def cell_of_json(cell: Any) -> Cell:
    """The cell of which `json_of_cell` has made that."""
    if not isinstance(cell, dict):
        found: Cell = cell
        return found
    ((kind, told),) = cell.items()
    if kind == "seconds":
        return timedelta(seconds=told)
    return Covered(told) if kind == "covered" else _KINDS[kind].fromisoformat(told)


def _token_json(token: Token) -> bytes:
    return _TOKEN.serializer.to_json(token, by_alias=True)


def _token(text: bytes) -> Token:
    try:
        token: Token = _TOKEN.validator.validate_json(text)
    except ValidationError as error:
        raise JournalError("the journal is damaged: a token in it cannot be read") from error
    return token


def _changes(text: str) -> dict[Field, Value]:
    try:
        return TokenPatch.model_validate_json(text).changes()
    except ValidationError as error:
        raise JournalError("the journal is damaged: a change in it cannot be read") from error


def _address(folder: Path, mode: str) -> str:
    """Where SQLite finds the file. In a folder that cannot be written nobody else writes either,
    and SQLite needs to be told so: else it would make a file beside it even to read.
    """
    how = f"mode={mode}" if os.access(folder, os.W_OK) else "immutable=1"
    return f"{(folder / FILE_NAME).absolute().as_uri()}?{how}"


def _version_in(folder: Path) -> int:
    """Which version wrote the journal there; 0 if it is none. Nothing is written."""
    try:
        with closing(sqlite3.connect(_address(folder, "ro"), uri=True)) as file:
            application, version = (
                file.execute(f"PRAGMA {mark}").fetchone()[0]
                for mark in ("application_id", "user_version")
            )
    except sqlite3.DatabaseError:
        return 0
    return version if application == APPLICATION else 0


def _migrate(folder: Path, version: int) -> None:
    """In place, and in one transaction: a journal is of one version or of another."""
    steps = "".join(MIGRATIONS[older] for older in range(version, VERSION))
    script = f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {VERSION}; COMMIT;"
    with _sqlite_in_our_terms(folder), closing(sqlite3.connect(folder / FILE_NAME)) as file:
        file.executescript(script)
