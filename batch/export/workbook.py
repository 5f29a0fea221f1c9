"""The workbook of an export, made to be edited: the only xlsxwriter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from xlsxwriter import Workbook
from xlsxwriter.exceptions import FileCreateError
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from batch.errors import UsageError
from batch.export.columns import COLUMNS, ExportColumn, Kind
from batch.files import replacing
from batch.formulas import harmless_in_workbook
from batch.models import Cell, column_letter

_NUMBER_FORMATS = {
    Kind.NUMBER: "0",
    Kind.TEXT: "@",  # or a spreadsheet makes numbers and dates of what is typed
    Kind.DATE: "yyyy-mm-dd hh:mm:ss",  # the same in every country
    Kind.SWITCH: "@",
}
_MOST_ROWS = (1 << 20) - 1  # below the header
_DAY = "yyyy-mm-dd"
# Shown to the millisecond: LibreOffice saves as CSV what it shows, and cuts what it does not.
_TO_THE_MILLISECOND = "yyyy-mm-dd hh:mm:ss.000"
_SHADE = "#EDEDED"
_HEADER_SHADES = {True: "#D9EAD3", False: "#D0D0D0"}
_FROZEN_COLUMNS = 2  # id and label
_WIDEST, _NARROWEST = 42, 10  # characters
_ALLOWED = ("format_columns", "format_rows", "select_locked_cells", "sort", "autofilter")

_HOW_TO = (
    "Change cells of the green columns, save, and hand the file in: token-batch apply FILE",
    "An empty cell changes nothing. A row that is deleted leaves its token as it is.",
    "The clear marker (NULL, unless another is set) empties a field that may be empty.",
    "The grey columns are locked against slips.",
    "To sort or to delete rows, lift the protection: Review, Unprotect Sheet; it has no password.",
)


def write_workbook(path: Path, rows: Sequence[Sequence[Cell]], zone: ZoneInfo) -> None:
    """Write the tokens' rows, and a second sheet that explains the columns.

    OSError if it cannot be written, UsageError if there are more than a worksheet holds.
    """
    if len(rows) > _MOST_ROWS:
        raise UsageError(
            f"{len(rows):,} tokens are more than a worksheet holds: export them as .csv, or a part"
            " of them (--customer, --type)"
        )
    with replacing(path) as temporary, temporary.open("wb") as file:
        try:
            with Workbook(file, {"constant_memory": True}) as book:
                _write_tokens(book, book.add_worksheet("Tokens"), rows, zone)
                _write_explanation(book, book.add_worksheet("Columns"), zone)
        except FileCreateError as error:
            raise OSError(*error.args[0].args) from error


def _write_tokens(
    book: Workbook, sheet: Worksheet, rows: Sequence[Sequence[Cell]], zone: ZoneInfo
) -> None:
    last = max(len(rows), 1)
    formats = [_formats(book, column) for column in COLUMNS]
    for place, column in enumerate(COLUMNS):
        width = _width(_header(column, zone), (row[place] for row in rows), column)
        sheet.set_column(place, place, width, formats[place]["usual"])
        if column.kind is Kind.SWITCH:
            sheet.data_validation(1, place, last, place, _LIST)
    sheet.freeze_panes(1, _FROZEN_COLUMNS)
    sheet.autofilter(0, 0, last, len(COLUMNS) - 1)
    sheet.protect(options=dict.fromkeys(_ALLOWED, True))
    sheet.ignore_errors(
        {"number_stored_as_text": f"A1:{column_letter(len(COLUMNS) - 1)}{last + 1}"}
    )
    for place, column in enumerate(COLUMNS):
        sheet.write_string(0, place, _header(column, zone), _header_format(book, column))
    for number, row in enumerate(rows, 1):
        for place, cell in enumerate(row):
            _write(sheet, number, place, cell, formats[place])


_LIST: Mapping[str, Any] = {
    "validate": "list",
    "source": ["yes", "no"],
    "error_title": "Yes or no",
    "error_message": "Choose yes or no, or leave the cell empty to change nothing.",
}


def _write(
    sheet: Worksheet, number: int, place: int, cell: Cell, formats: Mapping[str, Format]
) -> None:
    match cell:
        case "":
            pass  # formatted by its column
        case str():
            sheet.write_string(number, place, harmless_in_workbook(cell), formats["usual"])
        case datetime():
            exact = "exact" if cell.microsecond else "usual"
            sheet.write_datetime(number, place, cell, formats[exact])
        case date():
            sheet.write_datetime(number, place, cell, formats["day"])
        case int():
            sheet.write_number(number, place, cell, formats["usual"])


def _formats(book: Workbook, column: ExportColumn) -> Mapping[str, Format]:
    usual = {"num_format": _NUMBER_FORMATS[column.kind], "locked": not column.is_editable}
    if not column.is_editable:
        usual["bg_color"] = _SHADE
    return {
        "usual": book.add_format(usual),
        "exact": book.add_format({**usual, "num_format": _TO_THE_MILLISECOND}),
        "day": book.add_format({**usual, "num_format": _DAY}),
    }


def _header_format(book: Workbook, column: ExportColumn) -> Format:
    shade = _HEADER_SHADES[column.is_editable]
    return book.add_format({"bold": True, "bg_color": shade, "bottom": 1, "num_format": "@"})


def _header(column: ExportColumn, zone: ZoneInfo) -> str:
    """With the zone of the times below it, unless it is the one that is meant without a word."""
    is_local = column.kind is Kind.DATE and column.is_editable and zone.key != "UTC"
    return f"{column.name} ({zone.key})" if is_local else column.name


def _width(header: str, cells: Iterable[Cell], column: ExportColumn) -> int:
    if column.kind is Kind.DATE:
        return max(len(_TO_THE_MILLISECOND), len(header)) + 2
    longest = max((len(str(cell)) for cell in cells), default=0)
    return min(max(longest, len(header), _NARROWEST) + 2, _WIDEST)


def _write_explanation(book: Workbook, sheet: Worksheet, zone: ZoneInfo) -> None:
    bold = book.add_format({"bold": True, "bottom": 1})
    wrapped = book.add_format({"text_wrap": True, "valign": "top"})
    for place, width in enumerate((34, 60, 12, 44)):
        sheet.set_column(place, place, width)
    sentences = (*_HOW_TO, f"Times without a zone are those of {zone.key}.")
    for number, sentence in enumerate(sentences):
        sheet.write_string(number, 0, sentence)
    first = len(sentences) + 1
    sheet.write_row(first, 0, ("In the sheet Tokens", "What it says", "Yours", "May be"), bold)
    for place, column in enumerate(COLUMNS):
        yours = "yes" if column.is_editable else "no"
        # The letter goes first: a cell with a heading alone would make this sheet a table, too.
        name = f"Column {column_letter(place)}, {column.name}"
        for cell, text in enumerate((name, column.about, yours, column.accepted)):
            sheet.write_string(first + 1 + place, cell, text, wrapped)
