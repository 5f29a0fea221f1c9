"""Excel workbooks: XLSX and XLSM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from batch.errors import SheetError
from batch.models import Cell, Row
from batch.read.columns import data_rows, find_header, head_of, heading, no_header, recognise
from batch.read.table import Table
from batch.read.unshown import refuse_too_wide, unshown_cells

_COMPOUND_FILE = bytes.fromhex("d0cf11e0a1b11ae1")  # XLS, and any workbook with a password


@dataclass(frozen=True)
class _Worksheet:
    """A worksheet with the cells that calamine shows as empty though they are not."""

    name: str
    content: CalamineSheet
    unshown: Mapping[int, Mapping[int, str]]

    def rows(self) -> Iterator[Row]:
        """Every row from the sheet's first, each as wide as the sheet, from column A."""
        left = ("",) * self._left
        right = ("",) * (self._width - self._left - self.content.width)
        number = 0
        for number, cells in enumerate(self.content.iter_rows(), 1):
            yield self._row(number, (*left, *cells, *right))
        for beyond in sorted(row for row in self.unshown if row > number):
            yield self._row(beyond, ("",) * self._width)

    @property
    def _left(self) -> int:
        # Calamine leaves out the empty columns before the first that is used, but no rows.
        return self.content.start[1] if self.content.start else 0

    @property
    def _width(self) -> int:
        unshown = (max(cells) + 1 for cells in self.unshown.values())
        return max(self._left + self.content.width, *unshown, 0)

    def _row(self, number: int, cells: tuple[Cell, ...]) -> Row:
        unshown = self.unshown.get(number)
        if not unshown:
            return Row(number, cells)
        return Row(number, tuple(unshown.get(place, cell) for place, cell in enumerate(cells)))


def read_workbook(path: Path, *, mapping: Mapping[str, str] | None, worksheet: str | None) -> Table:
    """The table of a workbook: in the worksheet named, else in the one visible that has one."""
    with _translated(path):
        with CalamineWorkbook.from_path(path) as book:
            names = [worksheet] if worksheet is not None else _visible(book)
            worksheets = [_worksheet(path, book, name) for name in names]
        found, header = _with_header(worksheets, mapping)
    columns = recognise([heading(cell) for cell in header.cells], mapping)
    return Table(header.number, columns, partial(_rows, path, found, header.number), found.name)


def _visible(book: CalamineWorkbook) -> list[str]:
    return [
        sheet.name
        for sheet in book.sheets_metadata
        if sheet.typ is SheetTypeEnum.WorkSheet and sheet.visible is SheetVisibleEnum.Visible
    ]


def _worksheet(path: Path, book: CalamineWorkbook, name: str) -> _Worksheet:
    if name not in book.sheet_names:
        names = ", ".join(f'"{known}"' for known in book.sheet_names)
        raise SheetError(f'it has no worksheet "{name}", but {names}')
    refuse_too_wide(path, name)
    content = book.get_sheet_by_name(name)
    return _Worksheet(name, content, unshown_cells(path, name))


def _with_header(
    worksheets: list[_Worksheet], mapping: Mapping[str, str] | None
) -> tuple[_Worksheet, Row]:
    heads = [(worksheet, head_of(worksheet.rows())) for worksheet in worksheets]
    found = [
        (worksheet, header)
        for worksheet, head in heads
        if (header := find_header(head, mapping)) is not None
    ]
    if not found:
        raise no_header([row for _, head in heads for row in head], mapping)
    if len(found) > 1:
        names = ", ".join(f'"{worksheet.name}"' for worksheet, _ in found)
        raise SheetError(f"several worksheets hold tokens: choose one with --sheet from {names}")
    return found[0]


def _rows(path: Path, worksheet: _Worksheet, header_row: int) -> Iterator[Row]:
    with _translated(path):
        yield from data_rows(islice(worksheet.rows(), header_row, None))


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except CalamineError as error:
        raise SheetError(_unreadable(path)) from error
    except OverflowError as error:
        raise SheetError(
            "one of its cells holds a time beyond all calendars: correct or clear it"
        ) from error


def _unreadable(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(len(_COMPOUND_FILE))
    if start == _COMPOUND_FILE:
        return (
            "it is protected with a password, or in the format of old Excel: open it and save"
            " it as an Excel workbook (.xlsx) without a password"
        )
    return "it is no Excel workbook, or a damaged one: open it in Excel and save it again as .xlsx"
