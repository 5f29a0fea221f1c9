"""The reports tell every row, and what they tell can be handed in again."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from batch import report
from batch.files import replacing
from batch.journal import Journal
from batch.models import (
    Field,
    Identifier,
    Key,
    Operation,
    Outcome,
    Patch,
    Problem,
    Requests,
    Row,
    Status,
    Token,
    TokenRef,
    Value,
)
from batch.read import open_sheet
from batch.report import RunState, Summary
from batch.validate import Validator

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NEW_YEAR + timedelta(days=1)
HEADERS = ["id", "comment", "Anmerkung"]
FACTS: dict[str, Any] = {
    "simulated": False,
    "sheet": "kort.csv",
    "sha256": "0" * 64,
    "headers": HEADERS,
    "clear_marker": "NULL",
    "base_url": "https://api.example",
    "who": "søren",
    "version": "1",
    "started_at": NEW_YEAR,
    "confirmed_at": NEW_YEAR,
    "finished_at": LATER,
}

# What a spreadsheet would take for a formula, or for a text that was made harmless.
FORMULAS = [
    "=1+1",
    '=HYPERLINK("http://evil.example","x")',
    "+4512345678",
    "-",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    "'=1+1",
    "''=1+1",
]
TEXTS = [
    *FORMULAS,
    "plain",
    "'quoted'",
    "Søren 🚗",
    "a;b,c|d\te",
    'two\nlines and "quotes"',
    " spaces around ",
    "old\rMac and\r\nWindows",
    "0042",
    "1,5",
    "2026-01-01",
    "true",
    "nul",
]


def token(token_id: int = 1, **values: Any) -> Token:
    fields: dict[str, Any] = {
        "valid_from": NEW_YEAR,
        "is_active": True,
        "roaming_enabled": True,
        "customer_id": 2001,
        "comment": "old",
    }
    label = values.pop("label", f"DK-{token_id}")
    user = values.pop("app_user_id", None)
    identifier = Identifier(type="rfid", uid=None, label=label, app_user_id=user)
    return Token(id=token_id, identifier=identifier, **(fields | values))


def outcome(status: Status, **facts: Any) -> Outcome:
    given: dict[str, Any] = {"finished_at": NEW_YEAR}
    return Outcome(status, **(given | facts))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    folder = tmp_path / "2026-01-01-kort"
    folder.mkdir()
    with contextlib.closing(Journal.create(folder)) as made:
        yield made


def settle(journal: Journal, outcomes: Mapping[int, Outcome]) -> None:
    async def scenario() -> None:
        for number, each in outcomes.items():
            await journal.settle(number, each)

    asyncio.run(scenario())


def updated(journal: Journal, operations: Sequence[Operation], **facts: Any) -> None:
    """A run in which all these operations changed their tokens."""
    journal.note(**(FACTS | facts))
    rows = sorted({row for each in operations for row in each.rows})
    journal.add_rows(Row(row, (str(row), "new", "")) for row in rows)
    journal.add_operations(operations)
    settle(journal, {n: outcome(Status.UPDATED) for n in range(1, len(operations) + 1)})


@pytest.fixture
def mixture(journal: Journal) -> Journal:
    """A run that stopped early: a row of every outcome, and two that share an operation."""
    journal.note(**(FACTS | {"operations": 7, "stopped": "the API refuses the key"}))
    journal.add_rows(Row(row, (str(row), f"c{row}", "x")) for row in range(2, 13))
    journal.settle_rows(
        [
            (3, outcome(Status.INVALID, message="B3 is wrong", code="invalid_row"), None),
            (5, outcome(Status.UNCHANGED), token(5).name),
            (6, outcome(Status.NOT_FOUND, message="no id 6", code="no_such_token"), None),
        ]
    )
    changes: dict[Field, Value] = {Field.COMMENT: "new", Field.IS_ACTIVE: False}
    rows: list[tuple[int, ...]] = [(2, 12), (4,), (7,), (8,), (9,), (10,), (11,)]
    journal.add_operations([Operation(token(own[0]), changes, own) for own in rows])
    settle(
        journal,
        {
            1: outcome(Status.UPDATED, http_status=200, attempts=1, request_id="req_1"),
            2: outcome(Status.REJECTED, message="no", code="bad", http_status=400, attempts=1),
            3: outcome(Status.FAILED, message="tries used up", code="no_answer", attempts=6),
            4: outcome(Status.UNKNOWN, message="nobody knows", attempts=6),
            5: outcome(Status.CONFLICT, message="moved"),
        },
    )

    async def send_one() -> None:
        await journal.start(6)

    asyncio.run(send_one())
    return journal


EXPECTED = {
    2: "updated",
    3: "invalid",
    4: "rejected",
    5: "unchanged",
    6: "not_found",
    7: "failed",
    8: "unknown",
    9: "conflict",
    10: "unknown",
    11: "not_sent",
    12: "updated",
}


def lines_of(journal: Journal, name: str) -> list[dict[str, str]]:
    with (journal.folder / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, strict=True))


# report.csv


def test_the_report_has_one_line_for_every_row_in_the_sheets_order(mixture: Journal) -> None:
    report.write(mixture)

    lines = lines_of(mixture, "report.csv")
    assert [(int(line["row"]), line["status"]) for line in lines] == list(EXPECTED.items())


def test_the_report_has_the_columns_of_the_contract(mixture: Journal) -> None:
    report.write(mixture)

    columns = "row token_id label status changes http_status attempts code message request_id"
    lines = lines_of(mixture, "report.csv")
    assert list(lines[0]) == [*columns.split(), "finished_at"]
    difference = 'isActive: true → false; comment: "old" → "new"'
    assert list(lines[0].values()) == [
        "2", "2", "DK-2", "updated", difference, "200", "1", "", "", "req_1",
        "2026-01-01T00:00:00.000Z",
    ]  # fmt: skip
    assert list(lines[1].values()) == [
        "3", "", "", "invalid", "", "", "0", "invalid_row", "B3 is wrong", "",
        "2026-01-01T00:00:00.000Z",
    ]  # fmt: skip


def test_rows_of_one_operation_are_told_alike(mixture: Journal) -> None:
    report.write(mixture)

    first, *_, last = lines_of(mixture, "report.csv")
    assert first | {"row": "12"} == last


def test_what_has_not_ended_has_no_end(mixture: Journal) -> None:
    report.write(mixture)

    open_rows = [line["row"] for line in lines_of(mixture, "report.csv") if not line["finished_at"]]
    assert open_rows == ["10", "11"]


def test_reports_start_with_the_mark_by_which_excel_knows_utf_8(mixture: Journal) -> None:
    report.write(mixture)

    for name in ("report.csv", "fix.csv", "undo.csv"):
        assert (mixture.folder / name).read_bytes().startswith(b"\xef\xbb\xbf")


def test_a_run_of_which_nothing_came_has_all_its_reports_too(journal: Journal) -> None:
    journal.note(**FACTS)

    report.write(journal)

    assert {path.name for path in journal.folder.glob("[!.j]*")} == {
        "report.csv",
        "report.html",
        "report.xlsx",
        "fix.csv",
        "undo.csv",
        "summary.json",
    }
    assert lines_of(journal, "report.csv") == []


# fix.csv


def test_only_the_rows_to_mend_are_in_the_fix_as_they_were_handed_in(mixture: Journal) -> None:
    report.write(mixture)

    lines = lines_of(mixture, "fix.csv")
    assert list(lines[0]) == [*HEADERS, "batch_status", "batch_message"]
    assert [line["id"] for line in lines] == ["3", "4", "6", "7", "8", "9", "10", "11"]
    assert list(lines[0].values()) == ["3", "c3", "x", "invalid", "B3 is wrong"]
    assert {int(line["id"]): line["batch_status"] for line in lines} == {
        row: status for row, status in EXPECTED.items() if status not in {"updated", "unchanged"}
    }


def test_a_short_row_keeps_the_columns_in_their_places(journal: Journal) -> None:
    journal.note(**FACTS)
    journal.add_rows([Row(2, ("1",)), Row(3, ())])
    journal.settle_rows([(row, outcome(Status.INVALID, message="no"), None) for row in (2, 3)])

    report.write(journal)

    assert [list(line.values()) for line in lines_of(journal, "fix.csv")] == [
        ["1", "", "", "invalid", "no"],
        ["", "", "", "invalid", "no"],
    ]


def test_a_row_with_too_many_cells_loses_none_of_them(journal: Journal) -> None:
    journal.note(**FACTS)  # a text with a delimiter in it, and no quotes around it
    journal.add_rows([Row(2, ("1", "spare key", "in the cabinet", "3rd floor"))])
    journal.settle_rows([(2, outcome(Status.INVALID, message="4 cells"), None)])

    report.write(journal)

    assert "3rd floor" in (journal.folder / "fix.csv").read_text(encoding="utf-8-sig")


def test_a_fix_handed_in_again_is_the_same_sheet_with_fewer_rows(journal: Journal) -> None:
    headers = ["id", "comment", "=cmd()", "batch_note"]
    rows = [Row(number, (str(number), text, text, "")) for number, text in enumerate(TEXTS, 2)]
    journal.note(**(FACTS | {"headers": headers}))
    journal.add_rows(rows)
    journal.settle_rows([(row.number, outcome(Status.INVALID, message="=1"), None) for row in rows])

    report.write(journal)

    sheet = open_sheet(journal.folder / "fix.csv")
    assert [column.header for column in sheet.columns] == [
        *headers,
        "batch_status",
        "batch_message",
    ]
    meanings = [Key.ID, Field.COMMENT, None, None, None, None]
    assert [column.meaning for column in sheet.columns] == meanings
    assert [row.cells[:4] for row in sheet.rows()] == [row.cells for row in rows]


def test_a_fix_of_a_fix_has_the_columns_about_the_batch_only_once(journal: Journal) -> None:
    journal.note(**(FACTS | {"headers": [*HEADERS, "batch_status", "batch_message"]}))
    journal.add_rows([Row(2, ("1", "c", "x", "invalid", "the first time"))])
    journal.settle_rows([(2, outcome(Status.INVALID, message="the second time"), None)])

    report.write(journal)

    with (journal.folder / "fix.csv").open(encoding="utf-8-sig", newline="") as file:
        header, line = csv.reader(file)
    assert header == [*HEADERS, "batch_status", "batch_message"]
    assert line == ["1", "c", "x", "invalid", "the second time"]


# undo.csv


def undone(journal: Journal, marker: str = "NULL") -> dict[int, dict[Field, Value]]:
    """What handing in the undo would ask for, by token."""
    path = journal.folder / "undo.csv"
    sheet = open_sheet(path)
    validator = Validator(sheet.columns, timezone=ZoneInfo("Asia/Tokyo"), clear_marker=marker)
    found: dict[int, dict[Field, Value]] = {}
    for row in sheet.rows():
        patch = validator.check(row)
        assert isinstance(patch, Patch), patch
        assert patch.ref.id is not None
        assert patch.ref == TokenRef(id=patch.ref.id)
        found[patch.ref.id] = dict(patch.changes)
    return found


EVERYTHING: dict[Field, Value] = {
    Field.VALID_FROM: LATER,
    Field.EXPIRES_AT: LATER + timedelta(days=9),
    Field.IS_ACTIVE: False,
    Field.ROAMING_ENABLED: False,
    Field.PRIORITY_CHARGING_ENABLED: True,
    Field.BILLING_REFERENCE: "new",
    Field.COMMENT: "new",
    Field.APP_USER_ID: 8,
    Field.CUSTOMER_ID: 2002,
}
FULL = token(
    1,
    valid_from=datetime(2025, 6, 30, 23, 59, 59, 999_000, tzinfo=UTC),
    expires_at=datetime(2026, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
    priority_charging_enabled=False,
    billing_reference="0042",
    app_user_id=7,
)


def old_values(operation: Operation) -> dict[Field, Value]:
    return {name: operation.token.value(name) for name in operation.changes}


def test_the_undo_asks_for_exactly_the_old_values(journal: Journal) -> None:
    operations = [
        Operation(FULL, EVERYTHING, (2,)),
        Operation(token(2, is_active=False), {Field.IS_ACTIVE: True}, (3,)),
        Operation(token(3), {Field.COMMENT: None, Field.CUSTOMER_ID: 2002}, (4, 5)),
        Operation(token(4, comment=None), {Field.COMMENT: "new"}, (6,)),
        Operation(token(5), {Field.EXPIRES_AT: LATER}, (7,)),
        Operation(token(6, billing_reference=None), {Field.BILLING_REFERENCE: "new"}, (8,)),
    ]
    updated(journal, operations)

    report.write(journal)

    assert undone(journal) == {each.token.id: old_values(each) for each in operations}


@pytest.mark.parametrize("name", [Field.COMMENT, Field.BILLING_REFERENCE])
def test_every_old_text_comes_back_as_it_was(journal: Journal, name: Field) -> None:
    attribute = {Field.COMMENT: "comment", Field.BILLING_REFERENCE: "billing_reference"}[name]
    operations = [
        Operation(token(number, **{attribute: text}), {name: "new"}, (number + 1,))
        for number, text in enumerate(TEXTS, 1)
    ]
    updated(journal, operations)

    report.write(journal)

    assert undone(journal) == {each.token.id: old_values(each) for each in operations}


@pytest.mark.parametrize("marker", ["NULL", "-", "<tom>", "=leer"])
def test_the_undo_empties_with_the_marker_of_its_sheet(journal: Journal, marker: str) -> None:
    operation = Operation(token(1, comment=None), {Field.COMMENT: "new"}, (2,))
    updated(journal, [operation], clear_marker=marker)

    report.write(journal)

    assert undone(journal, marker) == {1: {Field.COMMENT: None}}


@pytest.mark.parametrize("text", ["NULL", " NULL ", "null", "'NULL", "''Null"])
def test_an_old_text_that_looks_like_the_marker_is_undone_to_that_text(
    journal: Journal, text: str
) -> None:
    updated(journal, [Operation(token(1, comment=text), {Field.COMMENT: "new"}, (2,))])

    report.write(journal)

    assert undone(journal) == {1: {Field.COMMENT: text}}


def test_only_what_was_updated_is_undone(mixture: Journal) -> None:
    report.write(mixture)

    assert undone(mixture) == {2: {Field.COMMENT: "old", Field.IS_ACTIVE: True}}


def test_the_undo_names_each_token_once_and_only_fields_that_changed(journal: Journal) -> None:
    operations = [
        Operation(token(1), {Field.COMMENT: "new"}, (2, 3)),
        Operation(token(2), {Field.CUSTOMER_ID: 2002}, (4,)),
    ]
    updated(journal, operations)

    report.write(journal)

    lines = lines_of(journal, "undo.csv")
    assert list(lines[0]) == ["id", "comment", "customerId"]
    assert [list(line.values()) for line in lines] == [["1", "old", ""], ["2", "", "2001"]]


# Formulas


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_any_report_is_taken_for_a_formula(journal: Journal, text: str) -> None:
    journal.note(**(FACTS | {"headers": ["id", text, "x"]}))
    journal.add_rows([Row(2, ("1", text, text)), Row(3, ("2", "", ""))])
    bad = outcome(Status.REJECTED, message=text, code=text, request_id=text)
    journal.add_operations(
        [
            Operation(token(1, label=text, comment=text), {Field.COMMENT: text}, (2,)),
            Operation(token(2, label=text, comment=text), {Field.COMMENT: "new"}, (3,)),
        ]
    )
    settle(journal, {1: bad, 2: outcome(Status.UPDATED)})

    report.write(journal)

    for name in ("report.csv", "fix.csv", "undo.csv"):
        with (journal.folder / name).open(encoding="utf-8-sig", newline="") as file:
            cells = [cell for line in csv.reader(file) for cell in line]
        assert [cell for cell in cells if cell.startswith(tuple("=+-@\t\r"))] == []
        assert any(cell.endswith(text) for cell in cells)


# How files appear


def test_a_report_appears_when_it_is_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_text("the former", encoding="utf-8")

    with path.open(encoding="utf-8") as opened_before:
        with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write("half")
            file.flush()
            during = path.read_text(encoding="utf-8")
            file.write(" and whole")
        seen_by_its_reader = opened_before.read()

    assert (during, seen_by_its_reader) == ("the former", "the former")
    assert path.read_text(encoding="utf-8") == "half and whole"
    assert [each.name for each in tmp_path.iterdir()] == ["report.csv"]


def test_a_report_that_fails_halfway_leaves_the_former_one_and_no_half(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_text("the former", encoding="utf-8")

    def half_a_report() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_a_report()

    assert path.read_text(encoding="utf-8") == "the former"
    assert [each.name for each in tmp_path.iterdir()] == ["report.csv"]


def test_a_report_that_cannot_be_written_is_named_and_costs_no_other(mixture: Journal) -> None:
    (mixture.folder / "report.csv").mkdir()
    (mixture.folder / "report.xlsx").mkdir()

    _, refused = report.write(mixture)

    assert "report.csv (Is a directory), report.xlsx (Is a directory)" in refused
    assert "`token-batch report 2026-01-01-kort` writes its reports again" in refused
    for name in ("fix.csv", "undo.csv", "report.html", "summary.json"):
        assert (mixture.folder / name).is_file()


def test_half_a_report_of_a_process_that_was_killed_is_cleared_away(mixture: Journal) -> None:
    (mixture.folder / ".report.xlsx.4711.part").write_bytes(b"half")

    report.write(mixture)

    assert list(mixture.folder.glob(".*.part")) == []


def test_reports_written_again_are_the_same_and_nothing_is_left_beside_them(
    mixture: Journal,
) -> None:
    report.write(mixture)
    names = ("report.csv", "fix.csv", "undo.csv", "summary.json")
    first = [(mixture.folder / name).read_bytes() for name in names]

    report.write(mixture)

    assert [(mixture.folder / name).read_bytes() for name in names] == first
    assert list(mixture.folder.glob(".*")) == []


# summary.json


def test_the_summary_counts_every_row_once(mixture: Journal) -> None:
    written, _ = report.write(mixture)

    told = (mixture.folder / "summary.json").read_text(encoding="utf-8")
    summary = Summary.model_validate_json(told)
    assert summary == written.summary == report.summarize(mixture)
    assert summary.rows == len(EXPECTED) == sum(summary.counts.values())
    assert {status.value: count for status, count in summary.counts.items()} == {
        "updated": 2,
        "unchanged": 1,
        "invalid": 1,
        "not_found": 1,
        "rejected": 1,
        "failed": 1,
        "unknown": 2,
        "conflict": 1,
        "not_sent": 1,
    }


def test_the_summary_is_json_with_the_facts_of_the_run(journal: Journal) -> None:
    requests = Requests(total=9, reads=4, writes=5, retries=1, refusals_429=2)
    journal.note(**(FACTS | {"requests": requests, "seconds": 1.5, "operations": 3}))

    report.write(journal)

    told = json.loads((journal.folder / "summary.json").read_text(encoding="utf-8"))
    assert told == {
        "schema_version": 1,
        "run": "2026-01-01-kort",
        "folder": str(journal.folder),
        "simulated": False,
        "sheet": "kort.csv",
        "sha256": "0" * 64,
        "base_url": "https://api.example",
        "who": "søren",
        "version": "1",
        "started_at": "2026-01-01T00:00:00Z",
        "finished_at": "2026-01-02T00:00:00Z",
        "stopped": "",
        "rows": 0,
        "hidden_rows": 0,
        "total_row": None,
        "counts": {status.value: 0 for status in Status},
        "operations": 3,
        "requests": {"total": 9, "reads": 4, "writes": 5, "retries": 1, "refusals_429": 2},
        "seconds": 1.5,
        "sittings": [],
    }


def summary_of(journal: Journal, statuses: Sequence[Status], **facts: Any) -> Summary:
    journal.note(**(FACTS | facts))
    journal.add_rows(Row(row, ()) for row in range(2, 2 + len(statuses)))
    journal.settle_rows((row, outcome(each), None) for row, each in enumerate(statuses, 2))
    return report.summarize(journal)


@pytest.mark.parametrize(
    ("statuses", "facts", "state"),
    [
        ([Status.UPDATED], {}, RunState.FINISHED),
        ([Status.FAILED, Status.CONFLICT, Status.INVALID], {}, RunState.FINISHED),
        ([Status.UPDATED, Status.NOT_SENT], {}, RunState.STOPPED),
        ([Status.UPDATED, Status.UNKNOWN], {}, RunState.STOPPED),
        ([Status.UPDATED], {"stopped": "interrupted"}, RunState.STOPPED),
        ([Status.NOT_SENT], {"finished_at": None}, RunState.UNFINISHED),
    ],
)
def test_a_run_is_finished_when_every_row_has_its_final_outcome(
    journal: Journal, statuses: list[Status], facts: dict[str, Any], state: RunState
) -> None:
    assert summary_of(journal, statuses, **facts).state is state


@pytest.mark.parametrize("status", Status)
def test_all_is_well_when_every_row_is_updated_or_unchanged(
    journal: Journal, status: Status
) -> None:
    summary = summary_of(journal, [Status.UPDATED, Status.UNCHANGED, status])

    assert summary.all_well is (status in {Status.UPDATED, Status.UNCHANGED})


def test_a_problem_of_a_row_is_told_in_one_cell(journal: Journal) -> None:
    problem = Problem(2, '"x" is no date.', "expiresAt", "B2", "x", "a date")
    journal.note(**FACTS)
    journal.add_rows([Row(2, ("1", "x", ""))])
    journal.settle_rows([(2, outcome(Status.INVALID, message=str(problem)), None)])

    report.write(journal)

    (line,) = lines_of(journal, "report.csv")
    assert line["message"] == 'expiresAt (B2): "x" is no date. Accepted: a date.'
