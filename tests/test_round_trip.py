"""What a real LibreOffice opens and saves, without anybody touching a cell."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from accounts import TEXTS, UTC_ZONE, difficult, exported, unlike
from libreoffice import FORMATS, SOFFICE, WHY_SKIPPED, LibreOffice
from openpyxl import Workbook

from batch.models import Cell, Row
from batch.read import open_sheet

pytestmark = [
    pytest.mark.skipif(SOFFICE is None, reason=WHY_SKIPPED),
    pytest.mark.timeout(180),
]

TOKENS = difficult(700)


@pytest.fixture(scope="module", params=["da-DK", "en-US"])
def office(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LibreOffice:
    return LibreOffice(tmp_path_factory.mktemp(request.param) / "profile", request.param)


@pytest.mark.parametrize("saved_as", FORMATS)
def test_an_export_that_libreoffice_has_saved_changes_nothing(
    office: LibreOffice, saved_as: str, tmp_path: Path
) -> None:
    exported(TOKENS, tmp_path / "fleet.xlsx")
    saved = office.saved_as(saved_as, tmp_path / "fleet.xlsx", tmp_path)
    assert unlike(saved, TOKENS, UTC_ZONE) == []


def any_rows(seed: int) -> list[list[Cell | None]]:
    draw = random.Random(seed)
    texts = [text for text in TEXTS if text.isprintable() and text.strip() and text[0] not in "=_"]

    def any_cell() -> Cell | None:
        moment = datetime(1971, 1, 1) + timedelta(seconds=draw.randrange(4 * 10**9))  # noqa: DTZ001
        kinds: list[Cell | None] = [
            *(
                None,
                draw.choice(texts),
                draw.randrange(10**15),
                draw.randrange(10**9) / 1000,
                moment,
            ),
            *(moment.replace(hour=0, minute=0, second=0), draw.random() < 0.5),
        ]
        return draw.choice(kinds)

    return [[any_cell() for _ in range(4)] for _ in range(400)]


@pytest.mark.parametrize("saved_as", ["xlsx", "xls", "ods"])
def test_no_row_and_no_cell_is_lost_or_altered_by_the_format(
    office: LibreOffice, saved_as: str, tmp_path: Path
) -> None:
    book = Workbook()
    sheet = book.worksheets[0]
    sheet.append(["id", "comment", "label", "note"])
    for row in any_rows(seed=1):
        sheet.append(row)
    hidden = set(range(5, 400, 7))
    for number in hidden:
        sheet.row_dimensions[number].hidden = True
    sheet.merge_cells("D3:D9")
    book.save(tmp_path / "any.xlsx")
    original = open_sheet(tmp_path / "any.xlsx")

    saved = open_sheet(office.saved_as(saved_as, tmp_path / "any.xlsx", tmp_path))

    before, after = list(original.rows()), list(saved.rows())
    assert [(row.number, numbered(row)) for row in after] == [
        (row.number, numbered(row)) for row in before
    ]
    assert {row.number for row in after if row.number in saved.hidden_rows} == hidden.intersection(
        row.number for row in before
    )


def numbered(row: Row) -> list[Cell]:
    """The cells, with yes/no values as the numbers that LibreOffice makes of them."""
    return [float(cell) if isinstance(cell, (int, float)) else cell for cell in row.cells]
