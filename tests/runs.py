"""Whole runs against the simulated API, and what must be true of any of them."""

from __future__ import annotations

import asyncio
import csv
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from batch import history, run
from batch.check import Source
from batch.models import Field, Operation, Outcome
from batch.run import Ended, Proposal
from batch.settings import Settings, load
from batch.simulator import Request, SimulatedApi

FIRST = 100001  # the id of the account's first token
NOBODY = 999_999  # the id of no token
FAST = "100000/s"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

Cells = Mapping[str, object]


@dataclass
class Quiet:
    """Says yes to every plan, or no, and can do something at the moments of a run."""

    confirmed: Callable[[], object] = lambda: None
    settling: Callable[[Operation, Outcome], object] = lambda _operation, _outcome: None
    answer: bool = True
    proposals: list[Proposal] = field(default_factory=list)
    outcomes: list[tuple[int, Outcome]] = field(default_factory=list)

    def reading(self, seen: int, count: int) -> None:
        pass

    can_be_asked: bool = True

    def proposed(self, proposal: Proposal) -> None:
        pass

    def confirm(self, proposal: Proposal) -> bool:
        self.proposals.append(proposal)
        self.confirmed()
        return self.answer

    def sending(self, run: str, operations: int) -> None:
        pass

    def settled(self, operation: Operation, outcome: Outcome) -> None:
        self.outcomes.append((operation.token.id, outcome))
        self.settling(operation, outcome)

    def paused(self, message: str) -> None:
        pass

    def resumed(self, seconds: float) -> None:
        pass

    def stopping(self) -> None:
        pass

    def quitting(self) -> None:
        pass

    def sent(self) -> None:
        pass


def hurry(monkeypatch: pytest.MonkeyPatch, first_wait: float = 0.01) -> None:
    """Short waits between tries, and no authorities loaded for connections without TLS."""
    monkeypatch.setattr("batch.client.retrying.FIRST_WAIT", first_wait)
    monkeypatch.setattr("httpx.create_ssl_context", lambda: NO_TLS)


def write_sheet(folder: Path, rows: Sequence[Cells]) -> Path:
    """The rows as a sheet; a cell that a row lacks is empty."""
    headers = list(dict.fromkeys(name for row in rows for name in row))
    path = folder / "sheet.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, headers)
        writer.writeheader()
        writer.writerows(rows)
    return path


def comments(count: int, first: int = FIRST, text: str = "asked") -> list[Cells]:
    """Rows that give tokens from `first` on a comment each."""
    return [{"id": first + place, "comment": f"{text} {place}"} for place in range(count)]


def settings_for(api: SimulatedApi, folder: Path, **more: Any) -> Settings:
    """Settings for the account, quick and with few tries."""
    given: dict[str, Any] = {
        "api_key": "sk-7f3a9",
        "base_url": api.url,
        "reports": folder / "reports",
        "read_rate": FAST,
        "write_rate": FAST,
        "workers": 8,
        "tries": 3,
        "timeout": 5.0,
    }
    return load(**given | more)


def apply(
    api: SimulatedApi,
    folder: Path,
    rows: Sequence[Cells],
    audience: Quiet | None = None,
    **more: Any,
) -> Ended:
    """The rows, written as a sheet and applied."""
    source = Source(str(write_sheet(folder, rows)))
    ended = asyncio.run(run.apply(source, settings_for(api, folder, **more), audience or Quiet()))
    assert ended is not None
    return ended


def resume(
    api: SimulatedApi,
    folder: Path,
    name: str | None = None,
    audience: Quiet | None = None,
    **more: Any,
) -> Ended:
    """Go on with a run, the latest without a name."""
    settings = settings_for(api, folder, **more)
    found = history.named_run(settings.reports, name)
    return asyncio.run(run.resume(found, settings, audience or Quiet()))


def lines(where: Ended | Path) -> list[dict[str, str]]:
    """The lines of a run's `report.csv`."""
    folder = Path(where.summary.folder) if isinstance(where, Ended) else where
    with (folder / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def statuses(where: Ended | Path) -> list[str]:
    """How each row ended, in the order of the sheet."""
    return [line["status"] for line in lines(where)]


def shows(token: Mapping[str, Any] | None, asked: Mapping[str, object]) -> bool:
    """Whether the token is as asked. `asked`: texts and booleans by API name."""
    return token is not None and all(_value(token, name) == asked[name] for name in asked)


def moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> set[str]:
    """The fields in which a token differs from itself before."""
    return {name for name in before if before[name] != after[name]} - {"updatedAt"}


def most_at_once(requests: Sequence[Request]) -> int:
    """How many requests were under way at the same time, at most."""
    events = [(request.arrived, 1) for request in requests]
    events += [(request.finished, -1) for request in requests if request.finished is not None]
    most = now = 0
    for _, change in sorted(events):
        now += change
        most = max(most, now)
    return most


def most_in_a_window(requests: Sequence[Request], seconds: float) -> int:
    """How many arrived in the fullest window of this length, wherever it starts."""
    arrived = sorted(request.arrived for request in requests)
    return max(sum(start <= at < start + seconds for at in arrived) for start in arrived)


def by_token(requests: Sequence[Request]) -> dict[int, list[Request]]:
    """The requests about single tokens, by it."""
    found: dict[int, list[Request]] = {}
    for request in requests:
        if request.token_id is not None:
            found.setdefault(request.token_id, []).append(request)
    return found


def _value(token: Mapping[str, Any], name: str) -> object:
    if name == Field.APP_USER_ID:
        return token["identifier"]["appUserId"]
    return token[name]
