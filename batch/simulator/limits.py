"""The account's rate limits: arithmetic on a state; the caller brings the clock."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from batch.models import Rate

WRITES = Rate(120, 60.0)
READS = Rate(600, 60.0)


class Window(StrEnum):
    """How requests are counted."""

    FIXED = "fixed"  # windows follow one another on the clock; each starts empty
    SLIDING = "sliding"  # the window always ends now


@dataclass(frozen=True, slots=True)
class Limits:
    """What the account may send. Without `reads`, reads count against `writes`.

    The defaults are the newer page's; `Limits(reads=None)` is the older one, which gives
    120 requests a minute to everything together.
    """

    writes: Rate = WRITES
    reads: Rate | None = READS
    window: Window = Window.FIXED


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the limit says about one request. `reset_at`: when room is made, in epoch seconds."""

    allowed: bool
    limit: int
    remaining: int
    reset_at: float

    def headers(self) -> dict[str, str]:
        """The `X-RateLimit-*` headers, on every answer."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(math.ceil(self.reset_at)),
        }


class _Budget(Protocol):
    def take(self, now: float) -> Ruling: ...


class _FixedWindow:
    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._started = 0.0
        self._used = 0

    def take(self, now: float) -> Ruling:
        started = now // self._rate.seconds * self._rate.seconds
        if started > self._started:
            self._started, self._used = started, 0
        allowed = self._used < self._rate.limit
        self._used += allowed
        remaining = self._rate.limit - self._used
        return Ruling(allowed, self._rate.limit, remaining, self._started + self._rate.seconds)


class _SlidingWindow:
    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._taken: deque[float] = deque()

    def take(self, now: float) -> Ruling:
        while self._taken and self._taken[0] <= now - self._rate.seconds:
            self._taken.popleft()
        allowed = len(self._taken) < self._rate.limit
        if allowed:
            self._taken.append(now)
        remaining = self._rate.limit - len(self._taken)
        return Ruling(allowed, self._rate.limit, remaining, self._taken[0] + self._rate.seconds)


class Limiter:
    """Counts the account's requests against its limits. Refused ones are not counted."""

    def __init__(self, limits: Limits) -> None:
        budget = _FixedWindow if limits.window is Window.FIXED else _SlidingWindow
        self._writes: _Budget = budget(limits.writes)
        self._reads: _Budget = budget(limits.reads) if limits.reads else self._writes

    def rule(self, now: float, *, write: bool) -> Ruling:
        """Count a request that came at `now` (epoch seconds), or refuse it."""
        return (self._writes if write else self._reads).take(now)
