"""What `--json` prints for commands that make no run: one document each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic_core import to_json

from batch.check import Checked
from batch.export import LeftEmpty
from batch.models import Field, Problem, Status, Value
from batch.report import Summary, Verification
from batch.run import Exported, Proposal


@dataclass(frozen=True, slots=True)
class CheckDocument:
    """A sheet and everything that is wrong with it."""

    sheet: str
    sha256: str
    rows: int
    invalid_rows: int
    ignored_columns: Sequence[str]
    unheaded_columns: Sequence[str]
    hidden_rows: int
    total_row: int | None
    problems: Sequence[Problem]


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one token."""

    old: Value
    new: Value


@dataclass(frozen=True, slots=True)
class PlannedOperation:
    """One PATCH to one token."""

    token_id: int
    label: str | None
    rows: Sequence[int]
    changes: dict[Field, Change]


@dataclass(frozen=True, slots=True)
class SettledRow:
    """A row that needs no request."""

    row: int
    token_id: int | None
    status: Status
    message: str


@dataclass(frozen=True, slots=True)
class PlanDocument:
    """What applying a sheet would do. `counts`: rows that need no request, by status."""

    simulated: bool
    check: CheckDocument
    counts: dict[Status, int]
    deactivations: int
    new_customers: int
    already_expired: int
    uniform: dict[Field, Value]
    objections: Sequence[str]
    asks_again: bool
    operations: Sequence[PlannedOperation]
    settled: Sequence[SettledRow]
    requests_used: int
    requests_needed: int
    seconds_needed: float


@dataclass(frozen=True, slots=True)
class ExportDocument:
    """What an export wrote, and the values that it left out."""

    simulated: bool
    file: str
    tokens: int
    left_empty: Sequence[LeftEmpty]


def of_export(exported: Exported, *, simulated: bool) -> ExportDocument:
    """The document of `export`."""
    return ExportDocument(simulated, str(exported.path), exported.tokens, exported.left_empty)


def of_check(checked: Checked) -> CheckDocument:
    """The document of `check`."""
    return CheckDocument(
        sheet=checked.name,
        sha256=checked.sha256,
        rows=checked.rows,
        invalid_rows=checked.invalid_rows,
        ignored_columns=checked.ignored,
        unheaded_columns=checked.unheaded,
        hidden_rows=checked.hidden_rows,
        total_row=checked.total_row,
        problems=checked.problems,
    )


def of_plan(proposal: Proposal, *, simulated: bool, seconds_needed: float) -> PlanDocument:
    """The document of `plan`."""
    operations = [
        PlannedOperation(
            token_id=operation.token.id,
            label=operation.token.identifier.label,
            rows=operation.rows,
            changes={
                name: Change(operation.token.value(name), new)
                for name, new in operation.changes.items()
            },
        )
        for operation in proposal.plan.operations
    ]
    settled = [
        SettledRow(
            row.row, row.token.id if row.token else None, row.outcome.status, row.outcome.message
        )
        for row in proposal.plan.settled
    ]
    return PlanDocument(
        simulated=simulated,
        check=of_check(proposal.checked),
        counts=proposal.counts(),
        deactivations=proposal.plan.deactivations,
        new_customers=len(proposal.plan.to_new_customers()),
        already_expired=len(proposal.plan.expired(datetime.now(UTC))),
        uniform=dict(proposal.plan.uniform()),
        objections=proposal.objections,
        asks_again=proposal.ask_again,
        operations=operations,
        settled=settled,
        requests_used=proposal.reads,
        requests_needed=len(operations),
        seconds_needed=seconds_needed,
    )


def as_json(
    document: (
        CheckDocument | PlanDocument | ExportDocument | Verification | Summary | Sequence[Summary]
    ),
) -> str:
    """The document as text, indented."""
    return to_json(document, indent=2).decode()
