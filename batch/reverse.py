"""The reverse of a run: what puts every field back that it has moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from batch.check import Checked
from batch.errors import RunError
from batch.journal import Journal
from batch.marker import said
from batch.models import (
    DEFAULTED,
    Field,
    Key,
    Meaning,
    Outcome,
    Patch,
    Problem,
    Row,
    Status,
    Token,
    TokenPatch,
    TokenRef,
    Value,
    Written,
    shown,
)

_FIRST_ROW = 2  # as in a sheet, below its header


def reverse_of(run: Journal, marker: str, journal: Journal) -> Checked:
    """The old value of every field that the run has moved, asked or not, a row for each token.

    Expected of a token is what the run has left there. A field that the API does not take back,
    as one that was empty and cannot be emptied, makes its row invalid. The new run's journal is
    told the rows. RunError if the run has moved nothing.
    """
    tokens = [
        (written.operation.token, moved) for written in run.written() if (moved := _moved(written))
    ]
    if not tokens:
        raise RunError(f"{run.folder.name} has changed no token: there is nothing to undo")
    fields = [name for name in Field if any(name in moved for _, moved in tokens)]
    patches: list[Patch] = []
    problems: list[Problem] = []
    expected: dict[int, Mapping[Field, Value]] = {}
    rows: list[Row] = []
    for number, (before, moved) in enumerate(tokens, _FIRST_ROW):
        old = {name: before.value(name) for name in moved}
        cells = (said(old[name], marker) if name in old else "" for name in fields)
        rows.append(Row(number, (str(before.id), *cells)))
        lost = [name for name in old if old[name] is None and not TokenPatch.can_empty(name)]
        if lost:
            problems.append(_problem(number, before, lost))
            continue
        patches.append(Patch(number, TokenRef(id=before.id), old))
        expected[number] = moved
    journal.add_rows(rows)
    journal.settle_rows((problem.row, _invalid(problem), None) for problem in problems)
    headers = ["id", *fields]
    name = f"undo of {run.folder.name}"
    meanings: list[Meaning] = [Key.ID, *fields]
    return Checked(name, "", headers, meanings, len(rows), patches, problems, expected=expected)


def _moved(written: Written) -> Mapping[Field, Value]:
    """What the run has left in the fields that it has moved: those asked, and those that an API
    which gives defaults has reset. Others were moved by other people. None has moved where nothing
    that was asked did.
    """
    asked, before, after = written.operation.changes, written.operation.token, written.after
    ours = {name for name in asked if written.is_ours or after.value(name) == asked[name]}
    names = ours.union(name for name in DEFAULTED if ours and name not in asked)
    return {
        name: after.value(name)
        for name in Field
        if name in names and before.value(name) != after.value(name)
    }


def _problem(row: int, token: Token, fields: Sequence[Field]) -> Problem:
    values = ", ".join(f"{name} ({shown(token.value(name))})" for name in fields)
    return Problem(row, f"Token {token.id} cannot be put back: the API does not take {values}.")


def _invalid(problem: Problem) -> Outcome:
    return Outcome(Status.INVALID, str(problem), code="cannot_be_put_back")
