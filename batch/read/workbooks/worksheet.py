"""A workbook of any format, as far as finding and reading its table goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import NamedTuple, Protocol

from batch.models import Cell, Row

MOST_ROWS = 1 << 20  # of Excel and of LibreOffice
MOST_COLUMNS = 1 << 14


class Area(NamedTuple):
    """A rectangle of cells, its edges included. Rows count from 1, columns from 0."""

    first_row: int
    first_column: int
    last_row: int
    last_column: int


def stored_moment(moment: datetime) -> Cell:
    """The moment as a cell: a midnight is its date, for spreadsheets keep both as one number."""
    return moment if moment.time() != time.min else moment.date()


@dataclass(frozen=True)
class Worksheet:
    """A worksheet's content.

    `rows` gives the rows that hold something, in ascending order, as often as it is called: each
    from column A on and `width` cells wide. A formula's error is its text ("#REF!"), a formula
    whose result is not in the file NOT_CALCULATED (an XLSB has no mark for it). A cell that a
    merged area covers may hold what nobody sees.
    `hidden_rows`: the numbers of the rows that a filter or a person has hidden. `merged`: the
    areas merged into one cell.
    """

    name: str
    width: int
    rows: Callable[[], Iterator[Row]]
    hidden_rows: frozenset[int] = frozenset()
    merged: Sequence[Area] = ()


class Workbook(Protocol):
    """An open workbook. `worksheet` raises SheetError if the content is damaged."""

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def visible_names(self) -> Sequence[str]: ...
    def worksheet(self, name: str) -> Worksheet: ...
