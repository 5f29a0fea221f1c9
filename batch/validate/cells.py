"""What is said of a cell whatever its column: how it reads, and how a spreadsheet damaged it."""

from __future__ import annotations

import math
import re
from datetime import date, time, timedelta

from batch.formulas import NOT_CALCULATED
from batch.models import Cell, Covered

SHOWN_LIMIT = 60  # characters of a cell that a message repeats
SIGNIFICANT_DIGITS = 15  # what Excel keeps of a number; the rest becomes zeros

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

# As English, Danish and German Excel write them, and LibreOffice's numbered ones.
_FORMULA_ERROR = re.compile(
    r"""\#(?:REF!|N/A|VALUE!|DIV/0!|NAME\?|NUM!|NULL!|SPILL!|CALC!|FIELD!|BLOCKED!|CONNECT!
        |BUSY!|UNKNOWN!
        |REFERENCE!|I/T|VÆRDI!|DIVISION/0!|NAVN\?|NUL!|OVERLØB!|BEREGN!
        |BEZUG!|NV|WERT!|ZAHL!|ÜBERLAUF!|KALK!)
        |Err:\d{3}""",
    re.VERBOSE | re.IGNORECASE,
)


_FIRST_OF_DAMAGE = frozenset("#Ee")


class BadCell(ValueError):
    """A cell that cannot be taken.

    `reason` goes on with a sentence that begins with the cell's value.
    `accepted` says what would be right, and may be empty.
    """

    def __init__(self, reason: str, accepted: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.accepted = accepted


def shown(cell: Cell) -> str:
    """The cell as one short line of text that every file and screen can take."""
    text = _CONTROL.sub(_escaped, _text_of(cell))
    return text if len(text) <= SHOWN_LIMIT else text[: SHOWN_LIMIT - 1] + "…"


def refuse_damage(text: str) -> None:
    """BadCell if all that is left of the value is what Excel shows in its place.

    `text` is not empty.
    """
    if text[0] not in _FIRST_OF_DAMAGE:
        return
    if text == NOT_CALCULATED:
        raise BadCell("stands for a formula whose result is not in the file", _THE_VALUE)
    if _FORMULA_ERROR.fullmatch(text):
        raise BadCell("is the error of a formula, not a value", _THE_VALUE)
    if not text.strip("#"):
        raise BadCell("is what Excel shows when a column is too narrow for its value", _THE_VALUE)


def wrong_kind(cell: Cell, wanted: str, accepted: str) -> BadCell:
    """The error for a cell that the spreadsheet stored as something other than `wanted`.

    Where a merged area shows another cell's value, its person alone knows whether that counts for
    this row, too.
    """
    if isinstance(cell, Covered):
        return BadCell(
            f"is hidden by the merged cells {cell.area}, which show one value for all of them",
            "the value itself, with the cells unmerged",
        )
    return BadCell(f"is stored as {_kind(cell)}, not as {wanted}", accepted)


def refuse_lost_digits(number: float) -> None:
    """BadCell unless Excel can have kept every digit before the decimal separator."""
    if not math.isfinite(number):
        raise BadCell("is not a number", _THE_VALUE)
    if abs(number) >= 10**SIGNIFICANT_DIGITS:
        raise BadCell(
            f"has more than the {SIGNIFICANT_DIGITS} digits that Excel keeps, so its last are lost",
            "the number written anew, in a column formatted as text",
        )


_THE_VALUE = "the value itself, or an empty cell to change nothing"


def _kind(cell: Cell) -> str:
    match cell:
        case bool():
            return "a yes/no value"
        case int() | float():
            return "a number"
        case date():
            return "a date"
        case time() | timedelta():
            return "a time without a date"
    return "text"


def _text_of(cell: Cell) -> str:
    match cell:
        case bool():
            return str(cell).upper()
        case float():
            return f"{cell:.{SIGNIFICANT_DIGITS}G}"
        case date():
            return str(cell).removesuffix(" 00:00:00")
    return str(cell)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
