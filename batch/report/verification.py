"""`verify.csv`: where the account differs from what a run wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from batch.errors import RunError
from batch.files import write_csv
from batch.models import Operation, Token, Value, shown

GONE = "no such token"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one token: what the run wrote, and what it is now, as people read them.

    `field` is empty for a token that no longer exists.
    """

    token_id: int
    label: str
    field: str
    written: str
    now: str


@dataclass(frozen=True, slots=True)
class Verification:
    """A run against the account as it is now. `tokens`: how many the run has updated."""

    run: str
    tokens: int
    differences: Sequence[Difference]


def differences(operation: Operation, now: Token | None) -> Iterator[Difference]:
    """Where a token differs from what an operation wrote; None for one that is gone."""
    label = operation.token.identifier.label or ""
    if now is None:
        yield Difference(operation.token.id, label, "", "", GONE)
        return
    for name, written in operation.changes.items():
        found: Value = now.value(name)
        if found != written:
            yield Difference(operation.token.id, label, name, shown(written), shown(found))


def write_verification(folder: Path, verification: Verification) -> None:
    """Write it beside the run's record. RunError if it cannot be written."""
    header = [each.name for each in fields(Difference)]
    try:
        write_csv(folder / "verify.csv", header, map(astuple, verification.differences))
    except OSError as error:
        raise RunError(f"{folder / 'verify.csv'} cannot be written ({error.strerror})") from error
