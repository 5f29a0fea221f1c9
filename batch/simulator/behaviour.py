"""Which reading of the API's public pages the simulated API follows."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from batch.simulator.limits import Limits


class ErrorBody(StrEnum):
    """How an error is told."""

    NEW = "new"  # {"error": {"type", "code", "message", "param", "request_id"}}
    OLD = "old"  # {"message"}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """The switches of the simulated API; the defaults are the newer pages' reading.

    `key`: the only one accepted; None accepts any that is not empty.
    `bad_key_status`: the answer to a wrong or missing key.
    `key_expires_after`: writes let through before the key stops being accepted.
    `read_only_key`: the key is valid, but its writes are answered 403.
    `applies_defaults`: a PATCH without them sets `validFrom` to now, and `isActive` and
    `roamingEnabled` to true, as its page can be read.
    `limits`: None for no limits.
    `retry_after_as_date`: `Retry-After` in its other form, an HTTP date.
    """

    key: str | None = None
    bad_key_status: Literal[401, 403] = 401
    key_expires_after: int | None = None
    read_only_key: bool = False
    applies_defaults: bool = False
    error_body: ErrorBody = ErrorBody.NEW
    limits: Limits | None = field(default_factory=Limits)
    retry_after_as_date: bool = False
