"""The rows of a worksheet, with the marks that belong into them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from batch.formulas import harmless_in_workbook
from batch.models import column_letter
from batch.report.marked.grid import place_of
from batch.report.marked.marks import MESSAGE_HEADING, STATUS_HEADING, Mark
from batch.report.marked.styles import FINE, TO_MEND, Styles
from batch.report.marked.xml_part import Element, XmlPart, text_element, whole

_START_TAG = re.compile(rb"""\s*<(?:[^"'>]|"[^"]*"|'[^']*')*>""")
_SPANS = re.compile(rb"""\sspans\s*=\s*("[^"]*"|'[^']*')""")


@dataclass(frozen=True, slots=True)
class Columns:
    """The places of the two columns that are filled, from 0, and which of them are new."""

    status: int
    message: int
    new: frozenset[int]


class RowMarker:
    """Puts marks into rows. `usual_look` is that of a column's cells that are not written."""

    def __init__(
        self, prefix: str, columns: Columns, styles: Styles, usual_look: Callable[[int], int]
    ) -> None:
        self._prefix = prefix
        self._columns = columns
        self._styles = styles
        self._usual_look = usual_look
        self._first = min(columns.status, columns.message)
        looks = "|".join(map(str, sorted(styles.marks))).encode()
        self._mark_before = re.compile(rb"""\ss=["'](?:%b)["']""" % looks) if looks else None
        self._message_look = styles.own()
        self._status_looks = {True: styles.own(colour=FINE), False: styles.own(colour=TO_MEND)}

    def marked(self, source: bytes, number: int, last_column: int, mark: Mark) -> bytes:
        """The row with its mark. `last_column`: where its furthest cell is."""
        status, message = self._columns.status, self._columns.message
        cells = {
            status: self._cell(number, status, mark.status, self._status_looks[mark.is_well]),
            message: self._cell(number, message, mark.message, self._message_look),
        }
        added = "".join(cells[column] for column in sorted(cells)).encode()
        if mark.notes or (self._mark_before and self._mark_before.search(source)):
            return self._rewritten(source, number, cells, mark.notes)
        if last_column < self._first:
            start = None
        elif last_column <= self._first + 1 == max(status, message):
            # Both columns of an earlier report, and nothing after them.
            start = f'<{self._prefix}c r="{column_letter(self._first)}{number}"'.encode()
        else:
            return self._rewritten(source, number, cells)
        return _with_last(source, added, start) or self._rewritten(source, number, cells)

    def new_row(self, mark: Mark) -> bytes:
        """A row for the mark of one that the worksheet does not have."""
        source = f'<{self._prefix}row r="{mark.row}"></{self._prefix}row>'
        return self.marked(source.encode(), mark.row, -1, mark)

    def headed(self, source: bytes, number: int, look: int) -> bytes:
        """The row of headings with those of the new columns, in the bold form of a look."""
        bold = self._styles.bold(look)
        names = {self._columns.status: STATUS_HEADING, self._columns.message: MESSAGE_HEADING}
        cells = {
            column: self._cell(number, column, name, bold)
            for column, name in names.items()
            if column in self._columns.new
        }
        return self._rewritten(source, number, cells) if cells else source

    def _cell(self, number: int, column: int, text: str, look: int) -> str:
        p, start = self._prefix, f'r="{column_letter(column)}{number}" s="{look}"'
        if not text:
            return f"<{p}c {start}/>"
        content = text_element(p, harmless_in_workbook(text))
        return f'<{p}c {start} t="inlineStr"><{p}is>{content}</{p}is></{p}c>'

    def _rewritten(
        self, source: bytes, number: int, cells: Mapping[int, str], wrong: Collection[int] = ()
    ) -> bytes:
        """The row with those cells in the place of what stood there, and the wrong ones filled."""
        xml = XmlPart(_opened(source))
        row = xml.root
        at = _cells(xml)
        marked_before = {
            column
            for column, cell in at.items()
            if whole(cell.attributes, "s") in self._styles.marks
        }
        for column in sorted({*cells, *wrong, *marked_before}):
            present = at.get(column)
            if column in cells and present:
                xml.replace(present.start, present.end, cells[column])
            elif present:
                look = whole(present.attributes, "s")
                is_wrong = column in wrong
                change = self._styles.marked if is_wrong else self._styles.unmarked
                xml.set(present, s=change(look))
            else:
                new = cells.get(column) or self._wrong(row, number, column)
                following = min((place for place in at if place > column), default=None)
                place = row.tail if following is None else at[following].start
                xml.insert(place, new)
        return xml.content()

    def _wrong(self, row: Element, number: int, column: int) -> str:
        has_look = row.attributes.get("customFormat") in {"1", "true"}
        look = whole(row.attributes, "s") if has_look else self._usual_look(column)
        filled = self._styles.marked(look)
        return f'<{self._prefix}c r="{column_letter(column)}{number}" s="{filled}"/>'


def _with_last(source: bytes, added: bytes, start: bytes | None) -> bytes | None:
    """The row with those cells at its end, or from the cell on that begins so; None if that takes
    a closer look.
    """
    tag, close = _START_TAG.match(source), source.rfind(b"</")
    if not tag or close < 0 or b"<!" in source or b"<?" in source:
        return None
    end = source.find(start) if start else close
    if end < 0:
        return None
    # Spans are but a hint, and a wrong one once the row is longer.
    opening = _SPANS.sub(b"", tag[0], count=1)
    return b"".join((opening, source[tag.end() : end], added, source[close:]))


def _opened(source: bytes) -> bytes:
    """The row with an end tag, and without spans."""
    tag = _START_TAG.match(source)
    if not tag:
        return source
    start = _SPANS.sub(b"", tag[0], count=1)
    if start.endswith(b"/>"):
        name = re.split(rb"[\s/]", start.lstrip()[1:], maxsplit=1)[0]
        start = start[:-2] + b"></" + name + b">"
    return start + source[tag.end() :]


def _cells(xml: XmlPart) -> dict[int, Element]:
    found: dict[int, Element] = {}
    column = -1
    for cell in xml.named(xml.root, "c"):
        reference = cell.attributes.get("r")
        column = place_of(reference)[1] if reference else column + 1
        found[column] = cell
    return found
