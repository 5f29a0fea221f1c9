"""One table is the same rows in every format, with all that people put around and into it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from datetime import date, datetime
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from openpyxl.worksheet.worksheet import Worksheet

from batch.errors import SheetError
from batch.formulas import harmless
from batch.models import Cell, Covered, Field, Key, Row, cell_text
from batch.read import Sheet, open_sheet

SHEETS = Path(__file__).parent / "sheets"

Table = Sequence[Sequence[Cell | None]]

# What other_table.xls, .xlsb and .ods hold as well.
TABLE: Table = [
    ["Nordisk Flåde A/S: ladebrikker"],
    [],
    ["Token ID", "Charge key", "Gyldig fra", "Aktiv", "Kommentar", "Bil"],
    [100001, "DK-NRD-000001", date(2026, 12, 1), True, "Sommer på\nto linjer", "Kangoo"],
    [],
    [100002, "007", datetime(2026, 12, 31, 14, 30), False, 'a, b; c "d"', None],  # noqa: DTZ001
    [100003, "1E5", None, None, " =x? nej", "Zoe 2.0"],
    [],
    ["I alt:", None, None, None, None, 3],
]
ROWS = {
    4: ["100001", "DK-NRD-000001", "2026-12-01", "TRUE", "Sommer på\nto linjer", "Kangoo"],
    6: ["100002", "007", "2026-12-31 14:30:00", "FALSE", 'a, b; c "d"', ""],
    7: ["100003", "1E5", "", "", " =x? nej", "Zoe 2.0"],
}
TOTAL = {9: ["I alt:", "", "", "", "", "3"]}


class Read(NamedTuple):
    rows: dict[int, list[str]]
    left_out: dict[int, list[str]]


def as_csv(folder: Path, table: Table, delimiter: str = ",") -> Path:
    path = folder / "fleet.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        for row in table:
            texts = ["" if cell is None else cell_text(cell) for cell in row]
            writer.writerow(map(harmless, texts))
    return path


def as_xlsx(folder: Path, table: Table) -> Path:
    book = Workbook()
    for number, row in enumerate(table, 1):
        for place, cell in enumerate(row, 1):
            if cell is not None:
                first_sheet(book).cell(number, place, cell)
    book.save(folder / "fleet.xlsx")
    return folder / "fleet.xlsx"


def first_sheet(book: Workbook) -> Worksheet:
    assert isinstance(book.active, Worksheet)
    return book.active


Writer = Callable[[Path, Table], Path]
WRITERS: list[Writer] = [as_csv, as_xlsx]
in_both_formats = pytest.mark.parametrize("write", WRITERS)


def read(sheet: Sheet) -> Read:
    left_out: list[Row] = []
    rows = list(sheet.rows(left_out=left_out.append))
    return Read(_texts(rows), _texts(left_out))


def _texts(rows: Sequence[Row]) -> dict[int, list[str]]:
    return {row.number: [cell_text(cell) for cell in row.cells] for row in rows}


def stored(folder: Path, content: bytes) -> Path:
    path = folder / "fleet.csv"
    path.write_bytes(content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SheetError) as refused:
        read(open_sheet(path))
    return str(refused.value)


def is_the_table(sheet: Sheet) -> bool:
    assert sheet.header_row == 3
    assert [column.header for column in sheet.columns] == list(TABLE[2])
    assert [column.meaning for column in sheet.columns] == [
        *(Key.ID, Key.LABEL, Field.VALID_FROM, Field.IS_ACTIVE, Field.COMMENT, None),
    ]
    assert read(sheet) == (ROWS, TOTAL)
    return True


@in_both_formats
def test_a_table_is_the_same_rows_in_text_and_workbook(tmp_path: Path, write: Writer) -> None:
    assert is_the_table(open_sheet(write(tmp_path, TABLE)))


@pytest.mark.parametrize("kind", ["xls", "xlsb", "ods"])
def test_a_table_is_the_same_rows_in_every_other_workbook(kind: str) -> None:
    assert is_the_table(open_sheet(SHEETS / f"other_table.{kind}"))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "cp1252"])
def test_a_table_is_the_same_rows_however_its_text_is_written(
    tmp_path: Path, encoding: str, end: str, delimiter: str
) -> None:
    text = as_csv(tmp_path, TABLE, delimiter).read_bytes().decode()
    mark = "\ufeff" if encoding.startswith("utf-16") else ""
    written = f"{mark}{text}".replace("\r\n", end).encode(encoding)
    assert is_the_table(open_sheet(stored(tmp_path, written)))


def test_a_separator_line_names_the_delimiter_and_counts_no_row(tmp_path: Path) -> None:
    text = as_csv(tmp_path, TABLE, ";").read_bytes()
    assert is_the_table(open_sheet(stored(tmp_path, b"sep=;\r\n" + text)))


def test_rows_after_line_breaks_in_quotes_have_the_spreadsheets_numbers(tmp_path: Path) -> None:
    text = 'id,comment\n1,"a\n\nb"\n2,"c\r\nd"\n3,"e\rf"\n\n4,g'
    assert read(open_sheet(stored(tmp_path, text.encode()))).rows == {
        2: ["1", "a\n\nb"],
        3: ["2", "c\r\nd"],
        4: ["3", "e\rf"],
        6: ["4", "g"],
    }


@in_both_formats
def test_blank_lines_above_between_and_below_are_no_rows(tmp_path: Path, write: Writer) -> None:
    table: list[Sequence[Cell | None]] = [
        [" "],
        ["Fleet of 2026", None],
        [],
        [" ", None],
        ["id", "comment"],
        [],
        [1, "x"],
    ]
    sheet = open_sheet(write(tmp_path, [*table, [" "], [], [2, "y"], [], [" ", " "], []]))
    assert sheet.header_row == 5
    assert read(sheet) == ({7: ["1", "x"], 10: ["2", "y"]}, {})


TOTALS: list[list[Cell | None]] = [
    ["Total", None, 40],
    ["TOTALS:", 40, None],
    ["Total: 40", None, None],
    ["Grand total", 12.5, 3],
    ["I alt:", None, 40],
    ["Ialt 40", None, None],
    ["Antal", 40, None],
    ["Summe", "1.234,50", None],
    ["Gesamt:", "40", None],
    [None, "Insgesamt", 40],
]


@in_both_formats
@pytest.mark.parametrize("total", TOTALS, ids=str)
def test_a_total_at_the_end_is_left_out_and_told(
    tmp_path: Path, write: Writer, total: list[Cell | None]
) -> None:
    path = write(tmp_path, [["id", "comment", "Bil"], [1, "x", "y"], [], total, [], [" "]])
    told = ["" if cell is None else cell_text(cell) for cell in total]
    assert read(open_sheet(path)) == ({2: ["1", "x", "y"]}, {4: told})


def test_a_total_in_merged_cells_is_left_out_and_told(tmp_path: Path) -> None:
    book = Workbook()
    for row in [["id", "comment", "Bil"], [1, "x", "y"], ["I alt: 1", None, None]]:
        first_sheet(book).append(row)
    first_sheet(book).merge_cells("A3:C3")
    book.save(tmp_path / "fleet.xlsx")
    assert read(open_sheet(tmp_path / "fleet.xlsx")) == (
        {2: ["1", "x", "y"]},
        {3: ["I alt: 1", "", ""]},
    )


NO_TOTALS: list[list[Cell | None]] = [
    ["Total", "Kangoo", None],
    ["Total", None, "2 kort"],
    ["Totalt defekt", None, None],
    ["DK-TOTAL", None, None],
    ["Summer", None, 40],
    [3, "Total", None],
    ["40 i alt", None, None],
    [None, None, "Total"],
    ["count12", None, None],
]


@in_both_formats
@pytest.mark.parametrize("last", NO_TOTALS, ids=str)
def test_a_last_row_that_only_looks_like_a_total_stays(
    tmp_path: Path, write: Writer, last: list[Cell | None]
) -> None:
    path = write(tmp_path, [["label", "comment", "Bil"], ["a", "x", "y"], last])
    found = read(open_sheet(path))
    assert (list(found.rows), found.left_out) == ([2, 3], {})


@in_both_formats
def test_a_total_before_the_end_stays(tmp_path: Path, write: Writer) -> None:
    path = write(tmp_path, [["id", "comment"], [1, "x"], ["Total", 1], [2, "y"], ["Total", 2]])
    found = read(open_sheet(path))
    assert (list(found.rows), list(found.left_out)) == ([2, 3, 4], [5])


@in_both_formats
def test_a_table_of_nothing_but_a_total_has_no_rows(tmp_path: Path, write: Writer) -> None:
    found = read(open_sheet(write(tmp_path, [["id", "comment"], ["Total", 0]])))
    assert found == ({}, {2: ["Total", "0"]})


def test_rows_that_a_filter_hides_are_read_and_told(tmp_path: Path) -> None:
    book = Workbook()
    sheet = first_sheet(book)
    for row in (["Fleet", None], ["id", "comment"], [1, "x"], [2, "y"], [3, "x"], [4, "y"]):
        sheet.append(row)
    sheet.auto_filter.ref = "A2:B6"
    sheet.auto_filter.add_filter_column(1, ["y"])
    for hidden in (1, 3, 5):  # the title's row is above the header
        sheet.row_dimensions[hidden].hidden = True
    book.save(tmp_path / "fleet.xlsx")

    opened = open_sheet(tmp_path / "fleet.xlsx")

    assert opened.hidden_rows == {3, 5}
    assert list(read(opened).rows) == [3, 4, 5, 6]


def test_a_text_file_hides_no_rows(tmp_path: Path) -> None:
    assert open_sheet(as_csv(tmp_path, TABLE)).hidden_rows == frozenset()


def test_several_worksheets_with_tokens_are_refused_with_the_names_of_those_alone(
    tmp_path: Path,
) -> None:
    book = Workbook()
    book.remove(first_sheet(book))
    for name, header in {"Nord": "Ladebrik", "Læs mig": "Hej", "Syd": "RFID", "Øst": "id"}.items():
        book.create_sheet(name).append([header])
    book.save(tmp_path / "fleet.xlsx")
    assert refusal(tmp_path / "fleet.xlsx").endswith(
        'choose one with --sheet from "Nord", "Syd", "Øst"'
    )
    assert open_sheet(tmp_path / "fleet.xlsx", worksheet="Syd").columns[0].meaning is Key.UID


LANGUAGES: dict[str, list[str]] = {
    "API": [
        *("id", "label", "uid", "validFrom", "expiresAt", "isActive", "roamingEnabled"),
        *("priorityChargingEnabled", "billingReference", "comment", "appUserId", "customerId"),
    ],
    "snake case": [
        *("token_id", "token_label", "token_uid", "valid_from", "expires_at", "is_active"),
        *("roaming_enabled", "priority_charging_enabled", "billing_reference", "comments"),
        *("app_user_id", "customer_id"),
    ],
    "English": [
        *("Token ID", "Charge key", "RFID", "Valid from", "Valid until", "Active", "Roaming"),
        *("Priority charging", "Billing reference", "Remarks", "App user", "Customer no."),
    ],
    "Danish": [
        *("Token nr.", "Ladenøgle", "RFID-nummer", "Gyldig fra", "Udløbsdato", "Er aktiv"),
        *("Roaming tilladt", "Prioriteret opladning", "Faktureringsreference", "Bemærkning"),
        *("App-bruger", "Kundenr."),
    ],
    "Danish without its letters": [
        *("tokennummer", "ladenogle", "rfid-kode", "gyldig fra dato", "udlober den", "aktiv"),
        *("roaming slaet til", "prioritetsladning", "afregningsreference", "bemaerkninger"),
        *("app-brugernummer", "kunde-id"),
    ],
    "German": [
        *("Tokennummer", "Ladeschlüssel", "Karten-UID", "Gültig ab", "Läuft ab am", "Ist aktiv"),
        *("Roaming erlaubt", "Bevorzugtes Laden", "Rechnungsreferenz", "Bemerkung"),
        *("App-Nutzer", "Kundennummer"),
    ],
    "German without its letters": [
        *("TOKEN ID", "LADESCHLUESSEL", "CHIP UID", "GUELTIG SEIT", "LAEUFT AB", "AKTIV"),
        *("ROAMING AKTIVIERT", "PRIORITAETSLADEN", "ABRECHNUNGSREFERENZ", "KOMMENTARE"),
        *("APP-BENUTZER-ID", "KUNDENNR"),
    ],
}


@in_both_formats
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_column_is_known_in_every_language(
    tmp_path: Path, write: Writer, language: str
) -> None:
    headings = LANGUAGES[language]
    path = write(tmp_path, [["Eksport"], headings, [str(place) for place in range(12)]])
    columns = open_sheet(path).columns
    assert [column.meaning for column in columns] == [*Key, *Field]
    assert [column.header for column in columns] == headings
    assert not any(column.is_ignored for column in columns)


@pytest.mark.parametrize(
    ("heading", "meaning", "zone"),
    [
        ("validFrom (Europe/Copenhagen)", Field.VALID_FROM, "Europe/Copenhagen"),
        ("Udløbsdato (UTC)", Field.EXPIRES_AT, "UTC"),
        ("valid_until (America/Argentina/Salta) ", Field.EXPIRES_AT, "America/Argentina/Salta"),
        ("Gültig ab", Field.VALID_FROM, None),
        ("Driver (Europe/Copenhagen)", None, None),
        ("Bil (UTC)", None, None),
        ("(UTC)", None, None),
    ],
)
@in_both_formats
def test_a_heading_of_dates_may_name_their_zone(
    tmp_path: Path, write: Writer, heading: str, meaning: Field | None, zone: str | None
) -> None:
    column = open_sheet(write(tmp_path, [["id", heading], [1, None]])).columns[1]
    assert (column.header, column.meaning, column.zone) == (heading, meaning, zone)


@pytest.mark.parametrize(
    "heading",
    [
        *("type", "Token type", "identifier_type", "createdAt", "updated_at", "tokenGroupIds"),
        *("batch_status", "batch_message", "Batch Status"),
    ],
)
@in_both_formats
def test_a_column_that_only_tells_is_not_one_that_is_ignored(
    tmp_path: Path, write: Writer, heading: str
) -> None:
    path = write(tmp_path, [["id", heading, "Bil", None, "comment"], [1, "x", "y", None, "z"]])
    columns = open_sheet(path).columns
    assert [column.told for column in columns] == [False, True, False, False, False]
    assert [column.header for column in columns if column.is_ignored] == ["Bil"]
    assert columns[1].meaning is None


# Below the header: what is in a cell, which rows are blank or hidden, and what is merged.
CELLS = st.sampled_from([None, "", " ", "x", "0", "Ø", "'", "=1+1", "-", "NULL", 0, 7, 1.5, False])
LINES = st.lists(st.lists(CELLS, max_size=4), max_size=14)
FILES = count()


def is_filled(cell: Cell | None) -> bool:
    return cell is not None and (not isinstance(cell, str) or bool(cell.strip()))


@settings(max_examples=150)
@given(
    above=st.integers(0, 3),
    lines=LINES,
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
def test_no_row_of_a_text_is_lost_or_counted_twice(
    tmp_path_factory: pytest.TempPathFactory,
    above: int,
    lines: list[list[Cell | None]],
    delimiter: str,
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"table{next(FILES)}"
    folder.mkdir()
    table: Table = [*[[]] * above, ["id", "comment", "Bil", "uid"], *lines]
    sheet = open_sheet(as_csv(folder, table, delimiter))
    assert sheet.header_row == above + 1
    assert list(read(sheet).rows) == [
        number for number, line in enumerate(lines, above + 2) if any(map(is_filled, line))
    ]


@settings(max_examples=80)
@given(
    above=st.integers(0, 3),
    lines=LINES,
    hidden=st.sets(st.integers(1, 20)),
    areas=st.lists(
        st.tuples(st.integers(0, 14), st.integers(0, 2), st.integers(1, 3), st.integers(1, 3)),
        max_size=3,
    ),
)
def test_no_row_of_a_workbook_is_lost_or_counted_twice_whatever_is_merged_or_hidden(
    tmp_path_factory: pytest.TempPathFactory,
    above: int,
    lines: list[list[Cell | None]],
    hidden: set[int],
    areas: list[tuple[int, int, int, int]],
) -> None:
    path = tmp_path_factory.getbasetemp() / f"table{next(FILES)}.xlsx"
    grid = [[*line, *[None] * (4 - len(line))] for line in [*lines, *[[]] * (18 - len(lines))]]
    merged = _apart(areas)
    for top, left, bottom, right in merged:
        for row, place in _covered(top, left, bottom, right):
            grid[row][place] = None
    write_workbook(
        path, [*[[]] * above, ["id", "comment", "Bil", "uid"], *grid], merged, hidden, above
    )

    sheet = open_sheet(path)

    assert sheet.header_row == above + 1
    rows = {row.number: row.cells for row in sheet.rows()}
    filled = [number for number, row in enumerate(grid, above + 2) if any(map(is_filled, row))]
    assert list(rows) == filled
    assert sheet.hidden_rows & set(rows) == {number for number in filled if number in hidden}
    told = {
        (number, place)
        for number, cells in rows.items()
        for place, cell in enumerate(cells)
        if isinstance(cell, Covered)
    }
    assert told == {
        (row + above + 2, place)
        for area in merged
        if is_filled(grid[area[0]][area[1]])
        for row, place in _covered(*area)
        if row + above + 2 in rows and place != 2  # "Bil" is no column that matters
    }


def _apart(areas: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """Those areas that share no cell with an earlier one, as top, left, bottom and right."""
    taken: set[tuple[int, int]] = set()
    apart = []
    for top, left, height, width in areas:
        right = min(left + width - 1, 3)
        cells = {(row, p) for row in range(top, top + height) for p in range(left, right + 1)}
        if len(cells) > 1 and not cells & taken:
            taken |= cells
            apart.append((top, left, top + height - 1, right))
    return apart


def _covered(top: int, left: int, bottom: int, right: int) -> list[tuple[int, int]]:
    cells = [(row, place) for row in range(top, bottom + 1) for place in range(left, right + 1)]
    return cells[1:]


def write_workbook(
    path: Path,
    table: Table,
    merged: list[tuple[int, int, int, int]],
    hidden: set[int],
    above: int,
) -> None:
    book = Workbook()
    sheet = first_sheet(book)
    for number, row in enumerate(table, 1):
        for place, value in enumerate(row, 1):
            if value is not None:
                cell = sheet.cell(number, place, value)
                if isinstance(value, str):
                    cell.data_type = "s"  # no formula
    for top, left, bottom, right in merged:
        sheet.merge_cells(
            start_row=top + above + 2,
            start_column=left + 1,
            end_row=bottom + above + 2,
            end_column=right + 1,
        )
    for number in hidden:
        sheet.row_dimensions[number].hidden = True
    book.save(path)
