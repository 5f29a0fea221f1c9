"""XLS, the workbooks of Excel up to 2003 and of many old programs: xlrd.

Not calamine: some old files come out of it with numbers in place of texts.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import xlrd
from xlrd.biffh import XLRDError
from xlrd.compdoc import SIGNATURE, CompDoc

from batch.errors import SheetError
from batch.formulas import NOT_CALCULATED
from batch.models import Cell, Row
from batch.read.workbooks.worksheet import Area, Worksheet, stored_moment

_FORMULA = 0x0006  # the kind of a formula's record
_RECORD = struct.Struct("<HH")  # kind and length
_RESULT = slice(6, 14)  # where its result stands
_EMPTY_TEXT = b"\x03"  # a result's first byte, if its last two are …
_NO_NUMBER = b"\xff\xff"


def open_xls(path: Path) -> XlsWorkbook:
    """Open the workbook. SheetError if it has a password, is damaged or none at all."""
    with _translated():
        content = path.read_bytes()
        _refuse_loops(content)
        book = xlrd.open_workbook(
            file_contents=content,
            logfile=io.StringIO(),
            formatting_info=True,
            ragged_rows=True,
            on_demand=True,  # keeps the records, which tell more of formulas than xlrd does
        )
        return XlsWorkbook(book)


class XlsWorkbook:
    """An open workbook."""

    def __init__(self, book: xlrd.book.Book) -> None:
        self._book = book
        self._calculated = _is_calculated(book)
        self.names: Sequence[str] = book.sheet_names()
        self.visible_names: Sequence[str] = [
            sheet.name for sheet in book.sheets() if not sheet.visibility
        ]

    def worksheet(self, name: str) -> Worksheet:
        """The worksheet of that name."""
        sheet = self._book.sheet_by_name(name)
        width = max((len(row.cells) for row in self._rows(sheet)), default=0)
        return Worksheet(
            name,
            width,
            lambda: self._padded(sheet, width),
            frozenset(row + 1 for row, info in sheet.rowinfo_map.items() if info.hidden),
            [
                Area(row + 1, column, last_row, last_column - 1)
                for row, last_row, column, last_column in sheet.merged_cells
            ],
        )

    def _padded(self, sheet: xlrd.sheet.Sheet, width: int) -> Iterator[Row]:
        for row in self._rows(sheet):
            yield Row(row.number, (*row.cells, *("",) * (width - len(row.cells))))

    def _rows(self, sheet: xlrd.sheet.Sheet) -> Iterator[Row]:
        """The rows up to the last cell of each that holds something."""
        for number, cells in enumerate(sheet.get_rows(), 1):
            values = [self._value(cell) for cell in cells]
            while values and values[-1] == "":
                values.pop()
            if values:
                yield Row(number, tuple(values))

    def _value(self, cell: xlrd.sheet.Cell) -> Cell:
        match cell.ctype:
            case xlrd.XL_CELL_TEXT:
                return str(cell.value) or ("" if self._calculated else NOT_CALCULATED)
            case xlrd.XL_CELL_NUMBER:
                return float(cell.value)
            case xlrd.XL_CELL_BOOLEAN:
                return bool(cell.value)
            case xlrd.XL_CELL_DATE:
                return self._moment(float(cell.value))
            case xlrd.XL_CELL_ERROR:
                return xlrd.error_text_from_code.get(int(cell.value), "#N/A")
        return ""

    def _moment(self, serial: float) -> Cell:
        if serial < 0:
            return serial
        try:
            moment: datetime = xlrd.xldate.xldate_as_datetime(serial, self._book.datemode)
        except (OverflowError, ValueError):
            return serial  # beyond all calendars: no date, which validation says of its cell
        if serial < 1:
            return moment.time()
        return stored_moment(moment)


def _refuse_loops(content: bytes) -> None:
    """XLRDError if the sectors of a stream lead back to themselves: xlrd would follow them for
    ever.
    """
    if content.startswith(SIGNATURE):
        container = CompDoc(content, logfile=io.StringIO())
        for successors in (container.SAT, container.SSAT):
            if _has_loop(successors):
                raise XLRDError("its sectors form a loop")


def _has_loop(successors: Sequence[int]) -> bool:
    walked = [0] * len(successors)  # by which walk a sector was reached, from 1
    for walk, start in enumerate(range(len(successors)), 1):
        sector = start
        while 0 <= sector < len(successors) and not walked[sector]:
            walked[sector] = walk
            sector = successors[sector]
        if 0 <= sector < len(successors) and walked[sector] == walk:
            return True
    return False


def _is_calculated(book: xlrd.book.Book) -> bool:
    """Whether an empty result may be believed.

    A program that calculates nothing gives every formula an empty text for a result, and Excel
    gives one to =IF(A2="","",A2). A single other result shows that the program calculates.
    """
    results = set(_results(book.mem, book.base, book.base + book.stream_len))
    return not results or any(not _is_empty_text(result) for result in results)


def _results(records: bytes | None, start: int, end: int) -> Iterator[bytes]:
    if records is None:  # before Excel 5, when nothing but Excel wrote them
        return
    place = start
    while place + _RECORD.size <= end:
        kind, length = _RECORD.unpack_from(records, place)
        place += _RECORD.size
        if kind == _FORMULA:
            yield bytes(records[place : place + length][_RESULT])
        place += length


def _is_empty_text(result: bytes) -> bool:
    return result.startswith(_EMPTY_TEXT) and result.endswith(_NO_NUMBER)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except XLRDError as error:
        if "encrypted" in str(error):
            raise SheetError("it is protected with a password: save it without one") from error
        raise SheetError(_DAMAGED) from error
    except Exception as error:  # xlrd fails over damage in any way there is
        raise SheetError(_DAMAGED) from error


_DAMAGED = "it is no workbook of old Excel, or a damaged one: open it in Excel and save it as .xlsx"
