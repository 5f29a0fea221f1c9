"""What goes wrong on purpose, and how it is chosen: by rate, or by a script."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    """What happens to one request. Nothing is applied unless the comment says so."""

    BAD_REQUEST = "400"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    CONFLICT = "409"
    UNPROCESSABLE = "422"
    TOO_MANY = "429"
    SERVER_ERROR = "500"
    BAD_GATEWAY = "502"  # this one and 504 as the HTML page of a gateway
    UNAVAILABLE = "503"
    GATEWAY_TIMEOUT = "504"
    SERVER_ERROR_APPLIED = "500-applied"  # applied; so the three below
    BAD_GATEWAY_APPLIED = "502-applied"
    UNAVAILABLE_APPLIED = "503-applied"
    GATEWAY_TIMEOUT_APPLIED = "504-applied"
    DROP = "drop"  # the connection is cut without an answer
    DROP_APPLIED = "drop-applied"  # applied, then the same
    STALL = "stall"  # no answer until the client gives up or `stall` seconds passed
    STALL_APPLIED = "stall-applied"  # applied, then the same
    TRUNCATED = "truncated"  # applied; 200 with the first half of the JSON
    HTML = "html"  # applied; 200 with an HTML page
    EMPTY = "empty"  # applied; 200 with an empty body
    HALF = "half"  # applied; the connection is cut halfway through the body promised

    @property
    def status(self) -> int | None:
        """The error status it is answered with, None for the others."""
        code = self.value.removesuffix("-applied")
        return int(code) if code.isdecimal() else None

    @property
    def applies(self) -> bool:
        """Whether the API does what it was asked before things go wrong."""
        return self.value.endswith("-applied") or self in _UNREADABLE


_UNREADABLE = {Fault.TRUNCATED, Fault.HTML, Fault.EMPTY, Fault.HALF}


class Outage(StrEnum):
    """What stands in front of the whole API, whatever the request and its key."""

    UNAVAILABLE = "unavailable"  # 503 to everything
    NOT_THE_API = "not-the-api"  # 200 and an HTML page to everything: a wrong base URL


@dataclass(frozen=True, slots=True)
class Planned:
    """`fault` for the `nth` request (from 1) that matches, and for `times` in a row.

    It matches by method, and by token unless that is None.
    """

    fault: Fault
    method: str = "PATCH"
    token: int | None = None
    nth: int = 1
    times: float = 1

    def matches(self, method: str, token: int | None) -> bool:
        """Whether a request is one of those counted."""
        return method == self.method and self.token in (None, token)


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, with `seed` deciding where.

    `rates`: the share of requests that meets each fault; together at most 1.
    `script`: goes before the rates; the first match counts.
    `methods`: the requests that the rates are about.
    `latency` and `jitter`: seconds before anything is done; jitter is the random part on top.
    `stall`: seconds after which a stalled connection is cut.
    `retry_after`: seconds that 429 and 5xx, also of an outage, ask for; None leaves the header out.
    """

    rates: Mapping[Fault, float] = field(default_factory=dict)
    seed: int = 0
    script: Sequence[Planned] = ()
    methods: Collection[str] = ("GET", "PATCH")
    latency: float = 0.0
    jitter: float = 0.0
    stall: float = math.inf
    retry_after: int | None = None

    def __post_init__(self) -> None:
        if sum(self.rates.values()) > 1 + 1e-9 or any(rate < 0 for rate in self.rates.values()):
            raise ValueError("The rates of all faults are shares of one: together at most 1")


class Chooser:
    """Decides for each request, in the order of their arrival.

    A draw depends on the seed, the request and how often it came before, not on what came
    between: a run meets the same faults however its requests interleave.
    """

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._seen: Counter[str] = Counter()
        self._matched = [0] * len(faults.script)

    def choose(self, method: str, target: str, token: int | None) -> tuple[Fault | None, float]:
        """What happens to this request, and after how many seconds."""
        planned = self._from_script(method, token)
        draw = self._random(f"{method} {target}")
        by_rate = self._from_rates(draw.random()) if method in self.faults.methods else None
        return planned or by_rate, self.faults.latency + draw.random() * self.faults.jitter

    def _random(self, request: str) -> random.Random:
        self._seen[request] += 1
        seed = f"{self.faults.seed} {self._seen[request]} {request}"
        return random.Random(seed)  # noqa: S311 repeatable on purpose

    def _from_script(self, method: str, token: int | None) -> Fault | None:
        found = None
        for place, planned in enumerate(self.faults.script):
            if not planned.matches(method, token):
                continue
            self._matched[place] += 1
            if 0 <= self._matched[place] - planned.nth < planned.times:
                found = found or planned.fault
        return found

    def _from_rates(self, share: float) -> Fault | None:
        for fault, rate in self.faults.rates.items():
            if share < rate:
                return fault
            share -= rate
        return None
