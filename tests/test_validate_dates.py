"""Dates: many ways to write one, one instant, and no guess."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.models import Cell, Column, DateOrder, Field, Key, Patch, Problem, Row
from batch.validate import Validator

COPENHAGEN = "Europe/Copenhagen"


def check(
    cell: Cell,
    *,
    field: Field = Field.VALID_FROM,
    zone: str = "UTC",
    order: DateOrder | None = None,
) -> Patch | tuple[Problem, ...]:
    columns = [Column(0, "id", Key.ID), Column(1, field, field)]
    return Validator(columns, timezone=ZoneInfo(zone), date_order=order).check(Row(2, ("1", cell)))


def instant(
    cell: Cell,
    *,
    field: Field = Field.VALID_FROM,
    zone: str = "UTC",
    order: DateOrder | None = None,
) -> datetime:
    found = check(cell, field=field, zone=zone, order=order)
    assert isinstance(found, Patch), found
    value = found.changes[field]
    assert isinstance(value, datetime)
    assert value.tzinfo is UTC
    return value


def problem(
    cell: Cell,
    *,
    field: Field = Field.VALID_FROM,
    zone: str = "UTC",
    order: DateOrder | None = None,
) -> Problem:
    found = check(cell, field=field, zone=zone, order=order)
    assert isinstance(found, tuple), found
    (only,) = found
    return only


@pytest.mark.parametrize(
    "cell",
    [
        "2026-12-31",
        "2026/12/31",
        "2026.12.31",
        " 2026-12-31 ",
        "31.12.2026",
        "31-12-2026",
        "31/12/2026",
        "12/31/2026",
        date(2026, 12, 31),
        datetime(2026, 12, 31),  # noqa: DTZ001 (as Excel stores it, without a zone)
    ],
)
def test_a_date_is_the_start_of_that_day_or_its_last_millisecond(cell: Cell) -> None:
    starts = instant(cell, field=Field.VALID_FROM, zone=COPENHAGEN)
    ends = instant(cell, field=Field.EXPIRES_AT, zone=COPENHAGEN)

    assert datetime(2026, 12, 30, 23, tzinfo=UTC) == starts
    assert datetime(2026, 12, 31, 22, 59, 59, 999_000, tzinfo=UTC) == ends


@pytest.mark.parametrize("field", [Field.VALID_FROM, Field.EXPIRES_AT])
@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2026-07-01T14:30", "12:30:00.000"),
        ("2026-07-01 14:30:15", "12:30:15.000"),
        ("2026-07-01 14:30:15,5", "12:30:15.500"),
        ("01.07.2026 14:30", "12:30:00.000"),
        ("1.7.2026  4:30", "02:30:00.000"),
        ("01.07.2026 14:30:15", "12:30:15.000"),
        ("31/07/2026 14:30 +00:00", "14:30:00.000"),
        ("2026-07-01T14:30:15.999Z", "14:30:15.999"),
        ("2026-07-01t14:30:15.9999z", "14:30:15.999"),
        ("2026-07-01T14:30:15.1234567+02:00", "12:30:15.123"),
        ("2026-07-01T14:30-0530", "20:00:00.000"),
        ("2026-07-01T14:30+02", "12:30:00.000"),
        (datetime(2026, 7, 1, 14, 30, 15, 999_900), "12:30:15.999"),  # noqa: DTZ001
        (datetime(2026, 7, 1, 14, 30, tzinfo=UTC), "14:30:00.000"),
    ],
)
def test_a_time_is_taken_in_its_own_zone_or_else_in_that_of_the_sheet(
    cell: Cell, expected: str, field: Field
) -> None:
    found = instant(cell, field=field, zone=COPENHAGEN)

    assert expected == found.time().isoformat(timespec="milliseconds")


@pytest.mark.parametrize("text", ["2026-12-31 00:00:00", "2026-12-31 00:00:00.000"])
def test_a_day_as_programs_write_it_is_refused_where_it_would_end_too_early(text: str) -> None:
    assert instant(text, field=Field.VALID_FROM) == datetime(2026, 12, 31, tzinfo=UTC)
    assert "2026-12-31 for the end of that day" in problem(text, field=Field.EXPIRES_AT).accepted


def test_midnight_written_out_in_a_text_is_that_time() -> None:
    expected = datetime(2026, 12, 31, tzinfo=UTC)
    assert expected == instant("2026-12-31T00:00", field=Field.EXPIRES_AT)


@pytest.mark.parametrize(
    ("text", "order", "expected"),
    [
        ("03/04/2026", DateOrder.DMY, date(2026, 4, 3)),
        ("03/04/2026", DateOrder.MDY, date(2026, 3, 4)),
        ("3/4/2026 10:00", DateOrder.MDY, date(2026, 3, 4)),
        ("04/04/2026", None, date(2026, 4, 4)),
        ("4/04/2026", None, date(2026, 4, 4)),
        ("13/01/2026", None, date(2026, 1, 13)),
        ("01/13/2026", None, date(2026, 1, 13)),
        ("03-04-2026", None, date(2026, 4, 3)),
        ("03-04-2026", DateOrder.MDY, date(2026, 3, 4)),
        ("03.04.2026", None, date(2026, 4, 3)),
        ("03.04.2026", DateOrder.MDY, date(2026, 4, 3)),
        ("2026/04/03", DateOrder.YMD, date(2026, 4, 3)),
        ("2026/04/03", DateOrder.DMY, date(2026, 4, 3)),
        ("2026-04-03", DateOrder.MDY, date(2026, 4, 3)),
    ],
)
def test_the_order_of_day_and_month(text: str, order: DateOrder | None, expected: date) -> None:
    assert expected == instant(text, order=order).date()


def test_a_date_that_could_be_two_days_is_refused_naming_both() -> None:
    refused = problem("03/04/2026")

    expected = '"03/04/2026" could be 2026-04-03 or 2026-03-04, as year-month-day.'
    assert expected == refused.message
    assert "--date-order" in refused.accepted


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("12/31/2026", DateOrder.DMY),
        ("31/12/2026", DateOrder.MDY),
        ("31-12-2026", DateOrder.MDY),
        ("31/12/2026", DateOrder.YMD),
        ("31-12-2026", DateOrder.YMD),
        ("12-31-2026", None),
        ("12.31.2026", None),
        ("2026-31-12", None),
        ("2026-02-29", None),
        ("29/02/2026", None),
        ("31.04.2026", None),
        ("0000-01-01", None),
        ("00/01/2026", None),
    ],
)
def test_a_day_that_the_calendar_or_the_date_order_does_not_have_is_refused(
    text: str, order: DateOrder | None
) -> None:
    assert text == problem(text, order=order).value


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("31.12.26", "has a year of two digits, which could be in two centuries"),
        ("31/12/26 14:30", "has a year of two digits, which could be in two centuries"),
        ("46022", "is a number, not a date"),
        ("46022.5", "is a number, not a date"),
        ("20261231", "is a number, not a date"),
        (46022.0, "is stored as a number, not as a date"),
        (46022, "is stored as a number, not as a date"),
        (True, "is stored as a yes/no value, not as a date"),
        (time(14, 30), "is stored as a time without a date, not as a date"),
        (timedelta(hours=30), "is stored as a time without a date, not as a date"),
        ("14:30", "is a time without a date"),
        ("2026-12-31T24:00", "has a time that no clock shows"),
        ("2026-12-31 14:60", "has a time that no clock shows"),
        ("2026-12-31T14:30+24:00", "is not a date in a form that is understood"),
        ("2026-12-31T14", "is not a date in a form that is understood"),
        ("2026-12-31Z", "is not a date in a form that is understood"),
        ("31.12-2026", "is not a date in a form that is understood"),
        ("tomorrow", "is not a date in a form that is understood"),
        ("1969-12-31", "is outside the years 1970 to 9999"),
        ("0001-01-01T00:00+14:00", "is outside the years 1970 to 9999"),
        ("9999-12-31T23:00-05:00", "is outside the years 1970 to 9999"),
        (datetime(1899, 12, 31, 14, 30), "is outside the years 1970 to 9999"),  # noqa: DTZ001
        (date(1900, 1, 1), "is outside the years 1970 to 9999"),
    ],
)
def test_what_is_no_date_is_refused_with_the_reason(cell: Cell, reason: str) -> None:
    assert problem(cell).message.endswith(f'" {reason}.')


def test_the_last_day_there_is_can_be_too_late_in_utc() -> None:
    refused = problem("9999-12-31", field=Field.EXPIRES_AT, zone="America/New_York")

    assert refused.message == '"9999-12-31" is outside the years 1970 to 9999.'


@pytest.mark.parametrize(
    ("cell", "zone", "field", "how", "readings"),
    [
        (
            "2026-03-29 02:30",
            COPENHAGEN,
            Field.VALID_FROM,
            "is 2026-03-29T02:30, which does not exist in Europe/Copenhagen",
            "2026-03-29T02:30+01:00 or 2026-03-29T02:30+02:00",
        ),
        (
            datetime(2026, 10, 25, 2, 30, fold=1),  # noqa: DTZ001
            COPENHAGEN,
            Field.VALID_FROM,
            "is 2026-10-25T02:30, which exists twice in Europe/Copenhagen",
            "2026-10-25T02:30+02:00 or 2026-10-25T02:30+01:00",
        ),
        (
            "2026-09-06",
            "America/Santiago",
            Field.VALID_FROM,
            "is 2026-09-06T00:00, which does not exist in America/Santiago",
            "2026-09-06T00:00-04:00 or 2026-09-06T00:00-03:00",
        ),
        (
            date(2026, 4, 4),
            "America/Santiago",
            Field.EXPIRES_AT,
            "is 2026-04-04T23:59:59.999, which exists twice in America/Santiago",
            "2026-04-04T23:59:59.999-03:00 or 2026-04-04T23:59:59.999-04:00",
        ),
        (
            "2011-12-30",
            "Pacific/Apia",
            Field.EXPIRES_AT,
            "is 2011-12-30T23:59:59.999, which does not exist in Pacific/Apia",
            "2011-12-30T23:59:59.999-10:00 or 2011-12-30T23:59:59.999+14:00",
        ),
    ],
)
def test_a_time_that_is_skipped_or_comes_twice_is_refused_with_what_to_write(
    cell: Cell, zone: str, field: Field, how: str, readings: str
) -> None:
    refused = problem(cell, field=field, zone=zone)

    assert f"{how}: the clocks change then." in refused.message
    assert refused.accepted.endswith(readings)


def test_with_its_offset_a_time_that_comes_twice_is_taken() -> None:
    expected = datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    assert expected == instant("2026-10-25T02:30+01:00", zone=COPENHAGEN)


@given(
    st.datetimes(
        datetime(1970, 1, 2),  # noqa: DTZ001
        datetime(9999, 12, 30),  # noqa: DTZ001
        timezones=st.integers(-23 * 60, 23 * 60).map(
            lambda minutes: timezone(timedelta(minutes=minutes))
        ),
    ),
    st.sampled_from(["T", " "]),
)
def test_an_instant_written_in_iso_comes_back_to_the_millisecond(
    moment: datetime, separator: str
) -> None:
    expected = moment.astimezone(UTC)
    expected = expected.replace(microsecond=expected.microsecond // 1000 * 1000)
    assert expected == instant(moment.isoformat(separator), zone=COPENHAGEN)
    assert expected == instant(moment, zone=COPENHAGEN)


@given(st.dates(date(1970, 1, 1), date(9999, 12, 30)))
def test_every_way_to_write_a_day_means_the_same(day: date) -> None:
    starts = datetime.combine(day, time(), UTC)

    ways = (f"{day:%Y}-{day:%m}-{day:%d}", f"{day:%d.%m.%Y}", f"{day:%d-%m-%Y}", day)
    assert [starts] * 4 == [instant(way) for way in ways]
    assert starts == instant(f"{day:%d/%m/%Y}", order=DateOrder.DMY)
    assert starts == instant(f"{day:%m/%d/%Y}", order=DateOrder.MDY)
