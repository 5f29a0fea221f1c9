"""What an answer's `X-RateLimit-*` headers say, in our terms."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from math import isfinite


def room_left(headers: Mapping[str, str]) -> tuple[int, float] | None:
    """How many more requests the server takes, until so many seconds from now; None when it
    says nothing usable.

    The instant is measured against the answer's own Date, because the clocks may differ.
    """
    remaining, reset = headers.get("x-ratelimit-remaining"), headers.get("x-ratelimit-reset")
    if remaining is None or reset is None:
        return None
    try:
        left, reset_at = int(remaining), float(reset)
    except ValueError:
        return None
    date = _epoch(headers.get("date", ""))
    reset_in = reset_at - (time.time() if date is None else date)
    return (left, reset_in) if left >= 0 and isfinite(reset_in) and reset_in > 0 else None


@lru_cache(maxsize=8)  # all answers of one second have the same
def _epoch(date: str) -> float | None:
    try:
        found = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
