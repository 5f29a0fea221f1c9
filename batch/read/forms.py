"""Which form a file has: by its name, which its content must not belie."""

from __future__ import annotations

import codecs
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile, ZipFile

from charset_normalizer import from_bytes

from batch.errors import SheetError
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

_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")  # what an XLSX with a password consists of
_LOOKED_AT = 4096  # bytes at the file's start
_ZIP = b"PK\x03\x04"
_STARTS: tuple[tuple[bytes, Form], ...] = (
    (b"\x1f\x8b", "gz"),
    (bytes.fromhex("d0cf11e0a1b11ae1"), "xls"),
    # XLS before Excel 5 has no container: the start is that of its first record.
    (b"\x09\x00\x04\x00", "xls"),
    (b"\x09\x02\x06\x00", "xls"),
    (b"\x09\x04\x06\x00", "xls"),
)
_MEMBERS: tuple[tuple[str, Form], ...] = (
    ("xl/workbook.bin", "xlsb"),
    ("[content_types].xml", "xlsx"),
    ("content.xml", "ods"),
)
_SAVE = "open it in the program that made it and save it as an Excel workbook (.xlsx) or as CSV"
_UNREADABLE: tuple[tuple[bytes, str], ...] = (
    (b"%PDF", "it is a PDF"),
    (b"<html", "it is a web page, whatever its name says"),
    (b"<!doctype html", "it is a web page, whatever its name says"),
    (b"<table", "it is a web page, whatever its name says"),
    (b"<?xml", "it is an XML file, not a workbook"),
    (b"{\\rtf", "it is a text document"),
)


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
        raise SheetError(
            "it is no workbook, or a damaged one: open it in the program that made it and save it"
            " again as .xlsx"
        )
    raise SheetError(
        f"it is {_WHAT_IT_IS[content]} by its content: let its name end with .{content}"
    )


def form_by_content(path: Path) -> Form:
    """The form that the file's content has: text if nothing speaks for another one."""
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT)
    if not start:
        raise SheetError("it is empty")
    if start.startswith(_ZIP):
        return _archive(path)
    found = next((form for mark, form in _STARTS if start.startswith(mark)), None)
    if found == "xls" and _ENCRYPTED in path.read_bytes():
        raise SheetError("it is protected with a password: save it without one")
    if found:
        return found
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for mark, what in _UNREADABLE:
        if text.startswith(mark.lower()):
            raise SheetError(f"{what}: {_SAVE}")
    return "csv"


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_LOOKED_AT)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    likely = from_bytes(start).best()
    return likely is not None and b"\0" not in start


def _archive(path: Path) -> Form:
    try:
        with ZipFile(path) as archive:
            members = {name.lower() for name in archive.namelist()}
    except BadZipFile as error:
        raise SheetError(
            "it is damaged, perhaps cut short on its way: fetch or save it again"
        ) from error
    return next((form for member, form in _MEMBERS if member in members), "zip")
