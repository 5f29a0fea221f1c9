"""What a cell of an OpenDocument spreadsheet holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from batch.formulas import NOT_CALCULATED
from batch.models import Cell
from batch.read.workbooks.worksheet import stored_moment

Attributes = dict[str, str]

ODF = "urn:oasis:names:tc:opendocument:xmlns:"
OFFICE, TABLE = f"{ODF}office:1.0 ", f"{ODF}table:1.0 "
_CALC = "urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0 "

_FORMULA = f"{TABLE}formula"
_TYPE, _CALC_TYPE = f"{OFFICE}value-type", f"{_CALC}value-type"
_STRING = f"{OFFICE}string-value"

_ERROR = re.compile(r"#[^\W\d][\w/]*[!?]?|Err:\d{3}")
_DATE = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d(?::\d\d)?)(\.\d+)?)?(Z|[+-]\d\d:\d\d)?", re.ASCII
)
_DURATION = re.compile(
    r"(-?)P(?=.*\d)(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:[.,]\d+)?)S)?)?", re.ASCII
)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:E[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_THOUSANDTHS = re.compile(r"\b(\d\d)[:.](\d\d)[:.](\d\d)[.,](\d{3})\b", re.ASCII)
_HUNDREDTH = timedelta(milliseconds=10)


def value_of(cell: Attributes, paragraphs: Sequence[str]) -> Cell:
    """The cell's value, from its attributes and the texts that it shows.

    A formula's error is its text, a formula whose result is not there NOT_CALCULATED.
    """
    text = "\n".join(paragraphs)
    if cell.get(_CALC_TYPE) == "error":
        return text or NOT_CALCULATED
    if text.startswith(("#", "Err")) and _ERROR.fullmatch(
        text
    ):  # some programs store it as the number 0, or as an empty text
        return text
    kind = cell.get(_TYPE)
    if kind in _STORED:
        attribute, meaning = _STORED[kind]
        if attribute in cell:
            return _as_shown(meaning(cell[attribute]), text)
    elif (stated := cell.get(_STRING)) is not None and (stated.strip() or not text):
        return stated  # the paragraphs are but how a number format shows it
    if _FORMULA in cell and (kind in _STORED or not paragraphs):
        return NOT_CALCULATED
    return text


def _as_shown(stored: Cell, text: str) -> Cell:
    """LibreOffice stores a moment to the hundredth of a second, and shows the thousandths if the
    cell's format has them.
    """
    found = _THOUSANDTHS.search(text)
    if not found or not isinstance(stored, date):
        return stored
    hour, minute, second, milliseconds = map(int, found.groups())
    shown = timedelta(hours=hour, minutes=minute, seconds=second, milliseconds=milliseconds)
    moment = stored if isinstance(stored, datetime) else datetime.combine(stored, time())
    finer = shown - (moment - datetime.combine(moment, time(), moment.tzinfo))
    return moment + finer if abs(finer) <= _HUNDREDTH else stored


def _number(stored: str) -> Cell:
    return float(stored) if _NUMBER.fullmatch(stored) else stored


def _boolean(stored: str) -> Cell:
    return {"true": True, "false": False}.get(stored, stored)


@lru_cache
def _date(stored: str) -> Cell:
    if not (found := _DATE.fullmatch(stored)):
        return stored
    day, clock, fraction, zone = found.groups()
    finer = timedelta(microseconds=round(float(fraction or 0) * 1e6))
    try:
        moment = datetime.fromisoformat(f"{day}T{clock or '00:00'}{zone or ''}") + finer
        if moment.tzinfo:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return stored
    return stored_moment(moment)


def _duration(stored: str) -> Cell:
    if not (found := _DURATION.fullmatch(stored)):
        return stored
    sign, *whole, seconds = found.groups()
    finest = round(float((seconds or "0").replace(",", ".")) * 1e6)
    try:
        days, hours, minutes = (int(part or 0) for part in whole)
        length = timedelta(days, hours=hours, minutes=minutes, microseconds=finest)
        length = -length if sign else length
    except (ValueError, OverflowError):
        return stored
    if timedelta() <= length < timedelta(days=1):
        return (datetime.combine(date.min, time()) + length).time()
    return length


_STORED: dict[str | None, tuple[str, Callable[[str], Cell]]] = {
    "float": (f"{OFFICE}value", _number),
    "percentage": (f"{OFFICE}value", _number),
    "currency": (f"{OFFICE}value", _number),
    "boolean": (f"{OFFICE}boolean-value", _boolean),
    "date": (f"{OFFICE}date-value", _date),
    "time": (f"{OFFICE}time-value", _duration),
}
