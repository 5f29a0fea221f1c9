"""What a run leaves for people and machines, written from its durable record alone.

Each file is written under a temporary name and then renamed: whoever opens it finds it whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from batch.report import workbooks
from batch.report.causes import Cause, Told, causes_of
from batch.report.figures import figures_of
from batch.report.page import Facts, facts_of, write_page
from batch.report.record import Record
from batch.report.sheets import write_attempts, write_fix, write_report, write_undo
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
    "differences",
    "summarize",
    "write",
    "write_verification",
]


def write(record: Record) -> tuple[Facts, str]:
    """All reports of the run, beside its record: what they tell, and in a sentence which of them
    cannot be written; empty if they are all there.
    """
    for half in record.folder.glob(".*.part"):  # of a process that was killed while it wrote
        half.unlink()
    facts = facts_of(record)
    refused = {
        name: error
        for name, write_one in _writers(record, facts).items()
        if (error := _refusal(write_one))
    }
    if not refused:
        return facts, ""
    told = ", ".join(f"{name} ({error.strerror})" for name, error in refused.items())
    return facts, (
        f"what cannot be written in {record.folder}: {told}; the run is in its journal, and "
        f"`token-batch report {record.folder.name}` writes its reports again"
    )


def _writers(record: Record, facts: Facts) -> Mapping[str, Callable[[], None]]:
    return {
        "report.csv": partial(write_report, record),
        "fix.csv": partial(write_fix, record),
        "undo.csv": partial(write_undo, record),
        "attempts.csv": partial(write_attempts, record),
        workbooks.FIX: partial(workbooks.write_fix, record),
        workbooks.REPORT: partial(workbooks.write_marked, record, figures_of(facts)),
        "report.html": partial(write_page, record.folder, facts),
        "summary.json": partial(write_summary, record.folder, facts.summary),
    }


def _refusal(write_one: Callable[[], None]) -> OSError | None:
    try:
        write_one()
    except OSError as error:
        return error
    return None
