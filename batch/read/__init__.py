"""The read stage: a sheet's file becomes its columns and its numbered rows. Nothing is guessed
of what the cells mean.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal
from zipfile import BadZipFile, ZipFile

from batch.errors import SheetError
from batch.models import MAX_UNPACKED, Column, Row
from batch.read.delimited import read_delimited
from batch.read.packed import Packing, unpack
from batch.read.table import Table
from batch.read.workbook import read_workbook

__all__ = ["STANDARD_INPUT", "Sheet", "open_sheet"]

STANDARD_INPUT = "-"

Kind = Literal["csv", "xlsx"]
Form = Kind | Packing

_FORMS: dict[str, Form] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".gz": "gz",
    ".zip": "zip",
}
_GZIP_START = b"\x1f\x8b"
_ZIP_START = b"PK\x03\x04"  # of every XLSX, too
_WHAT_IT_IS = {
    "xlsx": "it is an Excel workbook",
    "gz": "it is packed by gzip",
    "zip": "it is a zip archive",
}
_OF_A_WORKBOOK = "[Content_Types].xml"


@dataclass(frozen=True)
class Sheet:
    """A sheet that can be read as a table of tokens.

    `name`: the file's, or "standard input". `sha256`: of the file's bytes, in hexadecimal.
    `worksheet`: empty for a text file. `header_row`: as the spreadsheet numbers it.
    `columns`: all of them in order, from the spreadsheet's column A on.
    """

    name: str
    sha256: str
    kind: Kind
    worksheet: str
    header_row: int
    columns: tuple[Column, ...]
    _table: Table = field(repr=False)

    def rows(self) -> Iterator[Row]:
        """The rows below the header that are not blank, the same ones at every call.

        Texts are exactly as in the file. A row with more cells than there are columns has
        them all. SheetError if a text file has been changed or has gone since it was opened.
        """
        with _named(self.name):
            yield from self._table.rows()


def open_sheet(
    source: str | Path,
    *,
    worksheet: str | None = None,
    mapping: Mapping[str, str] | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    max_unpacked: int = MAX_UNPACKED,
) -> Sheet:
    """Open a CSV, TSV, XLSX or XLSM file, a packed text file, or standard input for "-".

    `mapping`: heading to field, beyond the headings that are known. `worksheet`: by name, of
    a workbook. `encoding`, `delimiter`: of a text file; a workbook needs neither. What is not
    given is detected. `max_unpacked`: bytes that a packed file may grow to. SheetError if the
    file is no table of tokens, and why.
    """
    from_standard_input = str(source) == STANDARD_INPUT
    path = _copy_of_standard_input() if from_standard_input else Path(source)
    name = "standard input" if from_standard_input else path.name
    with _named(name):
        form = _form_by_content(path) if from_standard_input else _form_by_name(path)
        sha256 = _sha256(path)
        kind: Kind
        match form:
            case "gz" | "zip":
                path, kind = _unpacked(path, form, max_unpacked), "csv"
            case _:
                kind = form
        if kind == "csv":
            _refuse_worksheet(worksheet)
            table = read_delimited(path, mapping=mapping, encoding=encoding, delimiter=delimiter)
        else:
            table = read_workbook(path, mapping=mapping, worksheet=worksheet)
        return Sheet(name, sha256, kind, table.worksheet, table.header_row, table.columns, table)


def _copy_of_standard_input() -> Path:
    with _temporary() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
    return Path(copy.name)


def _unpacked(path: Path, packing: Packing, most: int) -> Path:
    with _temporary() as copy:
        unpack(path, packing, copy, most=most)
    unpacked = Path(copy.name)
    if _form_by_content(unpacked) != "csv":
        raise SheetError("it does not hold a text file: unpack it and hand in what it holds")
    return unpacked


@contextmanager
def _temporary() -> Iterator[IO[bytes]]:
    """A file that is there until the program ends: rows are read from it again and again."""
    with tempfile.NamedTemporaryFile(prefix="token-batch-", delete=False) as file:
        atexit.register(Path(file.name).unlink, missing_ok=True)
        yield file


def _form_by_name(path: Path) -> Form:
    if path.is_dir():
        raise SheetError("it is a folder: name a file in it")
    form = _FORMS.get(path.suffix.lower())
    if form is None:
        *others, last = _FORMS
        raise SheetError(f"the name of a sheet ends with {', '.join(others)} or {last}")
    content = _form_by_content(path)
    if form == "csv" and content != "csv":
        raise SheetError(f"{_WHAT_IT_IS[content]} by its content: let its name end with .{content}")
    return form


def _form_by_content(path: Path) -> Form:
    with path.open("rb") as file:
        start = file.read(len(_ZIP_START))
    if not start:
        raise SheetError("it is empty")
    if start.startswith(_GZIP_START):
        return "gz"
    if start == _ZIP_START:
        return "xlsx" if _is_workbook(path) else "zip"
    return "csv"


def _is_workbook(path: Path) -> bool:
    try:
        with ZipFile(path) as archive:
            return _OF_A_WORKBOOK in archive.namelist()
    except BadZipFile:
        return True  # most are; reading it will say what is wrong with it


def _refuse_worksheet(worksheet: str | None) -> None:
    if worksheet is not None:
        raise SheetError("it is a text file, which has no worksheets: leave out --sheet")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Puts the file's name before what is wrong with it."""
    try:
        yield
    except SheetError as error:
        raise SheetError(f"{name}: {error}") from error
    except FileNotFoundError as error:
        raise SheetError(f"{name}: there is no such file") from error
    except OSError as error:
        raise SheetError(f"{name}: it cannot be read ({error.strerror})") from error
