"""Workbooks of every format, which all look the same from outside."""

from __future__ import annotations

from pathlib import Path

from batch.read.forms import WorkbookKind
from batch.read.workbooks.worksheet import Workbook


def open_workbook(path: Path, kind: WorkbookKind) -> Workbook:
    """Open the workbook. SheetError if it is damaged, or has a password."""
    # A run needs one of these readers at most, and they import much.
    match kind:
        case "xlsx":
            from batch.read.workbooks.xlsx import open_xlsx  # noqa: PLC0415

            return open_xlsx(path)
        case "xlsb":
            from batch.read.workbooks.xlsb import open_xlsb  # noqa: PLC0415

            return open_xlsb(path)
        case "xls":
            from batch.read.workbooks.xls import open_xls  # noqa: PLC0415

            return open_xls(path)
        case "ods":
            from batch.read.workbooks.ods import open_ods  # noqa: PLC0415

            return open_ods(path)
