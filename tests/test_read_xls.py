"""XLS workbooks as real programs write them: LibreOffice, SheetJS (three versions of the format)
and xlwt, which calculates no formula.
"""

from __future__ import annotations

import random
import struct
from datetime import date, datetime, time
from operator import attrgetter
from pathlib import Path

import pytest

from batch.errors import SheetError
from batch.formulas import NOT_CALCULATED
from batch.models import Cell, Covered
from batch.read import Sheet, open_sheet

SHEETS = Path(__file__).parent / "sheets"
LIBREOFFICE = SHEETS / "xls_libreoffice.xls"
FROM_1904 = SHEETS / "xls_libreoffice_1904.xls"
UNCALCULATED = SHEETS / "xls_uncalculated.xls"
BIFF8 = SHEETS / "xls_sheetjs_biff8.xls"
BIFF5 = SHEETS / "xls_sheetjs_biff5.xls"
BIFF2 = SHEETS / "xls_sheetjs_biff2.xls"

by_name = attrgetter("stem")

NUMBERS = [2, 3, 4, 5, 6, 7, 8, 10, 11]
NO_WORKBOOK = (
    "it is a document of another program, not a workbook: open it in the program that made it"
    " and save it as an Excel workbook (.xlsx) or as CSV"
)

_EMPTY_RESULT = b"\x03\0\0\0\0\0\xff\xff"
_FORMULA = 0x0006


def rows_of(sheet: Sheet) -> dict[int, tuple[Cell, ...]]:
    return {row.number: row.cells for row in sheet.rows()}


def column(path: Path, letter: str) -> dict[int, Cell]:
    """What the column's cells hold, without those that are empty."""
    place = ord(letter) - ord("A")
    rows = rows_of(open_sheet(path))
    return {number: cells[place] for number, cells in rows.items() if cells[place] != ""}


def stored(folder: Path, content: bytes, name: str = "fleet.xls") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def refusal(path: Path, worksheet: str | None = None) -> str:
    with pytest.raises(SheetError) as refused:
        rows_of(open_sheet(path, worksheet=worksheet))
    return str(refused.value)


def is_read_or_refused(path: Path) -> bool:
    """Whether it was read; anything but a refusal is let through, and fails the test."""
    try:
        rows_of(open_sheet(path))
    except SheetError as error:
        assert str(error).startswith(f"{path.name}: ")  # noqa: PT017 - a refusal may or may not be
        return False
    return True


@pytest.mark.parametrize("path", [LIBREOFFICE, FROM_1904, BIFF8, BIFF5, BIFF2], ids=by_name)
def test_every_row_is_read_whatever_program_and_version_wrote_it(path: Path) -> None:
    sheet = open_sheet(path)

    assert sheet.kind == "xls"
    assert [each.header for each in sheet.columns] == [
        *("id", "Kommentar", "Gyldig fra", "Aktiv", "note"),
    ]
    rows = rows_of(sheet)
    assert list(rows) == NUMBERS
    assert [cells[0] for cells in rows.values()] == [*range(100001, 100008), "", 100008]
    assert {len(cells) for cells in rows.values()} == {5}


@pytest.mark.parametrize("path", [LIBREOFFICE, BIFF8, BIFF5, BIFF2], ids=by_name)
def test_a_text_keeps_its_lines_and_spaces(path: Path) -> None:
    texts = column(path, "B")
    assert (texts[2], texts[5]) == ("to  linjer\nog linje to", " foran")


@pytest.mark.parametrize("path", [LIBREOFFICE, BIFF8], ids=by_name)
def test_a_text_keeps_letters_of_every_script(path: Path) -> None:
    assert column(path, "E")[6] == "Ærø 😀 日本"


@pytest.mark.parametrize("path", [LIBREOFFICE, FROM_1904, BIFF8, BIFF5], ids=by_name)
def test_dates_and_times_are_told_from_numbers_to_the_millisecond(path: Path) -> None:
    assert column(path, "C") == {
        2: datetime(2026, 12, 31, 14, 30, 0, 123_000),  # noqa: DTZ001 - no sheet has a zone
        3: date(2026, 1, 2),
        4: date(2026, 1, 1),
        5: time(14, 30),
        11: datetime(2026, 3, 4, 5, 6, 7, 890_000),  # noqa: DTZ001
    }
    assert [type(cell) for cell in column(path, "C").values()] == [
        *(datetime, date, date, time, datetime),
    ]


@pytest.mark.parametrize("path", [LIBREOFFICE, BIFF8, BIFF5, BIFF2], ids=by_name)
def test_booleans_are_told_from_numbers_and_texts(path: Path) -> None:
    assert column(path, "D") == {2: True, 3: False, 4: True, 5: "x"}
    assert [type(cell) for cell in column(path, "D").values()] == [bool, bool, bool, str]


@pytest.mark.parametrize("path", [LIBREOFFICE, FROM_1904, BIFF8, BIFF5, BIFF2], ids=by_name)
def test_an_error_is_never_taken_for_an_empty_cell(path: Path) -> None:
    assert (column(path, "B")[3], column(path, "E")[3]) == ("#DIV/0!", "#N/A")


def test_a_formula_with_a_result_is_its_result() -> None:
    assert rows_of(open_sheet(LIBREOFFICE))[4][:4] == (100003, "ab", date(2026, 1, 1), True)


def test_an_empty_result_is_empty_where_other_formulas_are_calculated() -> None:
    assert rows_of(open_sheet(LIBREOFFICE))[4][4] == ""


def test_a_formula_that_nobody_calculated_is_never_taken_for_an_empty_cell() -> None:
    assert rows_of(open_sheet(UNCALCULATED)) == {
        2: (NOT_CALCULATED,),
        3: (NOT_CALCULATED,),
        4: (7,),
    }


def test_an_empty_result_is_not_believed_where_no_formula_has_another(tmp_path: Path) -> None:
    content = bytearray(LIBREOFFICE.read_bytes())
    emptied = [_emptied(content, row, place) for row, place in formulas(content)]
    assert len(emptied) == 8  # LibreOffice keeps booleans as formulas

    rows = rows_of(open_sheet(stored(tmp_path, bytes(content))))

    assert [rows[row][place] for row, place in emptied] == [NOT_CALCULATED] * len(emptied)


def test_one_calculated_formula_is_enough_for_an_empty_result_to_be_believed(
    tmp_path: Path,
) -> None:
    content = bytearray(LIBREOFFICE.read_bytes())
    calculated, *others = formulas(content)
    emptied = [_emptied(content, row, place) for row, place in others]

    rows = rows_of(open_sheet(stored(tmp_path, bytes(content))))

    assert rows[calculated[0]][calculated[1]] is True
    assert [rows[row][place] for row, place in emptied] == [""] * len(emptied)


def formulas(content: bytes | bytearray) -> list[tuple[int, int]]:
    """The row and place of every formula below the header."""
    return list(_formula_records(content))


def _emptied(content: bytearray, row: int, place: int) -> tuple[int, int]:
    start = _formula_records(content)[row, place] + 6
    content[start : start + 8] = _EMPTY_RESULT
    return row, place


def _formula_records(content: bytes | bytearray) -> dict[tuple[int, int], int]:
    """Where the records of formulas stand: by row and place, found by what they begin with."""
    found = {}
    for row in range(1, 11):
        for place in range(5):
            cell = struct.pack("<HH", row, place)
            at = content.find(cell)
            while at >= 0:
                kind, length = struct.unpack_from("<HH", content, at - 4)
                if kind == _FORMULA and 22 <= length < 100:
                    found[row + 1, place] = at
                at = content.find(cell, at + 1)
    return found


def test_hidden_and_very_hidden_worksheets_are_skipped() -> None:
    for path in (LIBREOFFICE, BIFF8, BIFF5):
        assert open_sheet(path).worksheet == "Ladebrikker"


@pytest.mark.parametrize("hidden", ["Skjult", "Meget skjult"])
def test_a_hidden_worksheet_is_read_if_it_is_named(hidden: str) -> None:
    sheet = open_sheet(LIBREOFFICE, worksheet=hidden)
    assert (sheet.worksheet, rows_of(sheet)) == (hidden, {})


def test_a_worksheet_that_is_not_there_is_refused_with_the_names() -> None:
    assert refusal(LIBREOFFICE, "Nord").endswith(
        'it has no worksheet "Nord", but "Ladebrikker", "Skjult", "Meget skjult"'
    )


@pytest.mark.parametrize("path", [LIBREOFFICE, FROM_1904], ids=by_name)
def test_a_hidden_row_is_read_and_told(path: Path) -> None:
    sheet = open_sheet(path)
    assert sheet.hidden_rows == {8}
    assert rows_of(sheet)[8][:2] == (100007, "skjult")


@pytest.mark.parametrize("path", [LIBREOFFICE, BIFF8], ids=by_name)
def test_what_a_merged_area_covers_is_told_in_a_column_that_is_known(path: Path) -> None:
    rows = rows_of(open_sheet(path))
    assert (rows[6][1], rows[7][1]) == ("flettet", Covered("B6:B7"))


@pytest.mark.parametrize("path", [LIBREOFFICE, BIFF8], ids=by_name)
def test_what_a_merged_area_covers_is_empty_in_a_column_that_is_not_known(
    tmp_path: Path, path: Path
) -> None:
    content = path.read_bytes()
    for encoding in ("ascii", "utf-16-le"):
        content = content.replace("Kommentar".encode(encoding), "Bilmaerke".encode(encoding))
    rows = rows_of(open_sheet(stored(tmp_path, content)))
    assert (rows[6][1], rows[7][1]) == ("flettet", "")


def test_the_rows_are_given_as_often_as_asked_for() -> None:
    sheet = open_sheet(LIBREOFFICE)
    assert rows_of(sheet) == rows_of(sheet)


@pytest.mark.parametrize("path", [LIBREOFFICE, UNCALCULATED, BIFF8, BIFF5, BIFF2], ids=by_name)
def test_a_file_cut_off_anywhere_is_read_or_refused(tmp_path: Path, path: Path) -> None:
    whole = path.read_bytes()
    # Of a file in sectors, the loss of the last one's padding costs nothing.
    lengths = [*range(0, len(whole), max(1, len(whole) // 60)), len(whole) - 1]

    read = [is_read_or_refused(stored(tmp_path, whole[:length])) for length in lengths]

    assert not any(read[: len(read) // 2])


@pytest.mark.parametrize(
    "path", [LIBREOFFICE, FROM_1904, UNCALCULATED, BIFF2, BIFF5, BIFF8], ids=by_name
)
@pytest.mark.parametrize("seed", range(2))
def test_a_file_with_changed_bytes_is_read_or_refused(
    tmp_path: Path, path: Path, seed: int
) -> None:
    chance = random.Random(f"{path.name} {seed}")
    whole = path.read_bytes()
    for _ in range(60):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] = chance.choice(
                [0, 0xFF, chance.randrange(256)]
            )
        is_read_or_refused(stored(tmp_path, bytes(content)))


def test_a_stream_whose_sectors_lead_back_to_themselves_is_refused(tmp_path: Path) -> None:
    content = bytearray(BIFF5.read_bytes())
    content[1068] = 0  # the short sector after the first of the workbook's: that first one
    assert "a damaged one" in refusal(stored(tmp_path, bytes(content)))


@pytest.mark.parametrize("path", [BIFF8, BIFF5], ids=by_name)
def test_a_workbook_with_changed_records_is_read_or_refused(tmp_path: Path, path: Path) -> None:
    chance = random.Random(path.name)
    whole = path.read_bytes()
    records = range(whole.index(b"\x09\x08"), len(whole))  # behind the tables of sectors
    for _ in range(150):
        content = bytearray(whole)
        start = chance.choice(records)
        content[start : start + 2] = chance.randbytes(len(content[start : start + 2]))
        is_read_or_refused(stored(tmp_path, bytes(content)))


@pytest.mark.parametrize("path", [LIBREOFFICE, UNCALCULATED, BIFF2], ids=by_name)
def test_a_file_that_lost_bytes_in_its_middle_is_read_or_refused(
    tmp_path: Path, path: Path
) -> None:
    chance = random.Random(path.name)
    whole = path.read_bytes()
    for _ in range(60):
        start = chance.randrange(len(whole))
        end = start + chance.choice([1, 2, 3, 512])
        is_read_or_refused(stored(tmp_path, whole[:start] + whole[end:]))


def test_a_word_document_is_refused_whatever_its_name_says(tmp_path: Path) -> None:
    document = (SHEETS / "other_word.doc").read_bytes()
    assert refusal(stored(tmp_path, document, "letter.xls")) == f"letter.xls: {NO_WORKBOOK}"


def test_nothing_but_the_start_of_a_workbook_is_refused(tmp_path: Path) -> None:
    start = LIBREOFFICE.read_bytes()[:8]
    for content in (start, start + bytes(5000)):
        assert refusal(stored(tmp_path, content)) == f"fleet.xls: {NO_WORKBOOK}"
    assert "a damaged one" in refusal(stored(tmp_path, BIFF2.read_bytes()[:4]))
