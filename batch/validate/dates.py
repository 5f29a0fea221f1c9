"""Points in time, as people, Excel and other programs write them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from batch.models import Cell, DateOrder
from batch.validate.cells import BadCell, wrong_kind

FIRST_YEAR = 1970  # earlier ones are what Excel makes of empty cells and small numbers

START_OF_DAY = time.min
END_OF_DAY = time(23, 59, 59, 999_000)  # the API keeps milliseconds

_MOMENT = re.compile(
    r"""(?:(?P<year>\d{4})(?P<mark>[./-])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})
          |(?P<first>\d{1,2})(?P<sign>[./-])(?P<middle>\d{1,2})(?P=sign)(?P<last>\d{4}))
        (?:(?:T|\s+(?:kl\.?\s*)?)
           (?P<hour>\d{1,2})(?P<colon>[:.])(?P<minute>\d\d)
           (?:(?P=colon)(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?(?:\s*Uhr)?
           (?:\s*(?P<offset>Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?))?
        )?""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_DAY_OF_A_PROGRAM = re.compile(r"\d{4}-\d\d-\d\d 00:00:00(?:\.0+)?", re.ASCII)
_SHORT_YEAR = re.compile(r"\d{1,2}([./-])\d{1,2}\1\d\d(?!\d).*", re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?(?:E[+-]?\d+)?", re.IGNORECASE)
_TIME = re.compile(r"\d{1,2}:\d\d(?::\d\d)?")

_ACCEPTED = (
    "a date such as 2026-12-31 or 31.12.2026, "
    "with a time if needed: 2026-12-31 14:30 or 2026-12-31T14:30:00Z"
)
_AS_DATE = f"{_ACCEPTED}, in a column formatted as date or text"


@dataclass(frozen=True, slots=True)
class Instants:
    """Reads the cells of one column of dates.

    `zone` is that of times written without one. `default_time` completes a date without a time.
    `order` decides about dates with slashes, which are refused without it where two readings are
    possible, and about dashes, which otherwise have the day first. Dates with dots always have
    the day first, and four digits in front are always the year.
    """

    zone: ZoneInfo
    order: DateOrder | None
    default_time: time

    def __call__(self, cell: Cell) -> datetime:
        """The cell as an instant in UTC, rounded down to milliseconds."""
        try:
            return self._from_text(cell.strip()) if isinstance(cell, str) else self._stored(cell)
        except OverflowError as error:
            raise _outside_years() from error

    def _stored(self, cell: Cell) -> datetime:
        match cell:
            case datetime() if cell.tzinfo:
                return _utc(cell.replace(tzinfo=None), cell.utcoffset() or timedelta())
            case datetime() if cell.time() != time.min:
                return self._from_local(cell)
            case date():  # also a datetime at midnight: Excel keeps both as the same number
                return self._from_local(self._completed(date(cell.year, cell.month, cell.day)))
        raise wrong_kind(cell, "a date", _AS_DATE)

    def _from_text(self, text: str) -> datetime:
        found = _MOMENT.fullmatch(text)
        if not found:
            raise _not_a_date(text)
        day = self._day(found)
        if not found["hour"]:
            return self._from_local(self._completed(day))
        if _DAY_OF_A_PROGRAM.fullmatch(text) and self.default_time != START_OF_DAY:
            raise BadCell(
                "is how programs write a date alone, but says that day's first instant",
                f"{day} for the end of that day, or {day}T00:00:00Z for its beginning",
            )
        local = datetime.combine(day, _clock_time(found))
        if found["offset"]:
            return _utc(local, _offset(found["offset"]))
        return self._from_local(local)

    def _completed(self, day: date) -> datetime:
        return datetime.combine(day, self.default_time)

    def _from_local(self, local: datetime) -> datetime:
        offset = local.replace(tzinfo=self.zone, fold=0).utcoffset() or timedelta()
        other = local.replace(tzinfo=self.zone, fold=1).utcoffset() or timedelta()
        if offset != other:
            raise self._not_once(local, exists=offset > other)
        return _utc(local, offset)

    def _not_once(self, local: datetime, *, exists: bool) -> BadCell:
        how_often = "exists twice" if exists else "does not exist"
        moment = local.replace(tzinfo=self.zone, fold=0)
        readings = f"{_written(moment)} or {_written(moment.replace(fold=1))}"
        return BadCell(
            f"is {_written(local)}, which {how_often} in {self.zone}: the clocks change then",
            f"the time with its offset from UTC, such as {readings}",
        )

    def _day(self, found: re.Match[str]) -> date:
        if found["year"]:
            return _calendar_day(found["year"], found["month"], found["day"])
        first, middle, year = found.group("first", "middle", "last")
        match self._order_with(found["sign"]):
            case DateOrder.DMY:
                return _calendar_day(year, middle, first)
            case DateOrder.MDY:
                return _calendar_day(year, first, middle)
            case DateOrder.YMD:
                raise BadCell("has its year last, against the date order ymd", _ACCEPTED)
        return _only_reading(first, middle, year)

    def _order_with(self, separator: str) -> DateOrder | None:
        if separator == ".":
            return DateOrder.DMY
        return self.order or (DateOrder.DMY if separator == "-" else None)


def _only_reading(first: str, middle: str, year: str) -> date:
    day_first, month_first = _day_or_none(year, middle, first), _day_or_none(year, first, middle)
    if day_first and month_first and day_first != month_first:
        raise BadCell(
            f"could be {day_first} or {month_first}, as year-month-day",
            f"{day_first} or {month_first}; or set the date order (--date-order dmy or mdy)",
        )
    return month_first or _calendar_day(year, middle, first)


def _day_or_none(year: str, month: str, day: str) -> date | None:
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def _calendar_day(year: str, month: str, day: str) -> date:
    found = _day_or_none(year, month, day)
    if not found:
        raise BadCell(f"is no day: year {year}, month {month}, day {day}", _ACCEPTED)
    return found


def _clock_time(found: re.Match[str]) -> time:
    hour, minute, second = found.group("hour", "minute", "second")
    milliseconds = int((found["fraction"] or "")[:3].ljust(3, "0"))
    try:
        return time(int(hour), int(minute), int(second or 0), milliseconds * 1000)
    except ValueError as error:
        raise BadCell("has a time that no clock shows", _ACCEPTED) from error


def _offset(text: str) -> timedelta:
    if text in "Zz":
        return timedelta()
    size = timedelta(hours=int(text[1:3]), minutes=int(text[3:].lstrip(":") or 0))
    return -size if text[0] == "-" else size


def _utc(local: datetime, offset: timedelta) -> datetime:
    if local.year < FIRST_YEAR:
        raise _outside_years()
    instant = local - offset
    return instant.replace(microsecond=instant.microsecond // 1000 * 1000, tzinfo=UTC)


def _outside_years() -> BadCell:
    return BadCell(f"is outside the years {FIRST_YEAR} to {date.max.year}", _ACCEPTED)


def _not_a_date(text: str) -> BadCell:
    if _SHORT_YEAR.fullmatch(text):
        return BadCell("has a year of two digits, which could be in two centuries", _ACCEPTED)
    if _NUMBER.fullmatch(text):
        return BadCell("is a number, not a date", _AS_DATE)
    if _TIME.fullmatch(text):
        return BadCell("is a time without a date", _ACCEPTED)
    return BadCell("is not a date in a form that is understood", _ACCEPTED)


def _written(moment: datetime) -> str:
    exact = moment.second or moment.microsecond
    return moment.isoformat(timespec="milliseconds" if exact else "minutes")
