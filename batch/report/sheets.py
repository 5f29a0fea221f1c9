"""The reports that are sheets: `report.csv`, `fix.csv` and `undo.csv`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from batch.files import write_csv
from batch.marker import said
from batch.models import Field, Line, Status, Token
from batch.report.record import Record

FIX_COLUMNS = ("batch_status", "batch_message")
TO_MEND = tuple(status for status in Status if status not in {Status.UPDATED, Status.UNCHANGED})


def write_report(record: Record) -> None:
    """`report.csv`: one line for every row of the sheet, in its order."""
    write_csv(record.folder / "report.csv", Line._fields, record.lines())


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
    write_csv(record.folder / "fix.csv", (*(headers[place] for place in kept), *FIX_COLUMNS), lines)


def write_undo(record: Record) -> None:
    """`undo.csv`: the old values of what was updated, itself a sheet."""
    marker = record.about().clear_marker
    used = record.updated_fields()
    fields = [name for name in Field if name in used]
    lines = (_undo_line(token, changed, fields, marker) for token, changed in record.updated())
    write_csv(record.folder / "undo.csv", ("id", *fields), lines)


def _fix_line(
    line: Line, handed_in: Sequence[str], kept: list[int], width: int
) -> tuple[object, ...]:
    cells = [*handed_in, *[""] * (width - len(handed_in))]
    return (*(cells[place] for place in kept), line.status, line.message, *cells[width:])


def _undo_line(
    token: Token, changed: Collection[Field], fields: list[Field], marker: str
) -> tuple[object, ...]:
    old = (said(token.value(name), marker) if name in changed else "" for name in fields)
    return (token.id, *old)
