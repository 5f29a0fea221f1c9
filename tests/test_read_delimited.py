from __future__ import annotations

import csv
import os
from itertools import count
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from batch.errors import SheetError
from batch.formulas import harmless
from batch.models import Cell
from batch.read import open_sheet

Read = list[tuple[int, tuple[Cell, ...]]]


def written(folder: Path, content: str | bytes, name: str = "fleet.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def rows_of(path: Path, **options: str) -> Read:
    sheet = open_sheet(path, encoding=options.get("encoding"), delimiter=options.get("delimiter"))
    return [(row.number, row.cells) for row in sheet.rows()]


def refusal(path: Path, **options: str) -> str:
    with pytest.raises(SheetError) as refused:
        rows_of(path, **options)
    return str(refused.value)


@pytest.mark.parametrize("text", ["NULL", "NA", "nan", "007", "1E5", " x ", "TRUE", "1.0", "#N/A"])
def test_a_cell_is_its_text_and_nothing_else(tmp_path: Path, text: str) -> None:
    assert rows_of(written(tmp_path, f"id,comment\n{text},x\n")) == [(2, (text, "x"))]


def test_an_empty_cell_is_the_empty_text(tmp_path: Path) -> None:
    assert rows_of(written(tmp_path, 'id,comment,uid\n1,,""\n')) == [(2, ("1", "", ""))]


def test_a_line_break_in_quotes_and_a_blank_line_keep_the_spreadsheets_numbers(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, 'id,comment\n1,"two\r\nlines"\n\n , \n,\n2,x\n')
    assert rows_of(path) == [(2, ("1", "two\r\nlines")), (6, ("2", "x"))]


def test_a_title_and_blank_lines_above_the_header_are_skipped(tmp_path: Path) -> None:
    path = written(tmp_path, "Our fleet, November\n\n,\nid,comment\n1,x\n")
    assert open_sheet(path).header_row == 4
    assert rows_of(path) == [(5, ("1", "x"))]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
def test_every_line_end_ends_a_line(tmp_path: Path, end: str, *, last: bool) -> None:
    content = end.join(["id,comment", "1,x", "2,y"]) + (end if last else "")
    assert rows_of(written(tmp_path, content)) == [(2, ("1", "x")), (3, ("2", "y"))]


def test_line_ends_may_be_mixed(tmp_path: Path) -> None:
    path = written(tmp_path, "id,comment\r\n1,x\n2,y\r3,z")
    assert [number for number, _ in rows_of(path)] == [2, 3, 4]


def test_a_row_with_more_cells_than_the_header_keeps_them_all(tmp_path: Path) -> None:
    path = written(tmp_path, "id,comment\n1,Odense, Vej 3,,x\n2\n3,y,,\n")
    assert rows_of(path) == [
        (2, ("1", "Odense", " Vej 3", "", "x")),
        (3, ("2", "")),
        (4, ("3", "y")),
    ]


def test_a_row_of_a_thousand_cells_is_too_long_for_any_table(tmp_path: Path) -> None:
    assert len(rows_of(written(tmp_path, "id,comment\n1" + ",x" * 999))[0][1]) == 1000
    path = written(tmp_path, "id,comment\n1\n2" + ",x" * 1000)
    assert refusal(path).startswith("fleet.csv: row 3 has 1,001 cells, and at most 1,000 are")


def test_an_empty_heading_over_data_is_a_column_that_is_ignored(tmp_path: Path) -> None:
    sheet = open_sheet(written(tmp_path, "id,,comment\n1,mine,x\n"))
    assert [column.meaning for column in sheet.columns] == ["id", None, "comment"]


def test_a_header_alone_is_a_sheet_without_rows(tmp_path: Path) -> None:
    assert rows_of(written(tmp_path, "id,comment")) == []


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_whatever_the_cells_hold(tmp_path: Path, delimiter: str) -> None:
    header = delimiter.join(["id", '"Bil, model; farve | år"', "comment"])
    body = delimiter.join(["1", '"a,b;c|d\te"', '"x, y, z"'])
    path = written(tmp_path, f"{header}\n{body}\n")
    assert rows_of(path) == [(2, ("1", "a,b;c|d\te", "x, y, z"))]


def test_commas_without_quotes_do_not_hide_a_semicolon(tmp_path: Path) -> None:
    path = written(tmp_path, "Flåden, Køge, Nord, Syd\nid;comment\n1;a, b, c\n")
    assert rows_of(path) == [(3, ("1", "a, b, c"))]


def test_the_separator_line_is_obeyed_and_not_counted_as_excel_does(tmp_path: Path) -> None:
    sheet = open_sheet(written(tmp_path, "\ufeffsep=:\r\nid:comment\r\n1:x\r\n"))
    assert (sheet.header_row, [row.number for row in sheet.rows()]) == (1, [2])


@pytest.mark.parametrize(("wanted", "used"), [(":", ":"), ("tab", "\t"), (r"\t", "\t")])
def test_a_delimiter_given_is_used(tmp_path: Path, wanted: str, used: str) -> None:
    path = written(tmp_path, f"id{used}comment\n1{used}x\n")
    assert rows_of(path, delimiter=wanted) == [(2, ("1", "x"))]


@pytest.mark.parametrize("wanted", ['"', ",,", "\n", "§"])
def test_what_cannot_be_a_delimiter_is_refused(tmp_path: Path, wanted: str) -> None:
    assert "cannot be a delimiter" in refusal(written(tmp_path, "id\n1"), delimiter=wanted)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_the_encoding_is_found_and_its_mark_is_no_part_of_the_header(
    tmp_path: Path, encoding: str
) -> None:
    content = "id;Bemærkning\n1;Søren på værkstedet, €5\n".encode(encoding)
    sheet = open_sheet(written(tmp_path, content))
    assert [column.header for column in sheet.columns] == ["id", "Bemærkning"]
    assert [row.cells[1] for row in sheet.rows()] == ["Søren på værkstedet, €5"]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_the_encoding_is_decided_by_the_whole_file(tmp_path: Path, encoding: str) -> None:
    lines = ["id,comment", *(f"{number},plain" for number in range(100_000)), "7,Ærø"]
    path = written(tmp_path, "\n".join(lines).encode(encoding))
    assert rows_of(path)[-1] == (100_002, ("7", "Ærø"))


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8", "\ufeff"), ("utf-16-le", "\ufeff"), ("mac_roman", "")]
)
def test_an_encoding_given_is_used(tmp_path: Path, encoding: str, mark: str) -> None:
    path = written(tmp_path, f"{mark}id,comment\n1,Kørsel\n".encode(encoding))
    assert rows_of(path, encoding=encoding) == [(2, ("1", "Kørsel"))]
    assert open_sheet(path, encoding=encoding).columns[0].header == "id"


def test_a_file_in_two_encodings_is_refused(tmp_path: Path) -> None:
    content = "id,comment\n1,Køge\n".encode() + "2,Ærø\n".encode("cp1252")
    assert "save it again as UTF-8" in refusal(written(tmp_path, content))


def test_bytes_that_no_text_holds_are_refused_with_a_way_out(tmp_path: Path) -> None:
    content = b"id,comment\n1,K\x9dbenhavn \x81\n"
    assert "cannot be read as cp1252" in refusal(written(tmp_path, content))
    assert "cannot be read as utf-8" in refusal(written(tmp_path, content), encoding="utf-8")


def test_an_unknown_encoding_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "id\n1")
    assert '"utf-9" is no encoding' in refusal(path, encoding="utf-9")


@pytest.mark.parametrize("content", [b"id,comment\n1,a\0b\n", bytes(range(256)) * 50])
def test_binary_content_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refusal(written(tmp_path, content)).startswith("fleet.csv: it ")


def test_a_quote_never_closed_is_refused_by_its_row(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,comment\n1,x\n2,"y\n3,z\n')
    assert refusal(path).startswith("fleet.csv: row 3: a quote is opened and never closed")


def test_a_row_is_not_swallowed_by_a_quote_that_closes_in_a_later_one(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,comment\n1,"x\n2,"y"\n3,z\n')
    assert refusal(path).startswith("fleet.csv: row 2: text goes on after a closing quote")


def test_a_cell_longer_than_any_text_is_refused_and_may_be_an_open_quote(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,comment\n1,"' + "x,y\n" * 100_000)
    assert "row 2: a cell is longer than 131,072 characters" in refusal(path)
    assert "a quote that is opened and never closed" in refusal(path)


def test_a_quote_within_a_text_without_quotes_is_text(tmp_path: Path) -> None:
    assert rows_of(written(tmp_path, 'id,comment\n1,5" disk\n')) == [(2, ("1", '5" disk'))]


def test_a_text_that_was_made_harmless_comes_back_as_it_was(tmp_path: Path) -> None:
    path = written(tmp_path, "id,comment,'-note\n1,'=1+1,'s-Hertogenbosch\n2,''@x,'\n")
    assert [column.header for column in open_sheet(path).columns] == ["id", "comment", "-note"]
    assert [cells[1:] for _, cells in rows_of(path)] == [("=1+1", "'s-Hertogenbosch"), ("'@x", "'")]


def test_a_near_miss_in_the_only_header_is_suggested(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, "Lable;Bil\nDK-NRD-000001;Kangoo\n"))
    assert message.startswith("fleet.csv: no header was found")
    assert 'Is "Lable" meant to be "label"?' in message


def test_a_mapped_heading_that_no_row_holds_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "Kortnr;Bil\nDK-NRD-000001;Kangoo\n")
    with pytest.raises(SheetError, match=r'first rows \(nor one with "Card no"\)'):
        open_sheet(path, mapping={"Card no": "label"})


def test_a_mapped_heading_alone_makes_a_header(tmp_path: Path) -> None:
    path = written(tmp_path, "Our fleet\nKortnr;Bil, model\nDK-NRD-000001;Kangoo\n")
    sheet = open_sheet(path, mapping={"kortnr.": "label"})
    assert (sheet.header_row, sheet.columns[0].meaning) == (2, "label")


def test_the_rows_are_the_same_at_every_call(tmp_path: Path) -> None:
    sheet = open_sheet(written(tmp_path, "id,comment\n1,x\n2,y\n"))
    first = sheet.rows()
    next(first)
    assert [row.number for row in sheet.rows()] == [2, 3]
    assert [row.number for row in first] == [3]


def test_a_file_changed_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "id,comment\n1,x\n")
    sheet = open_sheet(path)
    path.write_text("id,comment\n1,x\n2,y\n")
    os.utime(path, (1, 1))
    with pytest.raises(SheetError, match=r"fleet\.csv: it was changed after it was opened"):
        list(sheet.rows())


ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "cp1252")
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
ODD_CELLS = st.text(alphabet="\"',;\t|\r\n =+-@#æ\ufeff", max_size=6)
TABLES = st.lists(st.lists(CELLS | ODD_CELLS, min_size=1, max_size=5), max_size=12)
NUMBERS = count()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    table=TABLES,
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    encoding=st.sampled_from(ENCODINGS),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    given_options=st.booleans(),
)
def test_no_row_and_no_text_is_lost_or_altered(
    tmp_path_factory: pytest.TempPathFactory,
    table: list[list[str]],
    delimiter: str,
    encoding: str,
    end: str,
    *,
    given_options: bool,
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{next(NUMBERS)}.csv"
    try:
        with path.open("w", encoding=encoding, newline="") as file:
            # Where needed, the csv module quotes only the line breaks that it ends lines with.
            quoting: Literal[0, 1] = csv.QUOTE_MINIMAL if end == "\r\n" else csv.QUOTE_ALL
            writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting)
            writer.writerow(["id", "comment", "label"])
            writer.writerows([harmless(cell) for cell in row] for row in table)
    except UnicodeEncodeError:
        assume(condition=False)
    # cp1252 cannot be told from UTF-8 where its letters by chance make UTF-8 letters.
    assume(given_options or encoding != "cp1252" or _is_no_utf8(path.read_bytes()))
    options = {"encoding": encoding, "delimiter": delimiter} if given_options else {}
    assert rows_of(path, **options) == expected(table)


def expected(table: list[list[str]]) -> Read:
    return [
        (number, as_wide_as_the_header(row))
        for number, row in enumerate(table, 2)
        if any(cell and not cell.isspace() for cell in row)
    ]


def as_wide_as_the_header(row: list[str]) -> tuple[str, ...]:
    filled = max(place for place, cell in enumerate(row, 1) if cell)
    return (*row[:filled], *[""] * (3 - filled))


def _is_no_utf8(content: bytes) -> bool:
    text = content.decode("utf-8", errors="surrogateescape")
    return all(character.isascii() or character >= "\ud800" for character in text)


def test_a_text_kept_by_a_formula_is_what_excel_shows(tmp_path: Path) -> None:
    content = 'label,comment\n="00123","=""say """"hi"""""""\n=A1,=""\n'
    assert rows_of(written(tmp_path, content)) == [
        (2, ("00123", 'say "hi"')),
        (3, ("=A1", "")),
    ]


def test_the_title_above_the_headings_may_be_a_known_word(tmp_path: Path) -> None:
    content = "RFID;;\nuid;comment;isActive\n04AB;x;nej\n"
    assert open_sheet(written(tmp_path, content)).header_row == 2


def test_a_line_of_groups_above_the_headings_is_no_header(tmp_path: Path) -> None:
    content = "Kunde;;Aktiv;\nlabel;customerId;isActive;note\nDK-1;7;nej;x\n"
    assert open_sheet(written(tmp_path, content)).header_row == 2


def test_words_in_the_rows_never_make_one_of_them_the_header(tmp_path: Path) -> None:
    content = "id;status;kind\n100001;aktiv;rfid\n"
    assert open_sheet(written(tmp_path, content)).header_row == 1


def test_a_file_that_was_opened_in_another_encoding_is_refused(tmp_path: Path) -> None:
    spoilt = "\ufeffid,comment\n1,ø\n".encode().decode("cp1252")
    assert "opened in another encoding" in refusal(written(tmp_path, spoilt))
