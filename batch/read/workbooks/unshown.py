"""What calamine does not tell of an XLSX file, looked up in its XML.

It shows some cells as empty although something stands in them: a formula's error, and a formula
saved by a program that calculates nothing, which may also leave a 0. To take either for an empty
cell would silently change nothing where a change was meant. It does not know which rows are
hidden. And it takes memory for every cell up to the furthest one that is filled, however few
there are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO
from xml.parsers.expat import ParserCreate

from batch.errors import SheetError
from batch.formulas import NOT_CALCULATED
from batch.read.workbooks.package import Attributes, Package, local_name, whole_tags
from batch.read.workbooks.worksheet import MOST_COLUMNS, MOST_ROWS

_MOST_CELLS = 25_000_000  # some 800 MB; a sheet of up to 26 columns never has much more
# A reference beyond column Z or row 999,999, or written as Excel never does.
_FAR = re.compile(rb"""r=["'](?:[A-Z]{2,3}\d|[A-Z]?\d{7}|[^A-Z\d])""")
_ROW_OR_CELL = re.compile(rb"""<(?:\w+:)?(row|c)(?=[\s>/])([^<>]*)>(</)?""")
_PLACE = re.compile(rb"""(?:^|\s)r\s*=\s*["']\s*\$?([A-Za-z]{0,3})\$?(\d+)""")
_SIGNS = (b'"e"', b"'e'", b"<f", b":f")  # in any namespace: an error's type, a formula's tag
_ROW = re.compile(rb"""<(?:\w+:)?row(?=[\s>/])([^<>]*)>""")
_NUMBER = re.compile(rb"""\sr=["'](\d+)["']""")
_HIDDEN = re.compile(rb"""\shidden=["'](?:1|true|on)["']""")
_REFERENCE = re.compile(r"([A-Z]+)\d+")


@dataclass(frozen=True, slots=True)
class Unshown:
    """What `cells` hold that calamine shows as empty, by row number (from 1) and place in the row
    (from 0), and the numbers of the hidden rows.
    """

    cells: Mapping[int, Mapping[int, str]]
    hidden_rows: frozenset[int]


def look_up(package: Package, part: str, *, is_calculated: bool) -> Unshown:
    """What calamine will not tell of the worksheet in that part.

    `is_calculated`: whether a 0 may be believed to be a formula's result. SheetError if the cells
    up to the furthest one need more memory than there may be: one stray cell at the end of a
    sheet makes billions.
    """
    with package.open(part) as xml:
        signs = _Signs(xml)
    if signs.of_reach:
        with package.open(part) as xml:
            _refuse_too_large(*_reach(xml))
    cells: Mapping[int, Mapping[int, str]] = {}
    if signs.of_cells:  # in few sheets; to look closer takes three times as long as all else
        with package.open(part) as xml:
            cells = _Cells(is_calculated=is_calculated).found_in(xml)
    hidden_rows: frozenset[int] = frozenset()
    if signs.of_hidden:
        with package.open(part) as xml:
            hidden_rows = frozenset(_hidden(xml))
    return Unshown(cells, hidden_rows)


def _refuse_too_large(rows: int, columns: int) -> None:
    if rows > MOST_ROWS or columns > MOST_COLUMNS:
        raise SheetError("it holds something beyond the last row or column that there can be")
    if rows * columns > _MOST_CELLS:
        raise SheetError(
            f"it reaches to row {rows:,} and over {columns:,} columns: delete the columns and rows"
            " beyond the table, or save it as CSV"
        )


class _Signs:
    """What in a worksheet must be looked at more closely."""

    def __init__(self, xml: IO[bytes]) -> None:
        self.of_reach = self.of_cells = self.of_hidden = False
        for tags in whole_tags(xml):
            self._take(tags)

    def _take(self, tags: bytes) -> None:
        if b"<!" in tags:  # calamine takes a value in it for none
            raise SheetError(
                "its XML has sections or comments that no spreadsheet writes: open it in Excel"
                " and save it again"
            )
        is_far = _FAR.search(tags) or b" r =" in tags or b" r= " in tags
        self.of_reach = self.of_reach or bool(is_far)
        self.of_cells = self.of_cells or any(sign in tags for sign in _SIGNS)
        self.of_hidden = self.of_hidden or b"hidden=" in tags


def _reach(xml: IO[bytes]) -> tuple[int, int]:
    """The last row, and the number of columns as far as cells in them are filled."""
    rows = columns = 0
    for tags in whole_tags(xml):
        for tag, attributes, follows in _ROW_OR_CELL.findall(tags):
            is_empty = tag == b"c" and (attributes.endswith(b"/") or follows)
            place = None if is_empty else _PLACE.search(attributes)
            if place:
                rows = max(rows, int(place[2]))
                columns = max(columns, _column_of(place[1].decode().upper()) + 1)
    return rows, columns


def _hidden(xml: IO[bytes]) -> Iterator[int]:
    number = 0
    for tags in whole_tags(xml):
        for attributes in _ROW.findall(tags):
            found = _NUMBER.search(attributes)
            number = int(found[1]) if found else number + 1
            if _HIDDEN.search(attributes):
                yield number


class _Cells:
    """Walks through a worksheet's XML and keeps the cells that calamine does not show."""

    def __init__(self, *, is_calculated: bool) -> None:
        self._is_calculated = is_calculated
        self._zeros: list[tuple[int, int]] = []  # where the result of a formula is 0
        self._found: defaultdict[int, dict[int, str]] = defaultdict(dict)
        self._row = 0
        self._place = -1
        self._type = ""
        self._has_formula = False
        self._value: str | None = None
        self._within_value = False

    def found_in(self, xml: IO[bytes]) -> Mapping[int, Mapping[int, str]]:
        parser = ParserCreate()
        parser.StartElementHandler = self._start
        parser.CharacterDataHandler = self._text
        parser.EndElementHandler = self._end
        parser.ParseFile(xml)
        if not self._is_calculated:
            for row, place in self._zeros:
                self._found[row][place] = NOT_CALCULATED
        return dict(self._found)

    def _start(self, tag: str, attributes: Attributes) -> None:
        match local_name(tag):
            case "row":
                self._row = int(attributes.get("r", self._row + 1))
                self._place = -1
            case "c":
                self._place = _place_of(attributes.get("r", ""), self._place + 1)
                self._type = attributes.get("t", "")
                self._has_formula, self._value = False, None
            case "f":
                self._has_formula = True
            case "v":
                self._value, self._within_value = "", True

    def _text(self, text: str) -> None:
        if self._within_value:
            self._value = f"{self._value}{text}"

    def _end(self, tag: str) -> None:
        match local_name(tag):
            case "v":
                self._within_value = False
            case "c" if self._type == "e":
                self._found[self._row][self._place] = self._value or NOT_CALCULATED
            case "c" if self._has_formula and self._lacks_value():
                self._found[self._row][self._place] = NOT_CALCULATED
            case "c" if self._has_formula and self._value == "0":
                self._zeros.append((self._row, self._place))
            case "c" if self._has_formula:
                self._is_calculated = True  # a single other result shows it

    def _lacks_value(self) -> bool:
        # A formula whose result is the empty text has a value, and it is typed as text.
        return self._value is None or (self._value == "" and self._type != "str")


def _place_of(reference: str, following: int) -> int:
    """The place that a reference such as AB12 names, from 0; the following one without it."""
    found = _REFERENCE.fullmatch(reference)
    if not found:
        return following
    return _column_of(found[1])


def _column_of(letters: str) -> int:
    """The place of a column, from 0."""
    place = 0
    for letter in letters:
        place = place * 26 + ord(letter) - ord("A") + 1
    return place - 1
