"""What a run leaves for people and machines, written from its durable record alone.

Each file is written under a temporary name and then renamed: whoever opens it finds it whole.
"""

from __future__ import annotations

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
    written.
    """
    try:
        write_report(record)
        write_fix(record)
        write_undo(record)
        write_attempts(record)
        workbooks.write_fix(record)
        facts = facts_of(record)
        write_page(record.folder, facts)
        workbooks.write_marked(record, figures_of(facts))
        write_summary(record.folder, facts.summary)
    except OSError as error:
        raise JournalError(
            f"the reports in {record.folder} cannot be written ({error.strerror}): the run is in "
            f"its journal; `token-batch report {record.folder.name}` writes them again"
        ) from error
    return facts
