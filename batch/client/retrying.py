"""Which failure is tried again, how long after, and how often."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from batch.client.token_client import TOO_MANY_REQUESTS
from batch.errors import TryAgain

T = TypeVar("T")

FIRST_WAIT = 0.5  # seconds: the upper end of the wait after the first failure
LONGEST_WAIT = 30.0  # seconds: the upper end that doubling never passes
MOST_DOUBLINGS = 16  # far beyond LONGEST_WAIT, and far below what a float holds
REFUSALS_PER_TRY = 4  # a 429 says nothing about the row, so a row may meet more of them


class Retrying:
    """Repeats an attempt that raises TryAgain, up to `tries` times, with full jitter between.

    A 429 is not the request's own fault: it counts as a quarter of a try. When the server named
    the seconds to wait, the gate that all requests pass keeps them; here the wait is only ours.
    Anything but TryAgain leaves at once; when the tries are used up, the last TryAgain does.
    `retries` counts the repeated attempts. `rest` sleeps; what it raises ends the tries.
    """

    def __init__(
        self,
        *,
        tries: int,
        rest: Callable[[float], Awaitable[None]],
        chance: random.Random | None = None,
    ) -> None:
        self._tries = tries
        self._rest = rest
        self._chance = chance or random.Random()  # noqa: S311 - jitter, not a secret
        self.retries = 0

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` returned, the first time that it returned."""
        try:
            return await attempt()
        except TryAgain as error:
            # Almost every request succeeds at once; tenacity is entered only after a failure,
            # which it then meets as its first.
            return await self._again(attempt, error)

    async def _again(self, attempt: Callable[[], Awaitable[T]], first: TryAgain) -> T:
        used = 0.0
        pending: TryAgain | None = first

        async def attempt_or_first_failure() -> T:
            nonlocal pending
            if pending is not None:
                failure, pending = pending, None
                raise failure
            self.retries += 1
            return await attempt()

        def used_up(state: RetryCallState) -> bool:
            nonlocal used
            used += 1 / REFUSALS_PER_TRY if _failure(state).http_status == TOO_MANY_REQUESTS else 1
            return used >= self._tries

        repeated = AsyncRetrying(
            retry=retry_if_exception_type(TryAgain),
            stop=used_up,
            wait=self._wait,
            sleep=self._rest,
            reraise=True,
        )
        return await repeated(attempt_or_first_failure)

    def _wait(self, state: RetryCallState) -> float:
        if _failure(state).retry_after is not None:
            return 0.0
        doublings = min(state.attempt_number - 1, MOST_DOUBLINGS)
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0**doublings)
        return self._chance.uniform(0.0, longest)


def _failure(state: RetryCallState) -> TryAgain:
    failure = state.outcome.exception() if state.outcome else None
    if not isinstance(failure, TryAgain):
        raise TypeError(f"only TryAgain is tried again, not {failure!r}")
    return failure
