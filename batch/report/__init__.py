"""What a run leaves for people and machines, written from its durable record alone.

Each file is written under a temporary name and then renamed: whoever opens it finds it whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from batch.errors import JournalError
from batch.report import workbooks
from batch.report.causes import Cause, Told, causes_of
from batch.report.figures import figures_of
from batch.report.page import Facts, facts_of, write_page
from batch.report.record import Record
from batch.report.sheets import write_attempts, write_fix, write_report, write_undo
from batch.report.story import command
from batch.report.summary import RunState, Summary, summarize, write_summary
from batch.report.verification import (
    Difference,
    Verification,
    differences,
    write_verification,
)

__all__ = [
    "Cause",
    "Difference",
    "Facts",
    "Record",
    "RunState",
    "Summary",
    "Told",
    "Verification",
    "causes_of",
    "command",
    "differences",
    "summarize",
    "write",
    "write_verification",
]


def write(record: Record) -> Facts:
    """All reports of the run, beside its record, and what they tell. JournalError if one cannot be
    written; the others are.
    """
    facts = facts_of(record)
    refused = [error for each in _writers(record, facts) if (error := _refusal(each))]
    if refused:
        raise JournalError(
            f"the reports in {record.folder} cannot be written ({refused[0].strerror}): the run is "
            f"in its journal; `token-batch report {record.folder.name}` writes them again"
        ) from refused[0]
    return facts


def _writers(record: Record, facts: Facts) -> Sequence[Callable[[], None]]:
    return (
        partial(write_report, record),
        partial(write_fix, record),
        partial(write_undo, record),
        partial(write_attempts, record),
        partial(workbooks.write_fix, record),
        partial(workbooks.write_marked, record, figures_of(facts)),
        partial(write_page, record.folder, facts),
        partial(write_summary, record.folder, facts.summary),
    )


def _refusal(write_one: Callable[[], None]) -> OSError | None:
    try:
        write_one()
    except OSError as error:
        return error
    return None
