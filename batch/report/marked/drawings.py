"""What lies upon a worksheet's cells: charts and pictures."""

from __future__ import annotations

from collections.abc import Iterator

from batch.report.marked.grid import Grid
from batch.report.marked.package import Package
from batch.report.marked.xml_part import Element, XmlPart, whole

_COLUMN = 9525 * 69  # the usual width, in the units of drawings
_ROW = 9525 * 20


def covered(package: Package, part: str, grid: Grid) -> Iterator[tuple[int, int]]:
    """The first and the last column of all that lies beside the worksheet's rows from the headings
    on.
    """
    links = package.links(part) if grid.drawing_link else ()
    target = next((k.target for k in links if k.identifier == grid.drawing_link), None)
    if not target:
        return
    xml = package.xml(target)
    for name in ("twoCellAnchor", "oneCellAnchor"):
        for anchor in xml.within(xml.root, name):
            (top, left), (bottom, right) = _edges(xml, anchor)
            if top < grid.numbers[-1] and bottom >= grid.header_row - 1:
                yield left, right


def _edges(xml: XmlPart, anchor: Element) -> tuple[tuple[int, int], tuple[int, int]]:
    start, end = _place(xml, anchor, "from"), _place(xml, anchor, "to")
    size = xml.first(anchor, "ext")
    if size and not xml.first(anchor, "to"):
        wide, high = whole(size.attributes, "cx"), whole(size.attributes, "cy")
        end = start[0] + high // _ROW + 1, start[1] + wide // _COLUMN + 1
    return start, end


def _place(xml: XmlPart, anchor: Element, name: str) -> tuple[int, int]:
    row, column = xml.first(anchor, name, "row"), xml.first(anchor, name, "col")
    return _number(row), _number(column)


def _number(element: Element | None) -> int:
    return int(element.text) if element and element.text.strip().isdecimal() else 0
