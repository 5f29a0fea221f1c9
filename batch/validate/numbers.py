"""Whole numbers that name something: a token, a customer, an app user."""

from __future__ import annotations

import re

from batch.models import Cell
from batch.validate.cells import BadCell, refuse_lost_digits, wrong_kind

PATH_LIMIT = 2**63 - 1  # the widest id that a database keeps; in a path its digits are safe
JSON_LIMIT = 2**53 - 1  # the widest number that every JSON reader keeps exactly

# Three zeros after the separator would be a thousands group, so at most two are decimals.
_WHOLE = re.compile(r"0*(\d{1,19})(?:[.,]0{1,2})?")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:[.,'\u2019\s]\d{3})+(?:[.,]\d+)?")
_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d+)?E[+-]?\d+", re.IGNORECASE)
_SIGNED_OR_DECIMAL = re.compile(r"[+-]?\d+(?:[.,]\d+)?")

_ACCEPTED = "a whole number in digits only, such as 67890"


def whole_number(cell: Cell, limit: int) -> int:
    """The cell as a whole number from 1 to `limit`, if no digit of it can have been lost."""
    number = _from_text(cell.strip()) if isinstance(cell, str) else _from_stored(cell)
    if number < 1:
        raise BadCell("is below 1", _ACCEPTED)
    if number > limit:
        raise BadCell("is larger than such a number can be", f"at most {limit}")
    return number


def _from_text(text: str) -> int:
    found = _WHOLE.fullmatch(text)
    if not found:
        raise BadCell(_why_not_whole(text), _ACCEPTED)
    return int(found[1])


def _why_not_whole(text: str) -> str:
    if _SCIENTIFIC.fullmatch(text):
        return "is Excel's short form of a longer number whose last digits are lost"
    if _GROUPED.fullmatch(text):
        return "has a thousands separator"
    if text.isdecimal():
        return "is larger than such a number can be"
    if _SIGNED_OR_DECIMAL.fullmatch(text):
        return "has a sign or decimals"
    return "is not a number"


def _from_stored(cell: Cell) -> int:
    if isinstance(cell, bool) or not isinstance(cell, (int, float)):
        raise wrong_kind(cell, "a number", _ACCEPTED)
    refuse_lost_digits(cell)
    number = int(cell)
    if cell != number:
        raise BadCell("has decimals", _ACCEPTED)
    return number
