"""kill -9 at any instant, then `resume`: one outcome per row, and it agrees with the server."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from runs import FIRST, Cells, comments, lines, shows, statuses, write_sheet

from batch import cli, history
from batch.client import retrying
from batch.journal import Journal
from batch.simulator import Behaviour, Fault, Faults, Planned, SimulatedApi

COUNT = 200
DEADLINE = 20.0  # seconds until a test gives up

# Each process of the program is forked from one that has imported it and does nothing else:
# starting Python again for every kill would take a second.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["batch.cli", "pytest", "uvicorn", "starlette.applications"])


@dataclass(frozen=True)
class Blow:
    """What ends the program: a signal at the `nth` call of the journal's `method`, before the
    journal is told or when it is `durable` and nobody has heard of it yet.
    """

    method: str
    when: str = "before"
    nth: int = 1
    number: int = signal.SIGKILL

    def __str__(self) -> str:
        return f"{self.when} {self.method} {self.nth}"

    def aim(self) -> None:
        """Lay it in wait, in this process."""
        method = getattr(Journal, self.method)
        left = self.nth

        def deadly(journal: Journal, *arguments: Any, **named: Any) -> Any:
            nonlocal left
            left -= 1
            if not left and self.when == "before":
                os.kill(os.getpid(), self.number)
            durable = method(journal, *arguments, **named)
            if not left and self.when == "durable":
                assert isinstance(durable, asyncio.Future)
                durable.add_done_callback(lambda _: os.kill(os.getpid(), self.number))
            return durable

        setattr(Journal, self.method, deadly)


def program(folder: Path, arguments: Sequence[str], blow: Blow | None, room: int | None) -> None:
    """The program, in a process of its own; files may become `room` bytes long."""
    os.chdir(folder)
    os.environ["SPIRII_API_KEY"] = "sk-7f3a9"
    told = os.open(folder / "told.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(told, 1)
    os.dup2(told, 2)
    retrying.FIRST_WAIT = 0.01
    if room is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    if blow:
        blow.aim()
    sys.argv[:] = ["token-batch", *arguments]
    cli.main()


class Mortal:
    """A sheet's run by the program in processes of their own, killed and resumed at will."""

    def __init__(self, api: SimulatedApi, folder: Path, rows: Sequence[Cells]) -> None:
        self._api = api
        self._folder = folder
        self._sheet = write_sheet(folder, rows)
        self._rows = rows
        self._before = api.tokens()
        self.process: BaseProcess | None = None

    def arguments(self, workers: int = 8) -> list[str]:
        """Of the command line: to apply the sheet, or to resume if there is a run."""
        what = ["resume"] if self.runs() else ["apply", str(self._sheet), "--yes"]
        options = ["--base-url", self._api.url, "--reports", str(self._folder / "reports")]
        options += ["--read-rate", "100000/s", "--write-rate", "100000/s"]
        return [*what, *options, "--workers", str(workers), "--tries", "8", "--timeout", "5"]

    def go_on(self, blow: Blow | None = None, workers: int = 8, room: int | None = None) -> None:
        """Start a process for it."""
        arguments = (self._folder, self.arguments(workers), blow, room)
        self.process = PROCESSES.Process(target=program, args=arguments, daemon=True)
        self.process.start()

    def signal_at(self, requests: int, number: int = signal.SIGKILL) -> None:
        """Send a signal when so many more requests have arrived, or it ended before."""
        assert self.process
        wanted = len(self._api.requests) + requests
        until = time.monotonic() + DEADLINE
        while len(self._api.requests) < wanted and self.process.is_alive():
            assert time.monotonic() < until
            time.sleep(0.0005)
        if self.process.is_alive():
            assert self.process.pid
            os.kill(self.process.pid, number)

    def end(self) -> int | None:
        """Its exit code, once it ended."""
        assert self.process
        self.process.join(DEADLINE)
        assert not self.process.is_alive(), "it hangs"
        return self.process.exitcode

    def told(self) -> str:
        """What it wrote on its terminal."""
        return (self._folder / "told.txt").read_text(encoding="utf-8")

    def finish(self) -> Path:
        """Go on until nothing is open; the folder of the run."""
        for _ in range(5):
            self.go_on()
            if self.end() in {0, 1}:
                (folder,) = self.runs()
                if not {"unknown", "not_sent"} & set(statuses(folder)):
                    return folder
        raise AssertionError(f"it does not come to an end: {self.told()}")

    def hold(self, folder: Path) -> None:
        """Fail unless every row has one outcome and it agrees with the server."""
        report = lines(folder)
        assert [line["row"] for line in report] == [str(2 + n) for n in range(len(self._rows))]
        after = self._api.tokens()
        for row, line in zip(self._rows, report, strict=True):
            token = int(str(row["id"]))
            is_so = shows(after[token], {"comment": row["comment"]})
            assert line["status"] in {"updated", "failed"}, line
            assert is_so == (line["status"] == "updated"), line
        named = {int(str(row["id"])) for row in self._rows}
        assert all(after[n] == self._before[n] for n in after if n not in named)

    def runs(self) -> list[Path]:
        """The folders of its confirmed runs."""
        reports = self._folder / "reports"
        return [reports / found.run for found in history.runs(reports)]


@pytest.fixture
def api() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=COUNT + 20, behaviour=Behaviour(limits=None)) as running:
        yield running


def losses(share: float, seed: int, jitter: float = 0.0) -> Faults:
    kinds = (Fault.DROP, Fault.DROP_APPLIED, Fault.SERVER_ERROR, Fault.SERVER_ERROR_APPLIED)
    return Faults(rates=dict.fromkeys(kinds, share / len(kinds)), seed=seed, jitter=jitter)


@pytest.mark.parametrize(("seed", "workers"), [(0, 1), (1, 8), (2, 64)])
def test_killed_again_and_again_every_row_has_one_true_outcome(
    api: SimulatedApi, tmp_path: Path, seed: int, workers: int
) -> None:
    draw = random.Random(seed)
    api.faults = losses(0.2, seed, jitter=0.003)
    mortal = Mortal(api, tmp_path, comments(COUNT))
    kills = 0
    for _ in range(4):
        mortal.go_on(workers=workers)
        mortal.signal_at(draw.randrange(1, 50))
        kills += mortal.end() == -signal.SIGKILL  # 64 at once may come to the end before
    assert kills >= 2
    mortal.hold(mortal.finish())


STEPS = [
    Blow("note", nth=1),
    Blow("add_rows"),
    Blow("add_operations"),
    Blow("note", nth=2),
    Blow("start", "durable", nth=1),
    Blow("start", "before", nth=13),
    Blow("start", "durable", nth=13),
    Blow("settle", "before", nth=1),
    Blow("settle", "before", nth=13),
    Blow("settle", "durable", nth=13),
]


@pytest.mark.parametrize("blow", STEPS, ids=str)
def test_killed_at_each_step_of_the_record(api: SimulatedApi, tmp_path: Path, blow: Blow) -> None:
    api.faults = losses(0.2, seed=7, jitter=0.005)
    mortal = Mortal(api, tmp_path, comments(30))
    mortal.go_on(blow)
    assert mortal.end() == -signal.SIGKILL
    mortal.hold(mortal.finish())


@pytest.mark.parametrize("when", ["before", "durable"])
@pytest.mark.parametrize("method", ["settle", "replan"])
def test_killed_while_a_killed_run_is_looked_after(
    api: SimulatedApi, tmp_path: Path, method: str, when: str
) -> None:
    api.faults = losses(0.2, seed=8, jitter=0.005)
    mortal = Mortal(api, tmp_path, comments(40))
    mortal.go_on(Blow("settle", nth=10))
    assert mortal.end() == -signal.SIGKILL
    mortal.go_on(Blow(method, when, nth=2))
    assert mortal.end() == -signal.SIGKILL
    mortal.hold(mortal.finish())


@pytest.mark.parametrize("nth", [1, 20])
def test_killed_while_requests_are_under_way_that_the_server_applies_later(
    api: SimulatedApi, tmp_path: Path, nth: int
) -> None:
    api.faults = Faults(latency=0.1)
    mortal = Mortal(api, tmp_path, comments(40))
    mortal.go_on()
    mortal.signal_at(1 + nth)
    assert mortal.end() == -signal.SIGKILL
    time.sleep(0.2)
    assert sum(request.applied for request in api.requests) >= nth
    api.faults = Faults()
    folder = mortal.finish()
    mortal.hold(folder)
    assert statuses(folder) == ["updated"] * 40
    assert len(api.writes) == 40
    assert [line for line in lines(folder) if line["message"].startswith("settled by reading")]


def test_python_m_batch_killed_and_resumed(api: SimulatedApi, tmp_path: Path) -> None:
    api.faults = losses(0.1, seed=9, jitter=0.005)
    mortal = Mortal(api, tmp_path, comments(COUNT))

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "batch", *mortal.arguments()],
            cwd=tmp_path,
            env={**os.environ, "SPIRII_API_KEY": "sk-7f3a9"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    with start() as process:
        while len(api.writes) < 80:
            assert process.poll() is None
            time.sleep(0.001)
        process.kill()
    with start() as process:
        assert process.wait(DEADLINE) in {0, 1}
    mortal.hold(mortal.runs()[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_requests_finish_and_loses_nothing(
    api: SimulatedApi, tmp_path: Path, number: signal.Signals
) -> None:
    api.faults = Faults(latency=0.05)
    mortal = Mortal(api, tmp_path, comments(100))
    mortal.go_on()
    mortal.signal_at(20, number)
    assert mortal.end() == 130
    (folder,) = mortal.runs()
    applied = sum(request.applied for request in api.requests)
    assert statuses(folder).count("updated") == applied < 100
    assert statuses(folder).count("not_sent") == 100 - applied
    api.faults = Faults()
    mortal.hold(mortal.finish())
    assert len(api.writes) == 100


def test_the_second_signal_quits_at_once_and_loses_nothing(
    api: SimulatedApi, tmp_path: Path
) -> None:
    mortal = Mortal(api, tmp_path, comments(20))
    api.faults = Faults(script=[Planned(Fault.STALL_APPLIED)])
    mortal.go_on()
    mortal.signal_at(2, signal.SIGINT)
    time.sleep(0.1)
    began = time.monotonic()
    mortal.signal_at(0, signal.SIGINT)
    assert mortal.end() == 130
    assert time.monotonic() - began < 0.5
    api.faults = Faults()
    mortal.hold(mortal.finish())


# Asyncio turns the first Ctrl-C into a cancellation at the next wait; SIGTERM strikes at once.
ODD_MOMENTS = [
    (signal.SIGINT, Blow("note", nth=2)),
    (signal.SIGINT, Blow("about")),
    (signal.SIGINT, Blow("settle", nth=5)),
    (signal.SIGTERM, Blow("note", nth=1)),
    (signal.SIGTERM, Blow("add_rows")),
    (signal.SIGTERM, Blow("add_operations")),
    (signal.SIGTERM, Blow("note", nth=2)),
    (signal.SIGTERM, Blow("about")),
    (signal.SIGTERM, Blow("unsettled")),
    (signal.SIGTERM, Blow("start", "durable")),
    (signal.SIGTERM, Blow("settle", nth=5)),
    (signal.SIGTERM, Blow("counts")),
    (signal.SIGTERM, Blow("lines")),
    (signal.SIGTERM, Blow("close")),
]


@pytest.mark.parametrize(("number", "blow"), ODD_MOMENTS, ids=str)
def test_interrupted_at_odd_moments(
    api: SimulatedApi, tmp_path: Path, blow: Blow, number: signal.Signals
) -> None:
    mortal = Mortal(api, tmp_path, comments(30))
    mortal.go_on(replace(blow, number=number))
    assert mortal.end() in {130, 0}, mortal.told()
    assert "Traceback" not in mortal.told()
    assert not (api.writes and "nothing was sent" in mortal.told()), mortal.told()
    if mortal.runs():
        assert lines(mortal.runs()[0])
    else:
        assert not api.writes
        assert not list((tmp_path / "reports").iterdir())
    mortal.hold(mortal.finish())


@pytest.mark.parametrize("room", [5_000, 60_000, 120_000])
def test_a_full_disk_loses_nothing(api: SimulatedApi, tmp_path: Path, room: int) -> None:
    mortal = Mortal(api, tmp_path, comments(COUNT))
    mortal.go_on(room=room)
    assert mortal.end() in {2, 3}, mortal.told()
    assert "Traceback" not in mortal.told()
    if mortal.end() == 2:
        assert not api.writes
    mortal.hold(mortal.finish())


@pytest.mark.parametrize("gone", ["folder", "journal"])
def test_a_record_that_is_taken_away_stops_the_run(
    api: SimulatedApi, tmp_path: Path, gone: str
) -> None:
    api.faults = Faults(latency=0.02)
    mortal = Mortal(api, tmp_path, comments(60))
    mortal.go_on(workers=2)
    mortal.signal_at(20, 0)
    (folder,) = mortal.runs()
    if gone == "folder":
        shutil.rmtree(folder)
    else:
        for path in folder.glob("journal.sqlite*"):
            path.unlink()
    assert mortal.end() == 3, mortal.told()
    assert FIRST + 59 not in {request.token_id for request in api.writes}
