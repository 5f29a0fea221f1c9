"""The reports that are workbooks: `report.xlsx` and `fix.xlsx`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count

from batch.models import About, Cell, HandedIn, Meaning, Status, cell_text
from batch.report.figures import WELL, Figure
from batch.report.marked import CannotMark, Mark, MarkedTable, mark_workbook
from batch.report.new_workbook import MarkedRow, Table, write_new_workbook
from batch.report.record import Record
from batch.report.sheets import FIX_COLUMNS, TO_MEND

REPORT = "report.xlsx"
BEYOND = " | "  # between the cells of a row that has more of them than there are headings
FIX = "fix.xlsx"
LARGEST_MARKED = 40 << 20  # bytes of a packed workbook; a larger one takes long to be marked


def write_marked(record: Record, figures: Sequence[Figure]) -> None:
    """`report.xlsx`: the person's own workbook, marked; a new one where there is none to be
    marked, with every row and cell in the place where the sheet had it.
    """
    about = record.about()
    remark = ""
    if about.kept:
        try:
            _mark_own(record, about, figures)
        except CannotMark as reason:
            remark = f"This is not your own workbook with marks, because {reason}."
        else:
            return
    own = list(about.headers)
    while own and own[-1] in FIX_COLUMNS:  # of an earlier report
        own.pop()
    rows = _marked_rows(record, about, len(own))
    table = Table(about.worksheet, [*own, *FIX_COLUMNS], about.header_row, rows)
    told = [*figures, [], [remark]] if remark else figures
    write_new_workbook(record.folder / REPORT, table, told)


def write_fix(record: Record) -> None:
    """`fix.xlsx`: the rows to mend of a sheet that is a workbook, for whoever mends them there."""
    about = record.about()
    if not about.worksheet:
        return
    kept = [place for place, name in enumerate(about.headers) if name not in FIX_COLUMNS]
    headings = [*(about.headers[place] for place in kept), *FIX_COLUMNS]
    table = Table(about.worksheet, headings, 1, _rows_to_mend(record, about, kept))
    write_new_workbook(record.folder / FIX, table)


def _mark_own(record: Record, about: About, figures: Sequence[Figure]) -> None:
    original = record.folder / about.kept
    if original.stat().st_size > LARGEST_MARKED:
        raise CannotMark("it is too large")
    columns = _columns(about)
    marks = (_mark(row, row.row, columns) for row in record.handed_in())
    table = MarkedTable(about.worksheet, about.header_row, len(about.headers))
    mark_workbook(original, record.folder / REPORT, table, marks, figures)


def _marked_rows(record: Record, about: About, width: int) -> Iterator[MarkedRow]:
    columns = _columns(about)
    for row in record.handed_in():
        cells: Sequence[Cell] = row.cells[:width]
        if any(map(cell_text, row.cells[len(about.headers) :])):
            # In a workbook, cells beyond the headings are somebody's notes: read from there, the
            # row would be taken for one whose cells are right.
            cells = [BEYOND.join(map(cell_text, row.cells))]
        yield MarkedRow(_mark(row, row.row, columns), cells)


def _rows_to_mend(record: Record, about: About, kept: Sequence[int]) -> Iterator[MarkedRow]:
    """From the second line on; cells beyond the headings come last, as in `fix.csv`."""
    places = _columns(about)
    columns = {meaning: kept.index(place) for meaning, place in places.items()}
    width = len(about.headers)
    for number, row in zip(count(2), record.handed_in(TO_MEND), strict=False):
        cells = [*row.cells, *[""] * (width - len(row.cells))]
        own = [*(cells[place] for place in kept), *cells[width:]]
        yield MarkedRow(_mark(row, number, columns), own)


def _columns(about: About) -> Mapping[Meaning, int]:
    return {meaning: place for place, meaning in enumerate(about.meanings) if meaning}


def _mark(row: HandedIn, number: int, columns: Mapping[Meaning, int]) -> Mark:
    notes = {
        columns[meaning]: advice
        for meaning, advice in row.bad_cells.items()
        if meaning in columns and row.status not in WELL
    }
    return Mark(number, Status(row.status).value, row.message, row.status in WELL, notes)
