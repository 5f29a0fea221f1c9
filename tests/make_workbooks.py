"""Builds the workbook of sample_csvs/, `cards.xlsx`: run this file to write it again."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from openpyxl import Workbook
from openpyxl.styles import Font, PatternFill
from openpyxl.worksheet.worksheet import Worksheet

CARDS = Path(__file__).parent.parent / "sample_csvs" / "cards.xlsx"

_HEADER = ("Token ID", "Charge key", "Medarbejder", "Gyldig fra", "Udløber", "Aktiv", "Kommentar")
_DRIVERS = ("Mette Sørensen", "Jens Bøgh", "Ida Nørgaard", "Thomas Åkjær", "Pia Holm")
_FIRST_ROW, _FIRST_COLUMN = 4, 2


def write_cards(path: Path) -> None:
    """A company's list of charge keys as people keep it: titled, indented, with real dates."""
    book = Workbook()
    cards = book.active
    assert isinstance(cards, Worksheet)
    cards.title = "Ladebrikker"
    cards["B2"] = "Ladebrikker, Nordisk Flåde A/S"
    cards["B2"].font = Font(bold=True, size=14)
    _write_table(cards)
    _write_hidden_list(book.create_sheet("Lister"))
    book.save(path)


def _write_table(cards: Worksheet) -> None:
    rows = (_HEADER, *map(_card, range(40)))
    for row_number, cells in enumerate(rows, _FIRST_ROW):
        for column_number, value in enumerate(cells, _FIRST_COLUMN):
            cell = cards.cell(row_number, column_number, value)
            if isinstance(value, date):
                cell.number_format = "dd-mm-yyyy"
    for cell in cards[_FIRST_ROW][_FIRST_COLUMN - 1 :]:
        cell.font = Font(bold=True)
        cell.fill = PatternFill("solid", fgColor="DDEBF7")
    cards.freeze_panes = cards.cell(_FIRST_ROW + 1, _FIRST_COLUMN)


def _card(number: int) -> tuple[int | str | date | bool | None, ...]:
    card = 101 + 5 * number
    return (
        100_000 + card,
        f"DK-NRD-{card:06d}",
        _DRIVERS[number % len(_DRIVERS)],
        date(2026, 12, 1) if number % 4 == 0 else None,
        date(2027, 12, 31) if number % 3 == 0 else None,
        number not in {13, 31},
        "Varebil, skiftes til vinterdæk" if number % 6 == 1 else None,
    )


def _write_hidden_list(lists: Worksheet) -> None:
    lists.append(["Label", "Aktiv"])
    lists.append(["DK-NRD-000001", "nej"])
    lists.sheet_state = "hidden"


if __name__ == "__main__":
    write_cards(CARDS)
