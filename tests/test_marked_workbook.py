from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from zipfile import ZipFile

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from libreoffice import SOFFICE, WHY_SKIPPED, LibreOffice
from marked_workbooks import (
    HEADER,
    MAIN,
    TYPE,
    book,
    cell,
    mark,
    marked,
    names,
    notes,
    part,
    sheet_of,
    worksheet,
)
from openpyxl import Workbook, load_workbook
from openpyxl.chart import BarChart, Reference
from openpyxl.comments import Comment
from openpyxl.styles import Font, PatternFill
from openpyxl.worksheet.datavalidation import DataValidation

from batch.read import open_sheet
from batch.report.marked import CannotMark, Mark, MarkedTable, mark_workbook

CARDS = Path(__file__).parent.parent / "sample_csvs" / "cards.xlsx"
STRICT = "http://purl.oclc.org/ooxml/spreadsheetml/main"
MACROS = "application/vnd.ms-excel.sheet.macroEnabled"
ROWS = HEADER + '<row r="2" spans="1:2"><c r="A2"><v>1</v></c><c r="B2"><v>2</v></c></row>'


def fleet(tmp_path: Path, **changes: Any) -> tuple[Workbook, Any, Path]:
    """An openpyxl workbook of two tokens."""
    made = Workbook()
    sheet: Any = made.active
    sheet.title = "Fleet"
    for row in (["id", "comment"], [1, "one"], [2, "two"]):
        sheet.append(row)
    return made, sheet, tmp_path / "original.xlsx"


def simple(tmp_path: Path, rows: str = ROWS, before: str = "", after: str = "") -> Path:
    return book(tmp_path, worksheet(rows, before, after))


def values(path: Path, worksheet: str = "Fleet") -> list[list[Any]]:
    sheet: Any = load_workbook(path)[worksheet]
    return [[c.value for c in row] for row in sheet.iter_rows()]


# What is put in


def test_two_columns_stand_right_of_the_table(tmp_path: Path) -> None:
    out = marked(simple(tmp_path), [mark(2, "no such token")])

    assert values(out) == [
        ["id", None, "batch_status", "batch_message"],
        [1, 2, "invalid", "no such token"],
    ]
    sheet: Any = load_workbook(out)["Fleet"]
    assert sheet["C1"].font.b
    assert sheet["C2"].fill.fgColor.rgb == "FFFDE9D9"
    assert sheet.column_dimensions["D"].width == 70


def test_a_wrong_cell_keeps_its_look_and_gets_a_fill_and_a_note(tmp_path: Path) -> None:
    made, sheet, path = fleet(tmp_path)
    sheet["B2"].font = Font(name="Courier", italic=True)
    sheet["B2"].number_format = "0.000"
    made.save(path)

    out = marked(path, [mark(2, B="Too long. Accepted: 100 characters."), mark(3)])

    cell_ = load_workbook(out)["Fleet"]["B2"]
    assert (cell_.font.name, cell_.font.i, cell_.number_format) == ("Courier", True, "0.000")
    assert cell_.fill.fgColor.rgb == "FFFFC7B3"
    assert notes(out) == {"B2": "Too long. Accepted: 100 characters."}
    assert load_workbook(out)["Fleet"]["B3"].fill.fill_type is None


def test_the_figures_stand_first_and_open_first(tmp_path: Path) -> None:
    made, _, path = fleet(tmp_path)
    made.create_sheet("token-BATCH").sheet_view.tabSelected = True
    made.active = 1
    made.save(path)

    out = marked(path, [], remarks=["Nothing was sent."])

    opened = load_workbook(out)
    assert opened.sheetnames == ["token-batch 2", "Fleet", "token-BATCH"]
    assert opened.active is opened["token-batch 2"]
    cells = [[c for c in row if c is not None] for row in values(out, "token-batch 2")]
    assert cells == [
        *(["Run 2026-11-21"], [], ["updated", 2], ["invalid", 1], ["Requests", 3], []),
        ["Nothing was sent."],
    ]


def test_it_reads_as_before(tmp_path: Path) -> None:
    path = tmp_path / "cards.xlsx"
    path.write_bytes(CARDS.read_bytes())
    before = open_sheet(path)
    marks = [mark(row.number, "=1+1", C="wrong") for row in before.rows()]

    out = marked(path, marks, worksheet="Ladebrikker", header_row=4, width=8)

    after = open_sheet(out)
    assert (after.worksheet, after.columns[:8]) == ("Ladebrikker", before.columns)
    assert [column.header for column in after.columns[8:]] == ["batch_status", "batch_message"]
    assert all(column.told for column in after.columns[8:])
    assert [row.cells[:8] for row in after.rows()] == [row.cells for row in before.rows()]
    assert {row.cells[9] for row in after.rows()} == {"=1+1"}


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=A1", "=A1"),
        ("a\0b\rc", "a_x0000_b_x000D_c"),
        ("_x0041_", "_x005F_x0041_"),
        ("\ud800", "_xD800_"),
        ("<&\">'", "&lt;&amp;&quot;&gt;'"),
        (" two\nlines ", " two\nlines "),
        ("'=1", "''=1"),
        ("€" * 40_000, "€" * 32_766 + "…"),
        ("🚗" * 20_000, "🚗" * 16_383 + "…"),
    ],
)
def test_a_text_is_written_as_excel_does(tmp_path: Path, text: str, written: str) -> None:
    out = marked(simple(tmp_path), [mark(2, text)])

    assert f'<t xml:space="preserve">{written}</t>' in cell(out, "D2")


# Where the columns stand


@pytest.mark.parametrize(
    ("rows", "after"),
    [
        (ROWS + '<row r="9"><c r="G9"><v>0</v></c></row>', ""),
        (ROWS + '<row r="9"><c r="G9"><f>A1</f></c></row>', ""),
        (ROWS, '<mergeCells><mergeCell ref="B5:G5"/></mergeCells>'),
    ],
)
def test_they_stand_right_of_all_that_is_there(tmp_path: Path, rows: str, after: str) -> None:
    out = marked(simple(tmp_path, rows, after=after), [mark(2)])

    assert "updated" in cell(out, "H2")


def test_they_stand_right_of_a_chart_that_would_hide_them(tmp_path: Path) -> None:
    made, sheet, path = fleet(tmp_path)
    chart = BarChart()
    chart.add_data(Reference(sheet, min_col=1, min_row=1, max_row=3))
    sheet.add_chart(chart, "D1")
    made.save(path)

    out = marked(path, [mark(2)])

    headings = {c.value: c.column for c in load_workbook(out)["Fleet"][1]}
    assert headings["batch_status"] > 8
    assert part(out, "xl/charts/chart1.xml") == part(path, "xl/charts/chart1.xml")


def test_there_may_be_no_room_for_them(tmp_path: Path) -> None:
    path = simple(tmp_path, ROWS + '<row r="9"><c r="XFC9"><v>0</v></c></row>')

    with pytest.raises(CannotMark, match="no free columns"):
        marked(path, [mark(2)])
    assert not (tmp_path / "report.xlsx").exists()


def test_an_empty_cell_in_their_place_is_replaced(tmp_path: Path) -> None:
    rows = HEADER + '<row r="2"><c r="C2" s="0"/><c r="E2" s="0"/></row>'

    assert values(marked(simple(tmp_path, rows), [mark(2)]))[1] == [
        *(None, None, "updated", None, None)
    ]


def test_those_of_an_earlier_report_are_used_again(tmp_path: Path) -> None:
    once = marked(simple(tmp_path), [mark(2, "wrong")])
    with xlsxwriter.Workbook(shared := tmp_path / "shared.xlsx") as made:
        sheet = made.add_worksheet("Fleet")
        for number, row in enumerate(values(once)):
            sheet.write_row(number, 0, [value or "" for value in row])

    assert load_workbook(marked(once.rename(tmp_path / "first.xlsx"), [])).sheetnames == [
        "token-batch",
        "Fleet",
    ]
    once = marked(simple(tmp_path), [mark(2, "wrong")])
    for earlier in (once.rename(tmp_path / "earlier.xlsx"), shared):
        assert values(marked(earlier, [mark(2)], width=4)) == [
            ["id", None, "batch_status", "batch_message"],
            [1, 2, "updated", None],
        ]


def test_those_that_are_calculated_are_left_alone(tmp_path: Path) -> None:
    made, sheet, path = fleet(tmp_path)
    sheet["C1"], sheet["C2"], sheet["D1"] = "batch_status", "=A2", "batch_message"
    made.save(path)

    assert values(marked(path, [mark(2)], width=4))[:2] == [
        ["id", "comment", "batch_status", "batch_message", "batch_status"],
        [1, "one", "=A2", None, "updated"],
    ]


@pytest.mark.parametrize(
    ("columns", "result"),
    [
        ("", {3: 14, 4: 70}),
        ("<cols/>", {3: 14, 4: 70}),
        (
            '<cols><col min="1" max="16384" width="5" hidden="1"/></cols>',
            {1: 5, 3: 14, 4: 70},
        ),
        (
            '<cols><col min="4" max="4" width="5"/><col min="6" max="6" width="6"/></cols>',
            {6: 6, 4: 70},
        ),
        ('<cols><col min="2" max="3" width="5"/></cols>', {2: 5, 3: 14, 4: 70}),
    ],
)
def test_widths_do_not_overlap(tmp_path: Path, columns: str, result: dict[int, int]) -> None:
    sheet: Any = load_workbook(marked(simple(tmp_path, before=columns), [mark(2)]))["Fleet"]

    widths = {d.min: d.width for d in sheet.column_dimensions.values()}
    assert {place: widths[place] for place in result} == result
    assert not sheet.column_dimensions["C"].hidden


# Rows of every kind


@pytest.mark.parametrize(
    "rows",
    [
        "<row><c t='str'><v>id</v></c></row><row><c><v>1</v></c></row>",
        HEADER + '<row r="2"/>',
        HEADER + '<row r="2"></row>',
        HEADER,
        HEADER + '<row r="3"><c r="A3"><v>1</v></c></row>',
        HEADER + '<row r="2" hidden="1" ht="15.5" spans="1:1"><c r="A2"><v>1</v></c></row>',
        HEADER + '<row\n r = "2"\n><c r="A2"><v><![CDATA[1]]></v></c></row><!-- </row> -->',
        HEADER + "<row r='2' x='>'><c r='A2'><v>1</v></c></row>\n\n",
    ],
)
def test_a_mark_finds_its_row(tmp_path: Path, rows: str) -> None:
    out = marked(simple(tmp_path, rows), [mark(2, B="wrong", A="wrong too")])

    row = next(row for row in load_workbook(out)["Fleet"].iter_rows(min_row=2))
    assert [c.value for c in row[2:]] == ["invalid", None]
    assert [c.fill.fgColor.rgb for c in row[:2]] == ["FFFFC7B3"] * 2
    assert notes(out) == {"A2": "wrong too", "B2": "wrong"}
    assert "spans" not in sheet_of(out)


@pytest.mark.parametrize(
    "rows",
    [
        HEADER + '<row r="3"/><row r="2"/>',
        HEADER + '<row r="2"/><row r="2"/>',
        HEADER + '<row r="2"><c r="B2"/><c r="A2"/></row>',
        HEADER + '<row r="2"><c r="B3"/></row>',
        HEADER + '<row r="1048577"/>',
        HEADER + '<row r="two"/>',
        '<row r="2"><c r="A2"><v>1</v></c></row>',
    ],
)
def test_rows_in_disorder_are_not_touched(tmp_path: Path, rows: str) -> None:
    with pytest.raises(CannotMark):
        marked(simple(tmp_path, rows), [mark(2)])


def test_marks_must_ascend(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="row 2"):
        marked(simple(tmp_path), [mark(3), mark(2)])


def test_a_cell_that_is_not_written_gets_the_look_of_its_row_or_column(tmp_path: Path) -> None:
    made, sheet, path = fleet(tmp_path)
    sheet.column_dimensions["C"].number_format = "0.00"
    sheet.row_dimensions[3].number_format = "0.000"
    made.save(path)

    out = marked(path, [mark(2, C="x"), mark(3, C="x")], width=3)

    sheet = load_workbook(out)["Fleet"]
    assert [sheet[c].number_format for c in ("C2", "C3")] == ["0.00", "0.000"]


# XML of every kind


def test_all_else_stays_byte_for_byte(tmp_path: Path) -> None:
    made, sheet, path = fleet(tmp_path)
    sheet.auto_filter.ref = "A1:B3"
    sheet.freeze_panes = "A2"
    made.create_sheet("Other")["A1"] = "=1+1"
    made.save(path)

    out = marked(path, [mark(2), mark(3)])

    changed = {name for name in names(path) if part(path, name) != part(out, name)}
    assert changed == {
        *("[Content_Types].xml", "xl/workbook.xml", "xl/_rels/workbook.xml.rels"),
        *("xl/styles.xml", "xl/worksheets/sheet1.xml"),
    }
    before, after = sheet_of(path), sheet_of(out)
    rows = before.index("</sheetData>")
    assert after.endswith(before[rows:])


def test_prefixes_are_kept(tmp_path: Path) -> None:
    sheet = (
        f'<x:worksheet xmlns:x="{MAIN[1:-1]}" xmlns:mc="urn:mc" mc:Ignorable="y"><x:sheetData>'
        '<x:row r="1"><x:c r="A1" t="str"><x:v>id</x:v></x:c></x:row></x:sheetData></x:worksheet>'
    )

    out = marked(book(tmp_path, sheet), [mark(2, A="wrong")])

    assert values(out)[1] == [None, None, "invalid", None]
    assert notes(out) == {"A2": "wrong"}
    assert 'mc:Ignorable="y"' in sheet_of(out)


@pytest.mark.parametrize(
    "after",
    [
        "<tableParts/>",
        '<pageMargins left="1" right="1" top="1" bottom="1" header="1" footer="1"/><picture/>',
        '<m:AlternateContent xmlns:m="m"><m:Choice><controls/></m:Choice></m:AlternateContent>',
        '<pageMargins left="1" right="1" top="1" bottom="1" header="1" footer="1"/>\n',
    ],
)
def test_the_notes_are_named_where_the_schema_has_them(tmp_path: Path, after: str) -> None:
    original = simple(tmp_path, after=after)
    out = tmp_path / "report.xlsx"

    mark_workbook(original, out, MarkedTable("Fleet", 1, 2), [mark(2, A="wrong")], [])

    head, _, tail = sheet_of(out).partition("<legacyDrawing ")
    assert "<pageMargins" not in tail
    assert "AlternateContent" not in head
    assert "<picture/>" not in head
    assert "<tableParts/>" not in head


@pytest.mark.parametrize("coding", ["utf-16", "utf-8-sig", "latin-1"])
def test_small_parts_may_be_in_another_encoding(tmp_path: Path, coding: str) -> None:
    declared = f'<?xml version="1.0" encoding="{coding.removesuffix("-sig")}"?>'
    path = simple(tmp_path)
    changes: dict[str, str | bytes] = {
        name: (declared + part(path, name)).encode(coding)
        for name in ("xl/workbook.xml", "[Content_Types].xml", "xl/_rels/workbook.xml.rels")
    }

    out = marked(book(tmp_path, worksheet(ROWS), changes), [mark(2)])

    assert values(out)[1] == [1, 2, "updated", None]


@pytest.mark.parametrize(
    ("sheet", "why"),
    [
        (worksheet(ROWS).encode("utf-16"), "encoding"),
        (
            worksheet(ROWS).replace(MAIN[1:-1], STRICT),
            "Strict",
        ),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + worksheet(ROWS), "entities"),
        (worksheet(ROWS)[:-20], "damaged"),
        ("<html/>", "Excel"),
    ],
)
def test_a_worksheet_that_cannot_be_marked_is_refused(
    tmp_path: Path, sheet: str | bytes, why: str
) -> None:
    with pytest.raises(CannotMark, match=why):
        marked(book(tmp_path, sheet), [mark(2)])


def test_what_is_no_such_workbook_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "original.xlsx"
    text.write_text("id\n")
    with pytest.raises(CannotMark):
        marked(text, [])
    for part_ in ("xl/workbook.xml", "_rels/.rels", "xl/worksheets/sheet1.xml"):
        with pytest.raises(CannotMark):
            marked(book(tmp_path, worksheet(ROWS), {part_: ""}), [])


def test_names_and_targets_in_every_form(tmp_path: Path) -> None:
    path = simple(tmp_path)
    links = part(path, "xl/_rels/workbook.xml.rels").replace("worksheets/", "/XL/Worksheets/")
    changes: dict[str, str | bytes] = {
        "xl/_rels/workbook.xml.rels": "",
        "XL/_rels/Workbook.xml.rels": links,
    }
    original, out = book(tmp_path, worksheet(ROWS), changes), tmp_path / "report.xlsx"

    mark_workbook(original, out, MarkedTable("Fleet", 1, 2), [mark(2)], [])

    assert "updated" in cell(out, "C2")
    assert set(names(original)) < set(names(out))


# The workbook around it


def test_what_an_edited_or_plain_workbook_cannot_have_is_left_out(tmp_path: Path) -> None:
    path = simple(tmp_path)
    office = "http://schemas.microsoft.com/office/2006/relationships"
    types = part(path, "[Content_Types].xml")
    types = types.replace(
        f"{TYPE}.spreadsheetml.sheet", "application/vnd.ms-excel.sheet.macroEnabled"
    )
    bin_ = '<Default Extension="bin" ContentType="application/vnd.ms-office.vbaProject"/><Default'
    changes: dict[str, str | bytes] = {
        "[Content_Types].xml": types.replace("<Default", bin_, 1),
        "xl/_rels/workbook.xml.rels": part(path, "xl/_rels/workbook.xml.rels").replace(
            "</R", f'<Relationship Id="rId9" Type="{office}/vbaProject" Target="vba.bin"/></R'
        ),
        "xl/vba.bin": "macros",
        "xl/_rels/vba.bin.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package'
        f'/2006/relationships"><Relationship Id="a" Type="{office}/s" Target="sign.bin"/>'
        "</Relationships>",
        "xl/sign.bin": "signature",
        "_rels/.rels": part(path, "_rels/.rels").replace(
            "</R",
            '<Relationship Id="s" Type="http://schemas.openxmlformats.org/package/2006/relationships'
            '/digital-signature/origin" Target="_xmlsignatures/origin.sigs"/></R',
        ),
        "_xmlsignatures/origin.sigs": "x",
    }

    out = marked(book(tmp_path, worksheet(ROWS), changes), [mark(2)])

    assert [name for name in names(out) if name.endswith((".bin", ".sigs", "bin.rels"))] == []
    assert "vbaProject" not in part(out, "xl/_rels/workbook.xml.rels")
    assert "digital-signature" not in part(out, "_rels/.rels")
    assert "macroEnabled" not in part(out, "[Content_Types].xml")


def test_sheets_of_macros_are_refused(tmp_path: Path) -> None:
    path = simple(tmp_path)
    links = part(path, "xl/_rels/workbook.xml.rels").replace('/worksheet"', '/xlMacrosheet"')

    with pytest.raises(CannotMark, match="macros"):
        marked(book(tmp_path, worksheet(ROWS), {"xl/_rels/workbook.xml.rels": links}), [])


def test_names_protection_and_hidden_sheets_stay(tmp_path: Path) -> None:
    with xlsxwriter.Workbook(path := tmp_path / "original.xlsx") as made:
        for name in ("First", "Fleet", "Secret"):
            sheet = made.add_worksheet(name)
            sheet.write_row(0, 0, ["id", "comment"])
        sheet.very_hidden()
        made.define_name("Fleet!Mine", "=Fleet!$A$1")
        made.worksheets()[1].print_area("A1:B2")
        made.worksheets()[1].activate()
        made.worksheets()[0].select()

    out = marked(path, [mark(2)])

    opened = load_workbook(out)
    assert opened.sheetnames == ["token-batch", "First", "Fleet", "Secret"]
    assert opened["Fleet"].defined_names["Mine"].value == "Fleet!$A$1"
    assert opened["Fleet"].print_area == "'Fleet'!$A$1:$B$2"
    assert opened["Secret"].sheet_state == "veryHidden"


def test_a_workbook_has_no_room_for_more_looks(tmp_path: Path) -> None:
    path = simple(tmp_path)
    looks = '<xf fontId="0"/>' * 64_000
    styles = (
        f'<styleSheet xmlns="{MAIN[1:-1]}"><cellXfs count="64000">{looks}</cellXfs></styleSheet>'
    )
    link = (
        '<Relationship Id="s" Target="styles.xml" Type="http://schemas.openxmlformats.org/'
        'officeDocument/2006/relationships/styles"/></R'
    )
    links = part(path, "xl/_rels/workbook.xml.rels").replace("</R", link)
    changes = {"xl/styles.xml": styles, "xl/_rels/workbook.xml.rels": links}

    with pytest.raises(CannotMark, match="looks"):
        marked(book(tmp_path, worksheet(ROWS), changes), [mark(2)])


# Notes


def test_our_note_is_put_after_theirs(tmp_path: Path) -> None:
    made, sheet, path = fleet(tmp_path)
    sheet["B2"].comment = Comment("Mine & yours", "Ida")
    sheet["A3"].comment = Comment("Other", "Bo")
    made.save(path)

    out = marked(path, [mark(2, A="wrong", B="wrong, too")])

    assert notes(out) == {
        "A2": "wrong",
        "B2": "Mine & yours\n\ntoken-batch: wrong, too",
        "A3": "Other",
    }
    assert notes(marked(out.rename(tmp_path / "again.xlsx"), [mark(3, A="also")]))["A3"] == (
        "Other\n\ntoken-batch: also"
    )


@pytest.mark.parametrize("theirs", [{"B2": "theirs"}, {}])
def test_what_an_earlier_report_marked_is_unmarked(tmp_path: Path, theirs: dict[str, str]) -> None:
    made, sheet, path = fleet(tmp_path)
    sheet["A2"].fill = sheet["B2"].fill = PatternFill("solid", fgColor="FF00FF00")
    for place, text in theirs.items():
        sheet[place].comment = Comment(text, "me")
    made.save(path)
    wrong = marked(path, [mark(2, A="wrong", B="wrong"), mark(3, B="wrong")])

    out = marked(wrong.rename(tmp_path / "mended.xlsx"), [mark(2), mark(3, B="still")], width=4)

    sheet = load_workbook(out)["Fleet"]
    assert notes(out) == {"B3": "still"} | theirs
    fills = {c: sheet[c].fill.fgColor.rgb for c in ("A2", "B2", "A3", "B3")}
    assert fills == {"A2": "FF00FF00", "B2": "FF00FF00", "A3": "00000000", "B3": "FFFFC7B3"}


def test_a_note_of_several_looks_is_kept(tmp_path: Path) -> None:
    with xlsxwriter.Workbook(path := tmp_path / "original.xlsx") as made:
        sheet = made.add_worksheet("Fleet")
        sheet.write_row(0, 0, ["id", "comment"])
        sheet.write_comment("A2", "theirs")

    out = path
    for again in range(2):
        out = marked(out, [mark(2, A="wrong")], width=4).rename(tmp_path / f"{again}.xlsx")
        assert notes(out) == {"A2": "theirs\n\ntoken-batch: wrong"}


def test_a_conversation_is_left_as_it_is(tmp_path: Path) -> None:
    made, sheet, path = fleet(tmp_path)
    sheet["B2"].comment = Comment("[Threaded comment]", "tc={1234}")
    made.save(path)

    out = marked(path, [mark(2, B="wrong")])

    assert notes(out) == {"B2": "[Threaded comment]"}


def test_notes_join_the_drawing_of_buttons(tmp_path: Path) -> None:
    with xlsxwriter.Workbook(path := tmp_path / "original.xlsx") as made:
        sheet = made.add_worksheet("Fleet")
        sheet.write_row(0, 0, ["id", "comment"])
        sheet.insert_button("E5", {"caption": "Press"})
        made.add_worksheet("Other").write_comment("A1", "there")

    out = marked(path, [mark(2, A="wrong")])

    assert notes(out) == {"A2": "wrong"}
    assert sheet_of(out).count("<legacyDrawing ") == 1
    drawing = part(out, "xl/drawings/vmlDrawing1.vml")
    assert 'data="1,3"' in drawing
    assert "_x0000_s3073" in drawing
    assert "Press" in drawing


def test_no_more_notes_than_excel_bears(tmp_path: Path) -> None:
    out = marked(simple(tmp_path), (mark(row, A="a", B="b") for row in range(2, 1502)))

    assert len(notes(out)) == 2_000
    assert load_workbook(out)["Fleet"]["B1501"].fill.fgColor.rgb == "FFFFC7B3"
    assert "The first 2,000 of 3,000 coloured cells have notes" in str(values(out, "token-batch"))


def test_notes_drawn_with_names_declared_on_each_shape_get_ours_well_formed(
    tmp_path: Path,
) -> None:
    made, sheet, path = fleet(tmp_path)
    sheet["B2"].comment = Comment("theirs", "me")
    made.save(path)
    with ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in parts if name.endswith(".vml"))
    declared = re.findall(rb' xmlns:[vox]="[^"]*"', parts[name])
    bare = re.sub(rb' xmlns:[vox]="[^"]*"', b"", parts[name])
    parts[name] = re.sub(rb"<([vox]):(\w+)", rb"<\1:\2" + b"".join(declared), bare)
    with ZipFile(path, "w") as archive:
        for part, content in parts.items():
            archive.writestr(part, content)

    out = marked(path, [mark(2, B="wrong"), mark(3, A="wrong")])

    assert notes(out) == {"A3": "wrong", "B2": "theirs\n\ntoken-batch: wrong"}
    with ZipFile(out) as archive:
        for part in archive.namelist():
            if part.endswith(".vml"):
                ET.fromstring(archive.read(part))  # noqa: S314 - of our own making


# Workbooks as programs write them

# An empty text is an empty cell, and where our columns come it is taken for one.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
VALUE = st.one_of(st.none(), st.integers(-999, 999), TEXT, st.booleans(), st.just(date(2026, 1, 2)))
GRID = st.lists(st.lists(VALUE, min_size=1, max_size=4), min_size=1, max_size=8)


def _dressed(sheet: Any, rows: list[list[Any]]) -> None:
    sheet.append(["id", "comment"])
    for row in rows:
        sheet.append([value if not str(value).startswith("=") else "x" for value in row])
    sheet["A2"].fill = PatternFill("solid", fgColor="FF00FF00")
    sheet["B2"].comment = Comment("theirs", "me")
    sheet["B2"].number_format = "0.00"
    sheet["A30"] = "=SUM(A1:A3)"
    sheet.merge_cells("A31:C32")
    sheet.column_dimensions["B"].width = 33
    sheet.add_data_validation(DataValidation("list", formula1='"yes,no"', sqref="B2:B9"))


def _look(cell: Any, *, with_fill: bool) -> tuple[Any, ...]:
    fill = cell.fill.fgColor.rgb if with_fill else None
    looks = (cell.font, cell.border, cell.alignment, cell.protection)
    return cell.value, cell.number_format, fill, *map(repr, looks)


@settings(max_examples=60, deadline=None)
@given(GRID, st.sets(st.tuples(st.integers(2, 12), st.integers(0, 5))))
def test_everything_of_the_original_is_there(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[Any]], wrong: set[tuple[int, int]]
) -> None:
    made, path = Workbook(), tmp_path_factory.mktemp("marked") / "original.xlsx"
    sheet: Any = made.active
    sheet.title = "Fleet"
    _dressed(sheet, rows)
    made.save(path)
    places = {row: {c: "no" for r, c in wrong if r == row} for row in range(2, 13)}

    out = marked(path, [Mark(row, "invalid", "no", False, n) for row, n in places.items()])

    before: Any = load_workbook(path)["Fleet"]
    after: Any = load_workbook(out)["Fleet"]
    for row in before.iter_rows():
        for old in row:
            new = after[old.coordinate]
            with_fill = (old.row, old.column - 1) not in wrong
            assert _look(old, with_fill=with_fill) == _look(new, with_fill=with_fill)
    assert after["B2"].comment.text.startswith("theirs")
    assert after.merged_cells.ranges == before.merged_cells.ranges
    assert after.column_dimensions["B"].width == 33
    assert len(after.data_validations.dataValidation) == 1


@pytest.mark.skipif(not SOFFICE, reason=WHY_SKIPPED)
@pytest.mark.timeout(180)
def test_libreoffice_opens_what_it_wrote_itself(tmp_path: Path) -> None:
    office = LibreOffice(tmp_path / "profile", "en-US")
    made, sheet, path = fleet(tmp_path)
    sheet["B2"].comment = Comment("theirs", "me")
    made.save(path)
    written = office.saved_as("xlsx", path, tmp_path)

    out = marked(written, [mark(2, B="wrong"), mark(3, A="wrong")])

    opened = office.saved_as("xlsx", out, tmp_path / "opened")
    assert notes(opened) == {"A3": "wrong", "B2": "theirs\n\ntoken-batch: wrong"}
    assert values(opened)[1] == [1, "one", "invalid", None]

    mended = marked(opened, [mark(2), mark(3)], width=4)

    assert {place: text.strip() for place, text in notes(mended).items()} == {"B2": "theirs"}
    assert load_workbook(mended)["Fleet"]["B2"].fill.fill_type is None
