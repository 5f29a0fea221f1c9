"""What calamine does not tell of an XLSX file, looked up in its XML.

It shows some cells as empty although something stands in them: a formula's error, and a formula
saved by a program that calculates nothing. To take either for an empty cell would silently change
nothing where a change was meant. And it takes memory for every cell up to the furthest one,
however few there are.
"""

from __future__ import annotations

import posixpath
import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from xml.parsers.expat import ExpatError, ParserCreate
from zipfile import BadZipFile, ZipFile

from batch.errors import SheetError
from batch.formulas import NOT_CALCULATED

_BLOCK = 1 << 20  # bytes of XML in memory at a time
_MOST_CELLS = 25_000_000  # some 800 MB; a sheet of up to 26 columns never has much more
_BEYOND_Z = re.compile(rb"""r=["']([A-Z]{2,3})\d+["']""")
_ROW_OF_CELL = re.compile(rb"""r=["'][A-Z]{1,3}(\d+)["']""")
_LONGEST_START = 256  # bytes of a cell's tag, as far as its reference
_SIGNS = (b'"e"', b"'e'", b"<f", b":f")  # in any namespace: an error's type, a formula's tag
_LONGEST_SIGN = 3
_REFERENCE = re.compile(r"([A-Z]+)\d+")

Attributes = dict[str, str]


def refuse_too_wide(path: Path, worksheet: str) -> None:
    """SheetError if the cells up to the furthest one need more memory than there may be: calamine
    keeps them all, and one stray cell at the end of a sheet makes billions.
    """
    with _worksheet_xml(path, worksheet) as (package, part), package.open(part) as xml:
        rows, columns = _extent(xml)
    if rows * columns > _MOST_CELLS:
        raise SheetError(
            f'the worksheet "{worksheet}" reaches to row {rows:,} and over {columns:,} columns:'
            " delete the columns and rows beyond the table, or save it as CSV"
        )


def unshown_cells(path: Path, worksheet: str) -> Mapping[int, Mapping[int, str]]:
    """What stands in those cells, by row number (from 1) and place in the row (from 0)."""
    with _worksheet_xml(path, worksheet) as (package, part):
        with package.open(part) as xml:
            if not _has_signs(xml):  # in most sheets; saves two thirds of reading them
                return {}
        with package.open(part) as xml:
            return _Cells().found_in(xml)


@contextmanager
def _worksheet_xml(path: Path, worksheet: str) -> Iterator[tuple[_Package, str]]:
    try:
        with ZipFile(path) as archive:
            package = _Package(archive)
            yield package, package.worksheet(worksheet)
    except (BadZipFile, ExpatError, KeyError, StopIteration, ValueError, zlib.error) as error:
        raise SheetError("it is a damaged workbook: open it in Excel and save it again") from error


class _Package:
    """The parts of a workbook's archive, whose names are the same in any case."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._members = {name.casefold(): name for name in archive.namelist()}

    def open(self, part: str) -> IO[bytes]:
        return self._archive.open(self._members[part.casefold()])

    def worksheet(self, name: str) -> str:
        """The part in which the worksheet of that name is kept."""
        book = next(
            target for target, link in self._links("") if link["Type"].endswith("/officeDocument")
        )
        sheet = next(
            attributes
            for tag, attributes in self._tags(book)
            if tag == "sheet" and attributes["name"] == name
        )
        identifier = next(value for key, value in sheet.items() if key.endswith(":id"))
        return next(target for target, link in self._links(book) if link["Id"] == identifier)

    def _links(self, part: str) -> Iterator[tuple[str, Attributes]]:
        """The parts to which a part refers; those of the package itself for an empty name."""
        folder, name = posixpath.split(part)
        for tag, attributes in self._tags(posixpath.join(folder, "_rels", f"{name}.rels")):
            if tag == "Relationship":
                target = posixpath.join("/", folder, attributes["Target"])
                yield posixpath.normpath(target).lstrip("/"), attributes

    def _tags(self, part: str) -> list[tuple[str, Attributes]]:
        tags: list[tuple[str, Attributes]] = []
        parser = ParserCreate()
        parser.StartElementHandler = lambda tag, attributes: tags.append((_local(tag), attributes))
        with self.open(part) as xml:
            parser.ParseFile(xml)
        return tags


class _Cells:
    """Walks through a worksheet's XML and keeps the cells that calamine does not show."""

    def __init__(self) -> None:
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
        return dict(self._found)

    def _start(self, tag: str, attributes: Attributes) -> None:
        match _local(tag):
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
        match _local(tag):
            case "v":
                self._within_value = False
            case "c" if self._type == "e":
                self._found[self._row][self._place] = self._value or NOT_CALCULATED
            case "c" if self._has_formula and self._lacks_value():
                self._found[self._row][self._place] = NOT_CALCULATED

    def _lacks_value(self) -> bool:
        # A formula whose result is the empty text has a value, and it is typed as text.
        return self._value is None or (self._value == "" and self._type != "str")


def _local(tag: str) -> str:
    return tag.rpartition(":")[2]


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


def _extent(xml: IO[bytes]) -> tuple[int, int]:
    """The last row, and the number of columns as far as they are more than 26; else 0."""
    rows = columns = 0
    end = b""
    while block := xml.read(_BLOCK):
        text = end + block
        for letters in set(_BEYOND_Z.findall(text)):
            columns = max(columns, _column_of(letters.decode()) + 1)
        last_cell = max(text.rfind(b"<c "), text.rfind(b":c "), 0)
        if found := _ROW_OF_CELL.search(text, last_cell):
            rows = max(rows, int(found[1]))
        end = text[-_LONGEST_START:]
    return rows, columns


def _has_signs(xml: IO[bytes]) -> bool:
    end = b""
    while block := xml.read(_BLOCK):
        if any(sign in end + block for sign in _SIGNS):
            return True
        end = block[1 - _LONGEST_SIGN :]
    return False
