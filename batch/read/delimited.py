"""Text sheets: CSV and TSV, with any of the usual delimiters and encodings."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TextIO

import pandas as pd

from batch.errors import SheetError
from batch.formulas import as_shown
from batch.models import Limits, Row
from batch.read.columns import (
    data_rows,
    find_header,
    head_of,
    heading,
    known_headings,
    no_header,
    recognise,
    too_many_columns,
    too_many_rows,
)
from batch.read.encodings import encoding_of
from batch.read.table import Table

DELIMITERS = (",", ";", "\t", "|")

_HEAD = 1 << 16  # characters in which the header must be
_CHUNK = 100_000  # cells in memory at a time; larger chunks are not faster
_LONGEST_LINE = 1 << 24  # characters
_MARKED = ("'", "=")
_TAB_NAMES = ("tab", r"\t")  # as a tab is written on a command line
_SEPARATOR_LINE = re.compile(r"sep=([^\"\r\n])[\r\n]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _TextFile:
    """A file with all that is needed to read its records, as far as it is known."""

    path: Path
    encoding: str
    delimiter: str = ""
    has_separator_line: bool = False

    @contextmanager
    def open(self) -> Iterator[TextIO]:
        """The text from its first record on."""
        with self.path.open(encoding=self.encoding, newline="") as file:
            if file.read(1) != "\ufeff":
                file.seek(0)
            if self.has_separator_line:
                file.readline()
            yield file


def read_delimited(
    path: Path,
    *,
    mapping: Mapping[str, str] | None,
    encoding: str | None,
    delimiter: str | None,
    limits: Limits,
) -> Table:
    """The table of a text file. What is not given is detected.

    The whole file has been read once when this returns: a quote that is never closed or a
    byte that cannot be decoded is known before the first row is used.
    """
    version = _version(path)
    text = _with_delimiter(_TextFile(path, encoding_of(path, encoding)), delimiter, mapping)
    with text.open() as file:
        head = head_of(_records_of(file.read(_HEAD), text.delimiter))
    header = find_header(head, mapping)
    if header is None:
        raise no_header(head, mapping)
    with text.open() as file:
        width = _widest(file, text.delimiter, header.number, limits)
    columns = recognise([heading(cell) for cell in header.cells], mapping)
    rows = partial(_rows, text, header.number, len(columns), width, version)
    return Table(header.number, columns, rows)


def _with_delimiter(
    text: _TextFile, wanted: str | None, mapping: Mapping[str, str] | None
) -> _TextFile:
    with text.open() as file:
        separator = _SEPARATOR_LINE.fullmatch(file.readline(_HEAD))
    text = replace(text, has_separator_line=separator is not None)
    named = wanted or (separator and separator[1])
    if named:
        return replace(text, delimiter=_checked(named))
    with text.open() as file:
        return replace(text, delimiter=_likeliest(file.read(_HEAD), mapping))


def _checked(wanted: str) -> str:
    delimiter = "\t" if wanted in _TAB_NAMES else wanted
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise SheetError(f'"{wanted}" cannot be a delimiter: name one character, or "tab"')
    return delimiter


def _likeliest(head: str, mapping: Mapping[str, str] | None) -> str:
    """The delimiter under which most headings are known, else the one with most columns."""

    def merit(delimiter: str) -> tuple[int, int]:
        rows = head_of(_records_of(head, delimiter))
        header = find_header(rows, mapping)
        known = known_headings(header, mapping) if header else 0
        return known, max((len(row.cells) for row in rows), default=0)

    return max(DELIMITERS, key=merit)


def _records_of(head: str, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
    for number, cells in enumerate(reader, 1):
        yield Row(number, tuple(map(as_shown, cells)))


def _widest(file: TextIO, delimiter: str, header_row: int, limits: Limits) -> int:
    """The number of cells in the longest row of a file that is well formed.

    pandas must be told it, and would take a quote that closes too late, with the rows that then
    vanish in one cell, for text.
    """
    number, width, rows = 1, 0, 0
    try:
        for cells in csv.reader(_lines(file), delimiter=delimiter, strict=True):
            width = max(width, len(cells))
            if width > limits.columns:
                raise too_many_columns(f"row {number} has {len(cells):,} cells", limits)
            if number > header_row and any(cells):
                rows += 1
            if rows > limits.rows:
                raise too_many_rows(limits)
            number += 1
    except csv.Error as error:
        raise SheetError(f"row {number}: {_malformed(error)}") from error
    return width


def _lines(file: TextIO) -> Iterator[str]:
    """The lines, as they are; SheetError before one is in memory that no sheet holds."""
    while line := file.readline(_LONGEST_LINE):
        if len(line) == _LONGEST_LINE:
            raise SheetError(
                f"one of its lines is longer than {_LONGEST_LINE:,} characters: it is no table,"
                " or its line ends are lost"
            )
        yield line


def _malformed(error: csv.Error) -> str:
    if "expected after" in str(error):
        return 'text goes on after a closing quote; write a quote within a text twice ("")'
    if "field limit" in str(error):
        return (
            f"a cell is longer than {csv.field_size_limit():,} characters: shorten it, or look"
            " for a quote that is opened and never closed"
        )
    return "a quote is opened and never closed; close it or take it out"


def _rows(
    text: _TextFile, header_row: int, columns: int, width: int, version: tuple[int, int]
) -> Iterator[Row]:
    if _version(text.path) != version:
        raise SheetError("it was changed after it was opened; start again")
    body = islice(enumerate(_records(text, width), 1), header_row, None)
    if width > columns:
        return data_rows(Row(number, _without_padding(cells, columns)) for number, cells in body)
    return data_rows(Row(number, cells) for number, cells in body)


def _without_padding(cells: tuple[str, ...], columns: int) -> tuple[str, ...]:
    end = len(cells)
    while end > columns and not cells[end - 1]:
        end -= 1
    return cells[:end]


def _records(text: _TextFile, width: int) -> Iterator[tuple[str, ...]]:
    with (
        text.open() as file,
        pd.read_csv(
            file,
            sep=text.delimiter,
            header=None,
            names=list(range(width)),
            index_col=False,
            dtype=object,
            na_filter=False,
            skip_blank_lines=False,  # they count in the numbers of the rows
            chunksize=max(1, _CHUNK // width),
        ) as chunks,
    ):
        for chunk in chunks:
            yield from zip(*(_restored(chunk[place].tolist()) for place in chunk), strict=True)


def _restored(texts: list[str]) -> list[str]:
    # Asking before the call halves the time: a million rows have nine million cells.
    return [as_shown(text) if text.startswith(_MARKED) else text for text in texts]


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
