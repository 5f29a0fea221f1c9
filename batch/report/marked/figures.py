"""The first sheet: the run in figures."""

from __future__ import annotations

from collections.abc import Sequence

from batch.formulas import harmless_in_workbook
from batch.models import Status, column_letter
from batch.report.marked.grid import MAIN
from batch.report.marked.styles import FINE, TO_MEND, Styles
from batch.report.marked.xml_part import text_element

Cell = str | int | float

MARK_OF_FIGURES = 'rgb="FF4472C4"'
"""The colour of its tab, by which that of an earlier report is known."""

_WELL = frozenset({Status.UPDATED, Status.UNCHANGED})
_NARROWEST, _WIDEST = 10, 60  # characters
_TITLE_SIZE, _TITLE_HEIGHT = 16, 24  # points


def figures_sheet(figures: Sequence[Sequence[Cell]], remarks: Sequence[str], styles: Styles) -> str:
    """The worksheet's XML: a title, a row of cells for each figure, and sentences below.

    A row that begins with a status and has something else than 0 after it is coloured as the
    status is.
    """
    title, *below = figures or [[]]
    rows = [_row(1, title, styles.own(bold=True, size=_TITLE_SIZE))]
    usual = styles.own()
    for number, cells in enumerate(below, 3):
        colour = _colour(cells)
        rows.append(_row(number, cells, styles.own(bold=True, colour=colour) if colour else usual))
    first = len(below) + 4
    rows += [_row(first + place, [remark], usual) for place, remark in enumerate(remarks)]
    return (
        f'<worksheet xmlns="{MAIN}"><sheetPr><tabColor {MARK_OF_FIGURES}/>'
        '<pageSetUpPr fitToPage="1"/></sheetPr><sheetViews>'
        '<sheetView showGridLines="0" tabSelected="1" workbookViewId="0"/></sheetViews>'
        '<sheetFormatPr defaultRowHeight="15"/>'
        f"{_columns(below)}<sheetData>{''.join(rows)}</sheetData>"
        '<pageMargins left="0.7" right="0.7" top="0.75" bottom="0.75" header="0.3" footer="0.3"/>'
        '<pageSetup paperSize="9" orientation="landscape" fitToHeight="0"/>'
        "</worksheet>"
    )


def _colour(cells: Sequence[Cell]) -> str:
    word = str(cells[0]).strip().casefold().replace(" ", "_") if len(cells) > 1 else ""
    if word not in set(Status) or not cells[1]:
        return ""
    return FINE if word in _WELL else TO_MEND


def _columns(rows: Sequence[Sequence[Cell]]) -> str:
    figures = [cells for cells in rows if len(cells) > 1]  # a sentence may go beyond its column
    count = max(map(len, rows), default=0)
    widths = (
        max((len(str(cells[place])) + 2 for cells in figures if len(cells) > place), default=0)
        for place in range(count)
    )
    columns = "".join(
        f'<col min="{number}" max="{number}" customWidth="1"'
        f' width="{min(max(width, _NARROWEST), _WIDEST)}"/>'
        for number, width in enumerate(widths, 1)
    )
    return f"<cols>{columns}</cols>" if columns else ""


def _row(number: int, cells: Sequence[Cell], look: int) -> str:
    written = "".join(
        _cell(f"{column_letter(place)}{number}", cell, look) for place, cell in enumerate(cells)
    )
    height = f' ht="{_TITLE_HEIGHT}" customHeight="1"' if number == 1 else ""
    return f'<row r="{number}"{height}>{written}</row>'


def _cell(reference: str, cell: Cell, look: int) -> str:
    start = f'<c r="{reference}" s="{look}"'
    if isinstance(cell, str):
        text = text_element("", harmless_in_workbook(cell))
        return f'{start} t="inlineStr"><is>{text}</is></c>'
    return f"{start}><v>{cell}</v></c>"
