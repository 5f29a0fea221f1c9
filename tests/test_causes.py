"""Rows that ended for the same reason are one cause, however many they are."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.check import invalid
from batch.models import Problem, Status
from batch.report.causes import EXAMPLES, GROUPS, OTHERS, Cause, Told, causes_of

NOT_FOUND = Status.NOT_FOUND


def missing(row: int, token: object) -> Told:
    return row, NOT_FOUND, "no_such_token", f"there is no token with id {token}"


def invalid_row(row: int, *problems: Problem) -> Told:
    outcome = invalid(problems)
    return row, outcome.status, outcome.code, outcome.message


def bad_date(row: int, value: str, column: str = "expiresAt", letter: str = "C") -> Problem:
    return Problem(row, f'"{value}" is no date.', column, f"{letter}{row}", value, "a date")


def test_rows_with_one_message_are_one_cause_with_the_first_of_their_numbers() -> None:
    rows = [missing(row, 999_999) for row in (5, 9, 12, 40, 41, 42)]

    assert causes_of(rows) == [
        Cause(
            NOT_FOUND,
            "there is no token with id 999999",
            6,
            (5, 9, 12, 40, 41),
            "there is no token with id 999999",
        )
    ]


def test_a_few_messages_are_told_one_by_one_as_they_are() -> None:
    found = causes_of([missing(2, 7), missing(3, 8), missing(4, 7), missing(5, 9)])

    assert [(cause.text[-1], cause.rows, cause.examples) for cause in found] == [
        ("7", 2, (2, 4)),
        ("8", 1, (3,)),
        ("9", 1, (5,)),
    ]


def test_of_many_messages_only_what_differs_between_them_is_left_out() -> None:
    rows = [
        (row, Status.REJECTED, "", f'5 tries: customer {9000 + row} is not "a b {row}" in 2 days')
        for row in range(2, 33)
    ]

    (cause,) = causes_of(rows)

    assert (cause.rows, cause.text) == (31, "5 tries: customer … is not … in 2 days")
    assert cause.example == '5 tries: customer 9002 is not "a b 2" in 2 days'


@pytest.mark.parametrize("name", ["label KORT{}", "label Ærø{}", "uid 04:A{}", "id 10{}"])
def test_a_token_that_is_named_in_any_way_does_not_divide_the_cause(name: str) -> None:
    letters = ["x", "yy", "zzz", "å", "b-c"]
    rows = [
        (row, NOT_FOUND, "", f"there is no token with {name.format(letters[row - 2])}")
        for row in range(2, 7)
    ]

    (cause,) = causes_of(rows)

    assert cause.text == f"there is no token with {name.split(maxsplit=1)[0]} …"


def test_each_problem_of_an_invalid_row_counts_for_its_own_cause() -> None:
    found = causes_of(
        [
            invalid_row(2, bad_date(2, "soon"), bad_date(2, "soon", "validFrom", "D")),
            invalid_row(3, bad_date(3, "soon")),
            invalid_row(4, Problem(4, "The row names no token."), bad_date(4, "soon")),
        ]
    )

    assert [(cause.column, cause.text, cause.rows) for cause in found] == [
        ("expiresAt", '"soon" is no date. Accepted: a date.', 3),
        ("validFrom", '"soon" is no date. Accepted: a date.', 1),
        ("", "The row names no token.", 1),
    ]
    assert found[0].example == 'expiresAt (C2): "soon" is no date. Accepted: a date.'
    assert str(found[0]) == 'expiresAt: "soon" is no date. Accepted: a date.'


def test_a_bar_within_a_value_does_not_divide_a_problem() -> None:
    (cause,) = causes_of([invalid_row(2, bad_date(2, "this | that"))])

    assert cause.text == '"this | that" is no date. Accepted: a date.'


def test_a_row_that_has_the_same_problem_twice_is_one_row() -> None:
    message = "The row is odd. | The row is odd."

    (cause,) = causes_of([(2, Status.INVALID, "", message)])

    assert (cause.rows, cause.examples) == (1, (2,))


def test_a_cell_of_the_row_itself_is_not_told_and_another_one_is() -> None:
    rows = [
        (row, Status.INVALID, "", f'to (C{row}): "1" is before from (B{row}), not (B99)')
        for row in (5, 6)
    ]

    (cause,) = causes_of(rows)

    assert (cause.column, cause.text) == ("to", '"1" is before from, not (B99)')


def test_rows_that_are_as_asked_have_a_cause_only_with_a_message() -> None:
    rows: list[Told] = [
        (2, Status.UPDATED, "", ""),
        (3, Status.UNCHANGED, "", ""),
        (4, Status.UPDATED, "", "settled by reading the token"),
    ]

    assert [cause.examples for cause in causes_of(rows)] == [(4,)]


@pytest.mark.parametrize("status", set(Status) - {Status.UPDATED, Status.UNCHANGED})
def test_every_other_row_has_one_even_without_a_message(status: Status) -> None:
    (cause,) = causes_of([(2, status, "", "")])

    assert cause.rows == 1
    assert cause.text


def test_the_same_words_of_two_statuses_are_two_causes() -> None:
    found = causes_of([(2, Status.FAILED, "", "no"), (3, Status.UNKNOWN, "", "no")])

    assert [cause.status for cause in found] == [Status.FAILED, Status.UNKNOWN]


def different(count: int) -> Iterator[Told]:
    """Rows of as many causes: their messages differ in letters."""
    for row in range(2, 2 + count):
        letters = "".join(chr(ord("a") + int(digit)) for digit in str(row))
        yield row, Status.REJECTED, "", f"refused for {letters} " + "x" * 300


def test_causes_beyond_some_hundreds_are_summed() -> None:
    found = causes_of(different(GROUPS + 50))

    assert len(found) == GROUPS + 1
    assert (found[0].text, found[0].rows) == (OTHERS, 50)


def test_memory_does_not_grow_with_the_rows() -> None:
    def used(count: int) -> int:
        tracemalloc.start()
        causes_of(different(count))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert used(20_000) < 1.2 * used(2_000)


@given(
    st.lists(
        st.tuples(st.sampled_from(Status), st.text('ab1"|(): …\0', max_size=30), st.booleans()),
        max_size=40,
    )
)
def test_no_row_is_lost_whatever_the_messages_say(rows: list[tuple[Status, str, bool]]) -> None:
    told: list[Told] = [
        (number, status, "", f"x (A{number}): {text}" if placed else text)
        for number, (status, text, placed) in enumerate(rows, 2)
    ]

    found = causes_of(told)

    for status in Status:
        silent = status in {Status.UPDATED, Status.UNCHANGED}
        own = [row for row, its, _, message in told if its is status and (message or not silent)]
        total = sum(cause.rows for cause in found if cause.status is status)
        assert total == len(own) if status is not Status.INVALID else total >= len(own)
    assert all(0 < len(cause.examples) <= min(EXAMPLES, cause.rows) for cause in found)
    assert [cause.rows for cause in found] == sorted((c.rows for c in found), reverse=True)
