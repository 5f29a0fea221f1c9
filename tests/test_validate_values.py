"""Numbers, texts and yes or no: what is taken, as what, and why the rest is not."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.models import TEXT_LIMIT, Cell, Column, Field, Key, Patch, Problem, Row
from batch.validate import Validator

ID_LIMIT = 2**63 - 1
JSON_LIMIT = 2**53 - 1
NUMBERS = [Key.ID, Field.CUSTOMER_ID, Field.APP_USER_ID]
BOOLEANS = [Field.IS_ACTIVE, Field.ROAMING_ENABLED, Field.PRIORITY_CHARGING_ENABLED]
TEXTS = [Field.COMMENT, Field.BILLING_REFERENCE]


def check(meaning: Field | Key, cell: Cell) -> Patch | tuple[Problem, ...]:
    other = Key.LABEL if meaning is Key.ID else Key.ID
    columns = [Column(0, other, other), Column(1, meaning, meaning)]
    return Validator(columns, timezone=ZoneInfo("UTC")).check(Row(2, ("1", cell)))


def value(meaning: Field | Key, cell: Cell) -> object:
    found = check(meaning, cell)
    assert isinstance(found, Patch), found
    if isinstance(meaning, Key):
        return getattr(found.ref, meaning)
    return found.changes[meaning]


def reason(meaning: Field | Key, cell: Cell) -> str:
    found = check(meaning, cell)
    assert isinstance(found, tuple), found
    (problem,) = found
    assert problem.accepted
    assert (str(meaning), "B2") == (problem.column, problem.cell)
    return problem.message.removeprefix(f'"{problem.value}" ')


@pytest.mark.parametrize("meaning", NUMBERS)
@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("67890", 67890),
        (" 67890 ", 67890),
        ("0067890", 67890),
        ("67890.0", 67890),
        ("67890,00", 67890),
        ("9007199254740991", JSON_LIMIT),
        (67890.0, 67890),
        (67890, 67890),
        (999_999_999_999_999.0, 999_999_999_999_999),
    ],
)
def test_a_whole_number_is_taken(meaning: Field | Key, cell: Cell, expected: int) -> None:
    assert expected == value(meaning, cell)


def test_an_id_may_be_as_long_as_a_database_keeps_it() -> None:
    assert value(Key.ID, str(ID_LIMIT)) == ID_LIMIT


@pytest.mark.parametrize("meaning", NUMBERS)
@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("6.79E+04", "is Excel's short form of a longer number whose last digits are lost."),
        ("6,79e+04", "is Excel's short form of a longer number whose last digits are lost."),
        ("7E+04", "is Excel's short form of a longer number whose last digits are lost."),
        ("67,890", "has a thousands separator."),
        ("67.890", "has a thousands separator."),
        ("67.000", "has a thousands separator."),
        ("1.234.567,00", "has a thousands separator."),
        ("67 890", "has a thousands separator."),
        ("67\u202f890", "has a thousands separator."),
        ("67'890", "has a thousands separator."),
        ("67890.5", "has a sign or decimals."),
        ("-67890", "has a sign or decimals."),
        ("+67890", "has a sign or decimals."),
        ("0", "is below 1."),
        ("67890x", "is not a number."),
        ("12 or 13", "is not a number."),
        (str(2**63), "is larger than such a number can be."),
        ("9" * 5000, "is larger than such a number can be."),
        (67890.5, "has decimals."),
        (0.0, "is below 1."),
        (-1, "is below 1."),
        (1e15, "has more than the 15 digits that Excel keeps, so its last are lost."),
        (12345678901234567, "has more than the 15 digits that Excel keeps, so its last are lost."),
        (float("nan"), "is not a number."),
        (float("inf"), "is not a number."),
        (True, "is stored as a yes/no value, not as a number."),
        (date(2084, 9, 17), "is stored as a date, not as a number."),
        (time(1), "is stored as a time without a date, not as a number."),
    ],
)
def test_what_is_no_whole_number_is_refused_with_the_reason(
    meaning: Field | Key, cell: Cell, expected: str
) -> None:
    assert expected == reason(meaning, cell)


@pytest.mark.parametrize("meaning", [Field.CUSTOMER_ID, Field.APP_USER_ID])
def test_a_number_that_json_cannot_carry_exactly_is_refused(meaning: Field) -> None:
    assert reason(meaning, str(JSON_LIMIT + 1)) == "is larger than such a number can be."


@pytest.mark.parametrize("meaning", BOOLEANS)
@pytest.mark.parametrize(
    "cell", ["yes", "Y", "true", "on", "1", "1.0", " ja ", "J", "SAND", "Wahr", True, 1, 1.0]
)
def test_yes_in_three_languages(meaning: Field, cell: Cell) -> None:
    assert value(meaning, cell) is True


@pytest.mark.parametrize("meaning", BOOLEANS)
@pytest.mark.parametrize(
    "cell", ["no", "N", "FALSE", "off", "0", "0,0", "nej", "Nein", "falsk", "FALSCH", False, 0, 0.0]
)
def test_no_in_three_languages(meaning: Field, cell: Cell) -> None:
    assert value(meaning, cell) is False


@pytest.mark.parametrize("meaning", BOOLEANS)
@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("active", "is neither yes nor no."),
        ("aktiv", "is neither yes nor no."),
        ("yes!", "is neither yes nor no."),
        ("null", "is neither yes nor no."),
        ("2", "is neither yes nor no."),
        (2.0, "is neither yes nor no."),
        (float("nan"), "is neither yes nor no."),
        (date(2026, 1, 1), "is stored as a date, not as yes or no."),
    ],
)
def test_what_is_neither_yes_nor_no_is_refused(meaning: Field, cell: Cell, expected: str) -> None:
    assert expected == reason(meaning, cell)


@pytest.mark.parametrize("meaning", TEXTS)
@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("  kept as it is ", "  kept as it is "),
        ("two\r\nlines\tand a tab", "two\r\nlines\tand a tab"),
        ("=1+1", "=1+1"),
        ("#1 priority", "#1 priority"),
        ("04E12", "04E12"),
        ("æ" * TEXT_LIMIT, "æ" * TEXT_LIMIT),
        (4711.0, "4711"),
        (4711, "4711"),
        (-0.0, "0"),
        (12.5, "12.5"),
        (0.1 + 0.2, "0.3"),
    ],
)
def test_a_text_comes_back_as_the_sheet_shows_it(meaning: Field, cell: Cell, expected: str) -> None:
    assert expected == value(meaning, cell)


@pytest.mark.parametrize("meaning", TEXTS)
def test_a_text_too_long_is_refused_with_its_length(meaning: Field) -> None:
    assert reason(meaning, "x" * (TEXT_LIMIT + 1)) == "has 101 characters."


@pytest.mark.parametrize("meaning", [*TEXTS, Key.LABEL, Key.UID])
@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("a\x07b", "holds the unprintable character U+0007."),
        ("a\ud800b", "holds the unprintable character U+D800."),
        ("6.79E+04", "is Excel's short form of a number whose digits are lost."),
        (" 4,1e+13 ", "is Excel's short form of a number whose digits are lost."),
        (True, "is stored as a yes/no value, not as text."),
        (date(2026, 3, 4), "is stored as a date, not as text."),
        (datetime(2026, 3, 4, 5, 6), "is stored as a date, not as text."),  # noqa: DTZ001
        (timedelta(hours=1), "is stored as a time without a date, not as text."),
    ],
)
def test_what_a_spreadsheet_made_of_a_text_is_refused(
    meaning: Field | Key, cell: Cell, expected: str
) -> None:
    assert expected == reason(meaning, cell)


@pytest.mark.parametrize("meaning", [*TEXTS, Key.LABEL])
@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (1e15, "has more than the 15 digits that Excel keeps, so its last are lost."),
        (float("nan"), "is not a number."),
    ],
)
def test_a_stored_number_with_lost_digits_is_no_text(
    meaning: Field | Key, cell: Cell, expected: str
) -> None:
    assert expected == reason(meaning, cell)


@pytest.mark.parametrize("meaning", [Key.LABEL, Key.UID])
@pytest.mark.parametrize("cell", ["04E1234567", "1E5", "12 34", "ÆØÅ-1", "0"])
def test_a_name_of_a_token_is_taken_without_the_white_space_around_it(
    meaning: Key, cell: str
) -> None:
    assert cell == value(meaning, f" {cell}\n")


def test_a_label_stored_as_a_whole_number_is_its_digits() -> None:
    assert value(Key.LABEL, 4711.0) == "4711"


@pytest.mark.parametrize("cell", [4711.5, -4711.0])
def test_a_label_stored_as_another_number_is_refused(cell: float) -> None:
    assert reason(Key.LABEL, cell) == "is stored as a number, not as text."


@pytest.mark.parametrize("cell", [4123456789012.0, 4711, 4.1e13])
def test_a_uid_stored_as_a_number_is_refused(cell: float) -> None:
    expected = "is stored as a number, so zeros at its beginning may be lost."
    assert expected == reason(Key.UID, cell)


# Letters only in front, so that no text is a marker, an error or a number by chance.
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=TEXT_LIMIT - 1))
def test_every_text_within_the_limit_comes_back_exactly(text: str) -> None:
    assert f"x{text}" == value(Field.COMMENT, f"x{text}")


@given(st.integers(1, ID_LIMIT))
def test_every_id_written_in_digits_comes_back(number: int) -> None:
    assert number == value(Key.ID, str(number))


@given(st.integers(1, 10**15 - 1))
def test_every_number_that_excel_keeps_comes_back(number: int) -> None:
    assert number == value(Key.ID, float(number))
    assert str(number) == value(Key.LABEL, float(number))
    assert str(number) == value(Field.COMMENT, float(number))


@given(st.sampled_from(["ja", "Nej", "TRUE", "wahr", "0"]), st.text(" \t\u00a0", max_size=3))
def test_white_space_and_case_do_not_matter_to_yes_and_no(word: str, blank: str) -> None:
    expected = value(Field.IS_ACTIVE, word)
    ways = (word.upper(), word.lower(), f"{blank}{word}", f"{word}{blank}")
    assert [expected] * 4 == [value(Field.IS_ACTIVE, way) for way in ways]
