from __future__ import annotations

import re
import shutil
import tracemalloc
import zipfile
from datetime import date, datetime, time, timedelta
from itertools import count
from pathlib import Path

import pytest
import xlsxwriter
from hypothesis import given, settings
from hypothesis import strategies as st
from make_workbooks import CARDS, write_cards
from openpyxl import Workbook, load_workbook
from openpyxl.cell import Cell as OpenpyxlCell
from openpyxl.worksheet.worksheet import Worksheet

from batch.errors import SheetError
from batch.formulas import NOT_CALCULATED
from batch.models import Cell
from batch.read import Sheet, open_sheet

SHEETS = Path(__file__).parent / "sheets"


def first_sheet(book: Workbook) -> Worksheet:
    assert isinstance(book.active, Worksheet)
    return book.active


def saved(folder: Path, *rows: list[object], name: str = "fleet.xlsx") -> Path:
    book = Workbook()
    for row in rows:
        first_sheet(book).append(row)
    book.save(folder / name)
    return folder / name


def with_sheets(folder: Path, **headers: list[str]) -> Path:
    book = Workbook()
    book.remove(first_sheet(book))
    for title, header in headers.items():
        sheet = book.create_sheet(title.removeprefix("hidden_"))
        sheet.append(header)
        sheet.append([title, "x"])
        sheet.sheet_state = "hidden" if title.startswith("hidden_") else "visible"
    if all(title.startswith("hidden_") for title in headers):
        book.create_sheet("Notes")
    book.save(folder / "fleet.xlsx")
    return folder / "fleet.xlsx"


def with_xml(path: Path, pattern: str, replacement: str) -> Path:
    """The workbook with its first worksheet's XML altered, as another program would write it."""
    altered = path.with_name(f"altered_{path.name}")
    part = "xl/worksheets/sheet1.xml"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(altered, "w") as new:
        for name in old.namelist():
            content = old.read(name).decode()
            new.writestr(name, re.sub(pattern, replacement, content) if name == part else content)
    return altered


def rows_of(sheet: Sheet) -> list[tuple[int, tuple[Cell, ...]]]:
    return [(row.number, row.cells) for row in sheet.rows()]


def refusal(path: Path, worksheet: str | None = None) -> str:
    with pytest.raises(SheetError) as refused:
        rows_of(open_sheet(path, worksheet=worksheet))
    return str(refused.value)


def test_a_table_that_begins_at_b3_has_the_spreadsheets_numbers_and_letters(
    tmp_path: Path,
) -> None:
    path = saved(tmp_path, [], [], [None, "Token ID", "Comment"], [], [None, 100001, "x"])
    sheet = open_sheet(path)
    assert sheet.header_row == 3
    assert [(c.letter, c.header) for c in sheet.columns] == [
        ("A", ""),
        ("B", "Token ID"),
        ("C", "Comment"),
    ]
    assert rows_of(sheet) == [(5, ("", 100001, "x"))]


def test_a_cell_is_what_the_file_holds(tmp_path: Path) -> None:
    stored: list[object] = [
        *("007", " x ", "NULL", 7, 1.5, True, False),
        *(datetime(2026, 12, 31, 14, 30), date(2026, 12, 31), time(14, 30), timedelta(days=2)),  # noqa: DTZ001
    ]
    path = saved(tmp_path, ["id"] + [None] * 10, stored)
    cells = next(open_sheet(path).rows()).cells
    assert cells[:7] == ("007", " x ", "NULL", 7, 1.5, True, False)
    assert [type(cell) for cell in cells[5:]] == [bool, bool, datetime, date, time, timedelta]
    assert list(cells[7:]) == stored[7:]


@pytest.mark.parametrize("error", ["#REF!", "#N/A", "#DIV/0!", "#NAME?"])
def test_an_error_is_never_taken_for_an_empty_cell(tmp_path: Path, error: str) -> None:
    path = saved(tmp_path, ["id", "comment"], [100001, error], [error, None])
    assert rows_of(open_sheet(path)) == [(2, (100001, error)), (3, (error, ""))]


def test_a_formula_without_a_stored_value_is_never_taken_for_an_empty_cell(
    tmp_path: Path,
) -> None:
    path = saved(tmp_path, ["id", "comment"], [100001, "=A2&A3"], [], ["=A2+1"])
    assert rows_of(open_sheet(path)) == [
        (2, (100001, NOT_CALCULATED)),
        (4, (NOT_CALCULATED, "")),
    ]


def test_a_formula_with_a_stored_value_is_its_value(tmp_path: Path) -> None:
    path = saved(tmp_path, ["id", "comment"], ["=50000*2+1", "=A2&A3"])
    path = with_xml(path, "<f>50000.*?</f><v ?/?>(</v>)?", "<f>50000*2+1</f><v>100001</v>")
    path = with_xml(path, r'<c r="B2"[^>]*>.*?</c>', '<c r="B2" t="str"><f>A2</f><v></v></c>')
    assert rows_of(open_sheet(path)) == [(2, (100001, ""))]


def test_cells_without_references_and_with_a_namespace_are_found_too(tmp_path: Path) -> None:
    path = saved(tmp_path, ["id", "comment"], [100001, "#REF!"])
    path = with_xml(path, r' r="[A-Z]*\d+"', "")
    path = with_xml(path, r"<(/?)(?=[a-zA-Z])", r"<\1x:")
    path = with_xml(path, "xmlns=", "xmlns:x=")
    assert rows_of(open_sheet(path)) == [(2, (100001, "#REF!"))]


def test_an_error_beyond_all_values_still_counts(tmp_path: Path) -> None:
    path = saved(tmp_path, ["id"], [100001], [None, None, "=A1"], ["=A1"])
    assert rows_of(open_sheet(path)) == [
        (2, (100001, "", "")),
        (3, ("", "", NOT_CALCULATED)),
        (4, (NOT_CALCULATED, "", "")),
    ]


def test_the_one_visible_worksheet_with_a_header_is_read(tmp_path: Path) -> None:
    path = with_sheets(tmp_path, Intro=["Welcome"], Fleet=["id", "comment"], hidden_Old=["id"])
    sheet = open_sheet(path)
    assert (sheet.worksheet, rows_of(sheet)) == ("Fleet", [(2, ("Fleet", "x"))])


def test_several_worksheets_with_a_header_are_named(tmp_path: Path) -> None:
    path = with_sheets(tmp_path, North=["id"], Intro=["Welcome"], South=["Label"])
    assert refusal(path) == (
        'fleet.xlsx: several worksheets hold tokens: choose one with --sheet from "North", "South"'
    )


def test_a_worksheet_is_read_by_its_name_even_if_hidden(tmp_path: Path) -> None:
    path = with_sheets(tmp_path, North=["id"], hidden_South=["id", "comment"])
    assert open_sheet(path, worksheet="South").worksheet == "South"


def test_a_worksheet_that_is_not_there_is_refused_with_the_names(tmp_path: Path) -> None:
    path = with_sheets(tmp_path, North=["id"], hidden_South=["id"])
    assert refusal(path, "West").endswith('it has no worksheet "West", but "North", "South"')


def test_a_workbook_without_a_header_in_sight_is_refused(tmp_path: Path) -> None:
    assert "no header was found" in refusal(with_sheets(tmp_path, hidden_Old=["id"]))


def test_a_header_alone_is_a_sheet_without_rows(tmp_path: Path) -> None:
    assert rows_of(open_sheet(saved(tmp_path, ["id", "comment"]))) == []


def test_rows_without_content_are_not_rows(tmp_path: Path) -> None:
    path = saved(tmp_path, ["id"], [], [" "], [0])
    assert rows_of(open_sheet(path)) == [(4, (0,))]


def test_a_heading_stored_as_a_number_is_its_text(tmp_path: Path) -> None:
    sheet = open_sheet(saved(tmp_path, ["id", 2026, 1.5]))
    assert [column.header for column in sheet.columns] == ["id", "2026", "1.5"]


def test_a_workbook_with_macros_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path, ["id"], [100001], name="fleet.xlsm")
    assert open_sheet(path).kind == "xlsx"


def test_a_workbook_with_a_password_is_refused_with_a_way_out(tmp_path: Path) -> None:
    for name in ("password.xlsx", "password.xls"):
        told = f"{name}: it is protected with a password: save it without one"
        assert refusal(SHEETS / name) == told


def test_what_is_no_workbook_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.xlsx"
    text.write_text("id,comment\n1,x\n")
    archive = tmp_path / "archive.xlsx"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("fleet.csv", "id,comment\n1,x\n")
    whole = saved(tmp_path, ["id"], [100001])
    half = tmp_path / "half.xlsx"
    half.write_bytes(whole.read_bytes()[:2000])
    assert refusal(text) == (
        "text.xlsx: it is a text file by its content: let its name end with .csv"
    )
    assert refusal(archive) == (
        "archive.xlsx: it is a zip archive by its content: let its name end with .zip"
    )
    assert refusal(half).startswith("half.xlsx: it is damaged, or not what its name says")


def test_a_time_beyond_all_calendars_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, ["id", "comment"], [100001, timedelta(days=1)])
    path = with_xml(path, r"<v>1</v></c></row></sheetData>", "<v>1e12</v></c></row></sheetData>")
    assert "one of its cells holds a time beyond all calendars" in refusal(path)


def test_the_sample_of_a_companys_charge_keys_is_read_where_it_stands() -> None:
    sheet = open_sheet(CARDS)
    assert (sheet.worksheet, sheet.header_row, len(sheet.columns)) == ("Ladebrikker", 4, 8)
    assert [str(c.meaning) for c in sheet.columns if c.meaning] == [
        *("id", "label", "validFrom", "expiresAt", "isActive", "comment"),
    ]
    rows = rows_of(sheet)
    assert [number for number, _ in rows] == list(range(5, 45))
    assert rows[0][1] == (
        *("", 100101, "DK-NRD-000101", "Mette Sørensen"),
        *(date(2026, 12, 1), date(2027, 12, 31), True, ""),
    )


def test_the_sample_is_what_its_script_writes(tmp_path: Path) -> None:
    write_cards(tmp_path / "cards.xlsx")
    assert content_of(CARDS) == content_of(tmp_path / "cards.xlsx")


def content_of(path: Path) -> list[tuple[str, str, list[list[object]]]]:
    return [
        (
            sheet.title,
            sheet.sheet_state,
            [[cell.value for cell in row] for row in sheet.iter_rows()],
        )
        for sheet in load_workbook(path).worksheets
    ]


# What XML, and with it a workbook, can hold; a line break "\r" is written as "\n" by openpyxl.
TEXTS = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n"),
    max_size=12,
)
INTEGERS = st.integers(-(10**15), 10**15)  # all the digits that Excel keeps
NUMBERS = INTEGERS | INTEGERS.map(lambda number: number / 1000)
# Excel stores a date and its midnight as one number.
MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 no sheet has a zone
    lambda moment: moment.replace(second=1, microsecond=0)
)
VALUES = TEXTS | NUMBERS | st.booleans() | MOMENTS
FILES = count()


@settings(max_examples=80, deadline=None)
@given(table=st.lists(st.lists(VALUES, min_size=1, max_size=3), max_size=8))
def test_no_row_and_no_value_is_lost_or_altered(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[Cell]]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{next(FILES)}.xlsx"
    book = Workbook()
    sheet = first_sheet(book)
    sheet.append(["id", "comment", "label"])
    for number, row in enumerate(table, 2):
        for place, value in enumerate(row, 1):
            cell = sheet.cell(number, place, value)
            assert isinstance(cell, OpenpyxlCell)
            if isinstance(value, str):
                cell.data_type = "s"  # also for texts such as "=x" and "#REF!"
    book.save(path)
    assert rows_of(open_sheet(path)) == [
        (number, (*map(as_read, row), *[""] * (3 - len(row))))
        for number, row in enumerate(table, 2)
        if any(not isinstance(cell, str) or cell.strip() for cell in row)
    ]


def as_read(cell: Cell) -> Cell:
    """The cell itself; calamine shows one with nothing but XML's white space as empty."""
    return "" if isinstance(cell, str) and not cell.strip(" \t\n") else cell


def test_a_workbook_may_be_changed_while_its_rows_are_used(tmp_path: Path) -> None:
    path = saved(tmp_path, ["id"], [100001])
    sheet = open_sheet(path)
    shutil.copy(saved(tmp_path, ["id"], [100002], name="other.xlsx"), path)
    assert rows_of(sheet) == rows_of(sheet) == [(2, (100001,))]


def with_stray_cell(folder: Path, row: int, column: int) -> Path:
    book = Workbook()
    sheet = first_sheet(book)
    sheet.append(["id", "comment"])
    sheet.append([100001, "x"])
    sheet.cell(row, column, "stray")
    book.save(folder / "stray.xlsx")
    return folder / "stray.xlsx"


@pytest.mark.parametrize(("row", "column"), [(200_000, 16_384), (1_048_576, 16_384), (50_000, 600)])
def test_a_stray_cell_far_from_the_table_is_refused_before_it_takes_the_memory(
    row: int, column: int, tmp_path: Path
) -> None:
    path = with_stray_cell(tmp_path, row, column)

    told = refusal(path)

    assert f"reaches to row {row:,} and over {column:,} columns" in told
    assert "delete the columns and rows beyond the table" in told


def test_a_wide_table_with_a_stray_cell_far_below_is_refused_as_well(tmp_path: Path) -> None:
    book = Workbook()
    sheet = first_sheet(book)
    sheet.append(["id", *(f"note {place}" for place in range(100))])
    sheet.cell(1_000_000, 1, "stray")
    sheet.merge_cells("A2:B2")
    book.save(tmp_path / "far.xlsx")

    assert "reaches to row 1,000,000 and over 101 columns" in refusal(tmp_path / "far.xlsx")


@pytest.mark.parametrize(("row", "column"), [(2, 700), (1_000_000, 3)])
def test_a_stray_cell_that_takes_no_memory_costs_no_row(
    row: int, column: int, tmp_path: Path
) -> None:
    path = with_stray_cell(tmp_path, row, column)

    assert [found.number for found in open_sheet(path).rows()] == sorted({2, row})


def with_formulas(folder: Path, *results: float) -> Path:
    """As xlsxwriter saves it: a formula has the result 0, unless another is given."""
    with xlsxwriter.Workbook(folder / "formulas.xlsx") as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["id", "isActive"])
        for row, result in enumerate(results, 1):
            sheet.write_number(row, 0, 100_000 + row)
            sheet.write_formula(row, 1, f"=IF(A{row + 1}>0,1,0)", value=result)
    return folder / "formulas.xlsx"


def test_the_zeros_of_a_program_that_calculates_nothing_are_no_results(tmp_path: Path) -> None:
    rows = rows_of(open_sheet(with_formulas(tmp_path, 0, 0)))
    assert [cells[1] for _, cells in rows] == [NOT_CALCULATED] * 2


def test_a_zero_beside_another_result_is_a_result(tmp_path: Path) -> None:
    rows = rows_of(open_sheet(with_formulas(tmp_path, 0, 1)))
    assert [cells[1] for _, cells in rows] == [0, 1]


@pytest.mark.parametrize("value", ["<![CDATA[100002]]>", "1000<!-- -->02"])
def test_a_value_that_calamine_would_miss_is_refused(tmp_path: Path, value: str) -> None:
    path = with_xml(saved(tmp_path, ["id"], [100001]), "<v>100001</v>", f"<v>{value}</v>")
    assert "no spreadsheet writes" in refusal(path)


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        (r'<row r="2"', '<row r="4294967295"'),
        (r'r="A2"', 'r="A99999999"'),
        (r'r="A2"', 'r="xfd100000"'),
        (r'r="A2"', 'r = "XFD100000"'),
    ],
)
def test_a_cell_beyond_all_rows_however_it_is_written_is_refused(
    tmp_path: Path, pattern: str, replacement: str
) -> None:
    path = with_xml(saved(tmp_path, ["id"], [100001]), pattern, replacement)
    told = refusal(path)
    assert "beyond the last row or column" in told or "delete the columns and rows" in told


def test_of_many_worksheets_only_the_one_with_the_table_is_kept(tmp_path: Path) -> None:
    book = Workbook()
    first_sheet(book).append(["id"])
    first_sheet(book).append([100001])
    for place in range(4):
        book.create_sheet(f"Notes {place}").cell(200_000, 26, "stray")
    book.save(tmp_path / "many.xlsx")
    tracemalloc.start()
    sheet = open_sheet(tmp_path / "many.xlsx")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (sheet.worksheet, peak < 100 << 20) == ("Sheet", True)


def test_a_table_on_a_hidden_worksheet_is_told(tmp_path: Path) -> None:
    told = refusal(with_sheets(tmp_path, hidden_Fleet=["id", "comment"]))
    assert 'read by name (--sheet): "Fleet"' in told


def damaged(folder: Path, offset: int, value: bytes) -> Path:
    """A workbook of which the archive's directory says something else about a part."""
    content = bytearray(saved(folder, ["id"], [100001]).read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + offset : entry + offset + len(value)] = value
    (folder / "damaged.xlsx").write_bytes(content)
    return folder / "damaged.xlsx"


@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [
        (6, b"\xff\x00", "it is damaged"),  # the version that unpacks it
        (46, b"\xff\xfe", "it is damaged"),  # its name
        (42, b"\xff\xff\xff\x7f", "damaged"),  # where it begins
    ],
)
def test_a_damaged_archive_is_refused(tmp_path: Path, offset: int, value: bytes, said: str) -> None:
    path = damaged(tmp_path, offset, value)
    if offset == 46:
        content = bytearray(path.read_bytes())
        entry = content.rindex(b"PK\x01\x02")
        content[entry + 9] |= 0x08  # names are UTF-8
        path.write_bytes(content)
    assert said in refusal(path)


def test_a_locked_part_is_told_as_a_password(tmp_path: Path) -> None:
    path = saved(tmp_path, ["id"], [100001])
    content = path.read_bytes()
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := content.find(mark, start)) >= 0:
            place = start + offset
            content = content[:place] + bytes([content[place] | 1]) + content[place + 1 :]
            start += 4
    (tmp_path / "locked.xlsx").write_bytes(content)
    assert "protected with a password" in refusal(tmp_path / "locked.xlsx")
