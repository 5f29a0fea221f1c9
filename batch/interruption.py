"""Ctrl-C and SIGTERM, so that neither loses anything."""

from __future__ import annotations

import asyncio
import os
import signal
from types import FrameType
from typing import Any, Protocol, Self

INTERRUPTED = 130  # the exit code of a program that a signal ended


class Witness(Protocol):
    """Who is told."""

    def stopping(self) -> None: ...
    def quitting(self) -> None: ...


class Stoppable(Protocol):
    """What lets the work under way finish, and begins no more."""

    def stop(self) -> None: ...


class Interruption:
    """Ctrl-C and SIGTERM once a plan is confirmed: the first stops the run, the second the
    program. Neither loses anything: what is not settled in the journal is decided by resuming.
    """

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._loop = asyncio.get_running_loop()
        self._sender: Stoppable | None = None
        self._previous: dict[int, Any] = {}
        self.happened = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def arm(self) -> None:
        """From now on a signal stops the run; before, it ends the program as usual."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._on_signal)

    def stops(self, sender: Stoppable) -> None:
        """Whom to stop, at once if the signal has come already."""
        self._sender = sender
        if self.happened:
            self._stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.happened:
            self._witness.quitting()
            os._exit(INTERRUPTED)
        self.happened = True
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._sender:
            self._witness.stopping()
            self._sender.stop()
