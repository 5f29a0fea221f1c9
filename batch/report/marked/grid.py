"""Where things stand in a worksheet's XML, found in one pass over it."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BufferedReader
from xml.parsers.expat import ExpatError, XMLParserType

from batch.report.marked.marks import CannotMark
from batch.report.marked.xml_part import is_utf8, new_parser, prefix_of

MOST_ROWS, MOST_COLUMNS = 1 << 20, 1 << 14
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_STRICT = "http://purl.oclc.org/ooxml/spreadsheetml/main"
_BLOCK = 1 << 20
_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]+)")
_BEFORE_NOTES = frozenset(
    {
        *("sheetPr", "dimension", "sheetViews", "sheetFormatPr", "cols", "sheetData"),
        *("sheetCalcPr", "sheetProtection", "protectedRanges", "scenarios", "autoFilter"),
        *("sortState", "dataConsolidate", "customSheetViews", "mergeCells", "phoneticPr"),
        *("conditionalFormatting", "dataValidations", "hyperlinks", "printOptions"),
        *("pageMargins", "pageSetup", "headerFooter", "rowBreaks", "colBreaks"),
        *("customProperties", "cellWatches", "ignoredErrors", "smartTags", "drawing"),
    }
)


@dataclass(slots=True)
class Heading:
    """A cell of the row of headings: its type, what stands in it, and its look."""

    kind: str
    look: int
    text: str = ""


@dataclass(slots=True)
class Grid:
    """Where a worksheet's rows begin, and what there is in them.

    Columns count from 0. `numbers`, `starts`, `last_columns`: of each row its number, the place
    in the XML and the furthest cell, -1 if it has none. `used`: the furthest column in which
    anything stands, `calculated`: those with formulas. `notes_place`: where the element belongs
    that names the drawing of the notes, if there is none; `notes_link` is its identifier.
    """

    header_row: int
    prefix: str = ""
    numbers: array[int] = field(default_factory=lambda: array("i"))
    starts: array[int] = field(default_factory=lambda: array("q"))
    last_columns: array[int] = field(default_factory=lambda: array("i"))
    data_start: int = -1
    data_end: int = -1
    used: int = -1
    calculated: set[int] = field(default_factory=set)
    headings: dict[int, Heading] = field(default_factory=dict)
    notes_place: int = -1
    notes_link: str | None = None
    drawing_link: str | None = None


def scan(xml: BufferedReader, header_row: int) -> Grid:
    """Find what is where. CannotMark if that is not as in any workbook that a program writes."""
    scanner = _Scanner(header_row)
    try:
        while block := xml.read(_BLOCK):
            scanner.take(block)
        scanner.take(b"")
    except (ExpatError, ValueError) as error:
        raise CannotMark("its worksheet is damaged") from error
    if not scanner.grid.headings:
        raise CannotMark(f"its row {header_row} is not found")
    return scanner.grid


class _Scanner:
    def __init__(self, header_row: int) -> None:
        self.grid = Grid(header_row)
        self._parser = new_parser()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start_of_all
        self._depth = 0
        self._begun = False

    def take(self, block: bytes) -> None:
        if not self._begun and not is_utf8(block):
            raise CannotMark("its worksheet is in another encoding than UTF-8")
        self._begun = True
        self._parser.Parse(block, not block)

    def _start_of_all(self, name: str, attributes: dict[str, str]) -> None:
        self.grid.prefix = prefix = prefix_of(name)
        vocabulary = attributes.get(f"xmlns:{prefix[:-1]}" if prefix else "xmlns")
        if vocabulary == _STRICT:
            raise CannotMark("it is saved as Strict Open XML")
        if vocabulary != MAIN or name != f"{prefix}worksheet":
            raise CannotMark("its worksheet is not as Excel writes them")
        self._outside()

    def _outside(self) -> None:
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        grid, own = self.grid, name.removeprefix(self.grid.prefix)
        if self._depth == 0:
            at = self._parser.CurrentByteIndex
            if own not in _BEFORE_NOTES and grid.data_start >= 0 and grid.notes_place < 0:
                grid.notes_place = at
            elif own in _BEFORE_NOTES:
                grid.notes_place = -1
            self._remember(own, attributes, at)
        elif own == "mergeCell":
            last = attributes.get("ref", "").rpartition(":")[2]
            grid.used = max(grid.used, place_of(last)[1])
        self._depth += 1

    def _remember(self, own: str, attributes: dict[str, str], at: int) -> None:
        grid = self.grid
        link = next((v for name, v in attributes.items() if name.endswith(":id")), "")
        if own == "legacyDrawing":
            grid.notes_link = link
        elif own == "drawing":
            grid.drawing_link = link
        elif own == "sheetData":
            if grid.data_start >= 0:
                raise CannotMark("its worksheet is not as Excel writes them")
            grid.data_start = at
            _Rows(grid, self._parser, self._end_of_data)

    def _end_of_data(self, name: str) -> None:
        self.grid.data_end = self._parser.CurrentByteIndex
        self._outside()
        self._end(name)

    def _end(self, _: str) -> None:
        self._depth -= 1
        if self._depth < 0 and self.grid.notes_place < 0:
            self.grid.notes_place = self._parser.CurrentByteIndex


class _Rows:
    """Tells the grid of the rows until the data end: nine of ten seconds are spent here."""

    __slots__ = (
        *("_cell_tag", "_column", "_data_tag", "_filling_tags", "_finish", "_formula_tag", "_grid"),
        *("_header_row", "_number", "_parser", "_places", "_row_tag", "_row", "_tag", "_text_tags"),
    )

    def __init__(self, grid: Grid, parser: XMLParserType, finish: Callable[[str], None]) -> None:
        self._grid = grid
        self._parser = parser
        self._header_row = grid.header_row
        self._finish = finish
        tags = (grid.prefix + name for name in ("row", "c", "f", "sheetData"))
        self._row_tag, self._cell_tag, self._formula_tag, self._data_tag = tags
        self._filling_tags = {grid.prefix + "v", grid.prefix + "is", self._formula_tag}
        self._text_tags = {grid.prefix + "v", grid.prefix + "t"}
        self._places: dict[str, int] = {}
        self._number, self._row, self._column, self._tag = 0, "", -1, ""
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._tag = name
        if name == self._cell_tag:
            previous = self._column
            if (reference := attributes.get("r")) is None:
                self._column += 1
            elif (letters := reference.removesuffix(self._row)) in self._places:
                self._column = self._places[letters]
            else:
                self._column = self._places[letters] = _column_of(reference, self._number)
            if not previous < self._column < MOST_COLUMNS:
                raise CannotMark(f"the cells of its row {self._number} are not in order")
            if self._number == self._header_row:
                self._start_heading(attributes)
        elif self._column > self._grid.used and name in self._filling_tags:
            self._grid.used = self._column
        elif name == self._row_tag:
            self._start_row(int(attributes.get("r", self._number + 1)))
        if name == self._formula_tag:
            self._grid.calculated.add(self._column)

    def _start_heading(self, attributes: dict[str, str]) -> None:
        heading = Heading(attributes.get("t", "n"), int(attributes.get("s", 0)))
        self._grid.headings[self._column] = heading

    def _start_row(self, number: int) -> None:
        if not self._number < number <= MOST_ROWS:
            raise CannotMark("its rows are not in order")
        self._number, self._row, self._column = number, str(number), -1
        self._grid.numbers.append(number)
        self._grid.starts.append(self._parser.CurrentByteIndex)
        is_header = number == self._header_row
        self._parser.CharacterDataHandler = self._text if is_header else None

    def _text(self, content: str) -> None:
        if self._tag in self._text_tags and self._column in self._grid.headings:
            self._grid.headings[self._column].text += content

    def _end(self, name: str) -> None:
        if name == self._row_tag:
            self._grid.last_columns.append(self._column)
        elif name == self._data_tag:
            self._finish(name)


def _column_of(reference: str, row: int) -> int:
    found_row, column = place_of(reference)
    if found_row != row:
        raise CannotMark(f"the cells of its row {row} are not in order")
    return column


def is_reference(text: str) -> bool:
    """Whether the text is a reference such as AB12."""
    return bool(_REFERENCE.fullmatch(text))


def place_of(reference: str) -> tuple[int, int]:
    """The row, from 1, and the column, from 0, of a reference such as AB12. CannotMark if it is
    none.
    """
    found = _REFERENCE.fullmatch(reference)
    if not found:
        raise CannotMark(f'a cell in it is called "{reference}"')
    column = 0
    for letter in found[1]:
        column = column * 26 + ord(letter) - ord("A") + 1
    return int(found[2]), column - 1
