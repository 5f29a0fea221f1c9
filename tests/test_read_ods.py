from __future__ import annotations

import tracemalloc
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import count, groupby, islice
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.errors import SheetError
from batch.formulas import NOT_CALCULATED
from batch.models import Cell
from batch.read.workbooks.ods import open_ods
from batch.read.workbooks.worksheet import MOST_COLUMNS, MOST_ROWS, Area, Worksheet

SHEETS = Path(__file__).parent / "sheets"

_ODF = "urn:oasis:names:tc:opendocument:xmlns:"
_NAMESPACES = " ".join(
    [
        *(f'xmlns:{name}="{_ODF}{name}:1.0"' for name in ("office", "table", "text", "style")),
        f'xmlns:draw="{_ODF}drawing:1.0"',
        'xmlns:calcext="urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0"',
    ]
)


def document(tables: str, styles: str = "") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {_NAMESPACES}>'
        f"<office:automatic-styles>{styles}</office:automatic-styles>"
        f"<office:body><office:spreadsheet>{tables}</office:spreadsheet></office:body>"
        "</office:document-content>"
    )


def package(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(
                {"manifest": "META-INF/manifest.xml"}.get(name, f"{name}.xml"), content
            )
    return path


def table(rows: str, attributes: str = "") -> str:
    return f'<table:table table:name="Fleet" {attributes}>{rows}</table:table>'


def worksheet(folder: Path, rows: str) -> Worksheet:
    return open_ods(package(folder / "fleet.ods", content=document(table(rows)))).worksheet("Fleet")


def row(*cells: str, attributes: str = "") -> str:
    return f"<table:table-row {attributes}>{''.join(cells)}</table:table-row>"


def cell(attributes: str = "", content: str = "") -> str:
    return f"<table:table-cell {attributes}>{content}</table:table-cell>"


def text(content: str, attributes: str = "") -> str:
    return cell(f'office:value-type="string" {attributes}', f"<text:p>{content}</text:p>")


def number(value: object, attributes: str = "") -> str:
    return cell(f'office:value-type="float" office:value="{value}" {attributes}')


def rows_of(sheet: Worksheet) -> list[tuple[int, tuple[Cell, ...]]]:
    return [(row.number, row.cells) for row in sheet.rows()]


def only_cell(folder: Path, xml: str) -> Cell:
    """The cell that the XML gives; the one after it shows that a row was read."""
    ((_, (value, _)),) = rows_of(worksheet(folder, row(xml, text("end"))))
    return value


def refusal(path: Path) -> str:
    with pytest.raises(SheetError) as refused:
        open_ods(path)
    return str(refused.value)


def test_a_workbook_of_libreoffice_is_read_as_its_person_sees_it() -> None:
    book = open_ods(SHEETS / "ods_libreoffice.ods")
    assert book.names == ["Ladebrikker", "Gemt", "Tom"]
    assert book.visible_names == ["Ladebrikker", "Tom"]
    fleet = book.worksheet("Ladebrikker")
    assert fleet.hidden_rows == {8}
    assert fleet.merged == [Area(6, 1, 7, 2)]
    assert fleet.width == 8
    assert rows_of(fleet) == FLEET
    assert (book.worksheet("Tom").width, rows_of(book.worksheet("Tom"))) == (0, [])


def test_without_the_extensions_of_libreoffice_an_error_is_still_no_empty_cell() -> None:
    book = open_ods(SHEETS / "ods_libreoffice_odf12.ods")
    assert rows_of(book.worksheet("Ladebrikker")) == FLEET


def test_a_workbook_of_sheetjs_with_white_space_between_its_cells_is_read() -> None:
    fleet = open_ods(SHEETS / "ods_sheetjs.ods").worksheet("Ladebrikker")
    rows = rows_of(fleet)
    assert [number for number, _ in rows] == [number for number, _ in FLEET]
    assert rows[0] == FLEET[0]
    assert rows[1][1][:2] == FLEET[1][1][:2]
    assert rows[-3:] == FLEET[-3:]
    assert fleet.merged == [Area(6, 1, 7, 2)]


def _fleet() -> Iterator[tuple[int, tuple[Cell, ...]]]:
    moment = datetime(2026, 12, 31, 14, 30, 0, 120000)  # noqa: DTZ001 no sheet has a zone
    rows: list[tuple[int, list[Cell]]] = [
        (1, ["id", "comment", "validFrom", "isActive", "n"]),
        (2, [100001.0, "two  spaces\nand a line ", moment, True, 1.5]),
        (3, [100002.0, "#DIV/0!", date(2026, 1, 2), False, "#N/A"]),
        (4, [100003.0, "ab", "#REF!", "#NAME?"]),
        (5, [100004.0, " lead", time(14, 30), "tab\there", timedelta(days=2, hours=3)]),
        (6, [100005.0, "merged", "", "", 0.25]),
        (7, [100006.0]),
        (8, [100007.0, "hidden", "", "", -3.0]),
        (9, [100008.0, "Mette Sørensen 😀"]),
        (10, [100009.0, "shown as nothing"]),
        (13, [*[""] * 7, "far"]),
    ]
    for number_, cells in rows:
        yield number_, (*cells, *[""] * (8 - len(cells)))


FLEET = list(_fleet())


@pytest.mark.parametrize(
    ("xml", "value"),
    [
        (number("100001"), 100001.0),
        (number("-1.5E-3"), -0.0015),
        (number("1,5"), "1,5"),
        (cell('office:value-type="percentage" office:value="0.25"'), 0.25),
        (cell('office:value-type="currency" office:value="5" office:currency="DKK"'), 5.0),
        (cell('office:value-type="boolean" office:boolean-value="true"'), True),
        (cell('office:value-type="boolean" office:boolean-value="false"'), False),
        (cell('office:value-type="boolean" office:boolean-value="maybe"'), "maybe"),
        (cell('office:value-type="float"', "<text:p>5 kr</text:p>"), "5 kr"),
        (cell("", "<text:p>untyped</text:p>"), "untyped"),
        (cell('office:value-type="novel"', "<text:p>x</text:p>"), "x"),
    ],
)
def test_a_value_keeps_its_type(tmp_path: Path, xml: str, value: Cell) -> None:
    found = only_cell(tmp_path, xml)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        ("2026-12-31", date(2026, 12, 31)),
        ("2026-12-31T00:00:00", date(2026, 12, 31)),
        ("2026-12-31T14:30:00", datetime(2026, 12, 31, 14, 30)),  # noqa: DTZ001
        ("2026-12-31T14:30", datetime(2026, 12, 31, 14, 30)),  # noqa: DTZ001
        ("2026-12-31T14:30:00.12", datetime(2026, 12, 31, 14, 30, 0, 120000)),  # noqa: DTZ001
        ("2026-12-31T14:29:59.999999999", datetime(2026, 12, 31, 14, 30)),  # noqa: DTZ001
        ("2026-12-30T23:59:59.999999999", date(2026, 12, 31)),
        ("2026-12-31T14:30:00Z", datetime(2026, 12, 31, 14, 30, tzinfo=UTC)),
        ("2026-12-31T00:00:00Z", datetime(2026, 12, 31, tzinfo=UTC)),
        ("2026-12-31T01:30:00+01:00", datetime(2026, 12, 31, 0, 30, tzinfo=UTC)),
        ("12026-12-31", "12026-12-31"),
        ("-0044-03-15", "-0044-03-15"),
        ("2026-02-30", "2026-02-30"),
        ("2026-12-31T25:00:00", "2026-12-31T25:00:00"),
        ("9999-12-31T23:59:59.9999999", "9999-12-31T23:59:59.9999999"),
        ("0001-01-01T00:00:00+01:00", "0001-01-01T00:00:00+01:00"),
        ("2026-W01-1", "2026-W01-1"),
        ("31-12-2026", "31-12-2026"),
    ],
)
def test_a_date_is_a_date_and_else_the_text_that_stands_for_it(
    tmp_path: Path, stored: str, value: Cell
) -> None:
    shown = "<text:p>31-12-26</text:p>"
    found = only_cell(
        tmp_path, cell(f'office:value-type="date" office:date-value="{stored}"', shown)
    )
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("stored", "value"),
    [
        ("PT14H30M00S", time(14, 30)),
        ("PT14H30M00.5S", time(14, 30, 0, 500000)),
        ("PT00H00M01,25S", time(0, 0, 1, 250000)),
        ("PT23H59M59.9999999S", timedelta(days=1)),
        ("PT0S", time(0)),
        ("PT90M", time(1, 30)),
        ("PT51H00M00S", timedelta(days=2, hours=3)),
        ("P2DT3H", timedelta(days=2, hours=3)),
        ("-PT01H00M00S", -timedelta(hours=1)),
        ("P1Y2M", "P1Y2M"),
        ("PT", "PT"),
        ("P99999999999D", "P99999999999D"),
        ("14:30", "14:30"),
    ],
)
def test_a_duration_under_a_day_is_a_time(tmp_path: Path, stored: str, value: Cell) -> None:
    found = only_cell(tmp_path, cell(f'office:value-type="time" office:time-value="{stored}"'))
    assert (type(found), found) == (type(value), value)


RUBY = "<text:ruby-base>base</text:ruby-base><text:ruby-text>above</text:ruby-text>"
FRAME = "<draw:frame><draw:text-box><text:p>no</text:p></draw:text-box></draw:frame>"


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ("<text:p>a</text:p><text:p/><text:p>b</text:p>", "a\n\nb"),
        ("<text:p>x<text:s text:c='3'/>y<text:s/></text:p>", "x   y "),
        ("<text:p><text:tab/>a<text:line-break/>b</text:p>", "\ta\nb"),
        ("<text:p>a <text:span>b<text:a>c</text:a></text:span>d</text:p>", "a bcd"),
        ("<text:p>\n    a\n    b\n  </text:p>", "a b"),
        ("<text:p>\n  <text:s/>a</text:p>", " a"),
        ("<text:p>two  spaces</text:p><text:p> and one </text:p>", "two  spaces\n and one "),
        ("<text:p>no\u00a0break</text:p>", "no\u00a0break"),
        ("<text:p>&lt;æøå&gt; &amp; 😀</text:p>", "<æøå> & 😀"),
        ("<text:h>heading</text:h>", "heading"),
        ("<text:list><text:list-item><text:p>item</text:p></text:list-item></text:list>", "item"),
        (f"<text:p><text:ruby>{RUBY}</text:ruby></text:p>", "base"),
        ("<office:annotation><text:p>note</text:p></office:annotation><text:p>x</text:p>", "x"),
        ("<text:p>x<office:annotation><text:p>no</text:p></office:annotation>y</text:p>", "xy"),
        (f"{FRAME}<text:p>x{FRAME}</text:p>", "x"),
        ("<table:table><table:table-row/></table:table><text:p>x</text:p>", "x"),
    ],
)
def test_a_text_is_its_paragraphs(tmp_path: Path, content: str, value: str) -> None:
    assert only_cell(tmp_path, cell('office:value-type="string"', content)) == value


@pytest.mark.parametrize(
    ("stated", "shown", "value"),
    [
        ("abc", "kr abc", "abc"),  # a number format is put before it
        ("abc", "", "abc"),  # a number format hides it
        ("two  spaces&#x0a;and a&#x09;tab", "two spaces and a tab", "two  spaces\nand a\ttab"),
        ("", "#DIV/0!", "#DIV/0!"),
        ("", "Err:502", "Err:502"),
        ("", "shown", "shown"),
        ("", "", ""),
    ],
)
def test_a_text_stated_wins_over_how_it_is_shown_unless_it_is_empty(
    tmp_path: Path, stated: str, shown: str, value: str
) -> None:
    assert only_cell(tmp_path, text(shown, f'office:string-value="{stated}"')) == value


def test_a_text_stated_needs_no_paragraph(tmp_path: Path) -> None:
    xml = cell('office:value-type="string" office:string-value="abc"')
    assert only_cell(tmp_path, xml) == "abc"


@pytest.mark.parametrize("shown", ["#REF!", "#N/A", "#DIV/0!", "#VÆRDI!", "#NV", "Err:502"])
@pytest.mark.parametrize(
    "attributes",
    [
        'office:value-type="string" office:string-value="" calcext:value-type="error"',
        'office:value-type="string" office:string-value=""',
        'office:value-type="string"',
        'office:value-type="float" office:value="0"',
        "",
    ],
)
def test_an_error_is_its_text_whatever_program_wrote_it(
    tmp_path: Path, shown: str, attributes: str
) -> None:
    xml = cell(f'table:formula="of:=1/0" {attributes}', f"<text:p>{shown}</text:p>")
    assert only_cell(tmp_path, xml) == shown


@pytest.mark.parametrize(
    ("attributes", "content", "value"),
    [
        ("", "<text:p/>", ""),
        ('office:value-type="string" office:string-value=""', "", ""),
        ("", "<text:p>ab</text:p>", "ab"),
        ("", "", NOT_CALCULATED),
        ('office:value-type="string"', "", NOT_CALCULATED),
        ('office:value-type="float"', "<text:p>5</text:p>", NOT_CALCULATED),
        ('calcext:value-type="error"', "", NOT_CALCULATED),
        ('office:value-type="float" office:value="5"', "", 5.0),
    ],
)
def test_a_formula_is_its_result_or_told_to_have_none(
    tmp_path: Path, attributes: str, content: str, value: Cell
) -> None:
    xml = cell(f"table:formula='of:=\"\"' {attributes}", content)
    assert only_cell(tmp_path, xml) == value


def test_repeated_rows_and_cells_hold_their_places(tmp_path: Path) -> None:
    sheet = worksheet(
        tmp_path,
        row(cell('table:number-columns-repeated="16384"'), attributes=repeated_rows(3))
        + row(number(7, repeated_cells(2)), cell(repeated_cells(2)), text("x"))
        + row(text("y"), cell(repeated_cells(16383)), attributes=repeated_rows(2))
        + row(attributes=repeated_rows(MOST_ROWS)),
    )
    assert sheet.width == 5
    assert rows_of(sheet) == [
        (4, (7.0, 7.0, "", "", "x")),
        (5, ("y", "", "", "", "")),
        (6, ("y", "", "", "", "")),
    ]


def repeated_rows(times: int) -> str:
    return f'table:number-rows-repeated="{times}"'


def repeated_cells(times: int) -> str:
    return f'table:number-columns-repeated="{times}"'


def test_a_sheet_filled_by_repetition_is_read_row_by_row(tmp_path: Path) -> None:
    filled = row(number(1, repeated_cells(MOST_COLUMNS)), attributes=repeated_rows(MOST_ROWS))
    tracemalloc.start()
    sheet = worksheet(tmp_path, filled)
    assert sum(len(found.cells) for found in islice(sheet.rows(), 10_000)) == 10_000 * MOST_COLUMNS
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (row(cell(repeated_cells(MOST_COLUMNS)), text("x")), "beyond column 16,384"),
        (row(text("x", repeated_cells(MOST_COLUMNS + 1))), "beyond column 16,384"),
        (row(attributes=repeated_rows(MOST_ROWS)) + row(text("x")), "beyond row 1,048,576"),
        (row(text("x"), attributes=repeated_rows(MOST_ROWS + 1)), "beyond row 1,048,576"),
        (
            row(
                *[cell('table:number-columns-spanned="2"')] * 2,
                attributes=repeated_rows(MOST_ROWS),
            ),
            "too many merged cells",
        ),
    ],
)
def test_what_no_spreadsheet_can_hold_is_refused(tmp_path: Path, rows: str, told: str) -> None:
    path = package(tmp_path / "fleet.ods", content=document(table(rows)))
    assert told in refusal(path)


def test_the_last_row_and_the_last_column_are_read(tmp_path: Path) -> None:
    sheet = worksheet(
        tmp_path,
        row(attributes=repeated_rows(MOST_ROWS - 1))
        + row(cell(repeated_cells(MOST_COLUMNS - 1)), text("x")),
    )
    ((last, cells),) = rows_of(sheet)
    assert (last, len(cells), cells[-1]) == (MOST_ROWS, MOST_COLUMNS, "x")


def test_rows_in_headers_and_groups_count_in_their_order(tmp_path: Path) -> None:
    sheet = worksheet(
        tmp_path,
        f"<table:table-header-rows>{row(text('id'))}</table:table-header-rows>"
        f"<table:table-rows>{row(text('a'))}</table:table-rows>"
        f"<table:table-row-group>{row(text('b'))}"
        f'<table:table-row-group table:display="false">{row(text("c"))}'
        f"<table:table-row-group>{row(text('d'))}</table:table-row-group></table:table-row-group>"
        f"{row(text('e'))}</table:table-row-group>" + row(text("f")),
    )
    assert [cells[0] for _, cells in rows_of(sheet)] == ["id", "a", "b", "c", "d", "e", "f"]
    assert sheet.hidden_rows == {4, 5}


def test_rows_hidden_by_a_filter_or_a_person_are_told(tmp_path: Path) -> None:
    sheet = worksheet(
        tmp_path,
        row(text("id"), attributes='table:visibility="visible"')
        + row(text("a"), attributes=f'table:visibility="filter" {repeated_rows(2)}')
        + row(text("b"), attributes='table:visibility="collapse"')
        + row(attributes=f'table:visibility="collapse" {repeated_rows(9)}')
        + row(text("c")),
    )
    assert sheet.hidden_rows == {2, 3, 4}
    assert [found for found, _ in rows_of(sheet)] == [1, 2, 3, 4, 14]


def test_merged_areas_are_told_and_what_they_cover_is_empty(tmp_path: Path) -> None:
    spans = 'table:number-columns-spanned="2" table:number-rows-spanned="{}"'
    covered = "<table:covered-table-cell><text:p>covered</text:p></table:covered-table-cell>"
    sheet = worksheet(
        tmp_path,
        row(text("a", spans.format(2)), covered, text("b"))
        + row(f"<table:covered-table-cell {repeated_cells(2)}/>", text("c"))
        + row(cell(spans.format(1)), covered, text("d"), attributes=repeated_rows(2))
        + row(text("e", 'table:number-columns-spanned="1" table:number-rows-spanned="1"')),
    )
    assert sheet.merged == [Area(1, 0, 2, 1), Area(3, 0, 3, 1), Area(4, 0, 4, 1)]
    assert rows_of(sheet) == [
        (1, ("a", "", "b")),
        (2, ("", "", "c")),
        (3, ("", "", "d")),
        (4, ("", "", "d")),
        (5, ("e", "", "")),
    ]


def test_what_only_looks_like_a_table_is_not_read(tmp_path: Path) -> None:
    inner = table(row(text("no")))
    changes = (
        "<table:tracked-changes><table:cell-content-change><table:previous>"
        "<table:change-track-table-cell><text:p>no</text:p></table:change-track-table-cell>"
        f"</table:previous></table:cell-content-change>{inner}</table:tracked-changes>"
    )
    shapes = f"<table:shapes><draw:frame>{inner}{row(text('no'))}</draw:frame></table:shapes>"
    links = f"<table:dde-links><table:dde-link>{inner}</table:dde-link></table:dde-links>"
    fleet = table(
        f"<office:forms>{row(text('no'))}</office:forms>{shapes}<table:table-column/>"
        + row(cell("", f"{inner}<text:p>x</text:p>"))
        + f"<table:named-expressions>{row(text('no'))}</table:named-expressions>"
    )
    path = package(tmp_path / "fleet.ods", content=document(f"{changes}{fleet}{links}"))
    book = open_ods(path)
    assert book.names == ["Fleet"]
    assert rows_of(book.worksheet("Fleet")) == [(1, ("x",))]


def test_each_worksheet_has_its_own_rows_numbers_and_visibility(tmp_path: Path) -> None:
    style = (
        '<style:style style:name="{}" style:family="table">'
        '<style:table-properties table:display="{}"/></style:style>'
    )
    path = package(
        tmp_path / "fleet.ods",
        content=document(
            "".join(
                f'<table:table table:name="{name}" table:style-name="{look}">'
                f"{row(text(name, repeated_cells(width)))}</table:table>"
                for name, look, width in [("A", "on", 1), ("B", "off", 3), ("C", "none", 2)]
            ),
            style.format("on", "true") + style.format("off", "false"),
        ),
    )
    book = open_ods(path)
    assert (book.names, book.visible_names) == (["A", "B", "C"], ["A", "C"])
    assert [rows_of(book.worksheet(name)) for name in book.names] == [
        [(1, ("A",))],
        [(1, ("B", "B", "B"))],
        [(1, ("C", "C"))],
    ]


def test_names_count_by_their_namespace_and_not_by_its_prefix(tmp_path: Path) -> None:
    content = document(table(row(text("x"), number(5))))
    for prefix in ("office", "table", "text"):
        content = content.replace(f"{prefix}:", f"_{prefix}:").replace(
            f"xmlns:{prefix}=", f"xmlns:_{prefix}="
        )
    content = content.replace("opendocument:xmlns:_", "opendocument:xmlns:")
    path = package(tmp_path / "fleet.ods", content=content)
    assert rows_of(open_ods(path).worksheet("Fleet")) == [(1, ("x", 5.0))]


def test_the_rows_are_given_as_often_as_asked_for(tmp_path: Path) -> None:
    sheet = worksheet(tmp_path, row(text("a")) + row(text("b")))
    first = sheet.rows()
    next(first)
    assert len(rows_of(sheet)) == len(rows_of(sheet)) == 2
    assert next(first).cells == ("b",)


def test_a_workbook_that_libreoffice_saved_with_a_password_is_refused() -> None:
    told = "it is protected with a password: save it without one"
    assert refusal(SHEETS / "ods_password.ods") == told


def test_a_workbook_with_a_password_is_refused_with_a_way_out(tmp_path: Path) -> None:
    manifest = (
        f'<m:manifest xmlns:m="{_ODF}manifest:1.0"><m:file-entry m:full-path="content.xml">'
        "<m:encryption-data/></m:file-entry></m:manifest>"
    )
    path = package(tmp_path / "fleet.ods", manifest=manifest, content="\0\1 encrypted")
    assert refusal(path) == "it is protected with a password: save it without one"


_WHOLE = document(table(row(text("x"))))


@pytest.mark.parametrize(
    "members",
    [
        {"styles": "<x/>"},
        {"content": _WHOLE[:-9]},
        {"content": _WHOLE.replace("</text:p>", "")},
        {"content": _WHOLE.replace("UTF-8", "UTF-99")},
        {"content": document(table(row(text("x"), attributes=repeated_rows(1).replace("1", "x"))))},
        {"content": document(table(row(text('<text:s text:c="999999999"/>'))))},
        {"content": _WHOLE, "manifest": "<"},
        {"content": ""},
    ],
)
def test_a_damaged_workbook_is_refused_with_its_cause(
    tmp_path: Path, members: dict[str, str]
) -> None:
    path = package(tmp_path / "fleet.ods", **members)
    with pytest.raises(SheetError, match="it is a damaged workbook: open it in Libre") as refused:
        open_ods(path)
    assert refused.value.__cause__


def test_half_a_file_and_altered_bytes_are_refused(tmp_path: Path) -> None:
    whole = (SHEETS / "ods_libreoffice.ods").read_bytes()
    place = whole.index(b"content.xml") + 600
    damaged = [whole[:5000], whole[:place] + bytes(50) + whole[place + 50 :], b"id;comment", b""]
    for content in damaged:
        path = tmp_path / "fleet.ods"
        path.write_bytes(content)
        assert refusal(path).startswith("it is a damaged workbook")


def test_another_kind_of_document_is_refused(tmp_path: Path) -> None:
    letter = document("").replace("office:spreadsheet", "office:text")
    assert "it holds no worksheet" in refusal(package(tmp_path / "fleet.ods", content=letter))


# What XML can hold, but the characters that stand in it as elements of their own.
TEXTS = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n "),
    max_size=8,
)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
MOMENTS = st.datetimes().filter(lambda moment: moment.time() != time())
VALUES = st.one_of(st.just(""), TEXTS, NUMBERS, st.booleans(), MOMENTS, st.dates())
ROWS = st.lists(
    st.tuples(st.integers(1, 3), st.lists(st.tuples(st.integers(1, 3), VALUES), max_size=4)),
    max_size=6,
)
FILES = count()


@settings(max_examples=150)
@given(rows=ROWS)
def test_no_row_and_no_value_is_lost_or_altered(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, list[tuple[int, Cell]]]]
) -> None:
    xml = "".join(
        row(*(stored(value, times) for times, value in cells), attributes=repeated_rows(repeated))
        for repeated, cells in rows
    )
    path = package(
        tmp_path_factory.getbasetemp() / f"any{next(FILES)}.ods", content=document(table(xml))
    )
    plain = [
        [value for times, value in cells for _ in range(times)]
        for repeated, cells in rows
        for _ in range(repeated)
    ]
    expected = [(place, last_filled(cells), cells) for place, cells in enumerate(plain, 1)]
    width = max((filled for _, filled, _ in expected), default=0)
    sheet = open_ods(path).worksheet("Fleet")
    assert sheet.width == width
    assert rows_of(sheet) == [
        (place, (*cells[:filled], *[""] * (width - filled)))
        for place, filled, cells in expected
        if filled
    ]


def last_filled(cells: list[Cell]) -> int:
    return max((place for place, value in enumerate(cells, 1) if value != ""), default=0)


def stored(value: Cell, times: int) -> str:
    repeated = repeated_cells(times)
    match value:
        case "":
            return cell(repeated)
        case bool():
            kind = f'office:value-type="boolean" office:boolean-value="{str(value).lower()}"'
            return cell(f"{kind} {repeated}", f"<text:p>{str(value).upper()}</text:p>")
        case float():
            return number(repr(value), repeated)
        case date():
            kind = f'office:value-type="date" office:date-value="{value.isoformat()}"'
            return cell(f"{kind} {repeated}", "<text:p>31-12-26</text:p>")
    paragraphs = "".join(f"<text:p>{marked(line)}</text:p>" for line in str(value).split("\n"))
    return cell(f'office:value-type="string" {repeated}', paragraphs)


def marked(line: str) -> str:
    parts: list[str] = []
    for character, run in groupby(line):
        length = len(list(run))
        match character:
            case " ":
                parts.append(f'<text:s text:c="{length}"/>')
            case "\t":
                parts.append("<text:tab/>" * length)
            case _:
                parts.append(escape(character * length))
    return "".join(parts)
