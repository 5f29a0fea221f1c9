from __future__ import annotations

import csv
import hashlib
import io
import sys
from pathlib import Path

import pytest
from openpyxl import Workbook

from batch.errors import SheetError
from batch.models import Field, Key
from batch.read import Sheet, open_sheet

SAMPLES = Path(__file__).parent.parent / "sample_csvs"


def refusal(path: Path, worksheet: str | None = None) -> SheetError:
    with pytest.raises(SheetError) as refused:
        open_sheet(path, worksheet=worksheet)
    return refused.value


def meanings(sheet: Sheet) -> list[str]:
    return [column.meaning or f"({column.header})" for column in sheet.columns]


def test_a_sheet_tells_what_it_was_read_from(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    path.write_bytes(b"id;comment\r\n1;x\r\n")
    sheet = open_sheet(str(path))
    assert (sheet.name, sheet.kind, sheet.worksheet, sheet.header_row) == (
        "fleet.csv",
        "csv",
        "",
        1,
    )
    assert sheet.sha256 == hashlib.sha256(b"id;comment\r\n1;x\r\n").hexdigest()


@pytest.mark.parametrize("name", ["fleet.csv", "FLEET.CSV", "fleet.tsv"])
def test_a_text_file_is_known_by_its_suffix(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("id\tcomment\n1\tx\n")
    assert [row.cells for row in open_sheet(tmp_path / name).rows()] == [("1", "x")]


def test_standard_input_is_read_once_for_any_number_of_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"id,comment\n1,x\n")))
    sheet = open_sheet("-")
    assert (sheet.name, sheet.kind) == ("standard input", "csv")
    assert [row.cells for row in sheet.rows()] == [("1", "x")]
    assert [row.number for row in sheet.rows()] == [2]


def test_standard_input_may_be_a_workbook(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    book = Workbook()
    book.worksheets[0].append(["id"])
    book.worksheets[0].append([100001])
    book.save(content)
    content.seek(0)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
    sheet = open_sheet("-")
    assert (sheet.kind, [row.cells for row in sheet.rows()]) == ("xlsx", [(100001,)])


def test_a_missing_file_a_folder_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    (tmp_path / "empty.csv").touch()
    assert str(refusal(tmp_path / "no.csv")) == "no.csv: there is no such file"
    assert str(refusal(tmp_path / "no.xlsx")) == "no.xlsx: there is no such file"
    assert str(refusal(tmp_path / "fleet")) == "fleet: it is a folder: name a file in it"
    assert str(refusal(tmp_path / "empty.csv")) == "empty.csv: it is empty"


def test_a_file_of_blank_lines_is_refused(tmp_path: Path) -> None:
    (tmp_path / "blank.csv").write_text("\n\n,,\n")
    assert "no header was found" in str(refusal(tmp_path / "blank.csv"))


def test_another_suffix_is_refused_with_those_that_are_read(tmp_path: Path) -> None:
    message = str(refusal(tmp_path / "fleet.pdf"))
    assert message == (
        "fleet.pdf: the name of a sheet ends with"
        " .csv, .tsv, .xlsx, .xlsm, .xlsb, .xls, .ods, .gz or .zip"
    )


def test_a_workbook_under_a_text_files_name_is_refused(tmp_path: Path) -> None:
    Workbook().save(tmp_path / "fleet.xlsx")
    (tmp_path / "fleet.xlsx").rename(tmp_path / "fleet.csv")
    assert "let its name end with .xlsx" in str(refusal(tmp_path / "fleet.csv"))


def test_a_worksheet_of_a_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_text("id\n1\n")
    assert "leave out --sheet" in str(refusal(tmp_path / "fleet.csv", worksheet="North"))


def test_the_cause_of_a_refusal_is_kept(tmp_path: Path) -> None:
    (tmp_path / "fleet.csv").write_bytes(b"id,comment\n1,\x81\n")
    cause = refusal(tmp_path / "fleet.csv").__cause__
    assert cause is not None
    assert isinstance(cause.__cause__, UnicodeError)


def test_the_file_that_goes_away_is_named(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    path.write_text("id\n1\n")
    sheet = open_sheet(path)
    path.unlink()
    with pytest.raises(SheetError, match=r"fleet\.csv: there is no such file"):
        next(sheet.rows())


def test_the_sample_of_a_clean_update_is_read() -> None:
    sheet = open_sheet(SAMPLES / "fleet_update.csv")
    assert meanings(sheet) == [
        *("id", "label", "(employee)", "comment", "billingReference"),
        *("isActive", "expiresAt", "roamingEnabled"),
    ]
    rows = [row.cells for row in sheet.rows()]
    assert len(rows) == 60
    assert all(label == f"DK-NRD-{int(str(id_)) - 100_000:06d}" for id_, label, *_ in rows)


def test_the_sample_from_a_danish_excel_is_read() -> None:
    sheet = open_sheet(SAMPLES / "dansk_excel_eksport.csv")
    assert meanings(sheet) == [
        *("label", "(Medarbejder)", "isActive", "roamingEnabled", "validFrom", "expiresAt"),
        *("billingReference", "comment"),
    ]
    rows = [row.cells for row in sheet.rows()]
    assert len(rows) == 24
    assert rows[1] == (
        *("DK-NRD-000017", "Camilla Friis", "ja", "ja", "", "31-12-2026", ""),
        "Ny chauffør: Bjørn Åsgård",
    )


def test_the_sample_of_every_mistake_is_read_whole_for_validation_to_judge() -> None:
    path = SAMPLES / "every_mistake.csv"
    sheet = open_sheet(path)
    assert meanings(sheet) == [*Key, *Field, "(note)"]
    with path.open(encoding="utf-8", newline="") as file:
        written = list(csv.reader(file))[1:]
    assert [list(row.cells) for row in sheet.rows()] == written
    assert all(row.cells[12] for row in sheet.rows())
