"""A new workbook of marked rows, written row by row: where there is none to be marked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any, Final

from xlsxwriter import Workbook
from xlsxwriter.exceptions import FileCreateError
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from batch.files import replacing
from batch.formulas import harmless_in_workbook
from batch.models import Cell, Covered, Status, cell_text, column_letter
from batch.report.figures import SHEET, WELL, Figure
from batch.report.marked import MOST_NOTES, Mark

_MOST_ROWS = 1 << 20
_LONGEST = 32_767  # characters of a cell
_LOOKED_AT = 200  # rows, to find how wide a column is
_WIDEST, _NARROWEST, _MESSAGE_WIDTH = 40, 9, 70  # characters
_A4 = 9
_TAB = "#4472C4"  # by which a marked workbook knows the figures of an earlier report
_BEFORE_EXCEL = 1900  # the year in which its calendar begins
HIDDEN = "#N/A"  # stands for a cell that a merged area hides: no column takes it for a value
_ROWS = "Rows"
_NO_NAME = re.compile(r"[\[\]:*?/\\\x00-\x1f\ud800-\udfff\ufffe\uffff]")
_LONGEST_NAME = 28  # characters of Excel's 31, which leave room for a number
_NO_XML = re.compile("[\ud800-\udfff\ufffe\uffff]")
_WELL_SHADE, _BAD_SHADE, _HEADER_SHADE = "#E2F0D9", "#F8CBAD", "#DDEBF7"
_FORMATS: Final[Mapping[type, str]] = {
    str: "@",  # or a spreadsheet makes numbers and dates of what is typed
    datetime: "yyyy-mm-dd hh:mm:ss.000",  # LibreOffice saves as CSV what it shows
    date: "yyyy-mm-dd",
    time: "hh:mm:ss",
    timedelta: "[h]:mm:ss",
}


@dataclass(frozen=True, slots=True)
class MarkedRow:
    """The cells of a row as they were handed in, and what became of it."""

    mark: Mark
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """What the worksheets hold, of which there are several only if one cannot hold all rows.
    `header_row`: the number of the line with the headings; each row has the number that its mark
    says. `headings` are those of the sheet and those of the marks.
    """

    name: str
    headings: Sequence[str]
    header_row: int
    rows: Iterable[MarkedRow]

    def worksheet_of(self, row: MarkedRow) -> int:
        """Which of the worksheets holds the row, from 0 on."""
        return self._below_header(row) // self._capacity

    def line_of(self, row: MarkedRow) -> int:
        """The number of the row in its worksheet: its own in the first."""
        return self.header_row + 1 + self._below_header(row) % self._capacity

    def _below_header(self, row: MarkedRow) -> int:
        return row.mark.row - self.header_row - 1

    @property
    def _capacity(self) -> int:
        return _MOST_ROWS - self.header_row


def write_new_workbook(path: Path, table: Table, figures: Sequence[Figure] = ()) -> None:
    """Write the rows with the columns of their marks right of them; bad cells are coloured and
    have a note. `figures`, if there are any, are the first worksheet.

    OSError if it cannot be written.
    """
    with _workbook(path) as book:
        looks = _Looks(book)
        if figures:
            _write_figures(book.add_worksheet(SHEET), figures, looks)
        rows = iter(table.rows)
        first = list(islice(rows, 1))
        name = _worksheet_name(table.name)
        if not first:
            _Sheet(book.add_worksheet(name), table, looks).write(iter(()))
        for number, some in groupby(chain(first, rows), key=table.worksheet_of):
            numbered = f"{name} {number + 1}" if number else name
            _Sheet(book.add_worksheet(numbered), table, looks).write(some)


def _worksheet_name(wanted: str) -> str:
    """The name, as far as Excel allows it: other programs allow more."""
    name = _NO_NAME.sub("_", wanted)[:_LONGEST_NAME].strip("'")
    return _ROWS if name.casefold() in {"", SHEET, "history"} else name


@contextmanager
def _workbook(path: Path) -> Iterator[Workbook]:
    with replacing(path) as temporary, temporary.open("wb") as file:
        try:
            with Workbook(file, {"constant_memory": True}) as book:
                yield book
        except FileCreateError as error:
            raise OSError(*error.args[0].args) from error


@dataclass(slots=True)
class _Looks:
    """Each format once."""

    book: Workbook
    _made: dict[tuple[tuple[str, Any], ...], Format] = field(default_factory=dict)

    def __call__(self, **properties: Any) -> Format:
        key = tuple(properties.items())
        if key not in self._made:
            self._made[key] = self.book.add_format(properties)
        return self._made[key]

    def of(self, cell: Cell, *, is_bad: bool) -> Format | None:
        """How a cell of the person's own looks; None: as every cell."""
        shade = {"bg_color": _BAD_SHADE} if is_bad else {}
        kind = _FORMATS.get(type(cell))
        number_format = {"num_format": kind} if kind else {}
        return self(**shade, **number_format) if shade or number_format else None


class _Sheet:
    def __init__(self, sheet: Worksheet, table: Table, looks: _Looks) -> None:
        self._sheet = sheet
        self._table = table
        self._looks = looks
        self._notes = 0
        self._width = len(table.headings)

    def write(self, rows: Iterator[MarkedRow]) -> None:
        """The headings, and the rows below them."""
        start = list(islice(rows, _LOOKED_AT))
        self._set_up(start)
        last = self._table.header_row
        for row in chain(start, rows):
            last = self._table.line_of(row)
            self._write_row(last - 1, row)
        heading = self._table.header_row - 1
        self._sheet.autofilter(heading, 0, max(last - 1, heading), self._width - 1)
        area = f"A1:{column_letter(self._width - 1)}{last}"
        self._sheet.ignore_errors({"number_stored_as_text": area})

    def _set_up(self, start: Sequence[MarkedRow]) -> None:
        heading = self._table.header_row - 1
        look = self._looks(bold=True, bottom=1, bg_color=_HEADER_SHADE, num_format="@")
        for place, name in enumerate(self._table.headings):
            texts = (cell_text(row.cells[place]) for row in start if place < len(row.cells))
            longest = max(map(len, chain([name], texts)))
            width = min(max(longest + 2, _NARROWEST), _WIDEST)
            is_message = place == self._width - 1
            self._sheet.set_column(place, place, _MESSAGE_WIDTH if is_message else width)
        self._sheet.freeze_panes(heading + 1, 0)
        self._sheet.repeat_rows(heading)
        _fit_to_paper(self._sheet)
        for place, name in enumerate(self._table.headings):
            self._sheet.write_string(heading, place, _text(name), look)

    def _write_row(self, place: int, row: MarkedRow) -> None:
        mark, own = row.mark, self._width - 2
        for column, cell in enumerate(row.cells[:own]):
            is_bad = column in mark.notes
            self._write(place, column, cell, self._looks.of(cell, is_bad=is_bad))
            if is_bad and self._notes < MOST_NOTES:
                self._notes += 1
                self._sheet.write_comment(place, column, mark.notes[column], _NOTE)
        shade = _WELL_SHADE if mark.is_well else _BAD_SHADE
        self._sheet.write_string(place, own, mark.status, self._looks(bg_color=shade))
        if mark.message:
            wrapped = self._looks(text_wrap=True, valign="top")
            self._sheet.write_string(place, own + 1, _text(mark.message), wrapped)
        for column, cell in enumerate(row.cells[own:], own + 2):  # beyond the headings
            self._write(place, column, cell, self._looks.of(cell, is_bad=False))

    def _write(self, place: int, column: int, cell: Cell, look: Format | None) -> None:
        sheet = self._sheet
        match cell:
            case "":
                if look:
                    sheet.write_blank(place, column, None, look)
            case str():
                sheet.write_string(place, column, _text(cell), look)
            case bool():
                sheet.write_boolean(place, column, cell, look)
            case int() | float() if math.isfinite(cell):
                sheet.write_number(place, column, cell, look)
            case timedelta():
                sheet.write_datetime(place, column, cell, look)
            case Covered():
                sheet.write_string(place, column, HIDDEN, look)
            case datetime() | date() if cell.year > _BEFORE_EXCEL:
                sheet.write_datetime(place, column, cell, look)
            case time():
                sheet.write_datetime(place, column, cell, look)
            case _:
                sheet.write_string(place, column, _text(cell_text(cell)), look)


_NOTE: Final = {"author": "token-batch", "x_scale": 2.2, "y_scale": 1.2}


def _fit_to_paper(sheet: Worksheet) -> None:
    sheet.set_landscape()
    sheet.set_paper(_A4)
    sheet.fit_to_pages(1, 0)


def _text(text: str) -> str:
    """As a workbook can hold it."""
    text = _NO_XML.sub("\ufffd", harmless_in_workbook(text))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _write_figures(sheet: Worksheet, figures: Sequence[Figure], looks: _Looks) -> None:
    sheet.hide_gridlines(2)
    sheet.set_tab_color(_TAB)
    _fit_to_paper(sheet)
    sheet.set_column(0, 0, 26)
    sheet.set_column(1, 1, 12)
    sheet.set_column(2, 2, 90)
    for place, figure in enumerate(figures):
        name = str(figure[0]).lower().replace(" ", "_") if figure else ""
        shade = _WELL_SHADE if name in WELL else _BAD_SHADE
        usual = looks(align="left")
        coloured = (
            looks(align="left", bold=True, bg_color=shade) if name in tuple(Status) else usual
        )
        title = looks(bold=True, font_size=16) if place == 0 else coloured
        for column, cell in enumerate(figure):
            if isinstance(cell, str):
                sheet.write_string(place, column, _text(cell), title if column < 2 else usual)  # noqa: PLR2004
            else:
                sheet.write_number(place, column, cell, coloured)
