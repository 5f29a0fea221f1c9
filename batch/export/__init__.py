"""The account's tokens as a sheet to edit and hand back.

What nobody touches comes back as it was: a value that the sheet could not say, or that a
spreadsheet would alter, is left out of it, and an empty cell changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from batch.errors import UsageError
from batch.export.cells import LeftEmpty, Says, text_cells, workbook_cells
from batch.export.columns import COLUMNS
from batch.export.workbook import write_workbook
from batch.files import write_csv
from batch.models import Token

__all__ = ["LeftEmpty", "Says", "check_target", "write"]

_SUFFIXES = (".xlsx", ".csv")


def check_target(path: Path, *, overwrite: bool) -> None:
    """UsageError if the sheet could not be written there, or would take an edited one's place."""
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"{path.name}: the name of an export ends with {' or '.join(_SUFFIXES)}")
    if path.exists() and not overwrite:
        raise UsageError(
            f"{path} is there already, perhaps with changes in it: name another file, or replace "
            "it (--overwrite)"
        )
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent} is no folder: make it first, or name another")


def write(
    tokens: Sequence[Token], path: Path, *, zone: ZoneInfo, marker: str, says: Says
) -> Sequence[LeftEmpty]:
    """Write the sheet, and tell which values it leaves out.

    `zone`: of the times in a workbook; a text file has them in UTC. `marker`: the clear marker
    of whoever reads it. `says` tells whether a cell, handed back, would be read as that value.
    UsageError if the file cannot be written.
    """
    left_empty: list[LeftEmpty] = []
    try:
        if path.suffix.lower() == ".csv":
            lines = (text_cells(token, marker, says, left_empty) for token in tokens)
            write_csv(path, [column.name for column in COLUMNS], lines)
        else:
            rows = (workbook_cells(token, zone, marker, says, left_empty) for token in tokens)
            write_workbook(path, list(rows), zone)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror})") from error
    return left_empty
