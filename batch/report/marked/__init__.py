"""The person's own workbook with what became of each row: all that is in it is kept, for its parts
are copied as they are, and edited only where something is put in.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from xml.parsers.expat import ExpatError
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

from batch.files import replacing
from batch.report.marked.book import Book
from batch.report.marked.drawings import covered
from batch.report.marked.figures import figures_sheet
from batch.report.marked.grid import Grid, scan
from batch.report.marked.marks import (
    MESSAGE_HEADING,
    MOST_NOTES,
    STATUS_HEADING,
    CannotMark,
    Mark,
    MarkedTable,
)
from batch.report.marked.notes import Notes
from batch.report.marked.package import Package
from batch.report.marked.rows import RowMarker
from batch.report.marked.shared_texts import texts_at
from batch.report.marked.sheet import Head, columns_for, marked_rows, stream
from batch.report.marked.styles import Styles

__all__ = [
    "MESSAGE_HEADING",
    "MOST_NOTES",
    "STATUS_HEADING",
    "CannotMark",
    "Mark",
    "MarkedTable",
    "mark_workbook",
]

_FIGURES_NAME = "token-batch"
_FASTER = 4  # of zlib's levels: a third of the usual one's time for a few more bytes


def mark_workbook(
    original: Path,
    out: Path,
    table: MarkedTable,
    marks: Iterable[Mark],
    figures: Sequence[Sequence[str | int | float]],
    remarks: Sequence[str] = (),
) -> None:
    """Write the workbook with its marks, which come in ascending order of their rows, and with the
    run's figures as its first sheet: a title, then rows of cells, then the remarks.

    CannotMark if that is not safe; OSError if it cannot be written. Nothing is written then.
    """
    try:
        with (
            ZipFile(original) as archive,
            replacing(out) as temporary,
            ZipFile(temporary, "w", ZIP_DEFLATED, compresslevel=_FASTER) as marked,
        ):
            _Marking(Package(archive), table).write(marked, marks, figures, remarks)
    except (
        *(BadZipFile, ExpatError, zlib.error, EOFError, NotImplementedError),
        ValueError,  # of a number that is none
    ) as error:
        raise CannotMark("it is damaged, or no workbook of that kind") from error


class _Marking:
    def __init__(self, package: Package, table: MarkedTable) -> None:
        self._package = package
        self._table = table
        self._book = Book(package)
        self._part = self._book.worksheet(table.worksheet)
        with package.open(self._part) as xml:
            self._grid = scan(xml, table.header_row)
        with package.open(self._part) as xml:
            self._head = Head(xml.read(self._grid.data_start))
        self._styles_part = self._book.styles()
        self._styles = Styles(package.xml(self._styles_part))
        self._notes = Notes(package, self._part, self._grid, self._head.pixels)

    def write(
        self,
        out: ZipFile,
        marks: Iterable[Mark],
        figures: Sequence[Sequence[str | int | float]],
        remarks: Sequence[str],
    ) -> None:
        package, book = self._package, self._book
        book.become_plain()
        book.deselect(but=self._part)
        package.write_own_links(out)
        self._write_worksheet(out, marks)
        told = [*remarks, *self._of_notes()]
        book.put_first(figures_sheet(figures, told, self._styles), _FIGURES_NAME)
        package.put(self._styles_part, self._styles.content())
        package.write_rest(out)

    def _write_worksheet(self, out: ZipFile, marks: Iterable[Mark]) -> None:
        package, grid, head = self._package, self._grid, self._head
        headings = _headings(package, self._book, grid)
        columns = columns_for(grid, self._table, headings, covered(package, self._part, grid))
        head.deselect()
        head.widen(columns, max(grid.numbers))
        marker = RowMarker(grid.prefix, columns, self._styles, head.look)
        with package.open(self._part) as source, package.rewriting(out, self._part) as target:
            source.read(grid.data_start)
            noted = self._noted(marks)
            rows = marked_rows(source, grid, self._table, noted, marker)
            stream(source, target, grid, head.content(), rows, self._notes.finish)

    def _noted(self, marks: Iterable[Mark]) -> Iterator[Mark]:
        for mark in marks:
            self._notes.add_all(mark)
            yield mark

    def _of_notes(self) -> Iterator[str]:
        if self._notes.left_out:
            yield (
                f"The first {MOST_NOTES:,} of {self._notes.wanted:,} coloured cells have notes;"
                " the column batch_message tells of all."
            )


def _headings(package: Package, book: Book, grid: Grid) -> Mapping[int, str]:
    """The texts of the headings, by column."""
    shared = {
        int(heading.text): column
        for column, heading in grid.headings.items()
        if heading.kind == "s" and heading.text.strip().isdecimal()
    }
    texts = {column: heading.text for column, heading in grid.headings.items()}
    part = book.shared_texts()
    if shared and part:
        with package.open(part) as xml:
            found = texts_at(xml, frozenset(shared))
        texts |= {shared[number]: text for number, text in found.items()}
    return texts
