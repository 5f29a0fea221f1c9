"""A token as the cells of a row, each of which says its value or is left empty."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from batch.export.columns import COLUMNS, ExportColumn
from batch.marker import literal, said
from batch.models import Cell, Field, Meaning, Token, Value, iso

T = TypeVar("T", bound=Cell)

Says = Callable[[Meaning, Cell, Value], bool]

_FIRST_YEAR = 1900  # of a spreadsheet's calendar
_EXACT_DIGITS = 15  # of a number in a spreadsheet
# What a workbook cannot hold, or what one spreadsheet or another drops when it saves.
_ALTERED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ufffe\uffff]")
_WHOLE_DAY: Mapping[Meaning | None, time] = {
    Field.VALID_FROM: time.min,
    Field.EXPIRES_AT: time(23, 59, 59, 999_000),
}


@dataclass(frozen=True, slots=True)
class LeftEmpty:
    """A value that the sheet leaves out."""

    token_id: int
    column: str


def text_cells(
    token: Token, marker: str, says: Says, left_empty: list[LeftEmpty]
) -> tuple[str, ...]:
    """The token as a line of a text file."""
    return tuple(_cells(token, lambda _, value: [said(value, marker)], says, left_empty))


def workbook_cells(
    token: Token, zone: ZoneInfo, marker: str, says: Says, left_empty: list[LeftEmpty]
) -> tuple[Cell, ...]:
    """The token as a workbook's row: numbers and dates as such, where they keep every digit."""

    def ways(column: ExportColumn, value: Value) -> Iterable[Cell]:
        return _in_a_workbook(column, value, zone, marker)

    return tuple(_cells(token, ways, says, left_empty))


def _cells(
    token: Token,
    ways: Callable[[ExportColumn, Value], Iterable[T]],
    says: Says,
    left_empty: list[LeftEmpty],
) -> Iterator[T | str]:
    for column in COLUMNS:
        value = _value(token, column)
        if value is None or value == "":
            yield ""
            continue
        cell = next(
            (cell for cell in ways(column, value) if _is_said(token, column, cell, value, says)), ""
        )
        if cell == "":
            left_empty.append(LeftEmpty(token.id, column.name))
        yield cell


def _is_said(token: Token, column: ExportColumn, cell: Cell, value: Value, says: Says) -> bool:
    if column.meaning is None:
        return not isinstance(cell, str) or cell.isprintable()
    if column.meaning is Field.VALID_FROM and _ends_before_it_starts(token):
        return False  # a row that says both is refused, for most often it is a slip
    return says(column.meaning, cell, value)


def _ends_before_it_starts(token: Token) -> bool:
    start, end = token.valid_from, token.expires_at
    return start is not None and end is not None and end < start


def _value(token: Token, column: ExportColumn) -> Value:
    if isinstance(column.meaning, Field):
        return token.value(column.meaning)
    others: Mapping[str, Value] = {
        "id": token.id,
        "label": token.identifier.label,
        "uid": token.identifier.uid,
        "type": token.identifier.type,
        "createdAt": _told(token.created_at),
        "updatedAt": _told(token.updated_at),
    }
    return others[column.name]


def _told(instant: Any) -> Value:
    """What the API only tells, as an instant if it is one."""
    try:
        found = datetime.fromisoformat(instant)
    except (TypeError, ValueError):
        return None if instant is None else str(instant)
    return found if found.tzinfo else str(instant)


def _in_a_workbook(
    column: ExportColumn, value: Value, zone: ZoneInfo, marker: str
) -> Iterator[Cell]:
    """The ways to say the value, the best first."""
    match value:
        case bool():
            yield "yes" if value else "no"
        case int():
            yield value if len(str(value)) <= _EXACT_DIGITS else str(value)
        case datetime():
            yield from _moment(column, value, zone)
        case str() if not _ALTERED.search(value):
            yield literal(value, marker)


def _moment(column: ExportColumn, instant: datetime, zone: ZoneInfo) -> Iterator[Cell]:
    try:
        local = instant.astimezone(zone).replace(tzinfo=None)
    except OverflowError:  # at either end of the calendar
        yield iso(instant)
        return
    if local.time() == _WHOLE_DAY.get(column.meaning) and local.year > _FIRST_YEAR:
        yield local.date()
    # A spreadsheet keeps a midnight as its date alone, and may round the last moments of its
    # calendar away.
    if local.time() != time.min and _FIRST_YEAR < local.year < local.max.year:
        yield local
    yield iso(instant)
