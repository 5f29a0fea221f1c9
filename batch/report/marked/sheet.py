"""The worksheet that is marked, streamed from one archive to the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BufferedReader
from typing import IO

from batch.models import column_letter
from batch.report.marked.grid import MOST_COLUMNS, Grid, is_reference, place_of
from batch.report.marked.marks import (
    MESSAGE_HEADING,
    STATUS_HEADING,
    CannotMark,
    Mark,
    MarkedTable,
)
from batch.report.marked.rows import Columns, RowMarker
from batch.report.marked.xml_part import Element, XmlPart, whole, with_attribute

_BLOCK = 1 << 20
_STATUS_WIDTH, _MESSAGE_WIDTH = 14, 70  # characters
_USUAL_WIDTH = 9.14
_PIXELS = 7  # of a character


def columns_for(
    grid: Grid,
    table: MarkedTable,
    headings: Mapping[int, str],
    covered: Iterable[tuple[int, int]],
) -> Columns:
    """Those that are so headed and not calculated, else the first two right of all else that no
    picture covers: `covered` are the first and the last column of each. CannotMark if there is no
    room.
    """
    known: dict[str, int] = {}
    for column, heading in headings.items():
        if column not in grid.calculated:
            known.setdefault(heading.strip().casefold(), column)
    free = max(grid.used, table.width - 1) + 1
    for first, last in sorted(covered):
        if first <= free + 1 and last >= free:
            free = last + 1
    status = known.get(STATUS_HEADING, free)
    message = known.get(MESSAGE_HEADING, free + (status == free))
    new = frozenset({status, message} - set(known.values()))
    if max(status, message) >= MOST_COLUMNS:
        raise CannotMark("its worksheet has no free columns to the right")
    return Columns(status, message, new)


class Head:
    """What stands before a worksheet's rows."""

    def __init__(self, source: bytes) -> None:
        self._xml = XmlPart(source, is_whole=False)
        self._end = len(source)
        self._columns = self._xml.first(self._xml.root, "cols")
        self._ranges = [
            (whole(col.attributes, "min") - 1, whole(col.attributes, "max"), col)
            for col in (self._xml.named(self._columns, "col") if self._columns else ())
        ]

    def look(self, column: int) -> int:
        """That of the column's cells that are not written."""
        return whole(self._attributes(column), "style")

    def pixels(self, column: int) -> int:
        """How wide a column is."""
        given = self._attributes(column)
        if given.get("hidden") in {"1", "true"}:
            return 0
        return int(float(given.get("width", _USUAL_WIDTH)) * _PIXELS) + 5

    def deselect(self) -> None:
        """Let the worksheet not be among those that are edited together."""
        deselect(self._xml)

    def widen(self, columns: Columns, last_row: int) -> None:
        """Make room for the new columns."""
        dimension = self._xml.first(self._xml.root, "dimension")
        if dimension:
            self._widen_dimension(dimension, columns, last_row)
        widths = {columns.status: _STATUS_WIDTH, columns.message: _MESSAGE_WIDTH}
        own = {column: width for column, width in widths.items() if column in columns.new}
        if own:
            self._set_widths(own)

    def content(self) -> bytes:
        """It with its changes."""
        return self._xml.content()

    def _attributes(self, column: int) -> dict[str, str]:
        found = (col.attributes for first, end, col in self._ranges if first <= column < end)
        return next(found, {})

    def _widen_dimension(self, dimension: Element, columns: Columns, last_row: int) -> None:
        first, _, last = dimension.attributes.get("ref", "").partition(":")
        if not is_reference(last or first):
            return  # it is but a hint
        row, column = place_of(last or first)
        right = max(column, columns.status, columns.message)
        self._xml.set(dimension, ref=f"{first}:{column_letter(right)}{max(row, last_row)}")

    def _set_widths(self, own: Mapping[int, int]) -> None:
        p = self._xml.prefix
        pieces = [
            (
                column,
                f'<{p}col min="{column + 1}" max="{column + 1}" width="{width}" customWidth="1"/>',
            )
            for column, width in own.items()
        ]
        for first, end, col in self._ranges:
            edges = [first, *(column for column in sorted(own) if first <= column < end), end]
            starts = [first, *(column + 1 for column in edges[1:-1])]
            ends = [*edges[1:-1], end]
            for start, stop in zip(starts, ends, strict=True):
                if start < stop:
                    pieces.append((start, self._piece(col, start, stop)))
        text = "".join(piece for _, piece in sorted(pieces))
        start, end = self._end, self._end
        if self._columns:
            start, end = self._columns.start, self._columns.end
        self._xml.replace(start, end, f"<{p}cols>{text}</{p}cols>")

    def _piece(self, col: Element, start: int, end: int) -> str:
        source = self._xml.source(col)
        tag_end = source.index(">") + 1
        tag = with_attribute(with_attribute(source[:tag_end], "min", start + 1), "max", end)
        return tag + source[tag_end:]


def deselect(xml: XmlPart) -> bool:
    """Let a sheet not be among those that are edited together. Returns whether it was."""
    views = xml.first(xml.root, "sheetViews")
    selected = [
        view
        for view in (xml.named(views, "sheetView") if views else ())
        if view.attributes.get("tabSelected") in {"1", "true"}
    ]
    for view in selected:
        xml.set(view, tabSelected=0)
    return bool(selected)


def stream(
    source: BufferedReader,
    out: IO[bytes],
    grid: Grid,
    head: bytes,
    rows: Iterable[bytes],
    notes: Callable[[], str],
) -> None:
    """Write the worksheet, of which the source has given the head. `notes` is asked at last for
    the element that names their drawing.
    """
    out.write(head)
    out.write(source.read(grid.starts[0] - grid.data_start))
    out.writelines(rows)
    _copy(source, out, grid.notes_place - grid.data_end)
    out.write(notes().encode())
    _copy(source, out, -1)


def _copy(source: BufferedReader, out: IO[bytes], length: int) -> None:
    while block := source.read(_BLOCK if length < 0 else min(_BLOCK, length)):
        out.write(block)
        length -= len(block) if length > 0 else 0


def marked_rows(
    source: BufferedReader,
    grid: Grid,
    table: MarkedTable,
    marks: Iterable[Mark],
    marker: RowMarker,
) -> Iterator[bytes]:
    """The worksheet's rows, of which the first is what the source gives next, with their marks."""
    waiting = _ascending(marks, table.header_row)
    mark = next(waiting, None)
    ends = (*grid.starts[1:], grid.data_end)
    for number, start, end, last in zip(
        grid.numbers, grid.starts, ends, grid.last_columns, strict=True
    ):
        while mark and mark.row < number:
            yield marker.new_row(mark)
            mark = next(waiting, None)
        row = source.read(end - start)
        if mark and mark.row == number:
            yield marker.marked(row, number, last, mark)
            mark = next(waiting, None)
        elif number == table.header_row:
            yield marker.headed(row, number, _look_of_headings(grid, table))
        else:
            yield row
    while mark:
        yield marker.new_row(mark)
        mark = next(waiting, None)


def _ascending(marks: Iterable[Mark], above: int) -> Iterator[Mark]:
    for mark in marks:
        if mark.row <= above:
            raise RuntimeError(f"the mark of row {mark.row} comes after row {above}")
        above = mark.row
        yield mark


def _look_of_headings(grid: Grid, table: MarkedTable) -> int:
    """That of the last heading of the table."""
    return next(
        (
            heading.look
            for column, heading in sorted(grid.headings.items(), reverse=True)
            if column < table.width and heading.kind != "" and heading.text
        ),
        0,
    )
