"""An outage pauses the run and costs no row; a row with a fault of its own does not pause it."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from runs import (
    FIRST,
    Cells,
    Quiet,
    apply,
    by_token,
    comments,
    hurry,
    lines,
    most_at_once,
    shows,
    statuses,
)
from runs import resume as go_on
from test_kill import Mortal

from batch.errors import KeyRefused, NotAsAsked, Unavailable
from batch.models import Entry, Field, Operation, Outcome, State, Status, Token
from batch.run import Ended
from batch.send import Sender
from batch.send.evidence import NO_ANSWER, TRIES_USED_UP, tells_of_no_service
from batch.send.outage import FAILURES, Effort, Turns
from batch.send.outage import Outage as OutageState
from batch.simulator import Behaviour, Fault, Faults, Outage, Planned, SimulatedApi

FOREVER = float("inf")
COUNT = 120


class Pauses:
    """What a run says of outages, and what is done when one begins."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.seconds: list[float] = []
        self.max_outage = 3600.0
        self.then: Callable[[], object] = lambda: None
        self.after = 0.1  # seconds from the pause to `then`
        monkeypatch.setattr("batch.run.Sender", self._sender)

    def _sender(self, *arguments: Any, **named: Any) -> Sender:
        more = {"paused": self._paused, "resumed": self.seconds.append}
        self.sender = Sender(*arguments, **named | more | {"max_outage": self.max_outage})
        return self.sender

    def _paused(self, message: str) -> None:
        self.said.append(message)
        asyncio.get_running_loop().call_later(self.after, self.then)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    hurry(monkeypatch, first_wait=0.002)
    monkeypatch.setattr("batch.send.outage.FIRST_GAP", 0.005)
    monkeypatch.setattr("batch.send.outage.LONGEST_GAP", 0.02)
    return Pauses(monkeypatch)


@pytest.fixture
def api() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=COUNT + 30, behaviour=Behaviour(limits=None)) as running:
        yield running


def when_settled(count: int, do: Callable[[], object]) -> Quiet:
    """Does something when so many operations are settled."""
    left = count

    def settling(_operation: Operation, _outcome: Outcome) -> None:
        nonlocal left
        left -= 1
        if not left:
            do()

    return Quiet(settling=settling)


def failing(*tokens: int) -> Faults:
    """The server fails whenever one of these is to be changed."""
    script = [Planned(Fault.SERVER_ERROR, token=token, times=FOREVER) for token in tokens]
    return Faults(script=script)


def hold(api: SimulatedApi, ended: Ended, rows: list[Cells]) -> None:
    """Fail unless every row has one outcome that is true on the server."""
    report = lines(ended)
    assert [line["row"] for line in report] == [str(2 + place) for place in range(len(rows))]
    for row, line in zip(rows, report, strict=True):
        is_so = shows(api.token(int(str(row["id"]))), {"comment": row["comment"]})
        if line["status"] != "unknown":
            assert is_so == (line["status"] == "updated"), line
    assert all(most_at_once(requests) == 1 for requests in by_token(api.requests).values())


ALL_503 = Outage.UNAVAILABLE
HTML = Outage.NOT_THE_API


class TestAnOutage:
    @pytest.mark.parametrize("outage", list(Outage))
    @pytest.mark.parametrize(
        ("after", "workers"), [(0, 1), (0, 32), (10, 1), (10, 8), (10, 32), (COUNT - 20, 1)]
    )
    def test_pauses_the_run_which_goes_on_by_itself(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses, outage: Outage, workers: int,
        after: int,
    ) -> None:  # fmt: skip
        pauses.then = lambda: setattr(api, "outage", None)
        begin = lambda: setattr(api, "outage", outage)  # noqa: E731
        audience = when_settled(after, begin) if after else Quiet(confirmed=begin)
        ended = apply(api, tmp_path, comments(COUNT), audience, workers=workers)
        assert ended.stop is None
        assert statuses(ended) == ["updated"] * COUNT
        hold(api, ended, comments(COUNT))
        assert len(pauses.said) == len(pauses.seconds) == 1
        assert "10 tokens in a row failed" in pauses.said[0]

    def test_of_refused_connections_does_the_same(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        pauses.then = api.start
        ended = apply(api, tmp_path, comments(COUNT), when_settled(30, api.stop))
        assert statuses(ended) == ["updated"] * COUNT
        assert len(pauses.said) == len(pauses.seconds) == 1

    @pytest.mark.parametrize("fault", [Fault.DROP, Fault.DROP_APPLIED, Fault.HALF])
    def test_that_leaves_everything_in_doubt_does_the_same(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses, fault: Fault
    ) -> None:
        pauses.then = lambda: setattr(api, "faults", Faults())
        lost = when_settled(30, lambda: setattr(api, "faults", Faults(rates={fault: 1.0})))
        ended = apply(api, tmp_path, comments(COUNT), lost)
        assert statuses(ended) == ["updated"] * COUNT
        assert len(pauses.said) == 1

    def test_of_the_writes_alone_does_the_same(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        api.faults = Faults(script=[Planned(Fault.SERVER_ERROR, nth=31, times=FOREVER)])
        pauses.then = lambda: setattr(api, "faults", Faults())
        ended = apply(api, tmp_path, comments(COUNT))
        assert statuses(ended) == ["updated"] * COUNT
        assert len(pauses.said) == 1

    def test_of_the_reads_alone_is_none_to_who_only_writes(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        faults = Faults(rates={Fault.UNAVAILABLE: 1.0}, methods=("GET",))
        begin = Quiet(confirmed=lambda: setattr(api, "faults", faults))
        ended = apply(api, tmp_path, comments(COUNT), begin)
        assert statuses(ended) == ["updated"] * COUNT
        assert not pauses.said

    def test_of_the_reads_alone_pauses_who_must_read_first(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        faults = Faults(rates={Fault.UNAVAILABLE: 1.0}, methods=("GET",))
        begin = Quiet(confirmed=lambda: setattr(api, "faults", faults))
        pauses.then = lambda: setattr(api, "faults", Faults())
        ended = apply(api, tmp_path, comments(COUNT), begin, pin_defaults=True)
        assert statuses(ended) == ["updated"] * COUNT
        assert len(pauses.said) == 1

    def test_leaves_in_doubt_what_was_in_doubt_before_a_pinned_row_could_not_be_read(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        # Applied, every answer lost; then nothing can even be read for as long as the run waits.
        rates = {Fault.DROP_APPLIED: 1.0}
        lost = Faults(script=[Planned(Fault.DROP, "GET", times=FOREVER)])
        pauses.max_outage, pauses.after = 0.3, 0.0
        pauses.then = lambda: setattr(api, "faults", lost)

        def first_write_is_lost() -> None:
            api.faults = Faults(script=[Planned(Fault.DROP_APPLIED, times=FOREVER)])
            watch(lambda: len(api.writes) >= 5, lambda: setattr(api, "faults", Faults(rates=rates)))

        begin = Quiet(confirmed=first_write_is_lost)
        ended = apply(api, tmp_path, comments(40), begin, pin_defaults=True, workers=1)
        assert isinstance(ended.stop, Unavailable)
        hold(api, ended, comments(40))
        assert "failed" not in statuses(ended)
        api.faults = Faults()
        ended = go_on(api, tmp_path)
        hold(api, ended, comments(40))
        assert statuses(ended) == ["updated"] * 40

    def test_that_comes_back_pauses_again_and_costs_no_row(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        outages = 3

        def end_it() -> None:
            api.outage = None
            if len(pauses.said) < outages:
                # A few answers later: while what failed before is being tried again.
                wanted = len(api.requests) + 4
                watch(lambda: goes_on() and len(api.requests) >= wanted, again)

        def goes_on() -> bool:
            return len(pauses.seconds) == len(pauses.said)

        def again() -> None:
            api.outage = Outage.UNAVAILABLE

        pauses.then = end_it
        rows = comments(COUNT)
        ended = apply(api, tmp_path, rows, when_settled(30, again), workers=32)
        assert statuses(ended) == ["updated"] * COUNT
        assert len(pauses.said) == len(pauses.seconds) == outages

    def test_gives_each_row_its_full_number_of_tries_again(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        def end_it() -> None:
            api.outage = None
            api.faults = Faults(script=[Planned(Fault.SERVER_ERROR, token=FIRST + 1, times=3)])

        pauses.then = end_it
        begin = Quiet(confirmed=lambda: setattr(api, "outage", Outage.UNAVAILABLE))
        ended = apply(api, tmp_path, comments(COUNT), begin, tries=4, workers=1)
        assert statuses(ended) == ["updated"] * COUNT
        for line in lines(ended):
            writes = by_token(api.writes)[int(line["token_id"])]
            assert line["attempts"] == str(len(writes))
        told = ended.summary.requests
        assert told.total == len(api.requests)
        # Every request for a token after its first repeats it, but reading is no repetition.
        again = len(api.writes) - COUNT
        assert told.retries >= again

    def test_is_waited_for_one_request_at_a_time(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        pauses.after, pauses.then = 0.3, lambda: setattr(api, "outage", None)
        begin = Quiet(confirmed=lambda: setattr(api, "outage", Outage.UNAVAILABLE))
        apply(api, tmp_path, comments(COUNT), begin, workers=8, tries=1)
        failed = [request for request in api.writes if request.status == 503]
        assert most_at_once(failed) == 1
        probes = [request.token_id for request in failed[FAILURES:]]
        assert probes[:4] == [FIRST + 10, FIRST, FIRST + 11, FIRST + 1]

    def test_while_operations_go_alone_does_not_end_their_going_alone(
        self, tmp_path: Path, pauses: Pauses
    ) -> None:
        with SimulatedApi(
            tokens=900, behaviour=Behaviour(limits=None, applies_defaults=True)
        ) as api:
            off = [n for n, token in api.tokens().items() if not token["isActive"]][:40]
            pauses.then = lambda: setattr(api, "outage", None)
            begin = Quiet(confirmed=lambda: setattr(api, "outage", Outage.UNAVAILABLE))
            rows: list[Cells] = [{"id": token, "comment": "asked"} for token in off]
            ended = apply(api, tmp_path, rows, begin)
            assert len(pauses.said) == 1
            assert isinstance(ended.stop, NotAsAsked)
            woken = [n for n in off if shows(api.token(n), {"isActive": True})]
            assert len(woken) == 1
            assert set(statuses(ended)) <= {"updated", "not_sent", "unknown"}

    def test_ends_with_a_refused_key(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        def end_it() -> None:
            api.accept_key("another")
            api.outage = None

        pauses.then = end_it
        begin = when_settled(30, lambda: setattr(api, "outage", Outage.UNAVAILABLE))
        ended = apply(api, tmp_path, comments(COUNT), begin)
        assert isinstance(ended.stop, KeyRefused)
        assert set(statuses(ended)) <= {"updated", "not_sent", "unknown"}
        assert statuses(go_on(api, tmp_path, api_key="another")) == ["updated"] * COUNT


def watch(happened: Callable[[], bool], do: Callable[[], object]) -> None:
    """Do something in the loop once that has happened."""
    if happened():
        do()
    else:
        asyncio.get_running_loop().call_later(0.0005, watch, happened, do)


class TestTheEndOfPatience:
    @pytest.mark.parametrize("outage", list(Outage))
    def test_stops_the_run_and_leaves_every_row_open(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses, outage: Outage
    ) -> None:
        pauses.max_outage = 0.2
        begin = Quiet(confirmed=lambda: setattr(api, "outage", outage))
        ended = apply(api, tmp_path, comments(COUNT), begin)
        assert isinstance(ended.stop, Unavailable)
        assert set(statuses(ended)) == {"unknown", "not_sent"}
        assert len(pauses.said) == 1
        assert not pauses.seconds
        api.outage = None
        ended = go_on(api, tmp_path)
        assert statuses(ended) == ["updated"] * COUNT
        assert sum(request.applied for request in api.writes) == COUNT

    def test_releases_what_was_surely_not_applied(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        pauses.max_outage = 0.2
        ended = apply(api, tmp_path, comments(COUNT), when_settled(30, api.stop))
        assert isinstance(ended.stop, Unavailable)
        # The requests that were cut off when the service went are in doubt, no others.
        assert statuses(ended).count("unknown") <= 8
        assert statuses(ended).count("failed") == 0
        api.start()
        assert statuses(go_on(api, tmp_path)) == ["updated"] * COUNT

    def test_does_not_wait_for_a_server_that_asks_for_more_time(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        pauses.max_outage = 0.2
        script = [Planned(Fault.UNAVAILABLE, nth=FAILURES + 2)]
        api.faults = Faults(
            rates={Fault.SERVER_ERROR: 1.0}, methods=("PATCH",), script=script, retry_after=None
        )
        pauses.after = 0.0
        pauses.then = lambda: setattr(
            api, "faults", Faults(rates={Fault.UNAVAILABLE: 1.0}, retry_after=1000)
        )
        ended = apply(api, tmp_path, comments(COUNT), tries=1)
        assert isinstance(ended.stop, Unavailable)
        assert set(statuses(ended)) <= {"unknown", "not_sent"}


class TestCtrlC:
    def test_during_a_pause_ends_it_at_once(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("batch.send.outage.FIRST_GAP", 1e6)
        monkeypatch.setattr("batch.send.outage.LONGEST_GAP", 1e6)
        pauses.then = lambda: signal.raise_signal(signal.SIGINT)
        begin = when_settled(30, lambda: setattr(api, "outage", Outage.UNAVAILABLE))
        ended = apply(api, tmp_path, comments(COUNT), begin)
        assert ended.interrupted
        assert ended.stop is None
        assert set(statuses(ended)) == {"updated", "unknown", "not_sent"}
        api.outage = None
        assert statuses(go_on(api, tmp_path)) == ["updated"] * COUNT


class TestRowsOfTheirOwn:
    def test_one_that_always_fails_is_failed_without_a_pause(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        api.faults = failing(FIRST + 40)
        ended = apply(api, tmp_path, comments(COUNT))
        assert statuses(ended) == ["failed" if n == 40 else "updated" for n in range(COUNT)]
        assert not pauses.said

    @pytest.mark.parametrize(
        ("first", "good_after", "workers"),
        [(0, 60, 1), (0, 60, 32), (30, 60, 1), (30, 60, 8), (30, 90, 32), (30, 5, 1)],
    )
    def test_twelve_in_a_row_that_always_fail_are_failed_and_the_others_updated(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses, workers: int, first: int,
        good_after: int,
    ) -> None:  # fmt: skip
        bad = range(first, first + 12)
        api.faults = failing(*(FIRST + place for place in bad))
        count = first + 12 + good_after
        ended = apply(api, tmp_path, comments(count), workers=workers)
        assert ended.stop is None
        assert statuses(ended) == ["failed" if n in bad else "updated" for n in range(count)]
        assert len(pauses.said) == len(pauses.seconds) <= 1

    def test_twelve_that_fail_among_many_that_an_outage_held_are_failed(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        bad = range(34, 46)
        api.faults = Faults(script=[Planned(Fault.UNAVAILABLE, nth=31, times=FOREVER)])

        def end_it() -> None:
            api.faults = failing(*(FIRST + place for place in bad))

        pauses.then = end_it
        ended = apply(api, tmp_path, comments(COUNT), workers=16)
        assert pauses.said
        assert statuses(ended) == ["failed" if n in bad else "updated" for n in range(COUNT)]
        hold(api, ended, comments(COUNT))

    def test_a_refusal_that_is_the_rows_own_ends_an_outage(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        def end_it() -> None:
            api.faults = Faults(script=[Planned(Fault.UNPROCESSABLE)])
            api.outage = None

        pauses.then = end_it
        begin = Quiet(confirmed=lambda: setattr(api, "outage", Outage.UNAVAILABLE))
        ended = apply(api, tmp_path, comments(COUNT), begin, workers=1)
        assert sorted(statuses(ended)) == ["rejected", *["updated"] * (COUNT - 1)]
        assert len(pauses.said) == len(pauses.seconds) == 1

    def test_the_last_rows_that_only_reading_settles_end_an_outage(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses
    ) -> None:
        # All are applied; then no change is answered any more, but reading is.
        writes_lost = Faults(rates={Fault.DROP: 1.0}, methods=("PATCH",))
        pauses.then = lambda: setattr(api, "faults", writes_lost)

        def begin() -> None:
            api.faults = Faults(rates={Fault.DROP_APPLIED: 1.0})

        ended = apply(api, tmp_path, comments(12), Quiet(confirmed=begin))
        assert ended.stop is None
        assert statuses(ended) == ["updated"] * 12

    def test_listeners_that_fail_do_not_disturb_the_run(
        self, api: SimulatedApi, tmp_path: Path, pauses: Pauses, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(seconds: float) -> None:
            raise RuntimeError("the screen is gone")

        pauses.seconds = Failing(fail)  # type: ignore[assignment]
        pauses.then = lambda: setattr(api, "outage", None)
        begin = when_settled(30, lambda: setattr(api, "outage", Outage.UNAVAILABLE))
        ended = apply(api, tmp_path, comments(COUNT), begin)
        assert statuses(ended) == ["updated"] * COUNT
        assert "the screen is gone" in caplog.text


class Failing:
    def __init__(self, append: Callable[[float], None]) -> None:
        self.append = append


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.DROP_APPLIED])
def test_killed_in_a_pause_and_resumed_every_row_has_one_true_outcome(
    api: SimulatedApi, tmp_path: Path, fault: Fault
) -> None:
    api.faults = Faults(latency=0.005)
    mortal = Mortal(api, tmp_path, comments(COUNT))
    mortal.go_on()
    mortal.signal_at(40, 0)
    api.faults = Faults(rates={fault: 1.0})
    quiet_since, seen = time.monotonic(), len(api.requests)
    while time.monotonic() < quiet_since + 0.4:  # then it is paused, or waits to try again
        if len(api.requests) > seen:
            quiet_since, seen = time.monotonic(), len(api.requests)
        time.sleep(0.01)
    mortal.signal_at(0)
    assert mortal.end() == -signal.SIGKILL
    api.faults = Faults()
    folder = mortal.finish()
    mortal.hold(folder)
    assert statuses(folder) == ["updated"] * COUNT


@pytest.mark.parametrize("wait", range(0, 120, 12))
def test_abandoned_at_any_moment_of_an_outage_and_resumed_it_ends_right(
    api: SimulatedApi, tmp_path: Path, pauses: Pauses, wait: int
) -> None:
    def abandon() -> None:
        raise SystemExit  # nothing is released: the journal is left as it is

    rates = {Fault.DROP: 0.4, Fault.DROP_APPLIED: 0.2, Fault.UNAVAILABLE: 0.4}
    begin = when_settled(30, lambda: setattr(api, "faults", Faults(rates=rates, seed=wait)))
    pauses.after, pauses.then = wait / 1000, abandon
    with pytest.raises(SystemExit):
        apply(api, tmp_path, comments(COUNT), begin)
    api.faults = Faults()
    ended = go_on(api, tmp_path)
    assert statuses(ended) == ["updated"] * COUNT
    hold(api, ended, comments(COUNT))


# The arithmetic


def test_gaps_grow_up_to_the_longest_and_are_spread() -> None:
    class Longest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            assert a == 0.0
            return b

    outage = OutageState(Longest())
    outage.begin(100.0)
    assert [outage.gap() for _ in range(6)] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert [outage.gap() for _ in range(100)] == [60.0] * 100
    assert outage.end(107.5) == 7.5
    outage.begin(200.0)
    assert outage.gap() == 5.0


def test_an_outage_is_that_many_failures_without_a_success_between() -> None:
    outage = OutageState()
    assert not any(outage.failed(1.0) for _ in range(FAILURES - 1))
    outage.succeeded(2.0)
    assert [outage.failed(3.0) for _ in range(FAILURES)] == [*[False] * (FAILURES - 1), True]


def test_a_failure_while_others_are_served_is_no_sign_of_an_outage() -> None:
    outage = OutageState()
    outage.succeeded(2.0)
    assert not any(outage.failed(1.0) for _ in range(2 * FAILURES))


def entries(*numbers: int) -> Iterator[Entry]:
    token: Any = Token(
        id=1,
        identifier={"type": "rfid"},  # type: ignore[arg-type]
        valid_from=None,
        is_active=True,
        roaming_enabled=True,
        customer_id=1,
    )
    operation = Operation(token, {Field.COMMENT: "x"}, (2,))
    return iter([Entry(number, operation, State.PLANNED) for number in numbers])


def number(effort: Effort | None) -> int | None:
    return effort.entry.number if effort else None


def test_new_ones_and_failed_ones_probe_by_turns() -> None:
    turns = Turns(entries(3, 4))
    for failed in [Effort(entry) for entry in entries(1, 2)]:
        turns.again(failed)
    probed = []
    for _ in range(8):
        effort = turns.probe()
        assert effort
        probed.append(number(effort))
        turns.again(effort)
    assert probed == [3, 1, 4, 2, 3, 1, 4, 2]
    turns.restore_order()
    assert [number(effort) for effort in turns.some_again(3)] == [1, 2, 3]
    assert not turns.is_over
    assert [number(effort) for effort in turns.all_again()] == [4]
    assert turns.is_over
    assert turns.probe() is None


@pytest.mark.parametrize(
    ("outcome", "tells"),
    [
        (Outcome(Status.FAILED, code=TRIES_USED_UP, http_status=503), True),
        (Outcome(Status.FAILED, code=TRIES_USED_UP, http_status=429), True),
        (Outcome(Status.FAILED, code=NO_ANSWER), True),
        (Outcome(Status.UNKNOWN, code=NO_ANSWER), True),
        (Outcome(Status.FAILED, code="", http_status=521), True),
        (Outcome(Status.UPDATED, http_status=521), False),
        (Outcome(Status.FAILED, code="not_as_asked", http_status=200), False),
        (Outcome(Status.REJECTED, code="conflict", http_status=409), False),
    ],
)
def test_what_tells_of_no_service(outcome: Outcome, tells: bool) -> None:  # noqa: FBT001
    assert tells_of_no_service(outcome) == tells
