"""How long sheets take to read and validate, and how much memory. Nothing is judged here.

`pytest -m benchmark -s tests/benchmarks/test_reading.py` prints the figures, as ratios of
processes that ran in turn.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

import pytest
from xlsxwriter import Workbook

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

ROUNDS = 5
HEADER = (
    *("id", "label", "driver", "validFrom", "expiresAt", "isActive", "comment", "customerId"),
    "depot",
)
# In a process of its own, so that neither finds what the other has imported or allocated.
CALAMINE_ALONE = """
import sys
from python_calamine import CalamineWorkbook
book = CalamineWorkbook.from_path(sys.argv[1])
assert sum(1 for row in book.get_sheet_by_index(0).iter_rows()) == int(sys.argv[2]) + 1
"""
READ_AND_VALIDATED = """
import gc, sys
gc.set_threshold(50_000, 20, 20)  # as the program's own start sets it
from batch.models import Patch
from batch.read import open_sheet
from batch.validate import Validator
from zoneinfo import ZoneInfo
sheet = open_sheet(sys.argv[1])
validator = Validator(sheet.columns, timezone=ZoneInfo("UTC"))
found = sum(isinstance(validator.check(row), Patch) for row in sheet.rows())
assert found == int(sys.argv[2])
"""


def workbook(path: Path, rows: int) -> Path:
    """Nine columns of what a fleet's sheet holds, seven of them known."""
    start = datetime(2026, 1, 1)  # noqa: DTZ001 - a sheet's date has no zone
    with Workbook(path, {"constant_memory": False}) as book:
        sheet = book.add_worksheet()
        day = book.add_format({"num_format": "yyyy-mm-dd"})
        sheet.write_row(0, 0, HEADER)
        for row in range(1, rows + 1):
            sheet.write_number(row, 0, 100_000 + row)
            sheet.write_string(row, 1, f"DK-NRD-{row:06d}")
            sheet.write_string(row, 2, f"Driver {row % 997}")
            sheet.write_datetime(row, 3, start + timedelta(days=row % 300), day)
            sheet.write_datetime(row, 4, start + timedelta(days=400 + row % 300), day)
            sheet.write_boolean(row, 5, row % 7 != 0)
            sheet.write_string(row, 6, f"Varebil {row}")
            sheet.write_number(row, 7, 60_000 + row % 50)
            sheet.write_string(row, 8, f"Depot {row % 12}")
    return path


def text_file(path: Path, rows: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(HEADER) + "\n")
        for row in range(1, rows + 1):
            file.write(
                f"{100_000 + row},DK-NRD-{row:06d},Driver {row % 997},2026-01-{row % 28 + 1:02d},"
                f"2027-01-{row % 28 + 1:02d},yes,Varebil {row},{60_000 + row % 50},Depot 3\n"
            )
    return path


def seconds_of(program: str, sheet: Path, rows: int) -> float:
    """Of processor time: the other core may be busy with something else."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program, str(sheet), str(rows)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def peak_of(program: str, sheet: Path, rows: int) -> int:
    """Megabytes. Through a small process: a child is charged with what its parent holds."""
    through = [sys.executable, str(Path(__file__).parent / "peak_memory.py")]
    command = [*through, sys.executable, "-c", program, str(sheet), str(rows)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stderr)


def test_a_workbook_of_200_000_rows(tmp_path: Path) -> None:
    rows = 200_000
    sheet = workbook(tmp_path / "fleet.xlsx", rows)
    pairs = [
        (seconds_of(CALAMINE_ALONE, sheet, rows), seconds_of(READ_AND_VALIDATED, sheet, rows))
        for _ in range(ROUNDS)
    ]
    ratio = median(ours / alone for alone, ours in pairs)
    alone, ours = map(median, zip(*pairs, strict=True))
    print(
        f"\n200,000-row XLSX of nine columns: calamine alone {alone:.2f} s of processor time, "
        f"read and validated {ours:.2f} s: {ratio:.2f} times; "
        f"{peak_of(READ_AND_VALIDATED, sheet, rows)} MB"
    )


def test_a_text_file_of_a_million_rows(tmp_path: Path) -> None:
    peaks = {}
    for rows in (10_000, 100_000, 1_000_000):
        sheet = text_file(tmp_path / f"{rows}.csv", rows)
        began = time.perf_counter()
        peaks[rows] = peak_of(READ_AND_VALIDATED, sheet, rows)
        print(f"\n{rows:,}-row CSV: {peaks[rows]} MB, {time.perf_counter() - began:.1f} s")
    print(f"a million rows take {peaks[1_000_000] / peaks[10_000]:.2f} times the memory of 10,000")
