"""From a sheet to its patches and problems: the check stage, offline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from batch.errors import SheetError
from batch.journal import Journal, in_transactions
from batch.models import Column, Expected, Meaning, Outcome, Patch, Problem, Row, Status
from batch.read import Sheet, is_blank, open_sheet
from batch.settings import Settings
from batch.validate import Validator


@dataclass(frozen=True, slots=True)
class Source:
    """Which sheet, and how it is to be read beyond the settings."""

    path: str
    worksheet: str | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checked:
    """What is asked, read and validated: `rows` of it, as patches or with problems.

    `meanings`: what the column below each of the headers means; `mapping`: the headings of which
    its person has said it. `worksheet` and `header_row`: where
    the table is; the former is empty for what is no workbook. The patches are gone once a plan is
    made of them. `hidden_rows`: how many of the rows are not to be seen in the spreadsheet.
    `total_row`: the number of the line of totals that was left out.
    `ignored`: the headings of columns that were not understood; `unheaded`: the letters of columns
    that hold something and have no heading. `expected`: what the token of a row must hold, by the
    row's number; a row without an entry expects nothing. `settled`: how many rows have their
    outcome without a patch or a problem, by it.
    """

    name: str
    sha256: str
    headers: Sequence[str]
    meanings: Sequence[Meaning | None]
    rows: int
    patches: list[Patch]
    problems: Sequence[Problem] = ()
    hidden_rows: int = 0
    total_row: int | None = None
    ignored: Sequence[str] = ()
    unheaded: Sequence[str] = ()
    expected: Expected = field(default_factory=dict)
    settled: Mapping[Status, int] = field(default_factory=dict)
    worksheet: str = ""
    header_row: int = 1
    mapping: Mapping[str, str] = field(default_factory=dict)

    @property
    def invalid_rows(self) -> int:
        """How many rows have a problem."""
        return len({problem.row for problem in self.problems})


def open_source(source: Source, settings: Settings) -> Sheet:
    """The sheet, ready to be read. SheetError if it is no table of tokens."""
    return open_sheet(
        source.path,
        worksheet=source.worksheet,
        mapping=source.mapping,
        encoding=settings.encoding,
        delimiter=settings.delimiter,
        limits=settings.limits,
    )


def check_sheet(sheet: Sheet, settings: Settings, journal: Journal | None = None) -> Checked:
    """Read and validate; what the journal must know of it, it is told."""
    validator = validator_for(sheet.columns, settings)
    patches: list[Patch] = []
    problems: list[Problem] = []
    totals: list[Row] = []
    without_heading = [column for column in sheet.columns if not column.header.strip()]
    filled: set[str] = set()
    count = hidden = 0
    for rows in in_transactions(sheet.rows(left_out=totals.append)):
        found = [validator.check(row) for row in rows]
        patches.extend(result for result in found if isinstance(result, Patch))
        bad = [result for result in found if not isinstance(result, Patch)]
        problems.extend(problem for result in bad for problem in result)
        count += len(rows)
        filled.update(
            column.letter
            for column in without_heading
            if any(not is_blank(row.cells[column.index]) for row in rows)
        )
        hidden += sum(row.number in sheet.hidden_rows for row in rows)
        if journal:
            journal.add_rows(rows)
            journal.settle_rows((result[0].row, invalid(result), None) for result in bad)
    if not count:
        raise SheetError(f"{sheet.name}: there is no row below the header: nothing to do")
    total_row = totals[0].number if totals else None
    if journal:
        journal.note(hidden_rows=hidden, total_row=total_row)
    return Checked(
        name=sheet.name,
        sha256=sheet.sha256,
        headers=[column.header for column in sheet.columns],
        meanings=[column.meaning for column in sheet.columns],
        rows=count,
        patches=patches,
        problems=problems,
        hidden_rows=hidden,
        total_row=total_row,
        ignored=[column.header for column in sheet.columns if column.is_ignored],
        unheaded=sorted(filled),
        worksheet=sheet.worksheet,
        header_row=sheet.header_row,
        mapping=sheet.mapping,
    )


def validator_for(columns: Sequence[Column], settings: Settings) -> Validator:
    """What reads the rows of a sheet with these columns."""
    return Validator(
        columns,
        timezone=settings.timezone,
        date_order=settings.date_order,
        clear_marker=settings.clear_marker,
    )


def invalid(problems: Iterable[Problem]) -> Outcome:
    """The outcome of a row with these problems."""
    found = list(problems)
    message = " | ".join(map(str, found))
    bad_cells = {problem.meaning: problem.advice for problem in found if problem.meaning}
    return Outcome(Status.INVALID, message, code="invalid_row", bad_cells=bad_cells)


def refuse_if_strict(checked: Checked, settings: Settings) -> None:
    """SheetError if a row is invalid and its person wants all or nothing."""
    if settings.strict and checked.problems:
        raise SheetError(
            f"{checked.name}: {checked.invalid_rows} of {checked.rows} rows are invalid and "
            "--strict is set: nothing was sent; `token-batch check` lists every problem"
        )
