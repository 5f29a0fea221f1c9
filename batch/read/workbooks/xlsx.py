"""XLSX and XLSM: calamine, and what it does not tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    SheetTypeEnum,
    SheetVisibleEnum,
)

from batch.errors import SheetError
from batch.models import Cell, Row
from batch.read.damage import damage_as
from batch.read.workbooks.package import Package, whole_tags
from batch.read.workbooks.unshown import Unshown, look_up
from batch.read.workbooks.worksheet import Area, Worksheet

_MOST_TEXTS = 10_000_000  # some 500 MB


def open_xlsx(path: Path) -> XlsxWorkbook:
    """Open the workbook. SheetError if it is none, or a damaged one."""
    with _translated():
        _refuse_what_has_no_bounds(path)
        return XlsxWorkbook(path, CalamineWorkbook.from_path(path))


class XlsxWorkbook:
    """An open workbook."""

    def __init__(self, path: Path, book: CalamineWorkbook) -> None:
        self._path = path
        self._book = book
        worksheets = [s for s in book.sheets_metadata if s.typ is SheetTypeEnum.WorkSheet]
        self.names: Sequence[str] = [sheet.name for sheet in worksheets]
        self.visible_names: Sequence[str] = [
            sheet.name for sheet in worksheets if sheet.visible is SheetVisibleEnum.Visible
        ]

    def worksheet(self, name: str) -> Worksheet:
        """The worksheet of that name."""
        with _translated():
            with ZipFile(self._path) as archive:
                package = Package(archive)
                part, is_calculated = _found_in(package, name)
                unshown = look_up(package, part, is_calculated=is_calculated)
            content = _Content(self._book.get_sheet_by_name(name), unshown)
        return Worksheet(
            name,
            content.width,
            content.rows,
            unshown.hidden_rows,
            [Area(*_from_one(first), *_from_one(last)) for first, last in content.merged],
        )


@dataclass(frozen=True)
class _Content:
    """A worksheet with the cells that calamine shows as empty though they are not."""

    shown: CalamineSheet
    unshown: Unshown

    @property
    def merged(self) -> Sequence[tuple[tuple[int, int], tuple[int, int]]]:
        return self.shown.merged_cell_ranges or ()

    @property
    def width(self) -> int:
        unshown = (max(cells) + 1 for cells in self.unshown.cells.values())
        return max(self._left + self.shown.width, *unshown, 0)

    def rows(self) -> Iterator[Row]:
        left = ("",) * self._left
        right = ("",) * (self.width - self._left - self.shown.width)
        number = 0
        with _translated():
            for number, cells in enumerate(self.shown.iter_rows(), 1):
                whole = (*left, *cells, *right) if left or right else tuple(cells)
                unshown = self.unshown.cells.get(number)
                yield Row(number, _with(unshown, whole) if unshown else whole)
        for beyond in sorted(row for row in self.unshown.cells if row > number):
            yield Row(beyond, _with(self.unshown.cells[beyond], ("",) * self.width))

    @property
    def _left(self) -> int:
        # Calamine leaves out the empty columns before the first that is used, but no rows.
        return self.shown.start[1] if self.shown.start else 0


def _with(unshown: Mapping[int, str], cells: Sequence[Cell]) -> tuple[Cell, ...]:
    return tuple(unshown.get(place, cell) for place, cell in enumerate(cells))


def _found_in(package: Package, worksheet: str) -> tuple[str, bool]:
    """The worksheet's part, and whether the workbook does not ask to be calculated when it is
    opened: xlsxwriter does, and gives every formula the result 0.
    """
    book = package.main_part()
    identifier, is_calculated = "", True
    for tag, attributes in package.tags(book):
        if tag == "sheet" and attributes["name"] == worksheet:
            identifier = next((v for key, v in attributes.items() if key.endswith(":id")), "")
        elif tag == "calcPr":
            is_calculated = attributes.get("fullCalcOnLoad") not in ("1", "true")
    return package.linked(book, identifier), is_calculated


def _from_one(place: tuple[int, int]) -> tuple[int, int]:
    row, column = place
    return row + 1, column


def _refuse_what_has_no_bounds(path: Path) -> None:
    """SheetError if the texts that cells share are too many or too long, BadZipFile if a part is
    larger than the archive says. Worksheets are checked when they are looked into; calamine
    believes the others, and would unpack them without end.
    """
    with ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.lower()
            if name.endswith((".xml", ".rels")) and "worksheets/sheet" not in name:
                with archive.open(member) as content:
                    texts = sum(tags.count(b"<si") for tags in whole_tags(content))
                if texts > _MOST_TEXTS:
                    raise SheetError(f"its cells share more than {_MOST_TEXTS:,} texts")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        with damage_as(_DAMAGED):
            yield
    except CalamineError as error:
        raise SheetError(_DAMAGED) from error
    except OverflowError as error:
        raise SheetError(
            "one of its cells holds a time beyond all calendars: correct or clear it"
        ) from error


_DAMAGED = "it is no Excel workbook, or a damaged one: open it in Excel and save it again as .xlsx"
