"""What is tried again, how often, and how long is waited between; nothing here really waits."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import pytest

from batch.client.retrying import FIRST_WAIT, LONGEST_WAIT, REFUSALS_PER_TRY, Retrying
from batch.errors import (
    Abandoned,
    JournalError,
    KeyRefused,
    NotAsAsked,
    NotTheApi,
    Refused,
    TryAgain,
    Unavailable,
)

NO_ANSWER = TryAgain("silence", doubtful=True)
BUSY = TryAgain("busy", doubtful=True, http_status=503)
TOO_MANY = TryAgain("too many", doubtful=False, http_status=429)


class Attempts:
    """An attempt that meets these failures in turn, then succeeds; and the rests between."""

    def __init__(self, failures: Sequence[BaseException]) -> None:
        self._failures = list(failures)
        self.made = 0
        self.rests: list[float] = []

    async def attempt(self) -> str:
        self.made += 1
        if self.made <= len(self._failures):
            raise self._failures[self.made - 1]
        return "done"

    async def rest(self, seconds: float) -> None:
        self.rests.append(seconds)


class Upper(random.Random):
    """Chance that always goes to the upper end, and notes the bounds it was given."""

    def __init__(self) -> None:
        super().__init__(0)
        self.bounds: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.bounds.append((a, b))
        return b


def run(
    attempts: Attempts, *, tries: int, chance: random.Random | None = None
) -> tuple[str | BaseException, Retrying]:
    retrying = Retrying(tries=tries, rest=attempts.rest, chance=chance or random.Random(1))

    async def scenario() -> str | BaseException:
        try:
            return await retrying.call(attempts.attempt)
        except Exception as error:  # noqa: BLE001 - whatever came is what is judged
            return error

    return asyncio.run(scenario()), retrying


@pytest.mark.parametrize("tries", [1, 2, 3, 6])
@pytest.mark.parametrize("failure", [NO_ANSWER, BUSY], ids=["no answer", "503"])
def test_a_failing_request_is_made_as_often_as_tries_say_and_the_last_failure_is_told(
    failure: TryAgain, tries: int
) -> None:
    last = TryAgain("the last", doubtful=True)
    attempts = Attempts([failure] * (tries - 1) + [last] * 10)

    result, retrying = run(attempts, tries=tries)

    assert result is last
    assert (attempts.made, len(attempts.rests), retrying.retries) == (tries, tries - 1, tries - 1)


@pytest.mark.parametrize("failures", range(6))
def test_the_first_success_ends_the_tries(failures: int) -> None:
    attempts = Attempts([BUSY] * failures)

    result, retrying = run(attempts, tries=6)

    assert result == "done"
    assert (attempts.made, retrying.retries) == (failures + 1, failures)


@pytest.mark.parametrize("tries", [1, 2, 6])
def test_a_429_counts_as_a_quarter_of_a_try(tries: int) -> None:
    attempts = Attempts([TOO_MANY] * 100)

    result, retrying = run(attempts, tries=tries)

    assert result is TOO_MANY
    assert attempts.made == tries * REFUSALS_PER_TRY
    assert retrying.retries == attempts.made - 1


@pytest.mark.parametrize(
    ("failures", "made"),
    [
        ([TOO_MANY, BUSY, BUSY], 3),
        ([TOO_MANY] * 4 + [BUSY], 5),
        ([TOO_MANY] * 5 + [BUSY], 6),
        ([BUSY, TOO_MANY, TOO_MANY, TOO_MANY, TOO_MANY], 5),
        ([BUSY, TOO_MANY, BUSY], 3),
    ],
)
def test_refusals_and_failures_are_counted_together(failures: list[TryAgain], made: int) -> None:
    attempts = Attempts([*failures, *[BUSY] * 10])

    run(attempts, tries=2)

    assert attempts.made == made


@pytest.mark.parametrize(
    "failure",
    [
        Refused("no", http_status=400),
        Refused("odd", http_status=501, doubtful=True),
        KeyRefused("no"),
        NotTheApi("no"),
        NotAsAsked("no"),
        Unavailable("no"),
        JournalError("no"),
        Abandoned("no"),
        ZeroDivisionError("a fault of the program itself"),
        TimeoutError("not one of ours"),
    ],
    ids=lambda failure: type(failure).__name__,
)
@pytest.mark.parametrize("before", [0, 2])
def test_no_other_failure_is_tried_again(failure: Exception, before: int) -> None:
    attempts = Attempts([BUSY] * before + [failure] * 10)

    result, _ = run(attempts, tries=6)

    assert result is failure
    assert attempts.made == before + 1


def test_the_upper_end_of_the_wait_doubles_up_to_the_longest() -> None:
    chance = Upper()
    attempts = Attempts([BUSY] * 9)

    run(attempts, tries=10, chance=chance)

    expected = [min(LONGEST_WAIT, FIRST_WAIT * 2**number) for number in range(9)]
    assert chance.bounds == [(0.0, end) for end in expected]
    assert attempts.rests == expected
    assert expected[-1] == LONGEST_WAIT


def test_the_wait_is_anywhere_between_nothing_and_its_upper_end() -> None:
    chance = random.Random(7)
    shares: list[float] = []
    for _ in range(200):
        attempts = Attempts([BUSY] * 5)
        run(attempts, tries=6, chance=chance)
        ends = [min(LONGEST_WAIT, FIRST_WAIT * 2**number) for number in range(5)]
        shares += [rest / end for rest, end in zip(attempts.rests, ends, strict=True)]

    assert len(shares) == 1000
    assert 0.0 <= min(shares) < 0.01
    assert 0.99 < max(shares) <= 1.0
    assert sum(shares) / len(shares) == pytest.approx(0.5, abs=0.03)


def test_the_same_chance_gives_the_same_waits() -> None:
    first, second = Attempts([BUSY] * 5), Attempts([BUSY] * 5)

    run(first, tries=6, chance=random.Random(3))
    run(second, tries=6, chance=random.Random(3))

    assert first.rests == second.rests


def test_two_programs_do_not_wait_in_step() -> None:
    first, second = Attempts([BUSY] * 5), Attempts([BUSY] * 5)

    for attempts in (first, second):
        asyncio.run(Retrying(tries=6, rest=attempts.rest).call(attempts.attempt))

    assert first.rests != second.rests


@pytest.mark.parametrize("seconds", [0.0, 7.0, 3600.0])
@pytest.mark.parametrize("status", [429, 503])
def test_seconds_that_the_server_named_are_the_gates_to_wait_not_ours(
    status: int, seconds: float
) -> None:
    named = TryAgain("wait", doubtful=False, http_status=status, retry_after=seconds)
    attempts = Attempts([named, named, named])

    result, _ = run(attempts, tries=6)

    assert result == "done"
    assert attempts.rests == [0.0, 0.0, 0.0]


def test_however_many_tries_are_allowed_each_has_its_wait() -> None:
    attempts = Attempts([BUSY] * 1200)  # a migration that is to outlast a night

    result, retrying = run(attempts, tries=2000)

    assert result == "done"
    assert retrying.retries == 1200
    assert max(attempts.rests) <= LONGEST_WAIT


@pytest.mark.parametrize(
    "interruption", [Abandoned("the run is stopping"), ZeroDivisionError("a fault of our own")]
)
def test_what_the_rest_raises_ends_the_tries(interruption: Exception) -> None:
    attempts = Attempts([BUSY] * 10)

    async def rest(_: float) -> None:
        raise interruption

    retrying = Retrying(tries=6, rest=rest)

    with pytest.raises(type(interruption)) as caught:
        asyncio.run(retrying.call(attempts.attempt))

    assert caught.value is interruption
    assert (attempts.made, retrying.retries) == (1, 0)


def test_a_cancellation_while_resting_ends_the_tries() -> None:
    attempts = Attempts([BUSY] * 10)

    async def scenario() -> bool:
        resting = asyncio.Event()

        async def rest(_: float) -> None:
            resting.set()
            await asyncio.sleep(3600)

        call = asyncio.ensure_future(Retrying(tries=6, rest=rest).call(attempts.attempt))
        await resting.wait()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        return call.cancelled()

    assert asyncio.run(scenario())
    assert attempts.made == 1


def test_calls_at_once_have_their_own_tries_and_one_count_together() -> None:
    async def nothing(_: float) -> None:
        await asyncio.sleep(0)

    async def scenario(retrying: Retrying) -> list[str | BaseException]:
        each = [Attempts([BUSY] * number) for number in range(5)]
        calls: list[Callable[[], Awaitable[str]]] = [attempts.attempt for attempts in each]
        return await asyncio.gather(*map(retrying.call, calls), return_exceptions=True)

    retrying = Retrying(tries=3, rest=nothing)
    results = asyncio.run(scenario(retrying))

    assert results == ["done", "done", "done", BUSY, BUSY]
    assert retrying.retries == 0 + 1 + 2 + 2 + 2
