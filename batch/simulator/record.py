"""What the simulated API was asked, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from batch.simulator.faults import Fault


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the server saw it.

    `arrived` and `finished` are monotonic seconds; `finished` is taken before the answer
    leaves, so that two requests which a client sent one after the other never overlap; of a
    stalled one it is the moment when the stall began.
    `body` is the parsed JSON, or the text of what is none, or None.
    `status` is None while in work, and for good when no answer was sent.
    """

    arrived: float
    method: str
    path: str
    query: str
    token_id: int | None
    body: Any
    finished: float | None = None
    status: int | None = None
    applied: bool = False
    fault: Fault | None = None

    @property
    def is_write(self) -> bool:
        """Whether it asked for a change."""
        return self.method != "GET"


class Record:
    """All requests in the order of their arrival. Only the server's thread writes."""

    def __init__(self) -> None:
        self._requests: list[Request] = []

    def arrived(self, request: Request) -> int:
        """Note a request; the number names it in `finished`."""
        self._requests.append(request)
        return len(self._requests) - 1

    def finished(
        self, number: int, at: float, *, status: int | None, applied: bool, fault: Fault | None
    ) -> None:
        """Note what came of it."""
        self._requests[number] = replace(
            self._requests[number], finished=at, status=status, applied=applied, fault=fault
        )

    def requests(self) -> tuple[Request, ...]:
        """All of them up to now."""
        return tuple(self._requests)
