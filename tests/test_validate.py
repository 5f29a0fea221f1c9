"""Rows: which token, which changes, and every problem with its place."""

from __future__ import annotations

from datetime import UTC, date, datetime
from timeit import repeat
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import batch.validate.validator
from batch.formulas import NOT_CALCULATED
from batch.models import (
    Cell,
    Column,
    DateOrder,
    Field,
    Key,
    Patch,
    Problem,
    Row,
    TokenPatch,
    TokenRef,
    Value,
)
from batch.validate import Validator

UTC_ZONE = ZoneInfo("UTC")
HEADERS: dict[str, Field | Key | None] = {
    "Id": Key.ID,
    "Card": Key.LABEL,
    "UID": Key.UID,
    "Owner": None,
    "From": Field.VALID_FROM,
    "Until": Field.EXPIRES_AT,
    "Active": Field.IS_ACTIVE,
    "Reference": Field.BILLING_REFERENCE,
    "Comment": Field.COMMENT,
    "Customer": Field.CUSTOMER_ID,
}
KNOWN = [header for header, meaning in HEADERS.items() if meaning]
COLUMNS = [Column(index, *item) for index, item in enumerate(HEADERS.items())]

ENGLISH = ["#REF!", "#N/A", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#SPILL!", "#CALC!"]
FORMULA_ERRORS = [*ENGLISH, "#ref!", "#VÆRDI!", "#værdi!", "#I/T", "#BEZUG!", "#NV", "Err:502"]


def row(**cells: Cell) -> Row:
    given_cells: dict[str, Cell] = {"Id": "67890", **cells}
    return Row(5, tuple(given_cells.get(header, "") for header in HEADERS))


def check(checked: Row, marker: str = "NULL") -> Patch | tuple[Problem, ...]:
    return Validator(COLUMNS, timezone=UTC_ZONE, clear_marker=marker).check(checked)


def problems(checked: Row, marker: str = "NULL") -> tuple[Problem, ...]:
    found = check(checked, marker)
    assert isinstance(found, tuple)
    return found


def changes(checked: Row, marker: str = "NULL") -> dict[Field, Value]:
    found = check(checked, marker)
    assert isinstance(found, Patch)
    return dict(found.changes)


def test_a_row_becomes_its_token_and_its_changes() -> None:
    checked = row(Card="DK-1", UID=" 04E1234567 ", Active="nej", Comment="lost", Owner="Ann")

    expected = Patch(
        row=5,
        ref=TokenRef(id=67890, label="DK-1", uid="04E1234567"),
        changes={Field.IS_ACTIVE: False, Field.COMMENT: "lost"},
    )
    assert expected == check(checked)


def test_changes_keep_the_order_of_the_columns() -> None:
    checked = row(Comment="x", Active="yes", From="2026-01-01", Reference="y")

    expected = [Field.VALID_FROM, Field.IS_ACTIVE, Field.BILLING_REFERENCE, Field.COMMENT]
    assert expected == list(changes(checked))


@pytest.mark.parametrize("blank", ["", " ", "\t", "\u00a0", " \r\n "])
def test_blank_cells_change_nothing(blank: str) -> None:
    expected = Patch(5, TokenRef(id=67890), {})
    assert expected == check(row(Card=blank, From=blank, Active=blank, Comment=blank))


@pytest.mark.parametrize("damage", ["#REF!", "whatever", 46022.0, date(2026, 1, 1)])
def test_ignored_columns_never_matter(damage: Cell) -> None:
    assert changes(row(Owner=damage)) == {}


def test_every_problem_of_a_row_is_told_with_its_place_in_the_order_of_its_cells() -> None:
    checked = row(Id="67890.5", Until="soon", Active="maybe", Comment="x" * 101)
    checked = Row(5, (*checked.cells, "", "surplus"))

    told = [(problem.column, problem.cell, problem.value) for problem in problems(checked)]

    expected = [
        ("", "", ""),
        ("Id", "A5", "67890.5"),
        ("Until", "F5", "soon"),
        ("Active", "G5", "maybe"),
        ("Comment", "I5", "x" * 59 + "…"),
    ]
    assert expected == told


def test_a_problem_says_what_was_found_and_what_is_accepted() -> None:
    expected = (
        Problem(
            row=5,
            message='"0" is below 1.',
            column="Customer",
            cell="J5",
            value="0",
            accepted="a whole number in digits only, such as 67890",
            meaning=Field.CUSTOMER_ID,
        ),
    )
    assert expected == problems(row(Customer="0"))


def test_a_row_that_names_no_token_is_a_problem_of_the_row() -> None:
    expected = (Problem(5, "The row names no token.", accepted="a value in Id or Card or UID"),)
    assert expected == problems(row(Id=" ", Active="yes"))


def test_a_token_that_is_named_badly_is_not_called_unnamed_too() -> None:
    (problem,) = problems(row(Id="x"))

    assert problem.column == "Id"


def test_more_filled_cells_than_headers_are_a_problem_of_the_row() -> None:
    width = len(HEADERS)
    surplus = Row(5, (*row().cells, "", "text"))

    (problem,) = problems(surplus)

    assert f"The row has {width + 2} cells and the header {width}" in problem.message


def test_blank_cells_beyond_the_header_are_no_problem() -> None:
    assert changes(Row(5, (*row().cells, "", " "))) == {}


@pytest.mark.parametrize("header", ["Until", "Reference", "Comment"])
def test_the_clear_marker_empties_a_nullable_field(header: str) -> None:
    assert {HEADERS[header]: None} == changes(row(**{header: " NULL "}))


@pytest.mark.parametrize("header", ["Card", "UID", "From", "Active", "Customer"])
def test_the_clear_marker_elsewhere_is_a_problem(header: str) -> None:
    (problem,) = problems(row(**{header: "NULL"}))

    expected = f'"NULL" is the clear marker, and {HEADERS[header]} cannot be emptied.'
    assert expected == problem.message


@pytest.mark.parametrize("text", ["null", "Null", "nULL"])
@pytest.mark.parametrize("header", ["Until", "Reference", "Comment"])
def test_a_marker_in_another_case_is_refused_where_it_could_empty_a_field(
    header: str, text: str
) -> None:
    (problem,) = problems(row(**{header: text}))

    assert f'"{text}" is almost the clear marker NULL.' == problem.message


def test_a_label_may_differ_from_the_marker_by_its_case() -> None:
    found = check(row(Card="Null"))

    assert isinstance(found, Patch)
    assert found.ref.label == "Null"


def test_another_clear_marker_sets_the_first_one_free() -> None:
    expected = {Field.BILLING_REFERENCE: None, Field.COMMENT: "NULL"}
    assert expected == changes(row(Reference="#N/A", Comment="NULL"), marker="#N/A")


@pytest.mark.parametrize("header", KNOWN)
@pytest.mark.parametrize("error", FORMULA_ERRORS)
def test_the_error_of_a_formula_is_named_in_any_column(header: str, error: str) -> None:
    (problem,) = problems(row(**{header: f" {error} "}))

    assert problem.message.endswith("is the error of a formula, not a value.")


@pytest.mark.parametrize("header", KNOWN)
def test_a_formula_without_a_stored_value_is_named_in_any_column(header: str) -> None:
    (problem,) = problems(row(**{header: NOT_CALCULATED}))

    assert problem.message.endswith("stands for a formula whose result is not in the file.")


def test_a_cell_of_hashes_is_named_as_a_column_too_narrow() -> None:
    (problem,) = problems(row(Comment="########"))

    assert problem.message.startswith('"########" is what Excel shows when a column is too narrow')


def test_a_token_that_expires_before_it_becomes_valid_is_refused_naming_both_cells() -> None:
    (problem,) = problems(row(From="2026-06-01", Until="2026-05-31"))

    expected = '"2026-05-31" is before From (E5), which is 2026-06-01T00:00:00.000Z.'
    assert ("F5", expected) == (problem.cell, problem.message)


def test_a_token_may_be_valid_for_one_day() -> None:
    expected = {
        Field.VALID_FROM: datetime(2026, 6, 1, tzinfo=UTC),
        Field.EXPIRES_AT: datetime(2026, 6, 1, 23, 59, 59, 999_000, tzinfo=UTC),
    }
    assert expected == changes(row(From="2026-06-01", Until="2026-06-01"))


def test_what_a_problem_repeats_can_be_written_anywhere() -> None:
    (problem,) = problems(row(Active="\ud800\x00\n"))

    assert problem.value == "\\ud800\\x00\\n"


def test_a_new_limit_of_the_model_is_a_problem_of_its_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stricter(TokenPatch):
        customer_id: bool = False

    monkeypatch.setattr(batch.validate.validator, "TokenPatch", Stricter)

    (problem,) = problems(row(Customer="42"))

    assert problem.message == '"42" is not a value that the API takes here.'


cells = st.one_of(
    st.text(),
    st.text(alphabet="0123456789.,:/+-TZE# ", max_size=30),
    st.sampled_from(["NULL", "null", "#REF!", "9999-12-31", "0001-01-01", "31.12.9999 23:59"]),
    st.text(st.characters(categories=["Cs", "Cc", "Nd", "Zs"])),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.booleans(),
    st.datetimes(),
    st.datetimes(timezones=st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(),
)


@given(
    st.lists(cells, min_size=len(HEADERS), max_size=len(HEADERS) + 2),
    st.sampled_from(["UTC", "Pacific/Kiritimati", "America/Los_Angeles", "Europe/Copenhagen"]),
    st.sampled_from([None, *DateOrder]),
)
def test_whatever_the_cells_hold_a_row_gives_a_patch_or_problems(
    found: list[Cell], zone: str, order: DateOrder | None
) -> None:
    validator = Validator(COLUMNS, timezone=ZoneInfo(zone), date_order=order)

    result = validator.check(Row(2, tuple(found)))

    if isinstance(result, Patch):
        TokenPatch.model_validate(result.changes)
    else:
        assert result
        assert all(problem.message.encode() and len(problem.value) <= 60 for problem in result)


@pytest.mark.parametrize("header", KNOWN)
@given(cell=cells)
def test_whatever_one_cell_holds_only_that_cell_is_a_problem(header: str, cell: Cell) -> None:
    found = check(row(**{header: cell}))

    if isinstance(found, tuple):
        assert {problem.column for problem in found} <= {header, ""}


@pytest.mark.benchmark
def test_a_row_takes_microseconds() -> None:
    validator = Validator(COLUMNS, timezone=UTC_ZONE)
    typical = row(Until="2026-12-31", Active="yes", Comment="a card for the van")
    took = min(repeat(lambda: validator.check(typical), number=10_000, repeat=5)) / 10_000
    print(f"{took * 1e6:.1f} µs a row")
