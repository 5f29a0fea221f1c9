"""One budget for all processes of a machine that use the same key and URL."""

from __future__ import annotations

import fcntl
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from test_pacing import most_in_any_window

from batch.client import ledger
from batch.client.ledger import GRACE, LOOK_AGAIN, MEMBERS
from batch.client.pacing import CLOCK_DRIFT, Budget, Pace
from batch.client.shared_budget import Kind, SharedBudget, shared_budget
from batch.models import Rate

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["batch.client.shared_budget", "pytest"])
WINDOW = 10.0
THREE = Rate(3, WINDOW)
REST = WINDOW * (1 + CLOCK_DRIFT)  # of a slot, after its answer


@dataclass
class Machine:
    """Processes of one machine, as budgets that share a folder, a clock and a boot."""

    path: Path
    now: float = 1000.0
    boot: int = 1
    warnings: list[str] = field(default_factory=list)
    running: list[Budget] = field(default_factory=list)

    def process(self, rate: Rate = THREE) -> Budget:
        started = SharedBudget(self.path, rate, lambda: self.now, self.warnings.append, self.boot)
        self.running.append(started)
        return started

    def kill(self, budget: Budget) -> None:
        """What the system does: its files are closed, and nothing is written."""
        assert isinstance(budget, SharedBudget)
        assert budget._ledger
        budget._ledger._close_files()
        budget._ledger = None

    def takes(self, budget: Budget, most: int = 1000) -> int:
        """How many slots it can have at once."""
        taken = 0
        while taken < most and budget.take_by(self.now) is not None:
            taken += 1
        return taken

    def answers(self, budget: Budget, count: int) -> None:
        for _ in range(count):
            budget.answered(self.now)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "state" / "account-writes")
    yield machine
    for budget in machine.running:
        budget.close()


def test_what_one_process_has_under_way_another_cannot_send(machine: Machine) -> None:
    one, other = machine.process(), machine.process()

    assert (machine.takes(one, most=2), machine.takes(other)) == (2, 1)


def test_a_slot_is_free_for_everybody_one_window_after_its_answer(machine: Machine) -> None:
    one, other = machine.process(), machine.process()
    machine.takes(one)
    machine.now += 5
    machine.answers(one, 3)
    machine.now += REST - 0.01
    before = machine.takes(other)
    machine.now += 0.02

    assert (before, machine.takes(other)) == (0, 3)
    assert machine.warnings == []


def test_the_wait_is_told_to_the_instant_by_a_process_alone(machine: Machine) -> None:
    budget = machine.process()
    machine.takes(budget)
    machine.now += 1
    under_way = budget.wait(machine.now)
    machine.answers(budget, 1)
    machine.now += 2
    budget.take_by(machine.now)

    assert under_way == math.inf
    assert budget.wait(machine.now) == pytest.approx(REST - 2)


def test_one_who_waits_beside_others_looks_again_soon(machine: Machine) -> None:
    one, other = machine.process(), machine.process()
    machine.takes(one)
    machine.takes(other)

    assert other.wait(machine.now) == pytest.approx(LOOK_AGAIN)


def test_what_a_dead_process_had_under_way_counts_from_when_its_death_is_noticed(
    machine: Machine,
) -> None:
    dead = machine.process()
    machine.takes(dead, most=2)
    machine.now += 100
    machine.kill(dead)
    resumed = machine.process()
    at_once = machine.takes(resumed)
    machine.now += REST - 0.01
    before = machine.takes(resumed)
    machine.now += 0.02

    assert (at_once, before, machine.takes(resumed)) == (1, 0, 2)


def test_a_process_that_waits_notices_that_another_died(machine: Machine) -> None:
    dead, waiting = machine.process(), machine.process()
    machine.takes(dead)
    machine.kill(dead)
    machine.now += LOOK_AGAIN
    machine.takes(waiting)
    machine.now += REST + 0.01

    assert machine.takes(waiting) == 3


def test_what_a_dead_process_did_not_use_is_free_at_once(machine: Machine) -> None:
    dead, other = machine.process(), machine.process()
    machine.takes(dead)
    machine.answers(dead, 3)
    machine.takes(dead)  # so it waits, and its turn would come first
    machine.now += REST + 0.01
    machine.kill(dead)

    assert machine.takes(other) == 3


def test_a_resume_after_a_kill_and_a_process_that_closed_leave_the_history(
    machine: Machine,
) -> None:
    first = machine.process()
    machine.takes(first)
    machine.answers(first, 3)
    first.close()

    assert machine.takes(machine.process()) == 0


@pytest.mark.parametrize("write", range(12))
def test_a_kill_between_any_two_writes_lets_nobody_send_more(
    machine: Machine, write: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    left = write
    really = os.pwrite

    def deadly(fd: int, data: bytes, offset: int) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        return really(fd, data, offset)

    dead = machine.process()
    arrived = 0
    monkeypatch.setattr(os, "pwrite", deadly)
    with suppress(Killed):
        for _ in range(3):
            if dead.take_by(machine.now) is None:
                break
            arrived += 1
            machine.answers(dead, 1)
    monkeypatch.setattr(os, "pwrite", really)
    machine.kill(dead)

    assert machine.takes(machine.process()) <= 3 - arrived


def test_of_two_that_wait_the_one_that_waits_longer_goes_next(machine: Machine) -> None:
    greedy, patient = machine.process(Rate(2, WINDOW)), machine.process(Rate(2, WINDOW))
    sent = {"greedy": 0, "patient": 0}
    machine.takes(greedy)
    machine.answers(greedy, 1)
    machine.takes(patient)
    machine.now += 1
    machine.answers(greedy, 1)
    for _ in range(8000):  # whoever asks first and most often has no advantage
        for name, budget in (("greedy", greedy), ("greedy", greedy), ("patient", patient)):
            if budget.take_by(machine.now) is not None:
                sent[name] += 1
                machine.answers(budget, 1)
        machine.now += 0.01

    assert sent["greedy"] + sent["patient"] >= 14
    assert abs(sent["greedy"] - sent["patient"]) <= 1


def test_one_who_waits_but_does_not_come_delays_the_others_a_little_only(
    machine: Machine,
) -> None:
    one, stopped = machine.process(Rate(1, WINDOW)), machine.process(Rate(1, WINDOW))
    machine.takes(one)
    machine.takes(stopped)
    machine.answers(one, 1)
    machine.now += REST + 0.01
    at_once = machine.takes(one)
    machine.now += GRACE

    assert (at_once, machine.takes(one)) == (0, 1)


def test_one_who_waits_no_more_delays_nobody(machine: Machine) -> None:
    one, other = machine.process(Rate(1, WINDOW)), machine.process(Rate(1, WINDOW))
    machine.takes(one)
    machine.takes(other)
    other.forgo()
    machine.answers(one, 1)
    machine.now += REST + 0.01

    assert machine.takes(one) == 1


def test_each_keeps_its_own_limit_and_all_together_the_larger(machine: Machine) -> None:
    small, large = machine.process(Rate(2, WINDOW)), machine.process(Rate(5, WINDOW))

    assert (machine.takes(small), machine.takes(large)) == (2, 3)


def test_a_larger_limit_that_comes_later_forgets_no_answer(machine: Machine) -> None:
    small = machine.process(Rate(2, WINDOW))
    for _ in range(3):
        machine.takes(small)
        machine.answers(small, 2)
        machine.now += REST + 0.01
    machine.takes(small)
    large = machine.process(Rate(5, WINDOW))

    assert machine.takes(large) == 3
    assert machine.takes(small) == 0


def test_a_smaller_limit_counts_again_when_the_larger_has_left(machine: Machine) -> None:
    small, large = machine.process(Rate(2, WINDOW)), machine.process(Rate(5, WINDOW))
    machine.takes(large, most=1)
    large.close()

    assert machine.takes(small) == 1


def _truncated(path: Path) -> None:
    os.truncate(path, 0)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 20)


def _zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _garbage(path: Path) -> None:
    path.write_bytes(b"\xff" * path.stat().st_size)


@pytest.mark.parametrize("damage", [_truncated, _cut, _zeroed, _garbage])
def test_a_damaged_file_rests_every_slot_for_one_window(
    machine: Machine, damage: Callable[[Path], None]
) -> None:
    one = machine.process()
    machine.takes(one)
    machine.answers(one, 3)
    machine.now += 1
    damage(machine.path)
    at_once = machine.takes(other := machine.process())
    other.forgo()
    machine.now += REST + 0.01

    assert (at_once, machine.takes(one, most=2), machine.takes(other)) == (0, 2, 1)
    assert machine.warnings == []


def test_after_a_start_of_the_machine_slots_rest_for_one_window_of_its_clock(
    machine: Machine,
) -> None:
    machine.kill(before := machine.process())
    assert before.wait(machine.now) == 0
    machine.boot, machine.now = 2, 4.0
    after = machine.process()
    at_once = machine.takes(after)
    machine.now = REST + 0.01

    assert (at_once, machine.takes(after)) == (0, 3)


def test_answers_from_the_future_are_of_another_start_and_rest_for_one_window(
    machine: Machine,
) -> None:
    before = machine.process()
    machine.takes(before)
    machine.answers(before, 3)
    machine.kill(before)
    machine.now = 50.0
    after = machine.process()
    at_once = machine.takes(after)
    machine.now += REST + 0.01

    assert (at_once, machine.takes(after)) == (0, 3)


def test_a_folder_that_cannot_be_made_leaves_the_process_its_own_budget(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    machine = Machine(tmp_path / "state" / "account-writes")
    one, other = machine.process(), machine.process()

    assert (machine.takes(one), machine.takes(other)) == (3, 3)
    assert len(machine.warnings) == 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), OSError(5, "I/O error")])
def test_a_file_that_fails_in_the_middle_leaves_the_process_its_own_budget(
    machine: Machine, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> int:
        raise error

    one = machine.process()
    taken = machine.takes(one, most=1)
    with monkeypatch.context() as context:
        context.setattr(os, "pwrite", fails)
        taken += machine.takes(one)
        machine.answers(one, 3)
    machine.now += REST - 0.01

    assert (taken, machine.takes(one)) == (3, 0)
    assert len(machine.warnings) == 1
    assert str(error.strerror) in machine.warnings[0]


def test_a_lock_that_is_never_free_is_waited_for_and_then_given_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise BlockingIOError

    one = machine.process()
    machine.takes(one, most=1)
    with monkeypatch.context() as context:
        context.setattr(fcntl, "flock", busy)
        context.setattr(ledger, "TRIES", 1)
        machine.answers(one, 1)
        while_busy = one.take_by(machine.now), one.wait(machine.now)
        machine.now += ledger.PATIENCE + 0.01
        given_up = machine.takes(one)

    assert while_busy[0] is None
    assert while_busy[1] == pytest.approx(LOOK_AGAIN)
    assert given_up == 2
    assert len(machine.warnings) == 1


def test_an_answer_that_met_a_busy_lock_is_told_with_the_next(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise BlockingIOError

    one, other = machine.process(), machine.process()
    machine.takes(one, most=1)
    with monkeypatch.context() as context:
        context.setattr(fcntl, "flock", busy)
        machine.answers(one, 1)
    machine.takes(one, most=1)
    machine.now += REST + 0.01

    assert machine.takes(other) == 2


def test_a_removed_file_is_noticed(machine: Machine) -> None:
    one, other = machine.process(), machine.process()
    machine.takes(other)
    machine.path.unlink()
    machine.now += LOOK_AGAIN
    machine.takes(one)

    assert len(machine.warnings) == 1


def test_more_processes_than_there_are_places_have_their_own_budget(machine: Machine) -> None:
    for _ in range(MEMBERS):
        machine.process()
    last = machine.process()

    assert machine.takes(last) == 3
    assert len(machine.warnings) == 1


def test_headers_that_others_on_the_machine_explain_lower_nothing(machine: Machine) -> None:
    one, other = machine.process(Rate(10, WINDOW)), machine.process(Rate(10, WINDOW))
    machine.takes(other, most=6)
    one.told(4, 5.0, machine.now)
    machine.answers(other, 6)
    explained = one.wait(machine.now)
    one.told(0, 5.0, machine.now)

    assert explained == 0
    assert one.wait(machine.now) == 5.0


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix == "")


def test_each_account_and_kind_has_a_file_that_tells_nobody_the_key(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    accounts: list[tuple[str, str, Kind]] = [
        ("https://api", "sk-1", "reads"),
        ("https://api", "sk-1", "writes"),
        ("https://api/", "sk-1", "writes"),
        ("https://api", "sk-2", "writes"),
        ("https://other", "sk-1", "writes"),
    ]
    for url, key, kind in accounts:
        shared_budget(folder, url, key, kind, Rate(3, 1.0), warn=pytest.fail).close()

    assert len(_files(folder)) == 4
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(b"sk-" not in path.read_bytes() for path in folder.iterdir())
    assert all("sk-" not in path.name for path in folder.iterdir())


# Processes of their own


def send(folder: Path, rate: Rate, log: str, seconds: float, answer_after: float) -> None:
    """As fast as the budget allows; each arrival as a line of the log, which all append to."""
    import asyncio  # noqa: PLC0415 - in the process that needs it

    async def one(pace: Pace, out: int) -> None:
        free_at = await pace.enter()
        await pace.hold_until(free_at)
        try:
            os.write(out, f"{os.getpid()} {time.monotonic()!r}\n".encode())
            await asyncio.sleep(answer_after)
        finally:
            pace.leave()

    async def worker(pace: Pace, out: int) -> None:
        while True:
            await one(pace, out)

    async def everything() -> None:
        budget = shared_budget(folder, "https://api", "sk", "writes", rate, warn=print)
        out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        pace = Pace(rate, budget=budget)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(worker(pace, out) for _ in range(8)))
        budget.close()

    asyncio.run(everything())


@dataclass
class Senders:
    """Processes that send as fast as they may."""

    folder: Path
    rate: Rate
    started: list[BaseProcess] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / "arrivals.log"

    def start(self, seconds: float, answer_after: float = 0.005) -> BaseProcess:
        arguments = (self.folder / "state", self.rate, str(self.log), seconds, answer_after)
        process = PROCESSES.Process(target=send, args=arguments, daemon=True)
        process.start()
        self.started.append(process)
        return process

    def arrivals(self) -> list[tuple[int, float]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(int(pid), float(at)) for pid, at in (line.split() for line in lines)]

    def wait_for(self, count: int) -> None:
        until = time.monotonic() + 20
        while len(self.arrivals()) < count:
            assert time.monotonic() < until
            time.sleep(0.002)

    def end(self) -> None:
        for process in self.started:
            process.join(20)
            assert not process.is_alive()


def test_two_processes_together_stay_within_the_budget_and_neither_starves(
    tmp_path: Path,
) -> None:
    senders = Senders(tmp_path, Rate(20, 0.5))
    senders.start(2.6)
    senders.start(2.6)
    senders.end()

    arrivals = senders.arrivals()
    shares = [sum(pid == process.pid for pid, _ in arrivals) for process in senders.started]
    assert most_in_any_window([at for _, at in arrivals], 0.5) <= 20
    assert min(shares) >= 20


def test_a_killed_process_does_not_let_the_next_exceed_the_budget(tmp_path: Path) -> None:
    senders = Senders(tmp_path, Rate(20, 0.5))
    killed = senders.start(20, answer_after=0.05)
    for number in range(3):
        senders.wait_for(number * 20 + 5)
        assert killed.pid
        os.kill(killed.pid, signal.SIGKILL)
        killed.join()
        killed = senders.start(20 if number < 2 else 1.2, answer_after=0.05)
    senders.end()

    arrivals = senders.arrivals()
    assert len({pid for pid, _ in arrivals}) >= 3
    assert most_in_any_window([at for _, at in arrivals], 0.5) <= 20


@pytest.mark.benchmark
@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_request_costs(tmp_path: Path, processes: int) -> None:
    arguments = (tmp_path, 20_000)
    others = [PROCESSES.Process(target=cost, args=arguments) for _ in range(processes)]
    for other in others:
        other.start()
    for other in others:
        other.join(50)


def cost(folder: Path, requests: int) -> None:
    """Print the microseconds that taking and giving back a slot take."""
    budget = shared_budget(folder, "url", "key", "writes", Rate(100_000, 1.0), warn=print)
    began = time.perf_counter()
    for _ in range(requests):
        while budget.take_by(time.monotonic()) is None:
            pass
        budget.answered(time.monotonic())
    print(f"{(time.perf_counter() - began) / requests * 1e6:.1f} us a request")
    budget.close()
