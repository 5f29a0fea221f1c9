"""The read stage: a sheet's file becomes its columns and its numbered rows. Nothing is guessed
of what the cells mean.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from batch.errors import SheetError
from batch.models import USUAL_LIMITS, Column, Limits, Row
from batch.read.columns import is_blank
from batch.read.forms import Kind, form_by_content, form_by_name
from batch.read.packed import refuse_bomb
from batch.read.table import Table
from batch.read.temporary import copy_of_standard_input, unpacked
from batch.read.totals import is_total
from batch.read.workbook import read_workbook

__all__ = ["STANDARD_INPUT", "Sheet", "is_blank", "open_sheet"]

STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Sheet:
    """A sheet that can be read as a table of tokens.

    `name`: the file's, or "standard input". `path`: where it is read from, which for these and for
    a packed file is a temporary one. `sha256`: of the file's bytes, in hexadecimal.
    `worksheet`: empty for a text file. `header_row`: as the spreadsheet numbers it.
    `columns`: all of them in order, from the spreadsheet's column A on. `mapping`: the headings
    whose meaning its person has said.
    """

    name: str
    path: Path
    sha256: str
    kind: Kind
    worksheet: str
    header_row: int
    columns: tuple[Column, ...]
    mapping: Mapping[str, str]
    _table: Table = field(repr=False)

    def rows(self, left_out: Callable[[Row], object] = lambda _: None) -> Iterator[Row]:
        """The rows below the header that are not blank, the same ones at every call.

        Texts are exactly as in the file. A row with more cells than there are columns has
        them all. A line of totals at the end is no row: `left_out` is told of it. SheetError if a
        text file has been changed or has gone since it was opened.
        """
        with _named(self.name):
            last: Row | None = None
            for row in self._table.rows():
                if last:
                    yield last
                last = row
            if last and is_total(last, self.columns):
                left_out(last)
            elif last:
                yield last

    @property
    def hidden_rows(self) -> frozenset[int]:
        """The numbers of rows that are not to be seen in the spreadsheet; they are read as well."""
        return self._table.hidden_rows


def open_sheet(
    source: str | Path,
    *,
    worksheet: str | None = None,
    mapping: Mapping[str, str] | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    limits: Limits = USUAL_LIMITS,
) -> Sheet:
    """Open a text file, a workbook, a packed text file, or standard input for "-".

    `mapping`: heading to field, beyond the headings that are known. `worksheet`: by name, of
    a workbook. `encoding`, `delimiter`: of a text file; a workbook needs neither. What is not
    given is detected. SheetError if the file is no table of tokens, or beyond the limits.
    """
    from_standard_input = str(source) == STANDARD_INPUT
    path = copy_of_standard_input() if from_standard_input else Path(source)
    name = "standard input" if from_standard_input else path.name or str(source)
    with _named(name):
        form = form_by_content(path) if from_standard_input else form_by_name(path)
        sha256 = _sha256(path)
        kind: Kind
        if form == "gz" or form == "zip":  # noqa: PLR1714 - mypy learns nothing from "in"
            path, kind = unpacked(path, form, limits.unpacked), "csv"
        else:
            kind = form
        if kind == "csv":
            from batch.read.delimited import read_delimited  # noqa: PLC0415 - brings pandas

            _refuse_worksheet(worksheet)
            table = read_delimited(
                path, mapping=mapping, encoding=encoding, delimiter=delimiter, limits=limits
            )
        else:
            refuse_bomb(path, limits.unpacked)
            table = read_workbook(path, kind, mapping=mapping, worksheet=worksheet, limits=limits)
        return Sheet(
            name=name,
            path=path,
            sha256=sha256,
            kind=kind,
            worksheet=table.worksheet,
            header_row=table.header_row,
            columns=table.columns,
            mapping=mapping or {},
            _table=table,
        )


def _refuse_worksheet(worksheet: str | None) -> None:
    if worksheet is not None:
        raise SheetError("it is a text file, which has no worksheets: leave out --sheet")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Puts the file's name before what is wrong with it."""
    try:
        yield
    except SheetError as error:
        raise SheetError(f"{name}: {error}") from error
    except FileNotFoundError as error:
        raise SheetError(f"{name}: there is no such file") from error
    except OSError as error:
        raise SheetError(f"{name}: it cannot be read ({error.strerror})") from error
