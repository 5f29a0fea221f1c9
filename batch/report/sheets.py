"""The reports that are text files of rows: `report.csv`, `fix.csv`, `undo.csv`, `attempts.csv`."""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain

from batch.files import write_csv
from batch.marker import said
from batch.models import Attempt, Field, HandedIn, Line, Status, Token, cell_text
from batch.report.marked import MESSAGE_HEADING, STATUS_HEADING
from batch.report.record import Record

FIX_COLUMNS = (STATUS_HEADING, MESSAGE_HEADING)
TO_MEND = tuple(status for status in Status if status not in {Status.UPDATED, Status.UNCHANGED})


def write_report(record: Record) -> None:
    """`report.csv`: one line for every row of the sheet, in its order."""
    write_csv(record.folder / "report.csv", Line._fields, record.lines())


def write_fix(record: Record) -> None:
    """`fix.csv`: the rows to mend as they were handed in, and what was wrong with each.

    Of a workbook there is none: as text, a date in a column of texts would be a text. Cells beyond
    the sheet's headers come last, where they are still beyond them: handed in again, the row is
    refused as before instead of read with its cells moved.
    """
    about = record.about()
    if about.worksheet:
        return
    headers = about.headers
    kept = [place for place, header in enumerate(headers) if header not in FIX_COLUMNS]
    lines = (_fix_line(row, kept, len(headers)) for row in record.handed_in(TO_MEND))
    write_csv(record.folder / "fix.csv", (*(headers[place] for place in kept), *FIX_COLUMNS), lines)


def write_attempts(record: Record) -> None:
    """`attempts.csv`: every request that came to nothing, if any did."""
    attempts = record.failed_attempts()
    first = next(attempts, None)
    if first:
        path = record.folder / "attempts.csv"
        write_csv(path, Attempt._fields, chain([first], attempts))


def write_undo(record: Record) -> None:
    """`undo.csv`: the old values of what was updated, itself a sheet."""
    marker = record.about().clear_marker
    used = record.updated_fields()
    fields = [name for name in Field if name in used]
    lines = (_undo_line(token, changed, fields, marker) for token, changed in record.updated())
    write_csv(record.folder / "undo.csv", ("id", *fields), lines)


def _fix_line(row: HandedIn, kept: list[int], width: int) -> tuple[object, ...]:
    cells = [cell_text(cell) for cell in row.cells]
    cells += [""] * (width - len(cells))
    return (*(cells[place] for place in kept), row.status, row.message, *cells[width:])


def _undo_line(
    token: Token, changed: Collection[Field], fields: list[Field], marker: str
) -> tuple[object, ...]:
    old = (said(token.value(name), marker) if name in changed else "" for name in fields)
    return (token.id, *old)
