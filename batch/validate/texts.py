"""Texts that must come back character for character: comments, references, labels, uids."""

from __future__ import annotations

import re
from typing import TypeGuard

from batch.models import Cell
from batch.validate.cells import SIGNIFICANT_DIGITS, BadCell, refuse_lost_digits, wrong_kind

# Tabs and line breaks are text. Half a surrogate pair is not: no request can carry it.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

# Both separator and sign are asked for: without them it may be a hexadecimal uid (04E1234567).
_SCIENTIFIC = re.compile(r"\s*[+-]?\d+[.,]\d+E[+-]\d+\s*", re.IGNORECASE)

_AS_TEXT = "the text itself, in a column formatted as text"


def free_text(cell: Cell) -> str:
    """The cell exactly as written; a stored number by its digits, whatever its format shows."""
    if _is_number(cell):
        return _as_shown(cell)
    return _text(cell)


def label(cell: Cell) -> str:
    """The cell without surrounding white space; a stored whole number as its digits."""
    if not _is_number(cell):
        return _text(cell).strip()
    digits = _as_shown(cell)
    if not digits.isdecimal():
        raise wrong_kind(cell, "text", _AS_TEXT)
    return digits


def uid(cell: Cell) -> str:
    """The cell without surrounding white space; never a stored number."""
    if _is_number(cell):
        raise BadCell(
            "is stored as a number, so zeros at its beginning may be lost",
            "the uid as printed, in a column formatted as text",
        )
    return _text(cell).strip()


def _is_number(cell: Cell) -> TypeGuard[float]:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)


def _text(cell: Cell) -> str:
    if not isinstance(cell, str):
        raise wrong_kind(cell, "text", _AS_TEXT)
    if not cell.isprintable() and (found := _UNPRINTABLE.search(cell)):
        raise BadCell(
            f"holds the unprintable character U+{ord(found[0]):04X}", "the text without it"
        )
    if _SCIENTIFIC.fullmatch(cell):
        raise BadCell("is Excel's short form of a number whose digits are lost", _AS_TEXT)
    return cell


def _as_shown(number: float) -> str:
    refuse_lost_digits(number)
    return str(int(number)) if number == int(number) else f"{number:.{SIGNIFICANT_DIGITS}g}"
