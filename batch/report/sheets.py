"""The reports that are sheets: `report.csv`, `fix.csv` and `undo.csv`.

UTF-8 with a mark at its start, because Excel takes a CSV file without one for Windows-1252.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from pathlib import Path

from batch.formulas import harmless
from batch.models import Field, Line, Status, Token, Value, iso
from batch.report.files import replacing
from batch.report.record import Record

_MARK = "\ufeff"
FIX_COLUMNS = ("batch_status", "batch_message")
TO_MEND = tuple(status for status in Status if status not in {Status.UPDATED, Status.UNCHANGED})


def write_report(record: Record) -> None:
    """`report.csv`: one line for every row of the sheet, in its order."""
    _write(record.folder / "report.csv", Line._fields, record.lines())


def write_fix(record: Record) -> None:
    """`fix.csv`: the rows to mend as they were handed in, and what was wrong with each.

    Cells beyond the sheet's headers come last, where they are still beyond them: handed in
    again, the row is refused as before instead of read with its cells moved.
    """
    headers = record.about().headers
    kept = [place for place, header in enumerate(headers) if header not in FIX_COLUMNS]
    lines = (
        _fix_line(line, cells, kept, len(headers))
        for line, cells in record.lines_with_cells(TO_MEND)
    )
    _write(record.folder / "fix.csv", (*(headers[place] for place in kept), *FIX_COLUMNS), lines)


def write_undo(record: Record) -> None:
    """`undo.csv`: the old values of what was updated, itself a sheet."""
    marker = record.about().clear_marker
    used = record.updated_fields()
    fields = [name for name in Field if name in used]
    lines = (_undo_line(token, changed, fields, marker) for token, changed in record.updated())
    _write(record.folder / "undo.csv", ("id", *fields), lines)


def _fix_line(
    line: Line, handed_in: Sequence[str], kept: list[int], width: int
) -> tuple[object, ...]:
    cells = [*handed_in, *[""] * (width - len(handed_in))]
    return (*(cells[place] for place in kept), line.status, line.message, *cells[width:])


def _undo_line(
    token: Token, changed: Collection[Field], fields: list[Field], marker: str
) -> tuple[object, ...]:
    old = (_sheet_value(token.value(name), marker) if name in changed else "" for name in fields)
    return (token.id, *old)


def _sheet_value(value: Value, marker: str) -> str:
    if value is None or value == "":
        return marker
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return iso(value)
    text = str(value)
    # A text that reads as the marker cannot be said in a sheet. In the other case it is refused
    # there with advice; a marker without letters leaves only the empty cell.
    if text.strip() != marker.strip():
        return text
    return text.swapcase() if text.swapcase() != text else ""


def _write(path: Path, header: Iterable[str], lines: Iterable[tuple[object, ...]]) -> None:
    with replacing(path) as file:
        file.write(_MARK)
        writer = csv.writer(file)
        writer.writerow([harmless(name) for name in header])
        for line in lines:
            writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in line])
