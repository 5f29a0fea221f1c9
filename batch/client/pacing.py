"""The budget that all requests share.

The argument. A request reaches the server between the moment it is sent and the moment its
answer is here. A slot that carried it is free again one window after the *answer*, so the next
request in the same slot is sent, and therefore arrives, more than one window after the first
one arrived. Each of `limit` slots thus shows the server at most one request in any window,
wherever the window starts and however long the network holds a request up.

Slots are alike, so it is enough to count: with N slots, the n-th request to leave goes one window
after the (n - N)-th answer. That is all there is to know, also for several processes (`ledger`).
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
ROUNDING = 2.0  # seconds: X-RateLimit-Reset is rounded up to one, and Date down
USUAL_WINDOW = 60.0  # seconds: the API's own


class Budget:
    """Who may go when, as arithmetic on instants that the caller names. Seconds throughout."""

    def __init__(self, rate: Rate) -> None:
        self._limit = rate.limit
        self._window = rate.seconds * (1 + CLOCK_DRIFT)
        self._answers: deque[float] = deque(maxlen=rate.limit)  # ascending: they come in time order
        self._under_way = 0
        self._paused_until = -math.inf
        self._left = math.inf  # requests that the server has room for until `_reset_at`
        self._reset_at = -math.inf

    def wait(self, now: float) -> float:
        """How long until a slot is free: 0 at once, infinity while all are under way."""
        return max(self._opens_at(), self._paused_until, now) - now

    def take(self) -> float:
        """Use the next slot, which is free at the instant returned."""
        opens_at = self._opens_at()
        self._under_way += 1
        self._left -= 1
        return opens_at

    def take_by(self, by: float) -> float | None:
        """Use a slot that is free at that instant, and say since when; None: `wait` for it."""
        return None if self.wait(by) > 0 else self.take()

    def answered(self, now: float) -> None:
        """A request's answer is here, or will never come: its slot rests for one window."""
        self._under_way -= 1
        self._answers.append(now)

    def pause(self, until: float) -> None:
        """Nobody goes before `until`; a longer pause already set stands."""
        self._paused_until = max(self._paused_until, until)

    def pause_left(self, now: float) -> float:
        """How long nobody goes."""
        return max(self._paused_until - now, 0.0)

    def told(self, remaining: int, reset_in: float, now: float) -> None:
        """An answer said how many more requests the server takes until so many seconds from now.

        Fewer than there are free slots means that somebody elsewhere uses the account, or that
        its limit is below ours: until then no more than that go. What makes no sense, and what
        an answer that was overtaken says of a window gone by, is ignored.
        """
        longest = max(self._window, USUAL_WINDOW) + ROUNDING
        if remaining < 0 or not 0 < reset_in <= longest or not self._has_free(remaining + 1, now):
            return
        reset_at = now + reset_in
        if now >= self._reset_at or reset_at > self._reset_at + ROUNDING:
            self._left, self._reset_at = remaining, reset_at
        elif reset_at >= self._reset_at - ROUNDING:
            self._left = min(self._left, remaining)

    def forgo(self) -> None:
        """Nobody waits any more."""

    def close(self) -> None:
        """Nobody will ask for a slot again."""

    def _has_free(self, slots: int, now: float) -> bool:
        return self._free_at(slots) <= now

    def _opens_at(self) -> float:
        free_at = self._free_at()
        return max(free_at, self._reset_at) if self._left <= 0 else free_at

    def _free_at(self, slots: int = 1) -> float:
        """When so many slots are free at once: -inf since ever, inf while too few are answered."""
        ago = self._limit - self._under_way - slots + 1
        if ago <= 0:
            return math.inf
        return self._answers[-ago] + self._window if ago <= len(self._answers) else -math.inf


class Pace:
    """The gate before every request: first come, first served, within one budget.

    `budget`: of this rate, by the same clock; whoever made it closes it. Without it, the
    process's own.
    """

    def __init__(
        self,
        rate: Rate,
        clock: Callable[[], float] = time.monotonic,
        budget: Budget | None = None,
    ) -> None:
        self.rate = rate
        self._budget = budget or Budget(rate)
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
        if not self._waiting:
            free_at = self._budget.take_by(self._clock() + lead)
            if free_at is not None:
                return free_at
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

    def told(self, remaining: int, reset_in: float) -> None:
        """An answer's X-RateLimit headers; see `Budget.told`."""
        self._budget.told(remaining, reset_in, self._clock())

    def close(self) -> None:
        """From now on nobody goes: all who wait, and all who come, get Abandoned."""
        self._closing.set()
        if self._timer:
            self._timer.cancel()
        for place, _ in self._waiting:
            if not place.done():
                place.set_exception(Abandoned("the run is stopping"))
        self._waiting.clear()
        self._budget.forgo()

    def _admit(self) -> None:
        """Let in whom the budget allows, and come back when it allows the next."""
        self._timer = None
        while self._waiting:
            place, lead = self._waiting[0]
            if not place.done():  # it is, if it was cancelled while it waited
                free_at = self._budget.take_by(self._clock() + lead)
                if free_at is None:
                    self._come_back(self._budget.wait(self._clock() + lead))
                    return
                place.set_result(free_at)
            self._waiting.popleft()
        self._budget.forgo()

    def _come_back(self, wait: float) -> None:
        if wait < math.inf:
            self._timer = asyncio.get_running_loop().call_later(wait, self._admit)
