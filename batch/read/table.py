"""What every format hands over: where the header is, the columns, and the way to the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from batch.models import Column, Row


@dataclass(frozen=True, slots=True)
class Table:
    """The table of a sheet. `rows` gives the data rows, as often as it is called.

    `hidden_rows`: the numbers of those that a filter or a person has hidden, and of others below
    the header.
    """

    header_row: int
    columns: tuple[Column, ...]
    rows: Callable[[], Iterator[Row]]
    worksheet: str = ""
    hidden_rows: frozenset[int] = frozenset()
