"""`summary.json`: the run in figures, for whoever reads with a program."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Literal

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
    """One run of token-batch in figures: the content of `summary.json`.

    Fields may be added in the same `schema_version`; it grows when one is taken away, or when one
    means something else.
    """

    model_config = ConfigDict(
        frozen=True,
        use_attribute_docstrings=True,
        json_schema_serialization_defaults_required=True,
    )

    schema_version: Literal[1] = 1
    """Of this document."""
    run: str
    """The run's name, which is that of its folder."""
    folder: str
    """Where its journal and its reports are."""
    simulated: bool
    """Whether it went to the built-in simulated API."""
    sheet: str
    """The file that was handed in; of an undo, what it undoes."""
    sha256: str
    """Of the file's bytes, in hexadecimal; empty for an undo."""
    base_url: str
    """Of the API that it went to."""
    who: str
    """The system's name of the user who began it."""
    version: str
    """Of the program that began it."""
    started_at: datetime
    """When it was begun, in UTC."""
    finished_at: datetime | None
    """When it ended, in UTC; null while it is under way, or if it was killed."""
    stopped: str
    """Why it ended before all rows had an outcome, else empty."""
    rows: int
    """Data rows of the sheet."""
    hidden_rows: int
    """How many of the rows are not to be seen in the spreadsheet."""
    total_row: int | None
    """The number of a line of totals that was left out."""
    counts: dict[Status, int]
    """Rows by outcome: every outcome is named, also with none."""
    operations: int
    """Changes to be sent, one for each token."""
    requests: Requests
    """What went over the wire, in all sittings together."""
    seconds: float
    """Time spent at work, in all sittings together."""
    sittings: list[Sitting]
    """Every process that has worked on the run, the first one first."""

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


def write_summary(folder: Path, summary: Summary) -> None:
    """`summary.json` in the run's folder. OSError if it cannot be written."""
    with replacing(folder / "summary.json") as temporary:
        temporary.write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")
