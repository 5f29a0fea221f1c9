"""A plan as a file: readable, and refused if anything but token-batch has written in it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from batch.check import Checked, invalid
from batch.errors import UsageError
from batch.files import replacing
from batch.journal import Journal, cell_of_json, in_transactions, json_of_cell
from batch.models import (
    Field,
    Meaning,
    Outcome,
    Patch,
    Problem,
    Row,
    Status,
    TokenName,
    TokenPatch,
    TokenRef,
    Value,
    iso,
)
from batch.plan import Plan, Settled

SUFFIX = ".json"

_FORMAT = "token-batch plan"
_DATES = (Field.VALID_FROM, Field.EXPIRES_AT)


class SavedRow(BaseModel):
    """A row as it was handed in; `status` is None for one that an operation carries out. `cells` as
    the journal writes them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: int
    cells: Sequence[Any]
    status: Status | None = None
    code: str = ""
    message: str = ""
    token_id: int | None = None
    label: str | None = None


class SavedOperation(BaseModel):
    """One PATCH to one token: what its fields must hold before, and what they shall hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    token_id: int
    label: str | None
    rows: Sequence[int]
    old: Mapping[Field, bool | int | str | None]
    new: Mapping[Field, bool | int | str | None]

    @field_validator("new")
    @classmethod
    def _is_what_the_api_takes(
        cls, new: Mapping[Field, bool | int | str | None]
    ) -> Mapping[Field, bool | int | str | None]:
        TokenPatch.model_validate(new)
        return new


class SavedPlan(BaseModel):
    """All that applying it needs beside the account. Instants are as the API writes them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["token-batch plan"] = "token-batch plan"
    version: Literal[1] = 1
    made_at: datetime
    who: str
    base_url: str
    sheet: str
    sha256: str
    headers: Sequence[str]
    meanings: Sequence[Meaning | None]
    worksheet: str
    header_row: int
    mapping: Mapping[str, str]
    clear_marker: str
    hidden_rows: int
    total_row: int | None
    operations: Sequence[SavedOperation]
    rows: Sequence[SavedRow]

    @model_validator(mode="after")
    def _each_row_ends_once(self) -> Self:
        carried_out = [row for operation in self.operations for row in operation.rows]
        if sorted(carried_out) != sorted(row.row for row in self.rows if row.status is None):
            raise ValueError("each row has an operation or a status")
        return self


def of_plan(plan: Plan, checked: Checked, rows: Iterable[Row], **facts: object) -> SavedPlan:
    """The plan with every row of the sheet it comes from; `facts`: who, when, for which account."""
    settled = {row.row: row for row in (*plan.settled, *_invalid(checked.problems))}
    return SavedPlan.model_validate(
        {
            **facts,
            "sheet": checked.name,
            "sha256": checked.sha256,
            "headers": checked.headers,
            "meanings": checked.meanings,
            "worksheet": checked.worksheet,
            "header_row": checked.header_row,
            "mapping": checked.mapping,
            "hidden_rows": checked.hidden_rows,
            "total_row": checked.total_row,
            "operations": [
                {
                    "token_id": each.token.id,
                    "label": each.token.identifier.label,
                    "rows": each.rows,
                    "old": {name: _said(each.token.value(name)) for name in each.changes},
                    "new": {name: _said(value) for name, value in each.changes.items()},
                }
                for each in plan.operations
            ],
            "rows": [_row(row, settled.get(row.number)) for row in rows],
        }
    )


def save(plan: SavedPlan, path: Path) -> None:
    """Write it, with a digest of all that is in it. UsageError if it cannot be written."""
    content = json.loads(plan.model_dump_json())
    text = json.dumps({**content, "digest": _digest(content)}, ensure_ascii=False, indent=1)
    try:
        with replacing(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror})") from error


def load(path: Path) -> SavedPlan:
    """The plan in that file. UsageError if it is none, or was edited since it was written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no saved plan: make it with `token-batch plan`") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise UsageError(f"{path} is no saved plan: make it with `token-batch plan`")
    if content.pop("digest", None) != _digest(content):
        raise UsageError(f"{path} was edited since it was made: change the sheet and plan it again")
    try:
        return SavedPlan.model_validate(content)
    except ValidationError as error:
        raise UsageError(
            f"{path} is a plan of another version, or damaged: plan the sheet again"
        ) from error


def asked_by(plan: SavedPlan, journal: Journal) -> Checked:
    """What the plan asks, and what it expects of each token. The journal is told the rows."""
    for rows in in_transactions(plan.rows):
        journal.add_rows(Row(row.row, tuple(map(cell_of_json, row.cells))) for row in rows)
        journal.settle_rows(
            (row.row, Outcome(row.status, row.message, row.code), _name(row))
            for row in rows
            if row.status
        )
    patches: list[Patch] = []
    expected: dict[int, Mapping[Field, Value]] = {}
    for operation in plan.operations:
        changes = _values(operation.new)
        for row in operation.rows:
            patches.append(Patch(row, TokenRef(id=operation.token_id), changes))
            expected[row] = _values(operation.old)
    return Checked(
        name=plan.sheet,
        sha256=plan.sha256,
        headers=plan.headers,
        meanings=plan.meanings,
        worksheet=plan.worksheet,
        header_row=plan.header_row,
        mapping=plan.mapping,
        rows=len(plan.rows),
        patches=patches,
        hidden_rows=plan.hidden_rows,
        total_row=plan.total_row,
        settled=Counter(row.status for row in plan.rows if row.status),
        expected=expected,
    )


def _invalid(problems: Iterable[Problem]) -> Iterator[Settled]:
    for row, found in groupby(problems, key=lambda problem: problem.row):
        yield Settled(row, invalid(found))


def _row(row: Row, settled: Settled | None) -> SavedRow:
    cells = [json_of_cell(cell) for cell in row.cells]
    if settled is None:
        return SavedRow(row=row.number, cells=cells)
    return SavedRow(
        row=row.number,
        cells=cells,
        status=settled.outcome.status,
        code=settled.outcome.code,
        message=settled.outcome.message,
        token_id=settled.token.id if settled.token else None,
        label=settled.token.identifier.label if settled.token else None,
    )


def _name(row: SavedRow) -> TokenName | None:
    return None if row.token_id is None else TokenName(row.token_id, row.label)


def _said(value: Value) -> bool | int | str | None:
    return iso(value) if isinstance(value, datetime) else value


def _values(said: Mapping[Field, bool | int | str | None]) -> Mapping[Field, Value]:
    return {
        name: datetime.fromisoformat(value) if name in _DATES and isinstance(value, str) else value
        for name, value in said.items()
    }


def _digest(content: Mapping[str, object]) -> str:
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
