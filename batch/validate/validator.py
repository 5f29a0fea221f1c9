"""A whole row: every cell read, every problem collected."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from batch.marker import is_literal
from batch.models import (
    Cell,
    Column,
    DateOrder,
    Field,
    Key,
    Meaning,
    Patch,
    Problem,
    Row,
    TokenPatch,
    TokenRef,
    Value,
    is_empty,
    iso,
)
from batch.validate.booleans import boolean
from batch.validate.cells import BadCell, refuse_damage, shown
from batch.validate.dates import END_OF_DAY, START_OF_DAY, Instants
from batch.validate.numbers import JSON_LIMIT, PATH_LIMIT, whole_number
from batch.validate.texts import free_text, label, uid

DATES_REMEMBERED = 1024  # a sheet repeats few dates, and reading one takes as long as five texts

_Kind = TypeVar("_Kind", Field, Key)
_Refused = dict[Column, BadCell]


class Validator:
    """Turns the rows of one sheet into patches.

    `columns`: all of the sheet's, each meaning at most once.
    `timezone`: that of dates and times written without one, where the column's heading has none.
    `date_order`: decides about dates that could be two days, which are refused without it.
    `clear_marker`: what a cell says, in exactly this case, to empty its field.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        timezone: ZoneInfo,
        date_order: DateOrder | None = None,
        clear_marker: str = "NULL",
    ) -> None:
        self._width = len(columns)
        self._keys = {c.meaning: c for c in columns if isinstance(c.meaning, Key)}
        self._fields = {c.meaning: c for c in columns if isinstance(c.meaning, Field)}
        own = {column.meaning: ZoneInfo(column.zone) for column in columns if column.zone}
        self._parsers = _parsers(
            own.get(Field.VALID_FROM, timezone), own.get(Field.EXPIRES_AT, timezone), date_order
        )
        self._marker = clear_marker.strip()
        self._folded_marker = self._marker.casefold()
        first = self._marker[:1], self._folded_marker[:1]
        self._first_of_marker = {"'", *first, *(letter.upper() for letter in first)}

    def check(self, row: Row) -> Patch | tuple[Problem, ...]:
        """The row's changes in the order of its cells, or everything that is wrong with it."""
        refused: _Refused = {}
        keys = self._values(row, self._keys, refused)
        named = bool(keys or refused)
        changes = self._values(row, self._fields, refused)
        self._refuse_beyond_limits(changes, refused)
        self._refuse_end_before_start(row, changes, refused)
        if refused or not named or len(row.cells) > self._width:
            problems = (*self._of_the_row(row, named=named), *_of_cells(row, refused))
            if problems:
                return problems
        return Patch(row.number, TokenRef(**keys), changes)

    def says(self, meaning: Meaning, cell: Cell, value: Value) -> bool:
        """Whether the cell, in a column with that meaning, would be read as that value."""
        if is_empty(cell):
            return False
        try:
            read = self._value(meaning, cell)
            if isinstance(meaning, Field):
                TokenPatch.model_validate({meaning: read})
        except (BadCell, ValidationError):
            return False
        return bool(read == value)

    def _values(
        self, row: Row, columns: Mapping[_Kind, Column], refused: _Refused
    ) -> dict[_Kind, Any]:
        values: dict[_Kind, Any] = {}
        for meaning, column in columns.items():
            cell = row.cells[column.index]
            if cell == "" or is_empty(cell):  # most are the former, and it is seen at once
                continue
            try:
                values[meaning] = self._value(meaning, cell)
            except BadCell as bad:
                refused[column] = bad
        return values

    def _value(self, meaning: Meaning, cell: Cell) -> Any:
        if isinstance(cell, str):
            text = cell.strip()
            if text[:1] in self._first_of_marker:  # few cells do, and the rest is said quickly
                if meaning in _NULLABLE and is_literal(cell, self._marker):
                    return self._parsers[meaning](cell[1:])
                if self._clears(meaning, text):
                    return None
            refuse_damage(text)
        return self._parsers[meaning](cell)

    def _clears(self, meaning: Meaning, text: str) -> bool:
        if text.casefold() != self._folded_marker:
            return False
        if text == self._marker and meaning not in _NULLABLE:
            raise BadCell(
                f"is the clear marker, and {meaning} cannot be emptied",
                "a value, or an empty cell to change nothing",
            )
        # "null" where the marker is NULL: to store it and to empty the field may both be wrong.
        if text != self._marker and meaning in _NULLABLE:
            raise BadCell(
                f"is almost the clear marker {self._marker}",
                f"{self._marker} to empty the field, or '{text} with an apostrophe before it to "
                "store the text",
            )
        return text == self._marker

    def _refuse_beyond_limits(self, changes: Mapping[Field, Any], refused: _Refused) -> None:
        try:
            TokenPatch.model_validate(changes)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                refused[self._fields[Field(str(details["loc"][0]))]] = _beyond_limit(details)

    def _refuse_end_before_start(
        self, row: Row, changes: Mapping[Field, Any], refused: _Refused
    ) -> None:
        start, end = changes.get(Field.VALID_FROM), changes.get(Field.EXPIRES_AT)
        if start and end and end < start:
            column = self._fields[Field.VALID_FROM]
            refused[self._fields[Field.EXPIRES_AT]] = BadCell(
                f"is before {column.header} ({_place(row, column)}), which is {iso(start)}",
                "a date after that one",
            )

    def _of_the_row(self, row: Row, *, named: bool) -> Iterator[Problem]:
        if not named:
            headers = [column.header for column in self._keys.values()] or list(Key)
            yield Problem(
                row.number, "The row names no token.", accepted=f"a value in {' or '.join(headers)}"
            )
        filled = max((n for n, cell in enumerate(row.cells, 1) if not is_empty(cell)), default=0)
        if filled > self._width:
            yield Problem(
                row.number,
                f"The row has {filled} cells and the header {self._width}: "
                "perhaps a text holds a delimiter and has no quotes around it.",
                accepted=f"at most {self._width} cells",
            )


def _parsers(
    start_zone: ZoneInfo, end_zone: ZoneInfo, order: DateOrder | None
) -> Mapping[Meaning, Callable[[Cell], Any]]:
    number = partial(whole_number, limit=JSON_LIMIT)
    remembering = lru_cache(DATES_REMEMBERED)
    return {
        Key.ID: partial(whole_number, limit=PATH_LIMIT),
        Key.LABEL: label,
        Key.UID: uid,
        Field.VALID_FROM: remembering(Instants(start_zone, order, START_OF_DAY)),
        Field.EXPIRES_AT: remembering(Instants(end_zone, order, END_OF_DAY)),
        Field.IS_ACTIVE: boolean,
        Field.ROAMING_ENABLED: boolean,
        Field.PRIORITY_CHARGING_ENABLED: boolean,
        Field.BILLING_REFERENCE: free_text,
        Field.COMMENT: free_text,
        Field.APP_USER_ID: number,
        Field.CUSTOMER_ID: number,
    }


_NULLABLE = frozenset(filter(TokenPatch.can_empty, Field))


def _beyond_limit(details: ErrorDetails) -> BadCell:
    if details["type"] == "string_too_long":
        limit, length = details["ctx"]["max_length"], len(details["input"])
        return BadCell(f"has {length} characters", f"at most {limit} characters")
    return BadCell("is not a value that the API takes here")


def _of_cells(row: Row, refused: _Refused) -> Iterable[Problem]:
    for column in sorted(refused, key=lambda column: column.index):
        bad, value = refused[column], shown(row.cells[column.index])
        yield Problem(
            row=row.number,
            message=f'"{value}" {bad.reason}.',
            column=column.header,
            cell=_place(row, column),
            value=value,
            accepted=bad.accepted,
            meaning=column.meaning,
        )


def _place(row: Row, column: Column) -> str:
    return f"{column.letter}{row.number}"
