"""OpenDocument spreadsheets (ODS), as OpenDocument 1.2 and 1.3 define them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple
from xml.parsers.expat import ParserCreate
from zipfile import ZipFile

from batch.errors import SheetError
from batch.models import Cell, Row
from batch.read.damage import damage_as
from batch.read.workbooks.ods_values import ODF as _ODF
from batch.read.workbooks.ods_values import OFFICE as _OFFICE
from batch.read.workbooks.ods_values import TABLE as _TABLE
from batch.read.workbooks.ods_values import Attributes, value_of
from batch.read.workbooks.package import whole, whole_tags
from batch.read.workbooks.worksheet import MOST_COLUMNS, MOST_ROWS, Area, Worksheet

_DAMAGED = "it is a damaged workbook: open it in LibreOffice and save it again"
_MOST_AREAS = 1 << 20  # merged in one table; a row repeated with one makes any number
_MOST_SPACES = 1 << 15  # in one element; no program keeps more characters in a cell
_LONGEST_CELL = 1 << 20  # characters; no program keeps more than 65,535

_TEXT = f"{_ODF}text:1.0 "
_STYLE, _DRAWING = f"{_ODF}style:1.0 ", f"{_ODF}drawing:1.0 "
_ENCRYPTION = f"{_ODF}manifest:1.0 encryption-data"

_DOCUMENT, _BODY = f"{_OFFICE}document-content", f"{_OFFICE}body"
_SPREADSHEET, _A_TABLE = f"{_OFFICE}spreadsheet", f"{_TABLE}table"
_STYLES, _A_STYLE = f"{_OFFICE}automatic-styles", f"{_STYLE}style"
_TABLE_STYLE = f"{_STYLE}table-properties"
_ROW, _GROUP = f"{_TABLE}table-row", f"{_TABLE}table-row-group"
_CELL, _COVERED = f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"
_PARAGRAPH, _HEADING = f"{_TEXT}p", f"{_TEXT}h"
_LIST, _ITEM = f"{_TEXT}list", f"{_TEXT}list-item"

_DISPLAY = f"{_TABLE}display"
_REPEATED = f"{_TABLE}number-columns-repeated"
_SPANNED_DOWN, _SPANNED = f"{_TABLE}number-rows-spanned", f"{_TABLE}number-columns-spanned"

_ROWS = frozenset({_ROW, _GROUP, f"{_TABLE}table-rows", f"{_TABLE}table-header-rows"})
_PARAGRAPHS = frozenset({_PARAGRAPH, _HEADING, _LIST})
_READ_WITHIN: dict[str, frozenset[str]] = {
    "": frozenset({_DOCUMENT}),
    _DOCUMENT: frozenset({_STYLES, _BODY}),
    _STYLES: frozenset({_A_STYLE}),
    _A_STYLE: frozenset({_TABLE_STYLE}),
    _TABLE_STYLE: frozenset(),
    _BODY: frozenset({_SPREADSHEET}),
    _SPREADSHEET: frozenset({_A_TABLE}),
    **dict.fromkeys(_ROWS | {_A_TABLE}, _ROWS),
    _ROW: frozenset({_CELL, _COVERED}),
    _CELL: _PARAGRAPHS,
    _COVERED: frozenset(),
    _LIST: frozenset({_ITEM}),
    _ITEM: _PARAGRAPHS,
}
_NO_TEXT = (f"{_OFFICE}annotation", f"{_TEXT}ruby-text", f"{_TEXT}note", _TABLE, _DRAWING)


class _Markup(frozenset[str]):
    """What is read within a paragraph: all elements but those that hold no text of it."""

    def __contains__(self, tag: object) -> bool:
        return not str(tag).startswith(_NO_TEXT)


_MARKUP = _Markup()

# No XML can hold these: they stand for what is not to be taken for the XML's own white space.
_A_SPACE, _A_TAB, _A_BREAK, _A_GAP = "\1", "\2", "\3", "\4"
_AS_MEANT = str.maketrans({_A_SPACE: " ", _A_TAB: "\t", _A_BREAK: "\n", _A_GAP: " "})
# OpenDocument (6.1.2) would have spaces alone collapsed too, but LibreOffice neither does so nor
# marks those in a cell of several lines.
_WHITE_SPACE = re.compile(r" *[\t\r\n][ \t\r\n]*")


# The column, in how many cells from there on the value stands, and the value.
_Run = tuple[int, int, Cell]


class _Rows(NamedTuple):
    """The same row so many times: what it holds, and the merged areas that begin in it."""

    table: int
    number: int
    repeated: int
    hidden: bool
    runs: Sequence[_Run]
    merged: Sequence[Area]

    @property
    def numbers(self) -> range:
        return range(self.number, self.number + self.repeated)


@dataclass
class _Survey:
    """What a table is like, as far as it was read."""

    name: str
    visible: bool
    width: int = 0
    hidden: list[range] = field(default_factory=list)
    merged: list[Area] = field(default_factory=list)

    def add(self, rows: _Rows) -> None:
        if rows.runs:
            column, repeated, _ = rows.runs[-1]
            self.width = max(self.width, column + repeated)
            if rows.hidden:
                self.hidden.append(rows.numbers)
        if len(self.merged) + len(rows.merged) * rows.repeated > _MOST_AREAS:
            raise SheetError(f'the worksheet "{self.name}" has too many merged cells')
        self.merged += (
            Area(first + down, left, last + down, right)
            for down in range(rows.repeated if rows.merged else 0)
            for first, left, last, right in rows.merged
        )


class OdsWorkbook:
    """An OpenDocument spreadsheet. Its rows stay in the file until they are asked for."""

    def __init__(self, path: Path, surveys: Sequence[_Survey]) -> None:
        self._path = path
        self._surveys = surveys

    @property
    def names(self) -> Sequence[str]:
        """The names of all worksheets, in their order."""
        return [survey.name for survey in self._surveys]

    @property
    def visible_names(self) -> Sequence[str]:
        """The names of the worksheets that nobody has hidden."""
        return [survey.name for survey in self._surveys if survey.visible]

    def worksheet(self, name: str) -> Worksheet:
        """The worksheet of that name, one of `names`."""
        table = self.names.index(name)
        survey = self._surveys[table]
        return Worksheet(
            name,
            survey.width,
            partial(_rows, self._path, table, survey.width),
            frozenset(number for numbers in survey.hidden for number in numbers),
            survey.merged,
        )


def open_ods(path: Path) -> OdsWorkbook:
    """The workbook, after one reading from end to end.

    SheetError if it is damaged, protected with a password, without any worksheet, or if it holds
    something beyond the last row or column of a spreadsheet. A worksheet's `hidden_rows` are
    those that hold something.
    """
    with _content_of(path) as xml:
        reader = _Reader()
        for rows in reader.read(xml):
            reader.tables[rows.table].add(rows)
    if not reader.tables:
        raise SheetError("it holds no worksheet: it is no spreadsheet, or a damaged one")
    return OdsWorkbook(path, reader.tables)


def _rows(path: Path, table: int, width: int) -> Iterator[Row]:
    with _content_of(path) as xml:
        for rows in _Reader(table).read(xml):
            if rows.runs:
                cells = _cells(rows.runs, width)
                for number in rows.numbers:
                    yield Row(number, cells)


def _cells(runs: Sequence[_Run], width: int) -> tuple[Cell, ...]:
    cells: list[Cell] = [""] * width
    for column, repeated, value in runs:
        cells[column : column + repeated] = (value,) * repeated
    return tuple(cells)


@contextmanager
def _content_of(path: Path) -> Iterator[IO[bytes]]:
    with damage_as(_DAMAGED), ZipFile(path) as archive:
        _refuse_password(archive)
        with archive.open("content.xml") as xml:
            yield xml


def _refuse_password(archive: ZipFile) -> None:
    manifest = "META-INF/manifest.xml"
    tags: set[str] = set()
    if manifest in archive.namelist():
        parser = ParserCreate(namespace_separator=" ")
        parser.StartElementHandler = lambda tag, _: tags.add(tag)
        with archive.open(manifest) as xml:
            parser.Parse(whole(xml), True)
    if _ENCRYPTION in tags:
        raise SheetError("it is protected with a password: save it without one")


class _Reader:
    """Walks through content.xml and gives the rows of all its tables, or of one alone."""

    def __init__(self, only: int | None = None) -> None:
        self.tables: list[_Survey] = []
        self._only = only
        self._found: list[_Rows] = []
        self._within = [_READ_WITHIN[""]]  # what is read in each of the elements around
        self._unread = 0  # how many elements deep within one that is not read
        self._style = ""
        self._hidden_styles: set[str] = set()
        self._groups: list[bool] = []  # the groups of rows around: whether hidden
        self._row: Attributes = {}
        self._number = self._column = 0
        self._runs: list[_Run] = []
        self._merged: list[Area] = []
        self._cell: Attributes = {}
        self._paragraphs: list[str] = []
        self._text: list[str] = []
        self._length = 0  # of the cell's text so far
        self._starts: dict[str, Callable[[Attributes], object]] = {
            _A_STYLE: self._start_style,
            _TABLE_STYLE: self._start_table_style,
            _A_TABLE: self._start_table,
            _GROUP: lambda group: self._groups.append(group.get(_DISPLAY) == "false"),
            _ROW: self._start_row,
            _CELL: self._start_cell,
            _COVERED: self._start_cell,
            f"{_TEXT}s": self._spaces,
            f"{_TEXT}tab": lambda _: self._text.append(_A_TAB),
            f"{_TEXT}line-break": lambda _: self._text.append(_A_BREAK),
        }
        self._ends: dict[str, Callable[[], object]] = {
            _GROUP: self._groups.pop,
            _ROW: self._end_row,
            _CELL: self._end_cell,
            _COVERED: self._end_covered,
            _PARAGRAPH: self._end_paragraph,
            _HEADING: self._end_paragraph,
        }

    def read(self, xml: IO[bytes]) -> Iterator[_Rows]:
        parser = ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.CharacterDataHandler = self._characters
        parser.EndElementHandler = self._end
        for tags in whole_tags(xml):
            parser.Parse(tags)
            yield from self._found
            self._found.clear()
        parser.Parse(b"", True)

    def _start(self, tag: str, attributes: Attributes) -> None:
        if self._unread or tag not in self._within[-1]:
            self._unread += 1
            return
        self._within.append(_READ_WITHIN.get(tag, _MARKUP))
        if tag in self._starts:
            self._starts[tag](attributes)

    def _characters(self, text: str) -> None:
        if self._within[-1] is _MARKUP and not self._unread:
            self._length += len(text)
            self._text.append(text)

    def _end(self, tag: str) -> None:
        if self._unread:
            self._unread -= 1
            return
        self._within.pop()
        if tag in self._ends:
            self._ends[tag]()

    def _start_style(self, style: Attributes) -> None:
        self._style = style.get(f"{_STYLE}name", "")

    def _start_table_style(self, properties: Attributes) -> None:
        if properties.get(_DISPLAY) == "false":
            self._hidden_styles.add(self._style)

    def _start_table(self, table: Attributes) -> None:
        visible = table.get(f"{_TABLE}style-name") not in self._hidden_styles
        self.tables.append(_Survey(table.get(f"{_TABLE}name", ""), visible))
        self._number = 0
        if self._only not in (None, len(self.tables) - 1):
            self._within.pop()
            self._unread += 1

    def _start_row(self, row: Attributes) -> None:
        self._row = row
        self._number += 1
        self._column = 0
        self._runs, self._merged = [], []

    def _end_row(self) -> None:
        repeated = _count(self._row, f"{_TABLE}number-rows-repeated")
        last = self._number + repeated - 1
        if self._runs and last > MOST_ROWS:
            raise SheetError(f"it holds something beyond row {MOST_ROWS:,}, the last there can be")
        if self._runs or self._merged:
            hidden = self._row.get(f"{_TABLE}visibility") in ("collapse", "filter")
            self._found.append(
                _Rows(
                    *(len(self.tables) - 1, self._number, repeated),
                    *(hidden or any(self._groups), self._runs, self._merged),
                )
            )
        self._number = last

    def _start_cell(self, cell: Attributes) -> None:
        self._cell = cell
        self._paragraphs = []
        self._length = 0

    def _end_cell(self) -> None:
        cell = self._cell
        repeated = _count(cell, _REPEATED) if _REPEATED in cell else 1
        value = value_of(cell, self._paragraphs)
        if value != "":
            if self._column + repeated > MOST_COLUMNS:
                raise SheetError(f"it holds something beyond column {MOST_COLUMNS:,}, the last")
            self._runs.append((self._column, repeated, value))
        if _SPANNED in cell or _SPANNED_DOWN in cell:
            self._merge()
        self._column += repeated

    def _end_covered(self) -> None:
        self._column += _count(self._cell, _REPEATED)

    def _merge(self) -> None:
        bottom = min(self._number + _count(self._cell, _SPANNED_DOWN) - 1, MOST_ROWS)
        right = min(self._column + _count(self._cell, _SPANNED), MOST_COLUMNS) - 1
        if bottom > self._number or right > self._column:
            self._merged.append(Area(self._number, self._column, bottom, right))

    def _spaces(self, spaces: Attributes) -> None:
        count = int(spaces.get(f"{_TEXT}c", 1))
        if count > _MOST_SPACES:
            raise ValueError(count)
        self._text.append(_A_SPACE * count)

    def _end_paragraph(self) -> None:
        if self._length + len(self._paragraphs) > _LONGEST_CELL:
            raise SheetError("one of its cells is longer than any that a spreadsheet keeps")
        text = "".join(self._text)
        self._paragraphs.append(text if text.isprintable() else _as_meant(text))
        self._text.clear()


def _count(attributes: Attributes, name: str) -> int:
    return max(1, int(attributes.get(name, 1)))


def _as_meant(text: str) -> str:
    return _WHITE_SPACE.sub(_A_GAP, text).strip(_A_GAP).translate(_AS_MEANT)
