"""The runs there are, and which of them is meant."""

from __future__ import annotations

import logging
from pathlib import Path

from batch import report
from batch.errors import JournalError, RunError
from batch.folders import all_runs, read_run

_LOG = logging.getLogger("token-batch")


def runs(reports: Path) -> list[report.Summary]:
    """Every run under the reports folder, the latest last; unconfirmed ones are none. Of one that
    cannot be read the log tells.
    """
    found = []
    for folder in all_runs(reports):
        try:
            with read_run(folder) as journal:
                if journal.is_confirmed:
                    found.append(report.summarize(journal))
        except (RunError, JournalError) as error:
            _LOG.warning("left out: %s", error)
    return found


def named_run(reports: Path, name: str | None) -> Path:
    """The folder of the named run; without a name, of the latest."""
    if name:
        return Path(name) if Path(name).is_dir() else reports / name
    found = runs(reports)
    if not found:
        raise RunError(f"there is no run under {reports}")
    return reports / found[-1].run


def unfinished_run(reports: Path, name: str | None) -> Path:
    """The folder of the named run; without a name, of the latest that stopped, if any did."""
    stopped = [run for run in runs(reports) if run.state is not report.RunState.FINISHED]
    return named_run(reports, name or (stopped[-1].run if stopped else None))
