"""The line of totals that people and spreadsheets put below a table."""

from __future__ import annotations

import re

from batch.models import Cell, Row
from batch.read.columns import is_blank
from batch.read.headings import plain

_WORDS = (
    *("total", "totals", "grandtotal", "sum", "subtotal", "count"),
    *("ialt", "samlet", "antal"),
    *("gesamt", "insgesamt", "summe", "gesamtsumme", "anzahl"),
)
_TOTAL = re.compile(rf"(?:{'|'.join(_WORDS)})\d*")
_FIGURE = re.compile(r"[\d.,\s]+")


def is_total(row: Row) -> bool:
    """Whether the row begins with a word for a total and holds nothing else but figures."""
    first, *others = [cell for cell in row.cells if not is_blank(cell)] or [""]
    is_word = isinstance(first, str) and bool(_TOTAL.fullmatch(plain(first)))
    return is_word and all(map(_is_figure, others))


def _is_figure(cell: Cell) -> bool:
    if isinstance(cell, str):
        return bool(_FIGURE.fullmatch(cell))
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)
