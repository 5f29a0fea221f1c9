"""The reports that are sheets: `report.csv`, `fix.csv` and `undo.csv`.

UTF-8 with a mark at its start, because Excel takes a CSV file without one for Windows-1252.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

from batch.formulas import harmless
from batch.models import Field, Line, Operation, Status, Value, iso
from batch.report.files import replacing
from batch.report.record import Record

REPORT_COLUMNS = (
    "row",
    "token_id",
    "label",
    "status",
    "changes",
    "http_status",
    "attempts",
    "code",
    "message",
    "request_id",
    "finished_at",
)
FIX_COLUMNS = ("batch_status", "batch_message")
TO_MEND = tuple(status for status in Status if status not in {Status.UPDATED, Status.UNCHANGED})


def write_report(record: Record) -> None:
    """`report.csv`: one line for every row of the sheet, in its order."""
    _write(record.folder / "report.csv", REPORT_COLUMNS, map(_report_line, record.lines()))


def write_fix(record: Record) -> None:
    """`fix.csv`: the rows to mend as they were handed in, and what was wrong with each."""
    headers = record.about().headers
    lines = (
        (*_padded(line.cells, len(headers)), line.outcome.status, line.outcome.message)
        for line in record.lines(TO_MEND)
    )
    _write(record.folder / "fix.csv", (*headers, *FIX_COLUMNS), lines)


def write_undo(record: Record) -> None:
    """`undo.csv`: the old values of what was updated, itself a sheet."""
    marker = record.about().clear_marker
    used = record.updated_fields()
    fields = [name for name in Field if name in used]
    lines = (_undo_line(operation, fields, marker) for operation in record.updated())
    _write(record.folder / "undo.csv", ("id", *fields), lines)


def _report_line(line: Line) -> tuple[object, ...]:
    outcome = line.outcome
    return (
        line.row,
        line.token_id,
        line.label,
        outcome.status,
        line.changes,
        outcome.http_status,
        outcome.attempts,
        outcome.code,
        outcome.message,
        outcome.request_id,
        iso(outcome.finished_at) if outcome.finished_at else None,
    )


def _padded(cells: Iterable[str], width: int) -> Iterator[str]:
    """As many cells as there are headers, so that the columns after them stay in place."""
    kept = list(cells)[:width]
    yield from kept
    yield from [""] * (width - len(kept))


def _undo_line(operation: Operation, fields: list[Field], marker: str) -> tuple[object, ...]:
    old = (
        _sheet_value(operation.token.value(name), marker) if name in operation.changes else ""
        for name in fields
    )
    return (operation.token.id, *old)


def _sheet_value(value: Value, marker: str) -> str:
    if value is None or value == "":
        return marker
    if isinstance(value, bool):
        return str(value).lower()
    return iso(value) if isinstance(value, datetime) else str(value)


def _write(path: Path, header: Iterable[str], lines: Iterable[tuple[object, ...]]) -> None:
    with replacing(path) as file:
        writer = csv.writer(file)
        writer.writerow([harmless(name) for name in header])
        for line in lines:
            writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in line])
