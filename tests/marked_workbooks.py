"""Workbooks to be marked, and what must be so in every one that was."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from zipfile import ZipFile

from openpyxl import load_workbook
from openpyxl.utils import column_index_from_string
from openpyxl.utils.cell import coordinate_from_string

from batch.report.marked import Mark, MarkedTable, mark_workbook

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
LINKS = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
TYPE = "application/vnd.openxmlformats-officedocument"
WORKSHEET_ORDER = (
    *("sheetPr", "dimension", "sheetViews", "sheetFormatPr", "cols", "sheetData", "sheetCalcPr"),
    *("sheetProtection", "protectedRanges", "scenarios", "autoFilter", "sortState"),
    *("dataConsolidate", "customSheetViews", "mergeCells", "phoneticPr", "conditionalFormatting"),
    *("dataValidations", "hyperlinks", "printOptions", "pageMargins", "pageSetup"),
    *("headerFooter", "rowBreaks", "colBreaks", "customProperties", "cellWatches"),
    *("ignoredErrors", "smartTags", "drawing", "legacyDrawing", "legacyDrawingHF", "drawingHF"),
    *("picture", "oleObjects", "controls", "webPublishItems", "tableParts", "extLst"),
)
FIGURES: list[list[str | int | float]] = [
    ["Run 2026-11-21"],
    ["updated", 2],
    ["invalid", 1],
    ["Requests", 3],
]
HEADER = '<row r="1"><c r="A1" t="inlineStr"><is><t>id</t></is></c></row>'
_NS = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'


def mark(row: int, message: str = "", **notes: str) -> Mark:
    """A row that is well unless something is said of it; `notes` by column: B="no date"."""
    places = {column_index_from_string(name) - 1: text for name, text in notes.items()}
    is_well = not (message or notes)
    return Mark(row, "updated" if is_well else "invalid", message, is_well, places)


def marked(
    original: Path,
    marks: Iterable[Mark],
    *,
    worksheet: str = "Fleet",
    header_row: int = 1,
    width: int = 2,
    remarks: Iterable[str] = (),
) -> Path:
    """The workbook with its marks, which is sound."""
    out = original.with_name("report.xlsx")
    table = MarkedTable(worksheet, header_row, width)
    mark_workbook(original, out, table, marks, FIGURES, tuple(remarks))
    assert_sound(out)
    return out


def worksheet(rows: str, before: str = "", after: str = "") -> str:
    """A worksheet's XML."""
    return f"<worksheet {_NS} {_R}>{before}<sheetData>{rows}</sheetData>{after}</worksheet>"


def book(
    folder: Path, sheet: str | bytes, changes: Mapping[str, str | bytes] | None = None
) -> Path:
    """A workbook of one worksheet, "Fleet", with parts added, replaced, or (if empty) left out."""
    package = "http://schemas.openxmlformats.org/package/2006"
    links = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    parts: dict[str, str | bytes] = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package'
        '.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{TYPE}.spreadsheetml.sheet.main+xml"/>'
        f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{TYPE}.spreadsheetml'
        '.worksheet+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1"'
        f' Type="{links}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {_NS} {_R}><sheets><sheet name="Fleet" sheetId="7"'
        ' r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="rId1" Type="{links}/worksheet" Target="worksheets/sheet1.xml"/>'
        "</Relationships>",
        "xl/worksheets/sheet1.xml": sheet,
    }
    parts.update(changes or {})
    path = folder / "original.xlsx"
    with ZipFile(path, "w") as archive:
        for name, content in parts.items():
            if content:
                archive.writestr(name, content)
    return path


def part(path: Path, name: str) -> str:
    """A part's XML."""
    with ZipFile(path) as archive:
        return archive.read(name).decode()


def names(path: Path) -> list[str]:
    """Those of all parts."""
    with ZipFile(path) as archive:
        return archive.namelist()


def assert_sound(path: Path) -> None:
    """Every part is well-formed, declared and linked, and every sheet as the schema has it."""
    with ZipFile(path) as archive:
        assert archive.testzip() is None
        assert max(Counter(name.lower() for name in archive.namelist()).values()) == 1
        roots = {
            name: ET.fromstring(archive.read(name))  # noqa: S314 - of our own making
            for name in archive.namelist()
            if name.endswith((".xml", ".rels", ".vml")) and archive.read(name)
        }
    _assert_declared(roots["[Content_Types].xml"], names(path))
    for name, root in roots.items():
        if name.endswith(".rels"):
            _assert_linked(name, root, names(path))
        if root.tag == f"{MAIN}worksheet":
            _assert_sheet(root)
    _assert_book(roots)
    load_workbook(path)


def _assert_declared(types: Any, parts: list[str]) -> None:
    known = {name.lower() for name in parts}
    suffixes = {e.get("Extension").lower() for e in types if e.tag.endswith("Default")}
    overrides = [e.get("PartName").lower().lstrip("/") for e in types if e.tag.endswith("Override")]
    assert max(Counter(overrides).values()) == 1
    assert set(overrides) <= known
    assert all(
        n in overrides or n.rpartition(".")[2] in suffixes for n in known - {"[content_types].xml"}
    )


def _assert_linked(name: str, links: Any, parts: list[str]) -> None:
    known = {part.lower() for part in parts}
    base = posixpath.dirname(posixpath.dirname(name))
    assert max(Counter(link.get("Id") for link in links).values(), default=1) == 1
    for link in links:
        if link.get("TargetMode") != "External":
            target = posixpath.normpath(posixpath.join("/", base, link.get("Target")))
            assert target.lstrip("/").lower() in known


def _assert_sheet(sheet: Any) -> None:
    order = [WORKSHEET_ORDER.index(e.tag.removeprefix(MAIN)) for e in sheet if MAIN in e.tag]
    assert order == sorted(order)
    assert (
        max(Counter(order).get(WORKSHEET_ORDER.index(n), 0) for n in ("cols", "legacyDrawing")) < 2
    )
    ranges = [(int(c.get("min")), int(c.get("max"))) for c in sheet.iter(f"{MAIN}col")]
    assert all(last < first for (_, last), (first, _) in pairwise(ranges))
    assert all(first <= last for first, last in ranges)
    number = 0
    for row in sheet.iter(f"{MAIN}row"):
        assert int(row.get("r", number + 1)) > number
        number = int(row.get("r", number + 1))
        column = 0
        for cell in row.iter(f"{MAIN}c"):
            if reference := cell.get("r"):
                letters, its_row = coordinate_from_string(reference)
                assert its_row == number
                assert column_index_from_string(letters) > column
                column = column_index_from_string(letters)
            else:
                column += 1


def _assert_book(roots: Mapping[str, Any]) -> None:
    book_ = next(root for root in roots.values() if root.tag == f"{MAIN}workbook")
    sheets = list(book_.find(f"{MAIN}sheets"))
    for attribute in ("name", "sheetId", f"{LINKS}id"):
        assert len({sheet.get(attribute).lower() for sheet in sheets}) == len(sheets)
    views = (view for root in roots.values() for view in root.iter(f"{MAIN}sheetView"))
    assert sum(view.get("tabSelected") in {"1", "true"} for view in views) == 1
    styles = next(root for root in roots.values() if root.tag == f"{MAIN}styleSheet")
    for name in ("fonts", "fills", "cellXfs"):
        assert int(styles.find(f"{MAIN}{name}").get("count")) == len(styles.find(f"{MAIN}{name}"))
    looks = styles.find(f"{MAIN}cellXfs")
    assert all(int(x.get("fillId", 0)) < len(styles.find(f"{MAIN}fills")) for x in looks)
    assert all(int(x.get("fontId", 0)) < len(styles.find(f"{MAIN}fonts")) for x in looks)
    shapes = [e.get("id") for r in roots.values() for e in r.iter() if e.tag.endswith("vml}shape")]
    assert len(set(shapes)) == len(shapes)


def notes(path: Path, worksheet: str = "Fleet") -> dict[str, str]:
    """The texts of a worksheet's notes, by cell; of ours without the name that each begins with."""
    sheet: Any = load_workbook(path)[worksheet]
    cells = (cell for row in sheet.iter_rows() for cell in row if cell.comment)
    return {cell.coordinate: cell.comment.text.removeprefix("token-batch: ") for cell in cells}


def cell(path: Path, reference: str) -> str:
    """A cell of the worksheet as it is written."""
    found = re.search(
        rf'<(?:\w+:)?c [^>]*r="{reference}".*?(/>|</(?:\w+:)?c>)', sheet_of(path), re.DOTALL
    )
    assert found
    return found[0]


def sheet_of(path: Path) -> str:
    """The XML of the person's worksheet, where that is the first part of its kind."""
    return part(path, "xl/worksheets/sheet1.xml")
