"""report.xlsx and fix.xlsx: what people open, mend and hand back."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from libreoffice import SOFFICE, WHY_SKIPPED, LibreOffice
from openpyxl import Workbook, load_workbook
from openpyxl.styles import Font, PatternFill
from openpyxl.worksheet.worksheet import Worksheet
from runs import FIRST, NOBODY, Cells, Quiet, apply, comments, hurry, settings_for, statuses
from test_journal import of_version
from test_report import FACTS, outcome

from batch import report, run
from batch.check import Source
from batch.journal import Journal
from batch.models import Cell, Field, Key, Row, Status, cell_text
from batch.read import open_sheet
from batch.run import Ended
from batch.simulator import Fault, Faults, Planned, SimulatedApi

BAD = "FFF8CBAD"
AFTERNOON = datetime(2030, 12, 31, 14, 30)  # noqa: DTZ001 as Excel has it


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def api() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=50) as started:
        yield started


def opened(ended: Ended, name: str = "report.xlsx") -> Any:
    return load_workbook(Path(ended.summary.folder) / name)


def values(sheet: Worksheet) -> list[list[object]]:
    return [list(row) for row in sheet.iter_rows(values_only=True)]


def applied(api: SimulatedApi, folder: Path, path: Path, **more: Any) -> Ended:
    settings = settings_for(api, folder, **more)
    ended = asyncio.run(run.apply(Source(str(path)), settings, Quiet()))
    assert ended is not None
    return ended


MIXED: list[Cells] = [
    {"id": FIRST, "comment": "new", "note": "=1+1"},
    {"id": FIRST + 1, "isActive": "perhaps", "note": "mine"},
    {"id": NOBODY, "comment": "x"},
    {"id": FIRST + 2},
]


def test_a_text_file_comes_back_as_a_workbook_with_every_cell_in_its_place(
    api: SimulatedApi, tmp_path: Path
) -> None:
    book = opened(apply(api, tmp_path, MIXED))

    assert book.sheetnames == ["token-batch", "Rows"]
    header, *rows = values(book["Rows"])
    assert header == ["id", "comment", "note", "isActive", "batch_status", "batch_message"]
    assert [row[0] for row in rows] == [str(row["id"]) for row in MIXED]
    assert [row[4] for row in rows] == ["updated", "invalid", "not_found", "unchanged"]
    assert (rows[0][2], book["Rows"]["C2"].data_type) == ("=1+1", "s")
    bad = book["Rows"]["D3"]
    assert bad.fill.start_color.rgb == BAD
    assert "Accepted: yes/no" in bad.comment.text
    assert book["Rows"]["A4"].comment.text == f"there is no token with id {NOBODY}"
    assert book["Rows"]["C3"].comment is None


def test_the_first_sheet_tells_the_run_in_figures(api: SimulatedApi, tmp_path: Path) -> None:
    ended = apply(api, tmp_path, MIXED)

    told = values(opened(ended)["token-batch"])

    assert told[0][0] == ended.told.story.sentence
    assert ["Updated", 1, "The token is as asked, and this run made it so."] in told
    assert ["A4", 1, f"there is no token with id {NOBODY}"] not in told
    assert any(row[1] == 1 and f"id {NOBODY}" in str(row[2]) for row in told)
    assert ["Rows", 4, None] in told


def own_workbook(path: Path) -> Path:
    """A workbook as a person makes one: a title, a second sheet, formats and a formula."""
    book = Workbook()
    cards = book.active
    assert cards is not None
    cards.title = "Cards"
    cards.append(["Our cards", None, None, None, None])
    cards.append(["Token ID", "Comment", "Expires", "Active", "Who"])
    cards.append([FIRST, "new", AFTERNOON, "yes", "Ida"])
    cards.append([FIRST + 1, "other", date(2031, 1, 31), "perhaps", "Jens"])
    cards.append([NOBODY, "x", None, None, "Mette"])
    cards["A1"].font = Font(size=18, italic=True)
    cards["B4"].fill = PatternFill("solid", start_color="FFFFFF00")
    cards.column_dimensions["B"].width = 33
    book.create_sheet("Notes").append(["Ask Pia", "=1+1"])
    book.save(path)
    return path


def test_a_workbook_comes_back_as_its_person_made_it_with_marks(
    api: SimulatedApi, tmp_path: Path
) -> None:
    ended = applied(api, tmp_path, own_workbook(tmp_path / "cards.xlsx"))

    book = opened(ended)
    assert book.sheetnames == ["token-batch", "Cards", "Notes"]
    cards = book["Cards"]
    assert cards["A1"].font.sz == 18
    assert cards["B4"].fill.start_color.rgb == "FFFFFF00"
    assert cards.column_dimensions["B"].width == 33
    assert book["Notes"]["B1"].value == "=1+1"
    assert [cards[f"F{row}"].value for row in range(2, 6)] == [
        *("batch_status", "updated", "invalid", "not_found")
    ]
    assert "Accepted: yes/no" in cards["D4"].comment.text
    assert cards["D3"].comment is None


def test_columns_of_an_earlier_report_are_not_there_twice(
    api: SimulatedApi, tmp_path: Path
) -> None:
    ended = apply(api, tmp_path, MIXED)
    again = applied(api, tmp_path, Path(ended.summary.folder) / "fix.csv")

    header, *rows = values(opened(again)["Rows"])
    assert header == ["id", "comment", "note", "isActive", "batch_status", "batch_message"]
    assert [row[4] for row in rows] == ["invalid", "not_found"]


@pytest.mark.parametrize(
    ("worksheet", "name"),
    [
        *(("", "Rows"), ("Cards", "Cards"), ("token-batch", "Rows"), ("History", "Rows")),
        *(("A/B:[C]", "A_B__C_"), ("x" * 60, "x" * 28), ("'", "Rows")),
    ],
)
def test_a_worksheet_is_named_as_it_was_as_far_as_excel_allows_it(
    worksheet: str, name: str
) -> None:
    with run_of([(1, "x", "y")], worksheet) as journal:
        assert load_workbook(journal.folder / "report.xlsx").sheetnames == ["token-batch", name]
        assert open_sheet(journal.folder / "report.xlsx").worksheet == name


def test_what_comes_back_marked_can_be_handed_in_again(api: SimulatedApi, tmp_path: Path) -> None:
    path = own_workbook(tmp_path / "cards.xlsx")
    ended = applied(api, tmp_path, path)

    before, again = open_sheet(path), open_sheet(Path(ended.summary.folder) / "report.xlsx")

    assert again.worksheet == "Cards"
    kept = len(before.columns)
    assert [(row.number, row.cells[:kept]) for row in again.rows()] == [
        (row.number, row.cells) for row in before.rows()
    ]
    assert statuses(applied(api, tmp_path, Path(ended.summary.folder) / "report.xlsx")) == [
        *("unchanged", "invalid", "not_found")
    ]


def test_a_fix_in_a_workbook_holds_the_cells_as_they_were(
    api: SimulatedApi, tmp_path: Path
) -> None:
    path = own_workbook(tmp_path / "cards.xlsx")
    ended = applied(api, tmp_path, path)

    fix = open_sheet(Path(ended.summary.folder) / "fix.xlsx")

    handed_in = [row.cells for row in open_sheet(path).rows()][1:]
    found = list(fix.rows())
    assert [row.cells[:5] for row in found] == handed_in
    assert [row.cells[5] for row in found] == ["invalid", "not_found"]
    assert [row.number for row in found] == [2, 3]
    mended = opened(ended, "fix.xlsx")
    mended.active["D2"] = "no"
    mended.save(tmp_path / "mended.xlsx")
    assert statuses(applied(api, tmp_path, tmp_path / "mended.xlsx")) == ["updated", "not_found"]


def test_rows_that_only_failed_are_tried_again_by_handing_the_fix_in(
    api: SimulatedApi, tmp_path: Path
) -> None:
    api.faults = Faults(script=[Planned(Fault.SERVER_ERROR, token=FIRST + 1, times=3)])
    ended = apply(api, tmp_path, comments(3), workers=1)
    assert statuses(ended) == ["updated", "failed", "updated"]
    api.faults = Faults()

    again = applied(api, tmp_path, Path(ended.summary.folder) / "fix.csv")

    assert statuses(again) == ["updated"]
    assert api.token(FIRST + 1)["comment"] == "asked 1"  # type: ignore[index]


def test_a_text_file_has_no_fix_in_a_workbook(api: SimulatedApi, tmp_path: Path) -> None:
    ended = apply(api, tmp_path, MIXED)
    assert not (Path(ended.summary.folder) / "fix.xlsx").exists()


def test_a_row_with_too_many_cells_is_refused_again_when_the_report_is_handed_in(
    api: SimulatedApi, tmp_path: Path
) -> None:
    sheet = tmp_path / "moved.csv"
    sheet.write_text(f"id,comment,billingReference\n{FIRST},Hello, world,KST-1\n", "utf-8")
    ended = applied(api, tmp_path, sheet)
    assert statuses(ended) == ["invalid"]

    again = applied(api, tmp_path, Path(ended.summary.folder) / "report.xlsx")

    assert statuses(again) == ["invalid"]
    assert api.writes == []


def refused(path: Path) -> Path:
    """A workbook with cells that no column takes, though their texts would do."""
    book = Workbook()
    sheet: Any = book.active
    sheet.append(["id", "comment", "isActive"])
    sheet.append([FIRST, date(2026, 5, 1), None])
    sheet.append([FIRST + 1, True, None])
    sheet.append([FIRST + 2, "fine", "no"])
    sheet.append([FIRST + 3, "fine", None])
    sheet.merge_cells("C4:C5")
    book.save(path)
    return path


@pytest.mark.parametrize("name", ["fix.xlsx", "report.xlsx"])
def test_what_was_refused_is_refused_again_until_it_is_mended(
    api: SimulatedApi, tmp_path: Path, name: str
) -> None:
    ended = applied(api, tmp_path, refused(tmp_path / "cards.xlsx"))
    assert statuses(ended) == ["invalid", "invalid", "updated", "invalid"]

    again = applied(api, tmp_path, Path(ended.summary.folder) / name)

    assert [status for status in statuses(again) if status != "unchanged"] == ["invalid"] * 3
    assert not (Path(ended.summary.folder) / "fix.csv").exists()


def test_the_figures_of_an_earlier_report_give_way_to_new_ones(
    api: SimulatedApi, tmp_path: Path
) -> None:
    ended = apply(api, tmp_path, MIXED)
    again = applied(api, tmp_path, Path(ended.summary.folder) / "report.xlsx")
    assert opened(again).sheetnames == ["token-batch", "Rows"]


def test_the_command_to_mend_reads_the_sheet_as_it_was_read(
    api: SimulatedApi, tmp_path: Path
) -> None:
    sheet = tmp_path / "cards.csv"
    sheet.write_text(f"Card,isActive\n{FIRST},perhaps\n", "utf-8")
    settings = settings_for(api, tmp_path, timezone="Europe/Copenhagen", date_order="dmy")
    source = Source(str(sheet), mapping={"Card": "id"})
    ended = asyncio.run(run.apply(source, settings, Quiet()))
    assert ended is not None

    (step,) = ended.told.story.steps

    options = "--timezone Europe/Copenhagen --date-order dmy --map Card=id"
    assert f"fix.csv {options}" in step.command


# Whatever the cells hold


@contextlib.contextmanager
def run_of(rows: Sequence[Sequence[Cell]], worksheet: str = "") -> Iterator[Journal]:
    """A run all of whose rows are to be mended."""
    with tempfile.TemporaryDirectory() as folder, Journal.create(Path(folder)) as journal:
        headers = ["id", "comment", "note"]
        facts = {"headers": headers, "meanings": [Key.ID, Field.COMMENT, None]}
        journal.note(**(FACTS | facts), worksheet=worksheet)
        numbered = list(enumerate(rows, 2))
        journal.add_rows(Row(number, tuple(cells)) for number, cells in numbered)
        bad = [
            (number, outcome(Status.INVALID, message=str(cells[1])), None)
            for number, cells in numbered
        ]
        journal.settle_rows(bad)
        report.write(journal)
        yield journal


IN_A_TEXT_FILE = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50
)
# A workbook's XML has no place for these.
IN_A_WORKBOOK = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"), max_size=50
)
INSTANTS = st.datetimes(datetime(1901, 1, 1), datetime(9999, 12, 31)).map(  # noqa: DTZ001 as Excel's
    lambda each: each.replace(microsecond=each.microsecond // 1000 * 1000)
)
TYPED: st.SearchStrategy[Cell] = st.one_of(
    IN_A_WORKBOOK,
    st.integers(-(10**14), 10**14),
    st.booleans(),
    INSTANTS,
    st.dates(date(1901, 1, 1), date(9999, 12, 31)),
)


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(IN_A_TEXT_FILE, min_size=1))
def test_no_spreadsheet_runs_anything_and_every_text_comes_back(texts: list[str]) -> None:
    rows = [("1", text, text) for text in texts]
    with run_of(rows) as journal:
        for name in ("report.csv", "fix.csv", "undo.csv"):
            with (journal.folder / name).open(encoding="utf-8-sig", newline="") as file:
                cells = [cell for line in csv.reader(file, strict=True) for cell in line]
            assert [cell for cell in cells if cell.startswith(tuple("=+-@\t\r"))] == []
        book = load_workbook(journal.folder / "report.xlsx")
        kinds = {cell.data_type for sheet in book for row in sheet.iter_rows() for cell in row}
        assert kinds <= {"s", "n", "inlineStr"}
        found = [row.cells[:3] for row in open_sheet(journal.folder / "fix.csv").rows()]
        assert found == rows


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(TYPED, min_size=1, max_size=8))
def test_every_cell_of_a_workbook_comes_back_in_its_fix(cells: list[Cell]) -> None:
    rows = [(1, "x", cell) for cell in cells]
    with run_of(rows, worksheet="Cards") as journal:
        found = [row.cells[2] for row in open_sheet(journal.folder / "fix.xlsx").rows()]
    assert [cell_text(cell) for cell in found] == [cell_text(cell) for cell in cells]


# Other programs


@pytest.mark.skipif(not SOFFICE, reason=WHY_SKIPPED)
def test_ids_and_dates_survive_another_spreadsheet(tmp_path: Path) -> None:
    office = LibreOffice(tmp_path / "profile", "da-DK")
    instant = datetime(2030, 12, 31, 14, 30, 15, 250_000)  # noqa: DTZ001 as Excel has it
    rows: list[tuple[Cell, ...]] = [
        ("00123456789012345678", "6.79E+04", instant),
        ("1", "=1+1", date(2031, 1, 31)),
        (10**14 + 1, "1-2", time(8, 30)),
    ]
    with run_of(rows, worksheet="Cards") as journal:
        for number, name in enumerate(("fix.xlsx", "report.xlsx")):
            folder = tmp_path / str(number)
            saved = office.saved_as("xlsx", journal.folder / name, folder)
            found = [row.cells[:3] for row in open_sheet(saved).rows()]
            assert [[cell_text(cell) for cell in cells] for cells in found] == [
                [cell_text(cell) for cell in cells] for cells in rows
            ]


def test_a_run_that_was_killed_has_all_its_reports_once_they_are_written_again(
    api: SimulatedApi, tmp_path: Path
) -> None:
    ended = apply(api, tmp_path, MIXED)
    folder = Path(ended.summary.folder)
    names = {path.name for path in folder.glob("[!.j]*")}
    for name in names:
        (folder / name).unlink()
    with Journal.open(folder) as journal:
        journal.note(finished_at=None, stopped="")

    again = run.write_reports(folder)

    assert {path.name for path in folder.glob("[!.j]*")} == names
    assert again.summary.finished_at is None
    assert len(values(opened(again)["Rows"])) == 1 + len(MIXED)


def test_old_runs_have_reports_of_today(tmp_path: Path) -> None:
    for version in (1, 2):
        folder = tmp_path / str(version)
        folder.mkdir()
        of_version(version, folder)
        ended = run.write_reports(folder)
        assert ended.summary.started_at < datetime.now(UTC)
        assert [row[-2] for row in values(opened(ended)["Rows"])][1:] == [
            *("updated", "invalid", "not_found", "updated", "unchanged")
        ]
