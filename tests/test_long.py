"""Every fault at once, again and again: reports are true, and undo brings back what was."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runs import Quiet, apply, hurry, lines, resume, settings_for
from truth import RARE, Truth, mixed_faults, mixed_sheet

from batch import run
from batch.errors import RunError
from batch.report import RunState
from batch.run import Ended
from batch.simulator import Behaviour, ErrorBody, Fault, Faults, Outage, SimulatedApi

SEEDS = 51
WORKERS = (1, 8, 64)
KEY = "sk-7f3a9"
SITTINGS = 4  # after so many the faults are over, so that every run comes to its end
WORDLESS = tuple(fault for fault in Fault if fault not in RARE)  # none is the API's final word

State = dict[int, dict[str, Any]]


class Situation:
    """An account, a sheet, and all that goes wrong with them."""

    def __init__(self, seed: int, workers: int, folder: Path) -> None:
        self.draw = random.Random(seed)
        self.seed, self.folder = seed, folder
        self.expires = seed % 7 == 0
        self.gives_defaults = seed % 5 == 0
        self.goes_away = seed % 4 == 1
        self.api = SimulatedApi(
            tokens=80,
            behaviour=Behaviour(
                limits=None,
                error_body=ErrorBody.OLD if seed % 2 else ErrorBody.NEW,
                key=KEY,
                key_expires_after=10 if self.expires else None,
                applies_defaults=self.gives_defaults,
            ),
        )
        self.more: dict[str, Any] = {
            "workers": workers,
            "tries": 3,
            "timeout": 0.1,
            "pin_defaults": self.gives_defaults,
            "max_deactivations": 80,
        }
        self.others: dict[int, set[str]] = {}
        self.met: Counter[str] = Counter()
        self.back = threading.Event()
        self.back.set()

    def play(self) -> None:
        """Apply, resume until nothing is open, take back; hold every report to the truth."""
        with self.api as api:
            rows = mixed_sheet(api, self.seed)
            before = api.tokens()
            truth = Truth(api, rows, self.others)
            named = {row.get("id") for row in rows}
            meddling = self._meddling([token for token in before if token not in named])

            def go_wrong() -> None:
                methods = {"PATCH"} if self.seed % 3 == 0 else {"GET", "PATCH"}
                api.faults = mixed_faults(self.seed, 0.3, tuple(Fault), methods)

            audience = Quiet(go_wrong, lambda _operation, _outcome: meddling())
            ended = self._to_the_end(apply(api, self.folder, rows, audience, **self.more))
            truth.hold(ended)
            self.met.update(line["status"] for line in lines(ended))
            self._take_back(ended, before)
            self.met.update(str(each.fault) for each in api.requests if each.fault)
            self.met["requests"] += len(api.requests)

    def _meddling(self, unnamed: list[int]) -> Callable[[], None]:
        """Once in the middle, somebody else changes a token, and the service goes away."""
        settled = 0

        def meddle() -> None:
            nonlocal settled
            settled += 1
            if settled != 12:
                return
            token = self.draw.choice(unnamed)
            self.api.change(token, priorityChargingEnabled=True, comment="by somebody else")
            self.others[token] = {"priorityChargingEnabled", "comment"}
            if self.goes_away:
                self.met["outages"] += 1
                self.api.outage = Outage.UNAVAILABLE
                self.back.clear()
                threading.Timer(0.2, self._come_back).start()

        return meddle

    def _come_back(self) -> None:
        self.api.outage = None
        self.back.set()

    def _to_the_end(self, ended: Ended) -> Ended:
        sittings = 1
        while ended.summary.state is not RunState.FINISHED:
            assert sittings < 2 * SITTINGS, ended.summary.stopped
            self.api.accept_key(KEY)
            self.back.wait()
            if sittings >= SITTINGS:
                self.api.faults = Faults()
            ended = resume(self.api, self.folder, ended.summary.run, **self._resuming)
            sittings += 1
        self.met["sittings"] += sittings
        return ended

    @property
    def _resuming(self) -> dict[str, Any]:
        return {name: value for name, value in self.more.items() if name != "max_deactivations"}

    def _take_back(self, done: Ended, before: State) -> None:
        faults = mixed_faults(self.seed + 1000, 0.3, WORDLESS, {"GET", "PATCH"})
        for _ in range(2):
            try:
                undone = self._undo(done, faults)
            except RunError:  # it has changed nothing
                break
            self.met["undos"] += 1
            if self._to_the_end(undone).summary.all_well:
                break
            faults = Faults()
        assert self._without_others(self.api.tokens()) == self._without_others(before)

    def _undo(self, done: Ended, faults: Faults) -> Ended:
        self.api.faults = Faults()
        audience = Quiet(lambda: setattr(self.api, "faults", faults))
        settings = settings_for(self.api, self.folder, **self.more)
        ended = asyncio.run(run.undo(Path(done.summary.folder), settings, audience))
        assert ended is not None
        return ended

    def _without_others(self, state: State) -> State:
        return {
            token: {
                name: value
                for name, value in fields.items()
                if name != "updatedAt" and name not in self.others.get(token, ())
            }
            for token, fields in state.items()
        }


@pytest.mark.timeout(900)
def test_under_every_fault_reports_are_true_and_undo_brings_back_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hurry(monkeypatch, first_wait=0.002)
    monkeypatch.setattr("batch.send.outage.FIRST_GAP", 0.02)
    met: Counter[str] = Counter()
    for workers in WORKERS:
        for seed in range(SEEDS):
            situation = Situation(seed, workers, tmp_path / f"{workers}-{seed}")
            situation.folder.mkdir()
            situation.play()
            met += situation.met
    with capsys.disabled():
        figures = ", ".join(f"{name} {number:,}" for name, number in sorted(met.items()))
        print(f"\n{SEEDS} seeds, {WORKERS} at once: {figures}")
    assert {str(fault) for fault in WORDLESS} <= met.keys()
