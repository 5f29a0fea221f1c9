"""Which form a file has: by its name, which its content must not belie."""

from __future__ import annotations

import codecs
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Literal
from zipfile import ZipFile

from charset_normalizer import from_bytes

from batch.errors import SheetError
from batch.read.damage import damage_as
from batch.read.packed import Packing

WorkbookKind = Literal["xlsx", "xlsb", "xls", "ods"]
Kind = Literal["csv"] | WorkbookKind
Form = Kind | Packing

_BY_SUFFIX: dict[str, Form] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".xlsb": "xlsb",
    ".xls": "xls",
    ".ods": "ods",
    ".gz": "gz",
    ".zip": "zip",
}
_WHAT_IT_IS = {
    "csv": "a text file",
    "xlsx": "an Excel workbook",
    "xlsb": "a binary Excel workbook",
    "xls": "a workbook of old Excel",
    "ods": "an OpenDocument spreadsheet",
    "gz": "packed by gzip",
    "zip": "a zip archive",
}

_LOOKED_AT = 4096  # bytes at the file's start
_ZIP = b"PK\x03\x04"
_GZIP = b"\x1f\x8b"
_COMPOUND = bytes.fromhex("d0cf11e0a1b11ae1")
_BEFORE_EXCEL_5 = (b"\x09\x00\x04\x00", b"\x09\x02\x06\x00", b"\x09\x04\x06\x00")
# What stands in a compound file's directory.
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_WORKBOOK = ("Workbook".encode("utf-16-le"), "Book".encode("utf-16-le"))
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_OTHERS = (
    ("<", "it is a web page or another text with markup, whatever its name says"),
    ("mime-version:", "it is a web page, whatever its name says"),
    ("%pdf", "it is a PDF"),
    ("{\\rtf", "it is a text document"),
    ("id;p", "it is a SYLK file"),
)
_SAVE = "open it in the program that made it and save it as an Excel workbook (.xlsx) or as CSV"
_DAMAGED = "it is damaged, or not what its name says: fetch it or save it again"


def form_by_name(path: Path) -> Form:
    """The form that the file's name says. SheetError if it has none, or the content another."""
    if path.is_dir():
        raise SheetError("it is a folder: name a file in it")
    form = _BY_SUFFIX.get(path.suffix.lower())
    if form is None:
        *others, last = _BY_SUFFIX
        raise SheetError(f"the name of a sheet ends with {', '.join(others)} or {last}")
    content = form_by_content(path)
    if content == form:
        return form
    if content == "csv" and not _is_text(path):
        raise SheetError(f"{_DAMAGED} as .xlsx")
    raise SheetError(
        f"it is {_WHAT_IT_IS[content]} by its content: let its name end with .{content}"
    )


def form_by_content(path: Path) -> Form:
    """The form that the file's content has: text if nothing speaks for another one.

    SheetError if it is one that cannot be read.
    """
    start = _start_of(path)
    if not start:
        raise SheetError("it is empty")
    if start.startswith(_ZIP):
        return _archive(path)
    if start.startswith(_GZIP):
        return "gz"
    if start.startswith(_COMPOUND):
        return _compound(path)
    if start.startswith(_BEFORE_EXCEL_5):
        return "xls"
    encoding = "utf-16" if start.startswith(_UTF_16) else "utf-8-sig"
    text = start.decode(encoding, "replace").lstrip().lower()
    for beginning, what in _OTHERS:
        if text.startswith(beginning):
            raise SheetError(f"{what}: {_SAVE}")
    return "csv"


def _start_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LOOKED_AT)


def _is_text(path: Path) -> bool:
    start = _start_of(path)
    likely = from_bytes(start).best()
    return start.startswith(_UTF_16) or (likely is not None and b"\0" not in start)


def _archive(path: Path) -> Form:
    with damage_as(_DAMAGED), ZipFile(path) as archive:
        members = {name.lower() for name in archive.namelist()}
        kind = archive.read("mimetype") if "mimetype" in members else b""
    if "content.xml" in members:
        if kind and b"spreadsheet" not in kind:
            raise SheetError(f"it is an OpenDocument file, but no spreadsheet: {_SAVE}")
        return "ods"
    if "[content_types].xml" not in members:
        return "zip"
    if not any(name.startswith("xl/") for name in members):
        raise SheetError(f"it is an Office document, but no workbook: {_SAVE}")
    return "xlsb" if "xl/workbook.bin" in members else "xlsx"


def _compound(path: Path) -> Form:
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        has_password = content.find(_ENCRYPTED) >= 0
        is_workbook = any(content.find(name) >= 0 for name in _WORKBOOK)
    if has_password:
        raise SheetError("it is protected with a password: save it without one")
    if not is_workbook:
        raise SheetError(f"it is a document of another program, not a workbook: {_SAVE}")
    return "xls"
