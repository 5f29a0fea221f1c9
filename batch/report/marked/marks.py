"""What a workbook is marked with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

STATUS_HEADING, MESSAGE_HEADING = "batch_status", "batch_message"
MOST_NOTES = 2_000  # Excel is slow to open a worksheet with many more


class CannotMark(Exception):
    """The workbook cannot be marked safely; says why, in a short clause for people."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What is said of one row, numbered as in the spreadsheet.

    `is_well`: there is nothing to mend. `notes`: by the column's 0-based place, what is wrong
    with the cell and what would be accepted.
    """

    row: int
    status: str
    message: str
    is_well: bool
    notes: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class MarkedTable:
    """The table in its workbook: its worksheet, the row of its headings as the spreadsheet numbers
    it, and how many columns, from A on, it reaches over.
    """

    worksheet: str
    header_row: int
    width: int
