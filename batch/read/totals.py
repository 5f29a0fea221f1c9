"""The line of totals that people and spreadsheets put below a table."""

from __future__ import annotations

import re
from collections.abc import Sequence

from batch.formulas import NOT_CALCULATED
from batch.models import Cell, Column, Field, Key, Row
from batch.read.columns import is_blank

_WORDS = (
    *("total", "totals", "grand total", "sum", "subtotal", "count"),
    *("i alt", "ialt", "samlet", "antal"),
    *("gesamt", "insgesamt", "summe", "gesamtsumme", "anzahl"),
)
_UNIT = r"(?:[€$£%]|kr\.?|dkk|eur|stk\.?|st\.?)?"
_FIGURE = re.compile(rf"{_UNIT}\s*[-+]?\d[\d.,'\s]*{_UNIT}", re.IGNORECASE)
_TOTAL = re.compile(
    rf"({'|'.join(_WORDS)})\s*[:=]?(?P<figure>\s+{_FIGURE.pattern})?", re.IGNORECASE
)


def is_total(row: Row, columns: Sequence[Column]) -> bool:
    """Whether the row begins with a word for a total, and holds figures and nothing else.

    A row that could change a token is none: a token may be labelled "Sum".
    """
    first, *others = [cell for cell in row.cells if not is_blank(cell)] or [""]
    found = _TOTAL.fullmatch(first.strip()) if isinstance(first, str) else None
    if not found or not (others or found["figure"]) or not all(map(_is_figure, others)):
        return False
    filled = {column.meaning for column in columns if not is_blank(row.cells[column.index])}
    names_token = filled & {Key.LABEL, Key.UID} or (Key.ID in filled and _is_id(row, columns))
    return not (names_token and filled & set(Field))


def _is_id(row: Row, columns: Sequence[Column]) -> bool:
    return any(c.meaning is Key.ID and _is_figure(row.cells[c.index]) for c in columns)


def _is_figure(cell: Cell) -> bool:
    if isinstance(cell, str):
        return cell == NOT_CALCULATED or bool(_FIGURE.fullmatch(cell.strip()))
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)
