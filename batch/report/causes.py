"""Why rows did not end well, grouped so that a person reads each cause once. Pure.

Messages that differ only in values (what stands in quotes, whatever holds a digit, the label or
uid that is named) have one cause. Up to three such messages are told one by one, as they are; of
more than that, "…" stands for what differs between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, zip_longest

from batch.models import Status

GROUPS = 300  # kept apart; what comes after them is one cause for each status
TOLD_APART = 3  # messages of one cause
EXAMPLES = 5  # rows named of a cause
LONGEST = 400  # characters of a message that are looked at
DIFFERS = "…"
OTHERS = "other causes"

Told = tuple[int, Status, str, str]
"""A row as the reports tell it: its number, status, code and message."""

_WELL = frozenset({Status.UPDATED, Status.UNCHANGED})
_UNTOLD = {
    Status.NOT_SENT: "The run stopped before these rows.",
    Status.UNKNOWN: "No answer has told how these rows ended.",
}
# A value may hold " | " too, but what follows it there does not look like a problem.
_BETWEEN_PROBLEMS = re.compile(r" \| (?=The row |[^|]{1,200} \([A-Z]{1,3}[1-9]\d*\): )")
_CELL = re.compile(r" ?\(([A-Z]{1,3})([1-9]\d*)\)")
_VALUE = re.compile(
    r'"[^"]*"'
    r"|(?:(?<=\blabel )|(?<=\buid )|(?<=, not ))[^\s,;]*[^\s,:;]"
    r"|(?<![\w+\-@#])[\w+\-@#]*\d(?:[\w.+\-/:@#]*\w)?"
)
_Column = tuple[str, str]  # its header, and its letter in the spreadsheet
_NO_COLUMN = "", ""
_Pieces = tuple[str, ...]  # what stands between the values of a message


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason, and the rows that ended for it.

    `text` says it without the cell that each row has it in; "…" stands for what differs from row
    to row. `column` is the header of the column at fault and `letter` its name in the spreadsheet,
    both empty when it is not one column's. `rows` counts them, `examples` are the first of their
    numbers, and `example` is the message of the first one as it is. A row with several problems
    counts for each.
    """

    status: Status
    text: str
    rows: int
    examples: tuple[int, ...]
    example: str
    column: str = ""
    letter: str = ""

    @property
    def places(self) -> str:
        """Where to look: cells, or rows where it is not one cell's; "…" if there are more."""
        named = ", ".join(f"{self.letter}{row}" for row in self.examples)
        more = f", {DIFFERS}" if self.rows > len(self.examples) else ""
        rows = "" if self.letter else "row " if self.rows == 1 else "rows "
        return f"{rows}{named}{more}"

    def __str__(self) -> str:
        return f"{self.column}: {self.text}" if self.column else self.text


def causes_of(rows: Iterable[Told]) -> list[Cause]:
    """The causes for which rows ended as they did, those of most rows first.

    Rows that are as asked have one only if they have a message. Needs the same memory for any
    number of rows: causes beyond the first few hundred are told as "other causes".
    """
    groups: dict[tuple[Status, _Column, _Pieces], _Group] = {}
    for row, status, code, message in rows:
        if status in _WELL and not message:
            continue
        for problem in _problems(status, code, message):
            column, text = _without_cell(problem, row)
            key = status, column, tuple(_VALUE.split(text))
            if key not in groups and len(groups) >= GROUPS:
                key, text = (status, _NO_COLUMN, (OTHERS,)), OTHERS
            groups.setdefault(key, _Group()).add(row, text, problem)
    found = [cause for key, group in groups.items() for cause in group.causes(*key)]
    return sorted(found, key=lambda cause: (-cause.rows, cause.examples[0]))


@dataclass(slots=True)
class _Tally:
    rows: int = 0
    examples: list[int] = field(default_factory=list)
    example: str = ""

    def add(self, row: int, problem: str) -> None:
        if not self.rows:
            self.example = problem
        if self.examples[-1:] == [row]:  # two of the row's problems read alike
            return
        self.rows += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(row)

    def cause(self, status: Status, column: _Column, text: str) -> Cause:
        return Cause(status, text, self.rows, tuple(self.examples), self.example, *column)


@dataclass(slots=True)
class _Group:
    """The messages that differ in values only. `values`: those that all have in common, and None
    in the place of those that differ. `apart`: a tally of each message, while they are few.
    """

    all: _Tally = field(default_factory=_Tally)
    values: list[str | None] | None = None
    apart: dict[str, _Tally] = field(default_factory=dict)

    def add(self, row: int, text: str, problem: str) -> None:
        self.all.add(row, problem)
        if text in self.apart or len(self.apart) <= TOLD_APART:
            self.apart.setdefault(text, _Tally()).add(row, problem)
        values = _VALUE.findall(text)
        if self.values is None:
            self.values = values
        elif self.values != values:
            both = zip(self.values, values, strict=True)
            self.values = [old if old == new else None for old, new in both]

    def causes(self, status: Status, column: _Column, pieces: _Pieces) -> Iterator[Cause]:
        if len(self.apart) <= TOLD_APART:
            for text, tally in self.apart.items():
                yield tally.cause(status, column, text)
            return
        between = [DIFFERS if value is None else value for value in self.values or ()]
        filled = zip_longest(pieces, between, fillvalue="")
        yield self.all.cause(status, column, "".join(chain.from_iterable(filled)))


def _problems(status: Status, code: str, message: str) -> list[str]:
    if not message:
        return [_UNTOLD.get(status) or code.replace("_", " ") or status.replace("_", " ")]
    problems = _BETWEEN_PROBLEMS.split(message) if status is Status.INVALID else [message]
    return [_clipped(problem) for problem in problems]


def _clipped(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + DIFFERS


def _without_cell(problem: str, row: int) -> tuple[_Column, str]:
    """The column at fault, and the problem without the cells of its row."""
    column = _NO_COLUMN
    head, colon, rest = problem.partition("): ")
    name, bracket, cell = head.rpartition(" (")
    if colon and bracket and (found := _CELL.fullmatch(f"({cell})")):
        column, problem = (name, found[1]), rest
    own = str(row)
    return column, _CELL.sub(lambda found: "" if found[2] == own else found[0], problem)
