"""The facts that pass between the stages keep what they were given."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from batch.models import (
    DEFAULTED,
    TEXT_LIMIT,
    Cell,
    Column,
    Field,
    Identifier,
    Key,
    Operation,
    Patch,
    Problem,
    Rate,
    Requests,
    Row,
    Status,
    Token,
    TokenPatch,
    TokenRef,
    Value,
    cell_text,
    iso,
    shown,
)
from batch.validate import Validator

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
OSLO = ZoneInfo("Europe/Oslo")


def token(**values: Any) -> Token:
    fields: dict[str, Any] = {
        "id": 1,
        "identifier": Identifier(type="rfid", uid="04A1", label="DK-1", app_user_id=7),
        "valid_from": NEW_YEAR,
        "is_active": True,
        "roaming_enabled": False,
        "customer_id": 2001,
    }
    return Token(**(fields | values))


# Rates


@pytest.mark.parametrize(
    ("text", "limit", "seconds", "written"),
    [
        ("120/min", 120, 60.0, "120/min"),
        ("10/s", 10, 1.0, "10/s"),
        ("1000/h", 1000, 3600.0, "1000/h"),
        ("300/10s", 300, 10.0, "300/10s"),
        (" 300 / 10 s ", 300, 10.0, "300/10s"),
        ("5/60s", 5, 60.0, "5/min"),
        ("5/90s", 5, 90.0, "5/90s"),
        ("5/120min", 5, 7200.0, "5/2h"),
        ("5/1s", 5, 1.0, "5/s"),
    ],
)
def test_a_rate_is_read_and_written_as_people_say_it(
    text: str, limit: int, seconds: float, written: str
) -> None:
    rate = Rate.parse(text)

    assert (rate.limit, rate.seconds, str(rate)) == (limit, seconds, written)


@given(
    limit=st.integers(1, 10**9),
    count=st.none() | st.integers(1, 10**6),
    unit=st.sampled_from(["s", "min", "h"]),
)
def test_a_rate_that_was_written_is_read_as_it_was(
    limit: int, count: int | None, unit: str
) -> None:
    rate = Rate.parse(f"{limit}/{'' if count is None else count}{unit}")

    assert Rate.parse(str(rate)) == rate


@given(text=st.text(alphabet="0123456789 /-.smihn\u0663", max_size=10))
def test_whatever_is_written_as_a_rate_is_one_or_is_refused(text: str) -> None:
    try:
        rate = Rate.parse(text)
    except ValueError as error:
        assert "is not a rate; write for example 120/min" in str(error)  # noqa: PT017 - either is right
    else:
        assert rate.limit > 0
        assert 0 < rate.seconds < float("inf")


# Tokens and patches


def test_every_changeable_field_of_a_token_can_be_asked_for() -> None:
    described: dict[Field, Value] = {
        Field.VALID_FROM: NEW_YEAR,
        Field.EXPIRES_AT: NEW_YEAR,
        Field.IS_ACTIVE: True,
        Field.ROAMING_ENABLED: False,
        Field.PRIORITY_CHARGING_ENABLED: True,
        Field.BILLING_REFERENCE: "KST",
        Field.COMMENT: "ø",
        Field.APP_USER_ID: 7,
        Field.CUSTOMER_ID: 2001,
    }
    complete = token(
        expires_at=NEW_YEAR,
        priority_charging_enabled=True,
        billing_reference="KST",
        comment="ø",
    )

    assert {name: complete.value(name) for name in Field} == described


def test_a_token_is_read_from_the_api_whatever_else_is_told_of_it() -> None:
    told = {
        "id": 1,
        "customerId": 2001,
        "identifier": {"type": "rfid", "uid": "04A1", "label": "DK-1", "appUserId": 7, "new": 1},
        "createdAt": "2025-01-01T00:00:00.000Z",
        "validFrom": "2026-01-01T01:00:00.000+01:00",
        "isActive": True,
        "roamingEnabled": False,
        "tokenGroupIds": [1],
    }

    assert TypeAdapter(Token).validate_python(told) == token()


def test_the_changes_of_a_patch_are_the_fields_that_were_set_and_null_is_one_of_them() -> None:
    patch = TokenPatch.model_validate({"comment": None, "isActive": False, "appUserId": 7})

    assert list(patch.changes().items()) == [
        (Field.IS_ACTIVE, False),
        (Field.COMMENT, None),
        (Field.APP_USER_ID, 7),
    ]


NULLABLE = {Field.EXPIRES_AT, Field.BILLING_REFERENCE, Field.COMMENT}


@pytest.mark.parametrize("field", Field)
def test_only_the_fields_that_the_api_can_empty_can_be_emptied(field: Field) -> None:
    if field in NULLABLE:
        assert TokenPatch.model_validate({field: None}).changes() == {field: None}
    else:
        with pytest.raises(ValidationError):
            TokenPatch.model_validate({field: None})


@pytest.mark.parametrize("field", [Field.COMMENT, Field.BILLING_REFERENCE])
def test_a_text_may_have_100_characters_and_no_more(field: Field) -> None:
    longest = "ø" * TEXT_LIMIT

    assert TokenPatch.model_validate({field: longest}).changes() == {field: longest}
    with pytest.raises(ValidationError):
        TokenPatch.model_validate({field: longest + "x"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"label": "DK-1"},
        {"validFrom": "2026-01-01T00:00:00"},
        {"customerId": 0},
        {"appUserId": -1},
        {"isActive": "perhaps"},
    ],
)
def test_a_patch_that_the_api_would_not_take_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TokenPatch.model_validate(wrong)


def test_the_fields_with_doubtful_defaults_are_those_of_the_reference() -> None:
    assert set(DEFAULTED) == {Field.VALID_FROM, Field.IS_ACTIVE, Field.ROAMING_ENABLED}


@pytest.mark.parametrize("fact", [token(), Row(2, ()), Rate(1, 1.0), TokenRef(id=1)])
def test_facts_cannot_be_changed(fact: Any) -> None:
    with pytest.raises(AttributeError):  # a dataclass's FrozenInstanceError is one
        setattr(fact, next(iter(type(fact).__annotations__)), 9)


# What people read


def test_the_outcomes_are_those_of_the_contract() -> None:
    contract = "updated unchanged invalid not_found rejected failed unknown conflict not_sent"

    assert [status.value for status in Status] == contract.split()


def test_a_difference_tells_old_and_new_of_every_field() -> None:
    changes: dict[Field, Value] = {
        Field.COMMENT: 'Søren "7"',
        Field.IS_ACTIVE: False,
        Field.EXPIRES_AT: NEW_YEAR,
        Field.APP_USER_ID: 8,
    }

    assert Operation(token(comment=""), changes, (2,)).difference == (
        "expiresAt: empty → 2026-01-01T00:00:00.000Z; isActive: true → false; "
        'comment: "" → "Søren \\"7\\""; '
        "appUserId: 7 → 8"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({Field.IS_ACTIVE: False}, True),
        ({Field.IS_ACTIVE: False, Field.COMMENT: "lost"}, True),
        ({Field.IS_ACTIVE: True}, False),
        ({Field.COMMENT: None}, False),
        ({Field.ROAMING_ENABLED: False}, False),
    ],
)
def test_only_switching_a_token_off_deactivates_it(
    changes: dict[Field, Value],
    expected: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert Operation(token(), changes, (2,)).deactivates is expected


@pytest.mark.parametrize(
    ("instant", "written"),
    [
        (NEW_YEAR, "2026-01-01T00:00:00.000Z"),
        (datetime(2025, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC), "2025-12-31T23:59:59.999Z"),
        (datetime(2026, 7, 1, 2, tzinfo=OSLO), "2026-07-01T00:00:00.000Z"),
        (
            datetime(2026, 1, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30))),
            "2026-01-01T00:00:00.000Z",
        ),
    ],
)
def test_an_instant_is_written_as_the_api_writes_it(instant: datetime, written: str) -> None:
    assert (iso(instant), shown(instant)) == (written, written)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "empty"), ("", '""'), ("empty", '"empty"'), (True, "true"), (7, "7"), ("ø🚗", '"ø🚗"')],
)
def test_every_value_is_shown_so_that_no_two_look_alike(value: Value, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("index", "letter"),
    [(0, "A"), (25, "Z"), (26, "AA"), (51, "AZ"), (52, "BA"), (701, "ZZ"), (702, "AAA")],
)
def test_a_column_has_the_letters_that_the_spreadsheet_shows(index: int, letter: str) -> None:
    assert Column(index, "header", None).letter == letter


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(2, "The row names no token."), "The row names no token."),
        (Problem(2, "No.", "comment", "B2", "x", "y"), "comment (B2): No. Accepted: y."),
        (Problem(2, "No.", accepted="y"), "No. Accepted: y."),
    ],
)
def test_a_problem_is_a_sentence_with_its_place(problem: Problem, text: str) -> None:
    assert str(problem) == text


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        (TokenRef(id=1), "id 1"),
        (TokenRef(label="DK-1"), "label DK-1"),
        (TokenRef(id=1, label="", uid="04"), "id 1, label , uid 04"),
    ],
)
def test_a_reference_says_how_the_row_names_its_token(ref: TokenRef, text: str) -> None:
    assert str(ref) == text


def test_requests_add_up() -> None:
    assert Requests(9, 4, 5, 1, 2) + Requests(1, 1, 0, 0, 3) == Requests(10, 5, 5, 1, 5)


# Cells as text

MEANINGS: tuple[Field | Key, ...] = (*Field, *Key)
COLUMNS = tuple(Column(place, meaning, meaning) for place, meaning in enumerate(MEANINGS))
VALIDATORS = [
    Validator(COLUMNS, timezone=zone, date_order=None) for zone in (ZoneInfo("UTC"), OSLO)
]


def meaning_of(cell: Cell, meaning: Field | Key, validator: Validator) -> Patch | None:
    """What a row says that has this cell, and nothing if it is refused."""
    cells: list[Cell] = [""] * len(COLUMNS)
    cells[MEANINGS.index(Key.ID)] = 1
    cells[MEANINGS.index(meaning)] = cell
    found = validator.check(Row(2, tuple(cells)))
    return found if isinstance(found, Patch) else None


CELLS: list[Cell] = [
    "",
    " x ",
    "=1+1",
    "67890.5",
    True,
    False,
    0,
    1,
    67890,
    0.0,
    1.0,
    1.5,
    67890.5,
    123456789012345.0,
    datetime(2026, 7, 1),  # noqa: DTZ001 - as Excel stores it
    datetime(2026, 7, 1, 14, 30),  # noqa: DTZ001
    datetime(2026, 7, 1, 14, 30, 5, 123_000),  # noqa: DTZ001
    datetime(2026, 3, 29, 2, 30),  # noqa: DTZ001 - does not exist in Oslo
    date(2026, 7, 1),
    time(14, 30),
    timedelta(hours=30),
]


@pytest.mark.parametrize("validator", VALIDATORS, ids=["UTC", "Oslo"])
@pytest.mark.parametrize("cell", CELLS, ids=repr)
def test_what_a_cell_said_is_what_its_text_says_when_it_is_read_again(
    cell: Cell, validator: Validator
) -> None:
    as_stored = {meaning: meaning_of(cell, meaning, validator) for meaning in MEANINGS}
    understood = {meaning: patch for meaning, patch in as_stored.items() if patch}

    again = {meaning: meaning_of(cell_text(cell), meaning, validator) for meaning in understood}

    assert again == understood


@pytest.mark.parametrize("meaning", [Key.ID, Key.LABEL, Field.CUSTOMER_ID, Field.COMMENT])
def test_a_number_whose_digits_excel_lost_is_refused_also_when_it_comes_back_as_text(
    meaning: Field | Key,
) -> None:
    cell = 4567890123456789.0  # Excel keeps 15 digits; the last of these it made up

    assert meaning_of(cell, meaning, VALIDATORS[0]) is None
    assert meaning_of(cell_text(cell), meaning, VALIDATORS[0]) is None


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("", ""),
        (" as it is ", " as it is "),
        (True, "TRUE"),
        (67890.0, "67890"),
        (1.5, "1.5"),
        (datetime(2026, 7, 1), "2026-07-01"),  # noqa: DTZ001
        (datetime(2026, 7, 1, 14, 30), "2026-07-01 14:30:00"),  # noqa: DTZ001
        (date(2026, 7, 1), "2026-07-01"),
        (time(14, 30), "14:30:00"),
    ],
)
def test_a_cell_reads_as_a_person_would_write_it(cell: Cell, text: str) -> None:
    assert cell_text(cell) == text
