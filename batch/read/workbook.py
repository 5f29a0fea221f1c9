"""The table of a workbook, whatever its format: which worksheet, which header, which rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import dropwhile
from pathlib import Path

from batch.errors import SheetError
from batch.formulas import as_it_was
from batch.models import Cell, Column, Covered, Limits, Row, column_letter
from batch.read.columns import (
    data_rows,
    find_header,
    head_of,
    heading,
    no_header,
    recognise,
    too_many_columns,
    too_many_rows,
)
from batch.read.forms import WorkbookKind
from batch.read.table import Table
from batch.read.workbooks import open_workbook
from batch.read.workbooks.worksheet import Area, Workbook, Worksheet


def read_workbook(
    path: Path,
    kind: WorkbookKind,
    *,
    mapping: Mapping[str, str] | None,
    worksheet: str | None,
    limits: Limits,
) -> Table:
    """The table of a workbook: in the worksheet named, else in the one visible that has one."""
    book = open_workbook(path, kind)
    found, header = _with_header(book, worksheet, mapping)
    if found.width > limits.columns:
        raise too_many_columns(f"it has {found.width:,} columns", limits)
    columns = recognise([heading(cell) for cell in header.cells], mapping)
    rows = partial(_rows, found, header.number, columns, limits)
    hidden = frozenset(number for number in found.hidden_rows if number > header.number)
    return Table(header.number, columns, rows, found.name, hidden)


def _with_header(
    book: Workbook, wanted: str | None, mapping: Mapping[str, str] | None
) -> tuple[Worksheet, Row]:
    found: list[tuple[Worksheet, Row]] = []
    seen: list[Row] = []
    for name in book.visible_names if wanted is None else [wanted]:
        worksheet = _worksheet(book, name)
        head = head_of(worksheet.rows())
        header = find_header(head, mapping)
        if header:  # a workbook's other worksheets are let go of
            found.append((worksheet, header))
        else:
            seen += head
    if not found:
        hidden = [name for name in book.names if name not in book.visible_names]
        raise no_header(seen, mapping, hidden)
    if len(found) > 1:
        names = ", ".join(f'"{worksheet.name}"' for worksheet, _ in found)
        raise SheetError(f"several worksheets hold tokens: choose one with --sheet from {names}")
    return found[0]


def _worksheet(book: Workbook, name: str) -> Worksheet:
    if name not in book.names:
        names = ", ".join(f'"{known}"' for known in book.names)
        raise SheetError(f'it has no worksheet "{name}", but {names}')
    try:
        return book.worksheet(name)
    except SheetError as error:
        others = "; or name another worksheet (--sheet)" if len(book.visible_names) > 1 else ""
        raise SheetError(f'worksheet "{name}": {error}{others}') from error


def _rows(
    worksheet: Worksheet, header_row: int, columns: Sequence[Column], limits: Limits
) -> Iterator[Row]:
    known = frozenset(column.index for column in columns if column.meaning)
    areas = [area for area in worksheet.merged if area.last_row > header_row]
    below = dropwhile(lambda row: row.number <= header_row, worksheet.rows())
    rows = _uncovered(below, areas, known) if areas else below
    for count, row in enumerate(data_rows(rows), 1):
        if count > limits.rows:
            raise too_many_rows(limits)
        yield Row(row.number, _restored(row.cells))


def _uncovered(rows: Iterable[Row], areas: Iterable[Area], known: frozenset[int]) -> Iterator[Row]:
    """The rows, with what a merged area hides in known columns told from cells that are empty."""
    waiting = sorted(areas, reverse=True)
    around: list[tuple[Area, Cell]] = []
    for row in rows:
        while waiting and waiting[-1].first_row <= row.number:
            area = waiting.pop()
            around.append((area, _hidden_by(area, row)))
        around = [pair for pair in around if pair[0].last_row >= row.number]
        yield _covered(row, around, known) if around else row


def _hidden_by(area: Area, row: Row) -> Cell:
    """What a cell is that the area covers, of which `row` is the first that is not blank."""
    shown = row.cells[area.first_column : area.first_column + 1]
    if area.first_row < row.number or shown in ((), ("",)):
        return ""
    first = f"{column_letter(area.first_column)}{area.first_row}"
    return Covered(f"{first}:{column_letter(area.last_column)}{area.last_row}")


def _covered(row: Row, around: Iterable[tuple[Area, Cell]], known: frozenset[int]) -> Row:
    cells = list(row.cells)
    for area, hidden in around:
        for place in known.intersection(range(area.first_column, area.last_column + 1)):
            if (row.number, place) != (area.first_row, area.first_column):
                cells[place] = hidden
    return Row(row.number, tuple(cells))


def _restored(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    # Asking before the call halves the time.
    return tuple([as_it_was(c) if isinstance(c, str) and c[:1] == "'" else c for c in cells])
