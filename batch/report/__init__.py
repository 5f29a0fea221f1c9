"""What a run leaves for people and machines, written from its durable record alone.

Each file is written under a temporary name and then renamed: whoever opens it finds it whole.
"""

from __future__ import annotations

from batch.errors import JournalError
from batch.report.page import write_page
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
    "Difference",
    "Record",
    "RunState",
    "Summary",
    "Verification",
    "differences",
    "summarize",
    "write",
    "write_verification",
]


def write(record: Record) -> Summary:
    """All reports of the run, beside its record. JournalError if one cannot be written."""
    try:
        write_report(record)
        write_fix(record)
        write_undo(record)
        write_attempts(record)
        write_page(record)
        return write_summary(record)
    except OSError as error:
        raise JournalError(
            f"the reports in {record.folder} cannot be written ({error.strerror}): the run is in "
            f"its journal; `token-batch report {record.folder.name}` writes them again"
        ) from error
