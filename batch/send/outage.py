"""Whether the service is away, and whose turn it is then. No clock of its own, and no waiting.

The argument. An operation that uses up its tries while others succeed has a fault of its own;
many in a row without a success between them say that the service is away. What failed then is
tried again once any request is answered. So that many rows with faults of their own do not look
like an outage again, fewer than make one are tried again before a new one decides about them.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from batch.models import Entry, Outcome

FAILURES = 10  # operations in a row with all tries used up that make it an outage
FIRST_GAP = 5.0  # seconds: the upper end of the wait before the first probe
LONGEST_GAP = 60.0  # seconds: the upper end that doubling never passes
MOST_DOUBLINGS = 16  # far beyond LONGEST_GAP, and far below what a float holds


@dataclass(slots=True)
class Effort:
    """What has been tried for one operation. Instants are the loop's time."""

    entry: Entry
    attempts: int = 0
    started: bool = False  # it is recorded that a request may leave
    has_place: bool = False  # among those that may be under way at once
    sent_at: float = 0.0  # when the last request left
    doubtful: bool = False  # a request went out whose fate no answer told
    was_doubtful: bool = False  # one did before this turn
    answered: bool = False  # the API answered the change with the token as it is now
    failed_at: float = math.inf  # when it was known that this turn's first try had failed
    heard: bool = False  # the API said its final word about the change in this turn
    outcome: Outcome | None = None  # what its last turn came to, if no request has left since
    known_at: float = 0.0  # when that was known

    def take_turn(self) -> None:
        """It is tried from now on, for the first time or again."""
        self.was_doubtful, self.heard, self.failed_at = self.doubtful, False, math.inf

    def proves_service_since(self, instant: float) -> bool:
        """Whether its good end is owed to a request that left after that. A change that stands
        though its answer was lost proves it unless an older request may have made it.
        """
        return self.sent_at >= instant and (self.heard or not self.was_doubtful)


class Outage:
    """Operations that failed in a row, and the outage that they came to, if they did."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self._chance = chance or random.Random()  # noqa: S311 - jitter, not a secret
        self._failed_in_a_row = 0
        self._last_served = -math.inf  # when the latest of the requests left that went well
        self._probes = 0
        self.since: float | None = None

    def failed(self, first_at: float) -> bool:
        """One more used up its tries, the first of them at `first_at`: whether that makes it an
        outage. It does not count if others were served while it was trying.
        """
        if self._last_served <= first_at:
            self._failed_in_a_row += 1
        return self._failed_in_a_row >= FAILURES

    def succeeded(self, left_at: float) -> None:
        """The failures up to now are no outage: a request that left then was served."""
        self._failed_in_a_row = 0
        self._last_served = max(self._last_served, left_at)

    def begin(self, now: float) -> None:
        """The service is away."""
        self.since, self._probes = now, 0

    def end(self, now: float) -> float:
        """The service is back: after how many seconds."""
        seconds = now - (now if self.since is None else self.since)
        self.since, self._failed_in_a_row = None, 0
        return seconds

    def gap(self) -> float:
        """Seconds to wait before the next probe, with full jitter."""
        longest = min(LONGEST_GAP, FIRST_GAP * 2.0 ** min(self._probes, MOST_DOUBLINGS))
        self._probes += 1
        return self._chance.uniform(0.0, longest)


class Turns:
    """The plan's operations in its order, and those among them that are tried again."""

    def __init__(self, entries: Iterator[Entry]) -> None:
        self._entries = entries
        self._again: deque[Effort] = deque()
        self._has_new = True
        self._last_was_new = False

    @property
    def has_again(self) -> bool:
        """Whether one is to be tried again."""
        return bool(self._again)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to begin."""
        return not (self._has_new or self._again)

    def new(self) -> Effort | None:
        """The plan's next one."""
        entry = next(self._entries, None)
        self._has_new = entry is not None
        return Effort(entry) if entry else None

    def again(self, effort: Effort) -> None:
        """Its operation gets another turn."""
        self._again.append(effort)

    def some_again(self, count: int) -> list[Effort]:
        """So many that are tried again, one at least."""
        return [self._again.popleft() for _ in range(min(max(count, 1), len(self._again)))]

    def all_again(self) -> list[Effort]:
        """All that would be tried again."""
        return self.some_again(len(self._again))

    def probe(self) -> Effort | None:
        """The next to ask whether the service is back: a new one and one again by turns, so that
        no row that always fails can hide it.
        """
        self._last_was_new = not self._last_was_new
        if self._last_was_new:
            return self.new() or self._next_again()
        return self._next_again() or self.new()

    def restore_order(self) -> None:
        """Those tried again come in the order of the plan, whatever the order of the probes."""
        self._again = deque(sorted(self._again, key=lambda effort: effort.entry.number))

    def _next_again(self) -> Effort | None:
        return self._again.popleft() if self._again else None
