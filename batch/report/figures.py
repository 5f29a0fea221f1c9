"""A run in figures, as the first sheet of a workbook tells it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batch.models import Status
from batch.report.causes import Cause
from batch.report.page.facts import Facts
from batch.report.words import lasting, when

Figure = Sequence[str | int | float]
"""A row of cells."""

SHEET = "token-batch"
MOST_CAUSES = 20
WELL = frozenset({Status.UPDATED, Status.UNCHANGED})


def figures_of(facts: Facts) -> list[Figure]:
    """The title, then what happened, the rows by status, the causes of most rows, and the run."""
    summary = facts.summary
    simulated = "SIMULATED: " if summary.simulated else ""
    statuses: list[Figure] = [[line.name, line.rows, line.meaning] for line in facts.statuses]
    return [
        [f"{simulated}{facts.story.sentence}"],
        *_steps(facts),
        [],
        *statuses,
        ["Rows", summary.rows],
        [],
        *_problems(facts.problems.causes),
        *_about(facts),
    ]


def _steps(facts: Facts) -> Iterator[Figure]:
    for step in facts.story.steps:
        yield [" ".join(filter(None, (step.text, step.command)))]


def _problems(causes: Sequence[Cause]) -> Iterator[Figure]:
    if not causes:
        return
    yield ["Where", "Rows", "What is wrong"]
    for cause in causes[:MOST_CAUSES]:
        yield [cause.places, cause.rows, str(cause)]
    yield []


def _about(facts: Facts) -> Iterator[Figure]:
    summary = facts.summary
    yield ["Run", summary.run]
    yield ["Sheet", summary.sheet]
    yield ["Account", summary.base_url]
    yield ["By", summary.who]
    yield ["Began", f"{when(summary.started_at)} UTC"]
    yield ["Ended", f"{when(summary.finished_at)} UTC" if summary.finished_at else "not yet"]
    yield ["Time at work", lasting(summary.seconds)]
    yield ["Requests", summary.requests.total]
