"""The budget, as arithmetic and as a gate."""

from __future__ import annotations

import asyncio
import math
import random
import time
from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.client.pacing import CLOCK_DRIFT, Budget, Pace
from batch.client.rate_headers import room_left
from batch.errors import Abandoned
from batch.models import Rate
from batch.simulator.limits import Limiter, Limits, Window


def most_in_any_window(arrivals: list[float], seconds: float) -> int:
    """The largest number of arrivals in a half-open window that starts anywhere."""
    arrivals = sorted(arrivals)
    return max(
        bisect_left(arrivals, start + seconds) - place for place, start in enumerate(arrivals)
    )


def simulate(rate: Rate, latencies: list[tuple[float, float]], at_once: int) -> list[float]:
    """Send as fast as the budget allows; the instants of arrival at the server.

    Each latency is (until the request arrives, from then until its answer is here).
    """
    budget = Budget(rate)
    now = 0.0
    arrivals: list[float] = []
    answers: list[float] = []  # of requests under way
    waiting = list(latencies)
    while waiting:
        while answers and min(answers) <= now:
            answers.remove(due := min(answers))
            budget.answered(due)
        if len(answers) < at_once and budget.wait(now) == 0:
            budget.take()
            there, back = waiting.pop()
            arrivals.append(now + there)
            answers.append(now + there + back)
            continue
        slot = now + budget.wait(now) if len(answers) < at_once else math.inf
        now = min([slot, *answers])
    return arrivals


@given(
    limit=st.integers(1, 20),
    seconds=st.sampled_from([1.0, 10.0, 60.0]),
    latencies=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 30)), min_size=1, max_size=120),
    at_once=st.integers(1, 64),
)
def test_no_window_of_the_server_sees_more_than_the_budget(
    limit: int, seconds: float, latencies: list[tuple[float, float]], at_once: int
) -> None:
    arrivals = simulate(Rate(limit, seconds), latencies, at_once)

    assert most_in_any_window(arrivals, seconds) <= limit


def test_a_long_run_uses_at_least_99_percent_of_the_budget() -> None:
    chance = random.Random(1)
    latencies = [(chance.uniform(0.01, 0.1), chance.uniform(0.01, 0.3)) for _ in range(12_000)]

    arrivals = simulate(Rate(120, 60.0), latencies, at_once=64)

    allowed = 120 * (max(arrivals) / 60.0 + 1)
    assert len(arrivals) / allowed > 0.99


def test_a_small_sheet_goes_out_at_once() -> None:
    arrivals = simulate(Rate(120, 60.0), [(0.05, 0.05)] * 120, at_once=120)

    assert max(arrivals) == 0.05


@pytest.mark.parametrize(
    ("taken", "answered_at", "paused_until", "now", "wait"),
    [
        (0, [], None, 0.0, 0.0),
        (1, [], None, 0.0, 0.0),
        (2, [], None, 0.0, math.inf),
        (2, [1.0], None, 1.0, 10.0 * (1 + CLOCK_DRIFT)),
        (2, [1.0], None, 5.0, 6.0 + 10 * CLOCK_DRIFT),
        (2, [1.0], None, 12.0, 0.0),
        (0, [], 7.0, 5.0, 2.0),
        (2, [1.0], 20.0, 12.0, 8.0),
        (2, [1.0], 3.0, 12.0, 0.0),
    ],
)
def test_the_wait_is_told_by_arithmetic(
    taken: int, answered_at: list[float], paused_until: float | None, now: float, wait: float
) -> None:
    budget = Budget(Rate(2, 10.0))
    for _ in range(taken):
        budget.take()
    for instant in answered_at:
        budget.answered(instant)
    if paused_until is not None:
        budget.pause(paused_until)

    assert budget.wait(now) == pytest.approx(wait)


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    budget = Budget(Rate(2, 10.0))
    budget.pause(20.0)
    budget.pause(5.0)

    assert budget.wait(10.0) == 10.0


@pytest.mark.parametrize(
    ("taken", "told", "now", "wait"),
    [
        # (remaining, reset in, at); a slot that is taken here is answered at 0
        (0, [(10, 30.0, 1.0)], 1.0, 0.0),  # as many as we believe: nobody else is there
        (4, [(6, 30.0, 1.0)], 1.0, 0.0),
        (4, [(0, 30.0, 1.0)], 1.0, 30.0),  # others used the rest
        (4, [(0, 30.0, 1.0)], 31.0, 0.0),
        (4, [(0, 30.0, 1.0)], 21.0, 10.0),
        (4, [(1, 30.0, 1.0)], 1.0, 0.0),
        (4, [(0, 30.0, 1.0), (3, 30.0, 1.1)], 2.0, 29.0),  # answers come out of order
        (4, [(3, 30.0, 1.0), (0, 29.0, 1.1)], 1.1, 29.9),
        (4, [(0, 1.0, 1.0), (3, 59.0, 3.1)], 4.0, 0.0),  # the next window
        (4, [(3, 59.0, 3.0), (0, 1.0, 3.1)], 3.2, 0.0),  # overtaken: of a window gone by
        (10, [(0, 5.0, 1.0)], 1.0, 59.0 + 60 * CLOCK_DRIFT),  # our own slots say no already
        (4, [(-1, 30.0, 1.0)], 1.0, 0.0),  # nonsense
        (4, [(0, 0.0, 1.0)], 1.0, 0.0),
        (4, [(0, -5.0, 1.0)], 1.0, 0.0),
        (4, [(0, 1e12, 1.0)], 1.0, 0.0),
        (4, [(0, math.nan, 1.0)], 1.0, 0.0),
        (4, [(0, math.inf, 1.0)], 1.0, 0.0),
        (4, [(10**30, 30.0, 1.0)], 1.0, 0.0),
    ],
)
def test_what_the_server_has_left_lowers_the_budget_until_its_reset(
    taken: int, told: list[tuple[int, float, float]], now: float, wait: float
) -> None:
    budget = Budget(Rate(10, 60.0))
    for _ in range(taken):
        budget.take()
        budget.answered(0.0)
    for remaining, reset_in, at in told:
        budget.told(remaining, reset_in, at)

    assert budget.wait(now) == pytest.approx(wait)


def test_no_more_go_than_the_server_has_left() -> None:
    budget = Budget(Rate(10, 60.0))
    budget.told(3, 30.0, 0.0)

    assert [budget.take_by(1.0) is not None for _ in range(5)] == [True] * 3 + [False] * 2
    assert budget.take_by(30.0) == 30.0


@pytest.mark.parametrize("window", list(Window))
@pytest.mark.parametrize("elsewhere", [0, 60])
def test_the_servers_headers_cost_nothing_alone_and_spare_refusals_beside_others(
    window: Window, elsewhere: int
) -> None:
    limiter = Limiter(Limits(writes=Rate(120, 60.0), window=window))
    chance = random.Random(1)
    budget = Budget(Rate(120, 60.0))
    epoch, now, sent, refused = 1_700_000_000.3, 0.0, 0, 0
    others_next = 0.0
    while now < 1800.0:
        if elsewhere and now >= others_next:
            limiter.rule(epoch + now, write=True)
            others_next += 60.0 / elsewhere
        if budget.take_by(now) is None:
            now += 0.01
            continue
        ruling = limiter.rule(epoch + now, write=True)
        sent, refused = sent + 1, refused + (not ruling.allowed)
        now += chance.uniform(0.01, 0.1)
        budget.answered(now)
        reset_in = math.ceil(ruling.reset_at) - math.floor(epoch + now)
        budget.told(ruling.remaining, reset_in, now)

    if elsewhere:
        assert refused <= 0.01 * sent
    else:
        assert sent / (120 * 30) > 0.99
        assert refused == 0


DATE = "Sat, 21 Nov 2026 09:00:00 GMT"
EPOCH = 1795251600


@pytest.mark.parametrize(
    ("headers", "room"),
    [
        ({"remaining": "7", "reset": str(EPOCH + 30)}, (7, 30.0)),
        ({"remaining": "0", "reset": f"{EPOCH + 30}.5"}, (0, 30.5)),
        ({"remaining": "7"}, None),
        ({"reset": str(EPOCH + 30)}, None),
        ({}, None),
        ({"remaining": "-1", "reset": str(EPOCH + 30)}, None),
        ({"remaining": "many", "reset": str(EPOCH + 30)}, None),
        ({"remaining": "", "reset": ""}, None),
        ({"remaining": "7", "reset": "soon"}, None),
        ({"remaining": "7", "reset": "nan"}, None),
        ({"remaining": "7", "reset": "inf"}, None),
        ({"remaining": "9" * 5000, "reset": str(EPOCH + 30)}, None),
        ({"remaining": "7", "reset": str(EPOCH)}, None),
        ({"remaining": "7", "reset": "30"}, None),  # seconds from now: not as documented
    ],
)
def test_headers_say_what_room_is_left_or_nothing(
    headers: dict[str, str], room: tuple[int, float] | None
) -> None:
    named = {f"x-ratelimit-{name}": value for name, value in headers.items()}

    assert room_left({**named, "date": DATE}) == room


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_without_the_servers_date_a_reset_is_measured_by_our_clock(date: str) -> None:
    headers = {"x-ratelimit-remaining": "7", "x-ratelimit-reset": str(time.time() + 30)}

    room = room_left({**headers, "date": date})

    assert room
    assert 0 < room[1] <= 30


async def _enter_all(pace: Pace, number: int) -> list[int]:
    order: list[int] = []

    async def enter(place: int) -> None:
        await pace.enter()
        order.append(place)
        pace.leave()

    await asyncio.gather(*(enter(place) for place in range(number)))
    return order


def test_the_gate_lets_in_first_come_first_served() -> None:
    order = asyncio.run(_enter_all(Pace(Rate(3, 0.02)), 10))

    assert order == list(range(10))


def test_a_closed_gate_turns_away_those_who_wait_and_those_who_come() -> None:
    async def scenario() -> list[object]:
        pace = Pace(Rate(1, 3600.0))
        await pace.enter()
        waiting = asyncio.ensure_future(pace.enter())
        await asyncio.sleep(0)
        pace.close()
        return list(await asyncio.gather(waiting, pace.enter(), return_exceptions=True))

    results = asyncio.run(scenario())

    assert [type(result) for result in results] == [Abandoned, Abandoned]


def test_one_who_gives_up_waiting_takes_no_slot() -> None:
    async def scenario() -> None:
        pace = Pace(Rate(1, 0.02))
        await pace.enter()
        given_up = asyncio.ensure_future(pace.enter())
        await asyncio.sleep(0)
        given_up.cancel()
        pace.leave()
        await asyncio.wait_for(pace.enter(), timeout=5)

    asyncio.run(scenario())


def test_a_slot_granted_in_the_instant_of_a_cancellation_is_given_back() -> None:
    async def scenario() -> None:
        now = 0.0
        pace = Pace(Rate(1, 10.0), clock=lambda: now)
        await pace.enter()
        waiting = asyncio.ensure_future(pace.enter())
        await asyncio.sleep(0)
        pace.leave()
        now = 100.0
        pace._admit()  # grants the slot; the waiter has not run since
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        now = 200.0
        await asyncio.wait_for(pace.enter(), timeout=5)

    asyncio.run(scenario())


def test_a_pause_holds_everybody() -> None:
    async def scenario() -> float:
        pace = Pace(Rate(100, 1.0))
        pace.pause(0.05)
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(pace.enter() for _ in range(5)))
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(scenario()) >= 0.05
