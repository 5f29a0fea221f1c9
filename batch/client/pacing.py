"""The budget that all requests share.

The argument. A request reaches the server between the moment it is sent and the moment its
answer is here. A slot that carried it is free again one window after the *answer*, so the next
request in the same slot is sent, and therefore arrives, more than one window after the first
one arrived. Each of `limit` slots thus shows the server at most one request in any window,
wherever the window starts and however long the network holds a request up.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from batch.errors import Abandoned
from batch.models import Rate

CLOCK_DRIFT = 0.001  # share by which a window of the server's clock may outlast one of ours


class Budget:
    """Who may go when, as arithmetic on instants that the caller names. Seconds throughout."""

    def __init__(self, rate: Rate) -> None:
        self._window = rate.seconds * (1 + CLOCK_DRIFT)
        self._fresh = rate.limit
        self._free_again: deque[float] = deque()  # ascending, because answers come in time order
        self._paused_until = -math.inf

    def wait(self, now: float) -> float:
        """How long until a slot is free: 0 at once, infinity while all are under way."""
        if self._fresh:
            slot_free = now
        elif self._free_again:
            slot_free = self._free_again[0]
        else:
            return math.inf
        return max(slot_free, self._paused_until, now) - now

    def take(self) -> float:
        """Use the next slot, which is free at the instant returned."""
        if self._fresh:
            self._fresh -= 1
            return -math.inf
        return self._free_again.popleft()

    def answered(self, now: float) -> None:
        """A request's answer is here, or will never come: its slot rests for one window."""
        self._free_again.append(now + self._window)

    def pause(self, until: float) -> None:
        """Nobody goes before `until`; a longer pause already set stands."""
        self._paused_until = max(self._paused_until, until)

    def pause_left(self, now: float) -> float:
        """How long nobody goes."""
        return max(self._paused_until - now, 0.0)


class Pace:
    """The gate before every request: first come, first served, within one budget."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._budget = Budget(rate)
        self._clock = clock
        self._waiting: deque[tuple[asyncio.Future[float], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = asyncio.Event()

    async def enter(self, lead: float = 0.0) -> float:
        """Return when a request may be sent, or up to `lead` seconds before; `leave` must follow.

        The instant returned is when the slot is free: `hold_until` waits for it. Whoever has to
        prepare the sending does it between the two. Abandoned once closed.
        """
        if self._closing.is_set():
            raise Abandoned("the run is stopping")
        if not self._waiting and self._budget.wait(self._clock() + lead) == 0:
            return self._budget.take()
        place: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._waiting.append((place, lead))
        self._admit()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.leave()  # the slot was granted in the instant of the cancellation
            raise

    async def hold_until(self, free_at: float) -> None:
        """Return at that instant, or later where there is a pause. Abandoned once closed."""
        while not self._closing.is_set():
            left = max(free_at - self._clock(), self._budget.pause_left(self._clock()))
            if left <= 0:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), left)
        raise Abandoned("the run is stopping")

    def leave(self) -> None:
        """The request's answer is here, or will never come."""
        self._budget.answered(self._clock())
        if self._waiting and self._timer is None:
            self._admit()

    def pause(self, seconds: float) -> None:
        """Nobody goes for so long."""
        self._budget.pause(self._clock() + seconds)

    def close(self) -> None:
        """From now on nobody goes: all who wait, and all who come, get Abandoned."""
        self._closing.set()
        if self._timer:
            self._timer.cancel()
        for place, _ in self._waiting:
            if not place.done():
                place.set_exception(Abandoned("the run is stopping"))
        self._waiting.clear()

    def _admit(self) -> None:
        """Let in whom the budget allows, and come back when it allows the next."""
        self._timer = None
        while self._waiting:
            place, lead = self._waiting[0]
            if not place.done():  # it is, if it was cancelled while it waited
                wait = self._budget.wait(self._clock() + lead)
                if wait > 0:
                    break
                place.set_result(self._budget.take())
            self._waiting.popleft()
        else:
            return
        if wait < math.inf:
            self._timer = asyncio.get_running_loop().call_later(wait, self._admit)
