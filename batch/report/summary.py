"""`summary.json`: the run in figures, for whoever reads with a program."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from batch.files import replacing
from batch.models import Requests, Sitting, Status
from batch.report.record import Record


class RunState(StrEnum):
    """How far a run has come."""

    UNFINISHED = "unfinished"  # under way, or killed
    STOPPED = "stopped"  # ended early; it can be resumed
    FINISHED = "finished"


class Summary(BaseModel):
    """One run. `seconds` is the time spent working, all sittings together. `hidden_rows`: how many
    of the rows are not to be seen in the spreadsheet. `total_row`: the number of the line of
    totals that was left out.

    `sittings`: every process that has worked on it.

    `stopped` is the reason when it ended before all rows had an outcome, empty otherwise.
    """

    model_config = ConfigDict(frozen=True)

    run: str
    folder: str
    simulated: bool
    sheet: str
    sha256: str
    base_url: str
    who: str
    version: str
    started_at: datetime
    finished_at: datetime | None
    stopped: str
    rows: int
    hidden_rows: int
    total_row: int | None
    counts: dict[Status, int]
    operations: int
    requests: Requests
    seconds: float
    sittings: list[Sitting]

    @property
    def state(self) -> RunState:
        """How far the run has come."""
        if self.finished_at is None:
            return RunState.UNFINISHED
        open_rows = self.counts[Status.NOT_SENT] + self.counts[Status.UNKNOWN]
        return RunState.STOPPED if self.stopped or open_rows else RunState.FINISHED

    @property
    def all_well(self) -> bool:
        """Whether every row is updated or unchanged."""
        return self.rows == self.counts[Status.UPDATED] + self.counts[Status.UNCHANGED]


def summarize(record: Record) -> Summary:
    """The run as its record has it now."""
    about = record.about()
    found = record.counts()
    return Summary(
        run=record.folder.name,
        folder=str(record.folder),
        rows=found.total(),
        counts={status: found[status] for status in Status},
        sittings=record.sittings(),
        **about.model_dump(include=set(Summary.model_fields) & set(type(about).model_fields)),
    )


def write_summary(record: Record) -> Summary:
    """`summary.json` beside the record."""
    summary = summarize(record)
    with replacing(record.folder / "summary.json") as temporary:
        temporary.write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return summary
