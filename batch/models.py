"""The facts that pass between the stages, frozen, named as the contract names them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    PositiveInt,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass as validated_dataclass

TEXT_LIMIT = 100  # characters in billingReference and comment (API reference, "Update a token")


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a sheet may be: beyond that it is refused before it takes the memory or the day.

    `unpacked`: bytes of a packed file, which a workbook is too, once it is unpacked.
    """

    unpacked: int = 1 << 30
    rows: int = 2_000_000
    columns: int = 1_000


USUAL_LIMITS = Limits()

EXACT_LIMIT = 1e15  # Excel keeps 15 digits of a number


@dataclass(frozen=True, slots=True)
class Covered:
    """A cell that is not shown, because a merged area ("C5:C7") shows another in its place."""

    area: str

    def __str__(self) -> str:
        return ""


Cell = str | int | float | bool | datetime | date | time | timedelta | Covered
"""What a sheet's cell holds: text, or the typed value an Excel file stores. Empty is ""."""

Value = bool | int | str | datetime | None
"""What a token's field holds. Datetimes are aware."""


def is_empty(cell: Cell) -> bool:
    """Whether the cell holds nothing, or only white space."""
    return cell == "" or (isinstance(cell, str) and cell.isspace())


def cell_text(cell: Cell) -> str:
    """The cell as text that, read again, means the same."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float) and abs(cell) >= EXACT_LIMIT:
        return f"{cell:.14E}"  # digits are lost, and the text must not hide it
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime) and cell.time() == time():
        return cell.date().isoformat()  # Excel stores a date as its midnight
    return cell.isoformat(" ") if isinstance(cell, datetime) else str(cell)


class Field(StrEnum):
    """The fields of a token that can be changed, by their API names."""

    VALID_FROM = "validFrom"
    EXPIRES_AT = "expiresAt"
    IS_ACTIVE = "isActive"
    ROAMING_ENABLED = "roamingEnabled"
    PRIORITY_CHARGING_ENABLED = "priorityChargingEnabled"
    BILLING_REFERENCE = "billingReference"
    COMMENT = "comment"
    APP_USER_ID = "appUserId"
    CUSTOMER_ID = "customerId"


_FIELDS = tuple(Field)  # going through the enum itself takes longer than all else about a row

DEFAULTED = (Field.VALID_FROM, Field.IS_ACTIVE, Field.ROAMING_ENABLED)
"""Fields to which the API's reference gives a default, on the page of an update: whether the
server applies it when the field is left out is not said."""


class Key(StrEnum):
    """The columns by which a row names its token."""

    ID = "id"
    LABEL = "label"
    UID = "uid"


class DateOrder(StrEnum):
    """How a sheet orders the parts of dates that could be read in two ways."""

    DMY = "dmy"
    MDY = "mdy"
    YMD = "ymd"


class Status(StrEnum):
    """How a row ended."""

    UPDATED = "updated"  # the token is as asked, and this run made it so
    UNCHANGED = "unchanged"  # the token was so already: nothing was sent
    INVALID = "invalid"  # the row itself is wrong: never sent
    NOT_FOUND = "not_found"  # the token, or the customer named, does not exist
    REJECTED = "rejected"  # the API refused the change
    FAILED = "failed"  # tries used up, and the server has not applied it
    UNKNOWN = "unknown"  # tries used up, and the token could not be read to decide
    CONFLICT = "conflict"  # changed by someone else since the plan
    NOT_SENT = "not_sent"  # the run stopped before it


Meaning = Field | Key
"""What a column says of a token."""

BadCells = Mapping[Meaning, str]
"""What is wrong with which cells of a row, by what their columns mean."""


class Row(NamedTuple):
    """One data row; `number` is the one the spreadsheet shows (the first line is 1).

    `cells` has at least as many entries as the sheet has columns; missing ones are "".
    """

    number: int
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the sheet: its 0-based place, its header as written, and what it means.

    `meaning` is None for a column that the program ignores. `told`: it is one that the program
    itself writes, to be read by people only (`type`, `createdAt`, `batch_status` …). `zone`: the
    IANA name that its heading gives for times without one ("validFrom (Europe/Oslo)").
    """

    index: int
    header: str
    meaning: Meaning | None
    told: bool = False
    zone: str | None = None

    @property
    def letter(self) -> str:
        """The column's name in a spreadsheet."""
        return column_letter(self.index)

    @property
    def is_ignored(self) -> bool:
        """Whether its person may wonder what became of it."""
        return bool(self.header) and self.meaning is None and not self.told


def column_letter(index: int) -> str:
    """The name in a spreadsheet of the column at a 0-based place: A, B, …, AA."""
    letters, rest = "", index + 1
    while rest:
        rest, digit = divmod(rest - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one row, mostly with one of its cells.

    `column` and `value` are empty, and `meaning` is None, when the problem is the row's as a
    whole. `accepted` says what would be right, and may be empty.
    """

    row: int
    message: str
    column: str = ""
    cell: str = ""
    value: str = ""
    accepted: str = ""
    meaning: Meaning | None = None

    @property
    def advice(self) -> str:
        """What is wrong and what would be right, for somebody who sees the cell."""
        hint = f" Accepted: {self.accepted}." if self.accepted else ""
        return f"{self.message}{hint}"

    def __str__(self) -> str:
        place = f"{self.column} ({self.cell}): " if self.column else ""
        return f"{place}{self.advice}"


class TokenRef(NamedTuple):
    """How a row names its token: at least one is given, and all given must agree."""

    id: int | None = None
    label: str | None = None
    uid: str | None = None

    @property
    def given(self) -> Mapping[Key, int | str]:
        """What the row names it by."""
        names = {Key.ID: self.id, Key.LABEL: self.label, Key.UID: self.uid}
        return {key: value for key, value in names.items() if value is not None}

    def __str__(self) -> str:
        return ", ".join(f"{key} {value}" for key, value in self.given.items())


@dataclass(frozen=True, slots=True)
class Patch:
    """The validated changes of one row. `changes` may be empty."""

    row: int
    ref: TokenRef
    changes: Mapping[Field, Value]


Expected = Mapping[int, Mapping["Field", Value]]
"""What fields of tokens must hold for rows to count, by the rows' numbers."""

_NOT_SET: Any = None  # the default of a field that may be left out but not be null


class TokenPatch(BaseModel):
    """The values that the API's PATCH accepts; a field not set is not asked to change.

    Types, limits and nullability are those of the API reference, "Update a token".
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )

    valid_from: AwareDatetime = _NOT_SET
    expires_at: AwareDatetime | None = None
    is_active: bool = _NOT_SET
    roaming_enabled: bool = _NOT_SET
    priority_charging_enabled: bool = _NOT_SET
    billing_reference: Annotated[str, StringConstraints(max_length=TEXT_LIMIT)] | None = None
    comment: Annotated[str, StringConstraints(max_length=TEXT_LIMIT)] | None = None
    app_user_id: PositiveInt = _NOT_SET
    customer_id: PositiveInt = _NOT_SET

    @staticmethod
    def can_empty(name: Field) -> bool:
        """Whether the API takes null for the field."""
        try:
            TokenPatch.model_validate({name: None})
        except ValidationError:
            return False
        return True

    def changes(self) -> dict[Field, Value]:
        """The fields that were set, by API name, in the order of the API's page."""
        return {
            field_: getattr(self, name)
            for name, field_ in _FIELD_OF.items()
            if name in self.model_fields_set
        }


_FIELD_OF = {name: Field(to_camel(name)) for name in TokenPatch.model_fields}


def _to_milliseconds(instant: datetime) -> datetime:
    finer = instant.microsecond % 1000
    return instant - timedelta(microseconds=finer) if finer else instant


# A request cannot say more than milliseconds, so a finer instant would never be as asked.
Instant = Annotated[AwareDatetime, AfterValidator(_to_milliseconds)]

_FROM_API = ConfigDict(alias_generator=to_camel, populate_by_name=True)


@validated_dataclass(frozen=True, slots=True, config=_FROM_API)
class Identifier:
    """What a token is at the charger: an RFID card, an app identity or a vehicle."""

    type: str
    uid: str | None = None
    label: str | None = None
    app_user_id: int | None = None


@validated_dataclass(frozen=True, slots=True, config=_FROM_API)
class Token:
    """A token as the API tells it, without the fields that no decision needs."""

    id: int
    identifier: Identifier
    valid_from: Instant | None
    is_active: bool
    roaming_enabled: bool
    customer_id: int | None
    priority_charging_enabled: bool | None = None
    expires_at: Instant | None = None
    billing_reference: str | None = None
    comment: str | None = None
    # Told as they come: nothing is decided by them, so nothing may fail by them either.
    created_at: Any = field(default=None, compare=False)
    updated_at: Any = field(default=None, compare=False)

    @property
    def name(self) -> TokenName:
        """What the reports call it."""
        return TokenName(self.id, self.identifier.label)

    def value(self, name: Field) -> Value:
        """The field's present value."""
        if name is Field.APP_USER_ID:
            return self.identifier.app_user_id
        value: Value = getattr(self, _ATTRIBUTE_OF[name])
        return value


_ATTRIBUTE_OF = {field_: name for name, field_ in _FIELD_OF.items()}


class TokenName(NamedTuple):
    """What the reports call a token."""

    id: int
    label: str | None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tokens of an account are meant; None for each that is not asked."""

    customer_id: int | None = None
    type: str | None = None
    is_active: bool | None = None

    def has(self, token: Token) -> bool:
        """Whether the token is one of them."""
        return (
            self.customer_id in {None, token.customer_id}
            and self.type in {None, token.identifier.type}
            and self.is_active in {None, token.is_active}
        )


@dataclass(frozen=True, slots=True)
class Operation:
    """One PATCH to one token, from one or more rows.

    `token` is the token as it was read; `changes` holds only what differs from it.
    """

    token: Token
    changes: Mapping[Field, Value]
    rows: tuple[int, ...]

    @property
    def deactivates(self) -> bool:
        """Whether a working token stops working."""
        return self.changes.get(Field.IS_ACTIVE) is False

    @property
    def reveals(self) -> frozenset[Field]:
        """Which fields would show in its answer that the API gives them defaults: those left out
        whose value is another. validFrom's default is the present.
        """
        return frozenset(
            name
            for name in DEFAULTED
            if name not in self.changes
            and (name is Field.VALID_FROM or self.token.value(name) is False)
        )

    @property
    def difference(self) -> str:
        """Old → new of every field, in one line, in the order of the API's page."""
        return "; ".join(
            f"{name}: {shown(self.token.value(name))} → {shown(self.changes[name])}"
            for name in _FIELDS
            if name in self.changes
        )

    def side_effects(self, now: Token) -> str:
        """Which fields moved that were not asked to, old → new; empty when none did."""
        before = self.token
        moved = [
            f"{name} {shown(before.value(name))} → {shown(now.value(name))}"
            for name in _FIELDS
            if name not in self.changes and before.value(name) != now.value(name)
        ]
        was, is_now = before.identifier, now.identifier
        if (was.type, was.uid, was.label) != (is_now.type, is_now.uid, is_now.label):
            moved.append(f"identifier {was.label} → {is_now.label}")
        return ", ".join(moved)


SIDE_EFFECT = "side_effect"
NOT_AS_ASKED = "not_as_asked"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an operation, or a row without one, ended.

    `code`: the API's own error code, or a word of ours for the cause.
    `attempts`: requests that were sent for it. `after`: the token as the API last told it.
    `finished_at`: None for what has not ended. `seconds`: how long the answer that decided took.
    `bad_cells`: the cells of its rows that are the cause, by the meaning of their column, and what
    is wrong with each.
    """

    status: Status
    message: str = ""
    code: str = ""
    http_status: int | None = None
    attempts: int = 0
    request_id: str = ""
    after: Token | None = None
    finished_at: datetime | None = field(default_factory=lambda: datetime.now(UTC))
    seconds: float | None = None
    bad_cells: BadCells = field(default_factory=dict)

    def with_side_effects(self, moved: str) -> Outcome:
        """The outcome that also tells what moved unasked; itself when nothing did."""
        if not moved:
            return self
        told = f"also changed, though it was not asked: {moved}"
        message = f"{self.message}; {told}" if self.message else told
        return replace(self, message=message, code=SIDE_EFFECT)


@dataclass(frozen=True, slots=True)
class Written:
    """An operation, and its token as it was after it. `is_ours`: all that it has asked for is of
    its own doing, also where it is not as asked; else only what is as asked.
    """

    operation: Operation
    after: Token
    is_ours: bool


class State(StrEnum):
    """How far an operation has come."""

    PLANNED = "planned"  # no request for it has left
    SENDING = "sending"  # a request may have left
    SETTLED = "settled"  # its outcome is known, or is known to be unknown


@dataclass(frozen=True, slots=True)
class Entry:
    """An operation with its number and state."""

    number: int
    operation: Operation
    state: State

    @property
    def may_have_been_sent(self) -> bool:
        """Whether the server may have seen a request for it."""
        return self.state is not State.PLANNED


@dataclass(frozen=True, slots=True)
class HandedIn:
    """A row as it was handed in, and how it ended. `bad_cells` as of an Outcome."""

    row: int
    status: Status
    message: str
    cells: Sequence[Cell]
    bad_cells: BadCells


class Attempt(NamedTuple):
    """A request that came to nothing, for which operation on which token. `at` as by `iso`.

    `http_status` is None when there was no answer.
    """

    operation: int
    token_id: int
    label: str | None
    at: str
    http_status: int | None
    request_id: str
    failure: str


@dataclass(frozen=True, slots=True)
class Sitting:
    """One process at work on a run. Instants as by `iso`; `ended_at` is None for one that was
    killed or is still at work. `stopped`: why it ended before every row had its outcome.
    """

    began_at: str
    ended_at: str | None
    who: str
    version: str
    settings: Mapping[str, Any]
    stopped: str


class Line(NamedTuple):
    """What the reports say of one row, named and ordered as the columns of `report.csv`.

    `status` is a Status. `finished_at` is written as by `iso`, and None for what has not ended.
    """

    row: int
    token_id: int | None
    label: str
    status: str
    changes: str
    http_status: int | None
    attempts: int
    code: str
    message: str
    request_id: str
    finished_at: str | None


@dataclass(frozen=True, slots=True)
class Requests:
    """What went over the wire."""

    total: int = 0
    reads: int = 0
    writes: int = 0
    retries: int = 0
    refusals_429: int = 0

    def __add__(self, other: Requests) -> Requests:
        return Requests(
            self.total + other.total,
            self.reads + other.reads,
            self.writes + other.writes,
            self.retries + other.retries,
            self.refusals_429 + other.refusals_429,
        )


class About(BaseModel):
    """What a run is about: from which sheet, to which account, by whom, and how far it came.

    `headers` are the sheet's, and `meanings` what each column means; None for those that are
    ignored. `worksheet` is empty for a sheet that is no workbook. `kept`: the name of the copy of
    the workbook in the run's folder, empty if there is none. `hidden_rows`: how many of its rows
    are not to be seen there. `total_row`: the number of a line of totals, which is no row.
    `settings`: those it was begun with, but for the key. `confirmed_at` is None until its person
    said yes; before that nothing is sent. `stopped`: why it ended before every row had an outcome,
    else empty. `undone_by`: the run that has taken it back, if one has. `seconds` and `requests`
    are those of all sittings together. `mapping`: the headings of which its person has said what
    they mean.
    """

    model_config = ConfigDict(frozen=True)

    simulated: bool
    sheet: str
    sha256: str
    headers: list[str]
    meanings: list[Meaning | None] = []
    worksheet: str = ""
    header_row: int = 1
    mapping: dict[str, str] = {}
    kept: str = ""
    hidden_rows: int = 0
    total_row: int | None = None
    clear_marker: str
    base_url: str
    who: str
    version: str
    settings: dict[str, Any] = {}
    started_at: datetime
    confirmed_at: datetime | None = None
    finished_at: datetime | None = None
    stopped: str = ""
    undone_by: str = ""
    operations: int = 0
    requests: Requests = Requests()
    seconds: float = 0.0


_JSON = json.JSONEncoder(ensure_ascii=False)  # json.dumps makes one for every call

_RATE = re.compile(r"(?P<limit>[1-9]\d{0,9})/(?P<count>\d{1,9})?(?P<unit>s|min|h)", re.ASCII)
_UNIT_SECONDS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` requests in any window of `seconds`."""

    limit: int
    seconds: float

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `120/min`, `10/s`, `1000/h` or `300/10s`. ValueError otherwise."""
        found = _RATE.fullmatch(text.replace(" ", ""))
        if not found or (found["count"] and not int(found["count"])):
            raise ValueError(f"{text!r} is not a rate; write for example 120/min, 10/s or 300/10s")
        count = int(found["count"] or 1)
        return cls(int(found["limit"]), float(count * _UNIT_SECONDS[found["unit"]]))

    def __str__(self) -> str:
        for unit in ("h", "min", "s"):
            count, rest = divmod(self.seconds, _UNIT_SECONDS[unit])
            if count and not rest:
                return f"{self.limit}/{'' if count == 1 else int(count)}{unit}"
        return f"{self.limit}/{self.seconds}s"


def iso(instant: datetime) -> str:
    """The instant as the API writes it: UTC, milliseconds, `Z`."""
    text = instant.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def shown(value: Value) -> str:
    """A field's value as a person reads it."""
    if isinstance(value, datetime):
        return iso(value)
    return "empty" if value is None else _JSON.encode(value)
