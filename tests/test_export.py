from __future__ import annotations

import asyncio
import csv
import json
import subprocess
import sys
from datetime import UTC, date, datetime
from itertools import count
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from accounts import INSTANTS, NUMBERS, TEXTS, UTC_ZONE, difficult, exported, handed_back, unlike
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook
from openpyxl.worksheet.worksheet import Worksheet
from runs import FIRST, Quiet, settings_for

from batch import run
from batch.check import Source
from batch.errors import Unavailable, UsageError
from batch.export import LeftEmpty
from batch.models import Field, Identifier, Selection, Token
from batch.read import open_sheet
from batch.run import Exported
from batch.simulator import SimulatedApi

COPENHAGEN = ZoneInfo("Europe/Copenhagen")
FILES = count()


def token(token_id: int = 1, **fields: Any) -> Token:
    given: dict[str, Any] = {
        "identifier": Identifier("rfid", "04AB", "DK-1"),
        "valid_from": datetime(2026, 1, 1, tzinfo=UTC),
        "is_active": True,
        "roaming_enabled": False,
        "priority_charging_enabled": False,
        "customer_id": 67890,
    }
    return Token(id=token_id, **given | fields)


def first_sheet(path: Path) -> Worksheet:
    sheet = load_workbook(path).worksheets[0]
    assert isinstance(sheet, Worksheet)
    return sheet


def cells_of(path: Path) -> dict[str, Any]:
    """The first token's cells, by heading."""
    header, first, *_ = first_sheet(path).iter_rows()
    return {str(name.value): cell for name, cell in zip(header, first, strict=True)}


def told(tmp_path: Path, **fields: Any) -> dict[str, Any]:
    """The values that a workbook tells of one token."""
    exported([token(**fields)], tmp_path / "fleet.xlsx")
    return {name: cell.value for name, cell in cells_of(tmp_path / "fleet.xlsx").items()}


# What nobody touches comes back as it was


@pytest.mark.parametrize("name", ["fleet.xlsx", "fleet.csv"])
@pytest.mark.parametrize("zone", [UTC_ZONE, COPENHAGEN])
def test_handed_back_untouched_it_changes_nothing(
    tmp_path: Path, name: str, zone: ZoneInfo
) -> None:
    tokens = difficult(500)
    exported(tokens, tmp_path / name, zone)
    assert unlike(tmp_path / name, tokens) == []


def test_the_zone_of_its_times_stands_in_the_headings(tmp_path: Path) -> None:
    tokens = difficult(50)
    exported(tokens, tmp_path / "fleet.xlsx", COPENHAGEN)
    headers = [column.header for column in open_sheet(tmp_path / "fleet.xlsx").columns]
    assert headers[6:8] == ["validFrom (Europe/Copenhagen)", "expiresAt (Europe/Copenhagen)"]
    assert unlike(tmp_path / "fleet.xlsx", tokens, ZoneInfo("Asia/Tokyo")) == []


any_text = st.none() | st.sampled_from(TEXTS) | st.text(max_size=12)
any_number = st.none() | st.sampled_from(NUMBERS) | st.integers(1, 2**63 - 1)
any_instant = (
    st.none()
    | st.sampled_from(INSTANTS)
    | st.datetimes(datetime(1, 1, 2), timezones=st.just(UTC)).map(  # noqa: DTZ001 the next argument
        lambda instant: instant.replace(microsecond=instant.microsecond // 1000 * 1000)
    )
)
any_token = st.builds(
    Token,
    id=st.just(7),
    identifier=st.builds(
        Identifier,
        type=st.sampled_from(["rfid", "virtual", "vehicleId", "something new"]),
        uid=any_text,
        label=any_text,
        app_user_id=any_number,
    ),
    valid_from=any_instant,
    expires_at=any_instant,
    is_active=st.booleans(),
    roaming_enabled=st.booleans(),
    priority_charging_enabled=st.none() | st.booleans(),
    customer_id=any_number,
    billing_reference=any_text,
    comment=any_text,
    created_at=any_text,
    updated_at=any_instant.map(str),
)


@settings(max_examples=120)
@given(
    any_token,
    st.sampled_from([".xlsx", ".csv"]),
    st.sampled_from([UTC_ZONE, COPENHAGEN, ZoneInfo("Australia/Lord_Howe")]),
    st.sampled_from(["NULL", "-", "<tom>", "=leer", "'"]),
)
def test_any_token_handed_back_untouched_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, one: Token, suffix: str, zone: ZoneInfo, marker: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{next(FILES)}{suffix}"
    exported([one], path, zone, marker)
    rows, made, problems = handed_back(path, [one], UTC_ZONE, marker)
    assert (rows, made.operations, problems) == (1, [], [])
    assert [row.outcome.message for row in made.settled] == [""]


@pytest.mark.parametrize("name", ["fleet.xlsx", "fleet.csv"])
def test_a_value_that_the_sheet_cannot_say_is_left_empty_and_told(
    tmp_path: Path, name: str
) -> None:
    one = token(5, comment="#REF!", billing_reference="plain")
    assert exported([one], tmp_path / name) == [LeftEmpty(5, "comment")]


def test_a_tab_is_left_out_of_a_workbook_because_libreoffice_drops_it(tmp_path: Path) -> None:
    assert exported([token(5, comment="a\tb")], tmp_path / "a.xlsx") == [LeftEmpty(5, "comment")]
    assert exported([token(5, comment="a\tb")], tmp_path / "a.csv") == []


def test_a_changed_cell_is_the_only_change(tmp_path: Path) -> None:
    tokens = [token(1), token(2, comment="old"), token(3)]
    exported(tokens, tmp_path / "fleet.xlsx")
    book = load_workbook(tmp_path / "fleet.xlsx")
    header = [cell.value for cell in book.worksheets[0][1]]
    book.worksheets[0].cell(3, header.index("comment") + 1, "new")
    book.save(tmp_path / "fleet.xlsx")

    _, made, _ = handed_back(tmp_path / "fleet.xlsx", tokens)

    (operation,) = made.operations
    assert (operation.token.id, operation.changes) == (2, {Field.COMMENT: "new"})


# Made to be edited


def test_numbers_dates_and_texts_are_what_they_are(tmp_path: Path) -> None:
    cells = told(
        tmp_path,
        identifier=Identifier("rfid", "04000123", "000123"),
        valid_from=datetime(2026, 1, 1, 14, 30, 15, 280_000, tzinfo=UTC),
        expires_at=datetime(2026, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),
        comment="=1+1",
        created_at="2025-01-01T10:00:00Z",
    )
    assert cells["id"] == 1
    assert (cells["uid"], cells["label"], cells["comment"]) == ("04000123", "000123", "=1+1")
    assert cells["validFrom"] == datetime(2026, 1, 1, 14, 30, 15, 280_000)  # noqa: DTZ001 a sheet's
    assert cells["expiresAt"].date() == date(2026, 12, 31)
    assert (cells["isActive"], cells["roamingEnabled"], cells["customerId"]) == ("yes", "no", 67890)
    assert cells["createdAt"] == datetime(2025, 1, 1, 10)  # noqa: DTZ001 a sheet's


def test_a_number_too_long_for_a_spreadsheet_is_text(tmp_path: Path) -> None:
    assert told(tmp_path, customer_id=10**15)["customerId"] == str(10**15)


def test_a_text_that_looks_like_a_formula_is_no_formula(tmp_path: Path) -> None:
    exported([token(comment="=1+1")], tmp_path / "fleet.xlsx")
    cell = cells_of(tmp_path / "fleet.xlsx")["comment"]
    assert (cell.data_type, cell.number_format) == ("s", "@")


def test_what_only_names_or_tells_a_token_is_locked_and_shaded(tmp_path: Path) -> None:
    exported([token(comment="x")], tmp_path / "fleet.xlsx")
    assert first_sheet(tmp_path / "fleet.xlsx").protection.sheet
    locked = {
        name: (cell.protection.locked, cell.fill.fgColor.rgb == "FFEDEDED")
        for name, cell in cells_of(tmp_path / "fleet.xlsx").items()
        if cell.value is not None
    }
    assert {name for name, (is_locked, _) in locked.items() if is_locked} == {
        *("id", "label", "uid", "type"),
    }
    assert all(is_locked == is_shaded for is_locked, is_shaded in locked.values())


def test_an_empty_cell_may_be_filled_in_too(tmp_path: Path) -> None:
    exported([token()], tmp_path / "fleet.xlsx")
    sheet = first_sheet(tmp_path / "fleet.xlsx")
    comment = next(column for column in sheet.column_dimensions.values() if column.min == 13)
    assert (comment.protection.locked, comment.number_format) == (False, "@")


def test_the_header_is_frozen_and_filtered_and_switches_have_lists(tmp_path: Path) -> None:
    exported([token(1), token(2)], tmp_path / "fleet.xlsx")
    sheet = first_sheet(tmp_path / "fleet.xlsx")
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("C2", "A1:O3")
    lists = {str(each.sqref): each.formula1 for each in sheet.data_validations.dataValidation}
    assert lists == dict.fromkeys(["I2:I3", "J2:J3", "K2:K3"], '"yes,no"')


def test_columns_are_as_wide_as_what_they_hold(tmp_path: Path) -> None:
    exported([token(comment="a comment of some length")], tmp_path / "fleet.xlsx")
    widths = {
        column.min: column.width
        for column in first_sheet(tmp_path / "fleet.xlsx").column_dimensions.values()
    }
    assert len("a comment of some length") <= widths[13] <= 45
    assert widths[7] >= len("2026-12-31 23:59:59.999")


def test_a_second_sheet_explains_every_column_and_is_no_table(tmp_path: Path) -> None:
    exported([token()], tmp_path / "fleet.xlsx")
    book = load_workbook(tmp_path / "fleet.xlsx")
    first, second = book.worksheets
    explained = [str(row[0].value) for row in second.iter_rows()]
    for header in first[1]:
        assert any(each.endswith(f", {header.value}") for each in explained)
    assert open_sheet(tmp_path / "fleet.xlsx").worksheet == "Tokens"


def test_an_account_without_tokens_is_a_header_alone(tmp_path: Path) -> None:
    for name in ("fleet.xlsx", "fleet.csv"):
        exported([], tmp_path / name)
        assert list(open_sheet(tmp_path / name).rows()) == []


# From the account to the file


@pytest.fixture(scope="module")
def api() -> Any:
    with SimulatedApi(tokens=2500) as started:
        yield started


def export(
    api: SimulatedApi, path: Path, *selected: Any, overwrite: bool = False, **more: Any
) -> Exported:

    chosen = settings_for(api, path.parent, **more)
    selection = Selection(*selected)
    return asyncio.run(run.export_tokens(path, selection, chosen, Quiet(), overwrite=overwrite))


def test_all_tokens_are_written_by_ascending_id(api: SimulatedApi, tmp_path: Path) -> None:
    assert export(api, tmp_path / "fleet.csv").tokens == 2500
    with (tmp_path / "fleet.csv").open(encoding="utf-8-sig", newline="") as file:
        ids = [int(line["id"]) for line in csv.DictReader(file)]
    assert ids == list(range(FIRST, FIRST + 2500))


def test_handed_back_to_its_account_nothing_is_sent(api: SimulatedApi, tmp_path: Path) -> None:

    export(api, tmp_path / "fleet.xlsx")
    source = Source(str(tmp_path / "fleet.xlsx"))
    proposal = asyncio.run(run.propose(source, settings_for(api, tmp_path), Quiet()))
    assert (proposal.checked.rows, proposal.plan.operations) == (2500, [])


@pytest.mark.parametrize(
    ("selected", "fits"),
    [
        ((2002, None, None), lambda token: token["customerId"] == 2002),
        ((None, "virtual", None), lambda token: token["identifier"]["type"] == "virtual"),
        ((None, None, False), lambda token: not token["isActive"]),
        ((2001, "rfid", True), lambda token: token["isActive"] and token["customerId"] == 2001),
    ],
)
def test_only_what_is_selected_is_written(
    api: SimulatedApi, tmp_path: Path, selected: tuple[Any, ...], fits: Any
) -> None:
    export(api, tmp_path / "fleet.csv", *selected)
    ids = [row.cells[0] for row in open_sheet(tmp_path / "fleet.csv").rows()]
    tokens = [token for token in api.tokens().values() if fits(token)]
    if selected[1] == "rfid":
        tokens = [token for token in tokens if token["identifier"]["type"] == "rfid"]
    assert ids == [str(token["id"]) for token in tokens]
    assert len(ids) > 20


def test_a_file_that_is_there_is_left_alone(api: SimulatedApi, tmp_path: Path) -> None:
    path = tmp_path / "fleet.xlsx"
    path.write_text("edited for hours")
    with pytest.raises(UsageError, match="is there already, perhaps with changes in it"):
        export(api, path)
    assert path.read_text() == "edited for hours"
    assert export(api, path, overwrite=True).tokens == 2500


@pytest.mark.parametrize("name", ["fleet.xls", "fleet", "nowhere/fleet.xlsx"])
def test_where_it_cannot_be_written_is_said_before_anything_is_read(
    api: SimulatedApi, tmp_path: Path, name: str
) -> None:
    before = len(api.requests)
    with pytest.raises(UsageError):
        export(api, tmp_path / name)
    assert len(api.requests) == before


def test_the_command_tells_what_it_wrote(tmp_path: Path) -> None:
    def said(*words: str) -> str:
        command = [sys.executable, "-m", "batch", "export", *words, "--simulate"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    assert said("fleet.xlsx") == "SIMULATED: 5,000 tokens written to fleet.xlsx\n"
    document = json.loads(said("fleet.csv", "--inactive", "--json"))
    assert (document["file"], document["simulated"]) == ("fleet.csv", True)
    assert 0 < document["tokens"] < 1000


def test_an_account_that_never_keeps_still_is_not_exported_with_gaps(
    api: SimulatedApi, tmp_path: Path
) -> None:
    with SimulatedApi(tokens=2500) as other:
        left = iter(range(FIRST, FIRST + 2500))

        class Deleting(Quiet):
            def reading(self, seen: int, count: int) -> None:
                assert seen <= count
                other.delete(next(left))

        chosen = settings_for(other, tmp_path)
        with pytest.raises(Exception, match="added or deleted each time") as refused:
            asyncio.run(
                run.export_tokens(
                    tmp_path / "fleet.csv", Selection(), chosen, Deleting(), overwrite=False
                )
            )
        assert isinstance(refused.value.__cause__, Unavailable)
        assert not (tmp_path / "fleet.csv").exists()


def test_an_instant_before_all_spreadsheets_is_told_in_words(tmp_path: Path) -> None:
    told_ = told(tmp_path, created_at="0001-01-01T10:00:00Z")
    assert told_["createdAt"] == "0001-01-01T10:00:00.000Z"


def test_what_no_file_can_hold_is_left_out_of_the_told_columns_too(tmp_path: Path) -> None:
    for name in ("fleet.xlsx", "fleet.csv"):
        assert exported([token(5, created_at="a\x00b")], tmp_path / name) == [
            LeftEmpty(5, "createdAt")
        ]


def test_a_place_where_nothing_can_be_written_is_told(api: SimulatedApi) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        export(api, Path("/proc/fleet.xlsx"), reports=Path("reports"))
