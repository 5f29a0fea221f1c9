"""Which API keys are accepted, and what for."""

from __future__ import annotations

from batch.simulator.answers import ApiError
from batch.simulator.behaviour import Behaviour


class Keys:
    """Judges the `Authorization` header of every request."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._accepted = behaviour.key
        self._writes_left = behaviour.key_expires_after

    def accept(self, key: str) -> None:
        """From now on only this key is accepted, and it does not expire."""
        self._accepted, self._writes_left = key, None

    def check(self, authorization: str, *, write: bool) -> None:
        """Let the request through, or raise the API's answer."""
        scheme, _, key = authorization.partition(" ")
        accepted = bool(key) if self._accepted is None else key == self._accepted
        if scheme.lower() != "bearer" or not accepted or self._writes_left == 0:
            raise ApiError(
                self._behaviour.bad_key_status,
                "invalid_api_key",
                "JWT token is invalid or not provided",
            )
        if write and self._behaviour.read_only_key:
            raise ApiError(403, "insufficient_permission", "This key may not change tokens.")
        if write and self._writes_left is not None:
            self._writes_left -= 1
