"""XLSB, the binary workbooks of Excel.

Not calamine: it shows cells as empty that hold an error, or that are kept in one of the ways
in which other programs than Excel keep them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

from openpyxl.styles.numbers import BUILTIN_FORMATS
from openpyxl.utils.datetime import MAC_EPOCH, WINDOWS_EPOCH

from batch.models import Cell, Row
from batch.read.damage import damage_as
from batch.read.workbooks.package import Attributes, Package
from batch.read.workbooks.worksheet import MOST_COLUMNS, MOST_ROWS, Area, Worksheet
from batch.read.workbooks.xlsb_records import (
    LONG,
    UINT32,
    Dated,
    Decoders,
    Record,
    Values,
    after_text,
    dated,
    records,
    rich_text,
    text,
)

# Kinds of records, beside those of cells
_ROW = 0
_STRING = 19
_PATTERN = 44
_FORMAT = 47
_END_SHEET = 130
_BEGIN_CELLS = 145
_END_CELLS = 146
_BOOK_PROPERTIES = 153
_SHEET = 156
_MERGED = 176
_BEGIN_CELL_FORMATS = 617
_END_CELL_FORMATS = 618

_VISIBLE = 0
_NO_TEXT = 0xFFFFFFFF
_DATES_FROM_1904 = 0x01
_HIDDEN_ROW = 0x10
_DAMAGED = "it is a damaged workbook: open it in Excel and save it again"
_RECTANGLE = struct.Struct("<4I")

# Excel keeps them without a pattern: the dates of languages that write their own.
_PATTERNS = dict.fromkeys((*range(27, 37), *range(50, 59)), "yyyy/m/d") | BUILTIN_FORMATS

_Links = Sequence[tuple[str, Attributes]]


def open_xlsb(path: Path) -> XlsbWorkbook:
    """Open the workbook. SheetError if it is none, or a damaged one."""
    with damage_as(_DAMAGED), ZipFile(path) as archive:
        package = Package(archive)
        book = package.main_part()
        links = list(package.links(book))
        with package.open(book) as part:
            about = [record for record in records(part) if record[0] in (_BOOK_PROPERTIES, _SHEET)]
        values = Values(_strings(package, links), _formats(package, links, _epoch(about)))
        return XlsbWorkbook(path, list(_sheets(about, links)), values.decoders())


class XlsbWorkbook:
    """An open workbook."""

    def __init__(self, path: Path, sheets: Sequence[_Sheet], decoders: Decoders) -> None:
        self._path = path
        self._parts = {sheet.name: sheet.part for sheet in sheets}
        self._decoders = decoders
        self.names: Sequence[str] = list(self._parts)
        self.visible_names: Sequence[str] = [sheet.name for sheet in sheets if sheet.is_visible]

    def worksheet(self, name: str) -> Worksheet:
        """The worksheet of that name."""
        width = 0
        hidden: set[int] = set()
        with self._records(name) as content:
            for row in _stored_rows(content, self._decoders):
                width = max(width, row.width)
                if row.is_hidden:
                    hidden.add(row.number)
            merged = list(_merged(content))
        return Worksheet(name, width, partial(self._rows, name, width), frozenset(hidden), merged)

    def _rows(self, name: str, width: int) -> Iterator[Row]:
        with self._records(name) as content:
            for row in _stored_rows(content, self._decoders):
                if row.cells:
                    cells: list[Cell] = [""] * width
                    for column, value in row.cells.items():
                        cells[column] = value
                    yield Row(row.number, tuple(cells))

    @contextmanager
    def _records(self, name: str) -> Iterator[Iterator[Record]]:
        part_name = self._parts[name]
        with (
            damage_as(_DAMAGED),
            ZipFile(self._path) as archive,
            Package(archive).open(part_name) as part,
        ):
            yield records(part)


class _Sheet(NamedTuple):
    name: str
    part: str
    is_visible: bool


def _sheets(about: Iterable[Record], links: _Links) -> Iterator[_Sheet]:
    """The worksheets; charts, dialogs and macros are sheets too."""
    targets = {link["Id"]: (target, link["Type"]) for target, link in links}
    for kind, content in about:
        if kind == _SHEET and UINT32.unpack_from(content, 8)[0] != _NO_TEXT:
            target, link_type = targets[text(content, 8)]
            if link_type.endswith("/worksheet"):
                name = text(content, after_text(content, 8))
                yield _Sheet(name, target, UINT32.unpack_from(content)[0] == _VISIBLE)


def _epoch(about: Iterable[Record]) -> datetime:
    properties = (content for kind, content in about if kind == _BOOK_PROPERTIES)
    epoch: datetime = WINDOWS_EPOCH
    for content in properties:
        epoch = MAC_EPOCH if content[0] & _DATES_FROM_1904 else WINDOWS_EPOCH
    return epoch


def _records_of(package: Package, links: _Links, link_type: str) -> Iterator[Record]:
    """The records of the part that the workbook has for something, if it has any."""
    for target, link in links:
        if link["Type"].endswith(link_type):
            with package.open(target) as part:
                yield from records(part)


def _strings(package: Package, links: _Links) -> list[str]:
    """The texts that cells share."""
    content = _records_of(package, links, "/sharedStrings")
    return [rich_text(string, 0) for kind, string in content if kind == _STRING]


def _formats(package: Package, links: _Links, epoch: datetime) -> list[Dated | None]:
    """By style: what makes a number the date or the time that it is shown as."""
    patterns = dict(_PATTERNS)
    formats = []
    of_cells = False
    for kind, content in _records_of(package, links, "/styles"):
        if kind == _PATTERN:
            patterns[int.from_bytes(content[:2], "little")] = text(content, 2)
        elif kind in (_BEGIN_CELL_FORMATS, _END_CELL_FORMATS):
            of_cells = kind == _BEGIN_CELL_FORMATS
        elif kind == _FORMAT and of_cells:
            formats.append(int.from_bytes(content[2:4], "little"))
    return [dated(patterns.get(identifier, ""), epoch) for identifier in formats or [0]]


@dataclass(frozen=True, slots=True)
class _StoredRow:
    """A row with those of its cells that hold something, by column."""

    number: int
    is_hidden: bool
    cells: dict[int, Cell]

    @property
    def width(self) -> int:
        width = max(self.cells, default=-1) + 1
        if width > MOST_COLUMNS:
            raise ValueError("a cell is beyond the last column there can be")
        return width


def _stored_rows(content: Iterator[Record], decoders: Decoders) -> Iterator[_StoredRow]:
    """The rows, as far as the end of the cells."""
    _skip_to(_BEGIN_CELLS, content)
    row = _StoredRow(0, is_hidden=False, cells={})
    column = -1
    for kind, record in content:
        if decoder := decoders.get(kind):
            place, decode = decoder
            column = UINT32.unpack_from(record)[0] if place == LONG else column + 1
            if (value := decode(record, place)) != "":
                row.cells[column] = value
        elif kind in (_ROW, _END_CELLS):
            if row.number:
                yield row
            elif row.cells:
                raise ValueError("a cell is in no row")
            if kind == _END_CELLS:
                return
            row, column = _row_after(row.number, record), -1
    raise ValueError("the cells have no end")


def _row_after(previous: int, record: bytes) -> _StoredRow:
    row: int = UINT32.unpack_from(record)[0] + 1
    if not previous < row <= MOST_ROWS:
        raise ValueError("rows are not in order")
    return _StoredRow(row, is_hidden=bool(record[11] & _HIDDEN_ROW), cells={})


def _skip_to(wanted: int, content: Iterator[Record]) -> None:
    if not any(kind == wanted for kind, _ in content):
        raise ValueError("the part is no worksheet")


def _merged(content: Iterator[Record]) -> Iterator[Area]:
    """The merged areas, which stand after the cells."""
    is_whole = False
    for kind, record in content:  # to the part's end: only there its checksum is looked at
        if kind == _MERGED:
            yield _area(record)
        is_whole = is_whole or kind == _END_SHEET
    if not is_whole:
        raise ValueError("the sheet has no end")


def _area(record: bytes) -> Area:
    first_row, last_row, first_column, last_column = _RECTANGLE.unpack_from(record)
    if not (first_row <= last_row < MOST_ROWS and first_column <= last_column < MOST_COLUMNS):
        raise ValueError("a merged area is beyond the sheet")
    return Area(first_row + 1, first_column, last_row + 1, last_column)
