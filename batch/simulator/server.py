"""The simulated API as a running server: in a thread beside its caller, or in the foreground."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from batch.simulator import sample
from batch.simulator.answers import HANG_UP
from batch.simulator.app import Api
from batch.simulator.behaviour import Behaviour
from batch.simulator.checks import written
from batch.simulator.faults import Faults, Outage
from batch.simulator.record import Request
from batch.simulator.tokens import Column, TokenStore


class SimulatedApi:
    """The simulated API over HTTP, as a context manager.

    `store` is ":memory:" or a file, which keeps its tokens; an empty one gets `tokens` tokens
    of the account that `seed` names (see `sample`). `host` is a name or an IPv4 address; port 0
    takes a free one. Everything here may be called from any thread.
    """

    def __init__(
        self,
        store: str | Path = ":memory:",
        *,
        tokens: int = 5000,
        seed: int = 0,
        behaviour: Behaviour | None = None,
        faults: Faults | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._store = TokenStore(store)
        self._store.fill(sample.tokens(tokens, seed))
        self._api = Api(self._store, behaviour or Behaviour(), faults or Faults())
        self._address = (host, port)
        self._running: tuple[_Server, threading.Thread] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        self.close()

    @property
    def url(self) -> str:
        """Where it answers, once started; paths begin below it, with /v2."""
        host, port = self._address
        return f"http://{host}:{port}"

    def start(self) -> None:
        """Answer requests from a thread of its own. After `stop`, under the same address."""
        server, listener = self._listen()
        thread = threading.Thread(
            target=server.run, args=([listener],), name="simulated-api", daemon=True
        )
        thread.start()
        server.ready.wait()
        self._running = server, thread

    def stop(self) -> None:
        """Cut all connections and refuse new ones; the account stays."""
        if self._running:
            server, thread = self._running
            server.stop()
            thread.join()
            self._running = None

    def close(self) -> None:
        """Let go of the account. Its tokens cannot be asked for any more, `requests` can."""
        self._store.close()

    def run_foreground(self, ready: Callable[[str], object] = lambda _: None) -> None:
        """Answer requests until SIGINT or SIGTERM; `ready` is called with the URL before."""
        server, listener = self._listen()
        with listener:
            ready(self.url)
            server.run([listener])

    def token(self, token_id: int) -> dict[str, Any] | None:
        """The token as the API would tell it, or None."""
        return self._store.get(token_id)

    def tokens(self) -> dict[int, dict[str, Any]]:
        """Every token by its id."""
        return self._store.all()

    def change(self, token_id: int, **columns: Column) -> None:
        """Change a token as someone else would: `change(100005, comment="x", appUserId=7)`."""
        now = written(datetime.now(UTC))
        if self._store.change(token_id, {"updatedAt": now, **columns}) is None:
            raise KeyError(token_id)

    def delete(self, token_id: int) -> None:
        """Take a token out of the account."""
        if not self._store.delete(token_id):
            raise KeyError(token_id)

    def accept_key(self, key: str) -> None:
        """From now on only this key is accepted, and it does not expire."""
        self._api.keys.accept(key)

    @property
    def outage(self) -> Outage | None:
        """What stands in front of the API, if anything; settable."""
        return self._api.outage

    @outage.setter
    def outage(self, outage: Outage | None) -> None:
        self._api.outage = outage

    @property
    def faults(self) -> Faults:
        """What goes wrong from now on; settable, which starts script and counts anew."""
        return self._api.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._api.faults = faults

    @property
    def requests(self) -> tuple[Request, ...]:
        """All requests up to now, in the order of their arrival."""
        return self._api.record.requests()

    @property
    def reads(self) -> list[Request]:
        """Those that asked for no change."""
        return [request for request in self.requests if not request.is_write]

    @property
    def writes(self) -> list[Request]:
        """Those that asked for a change."""
        return [request for request in self.requests if request.is_write]

    def _listen(self) -> tuple[_Server, socket.socket]:
        # Bound here and not by uvicorn: the port is known, and connections wait in its
        # queue, before the server runs.
        listener = socket.create_server(self._address)
        # asyncio does this only for sockets it made itself; without it every answer waits 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._address = listener.getsockname()[:2]
        return _Server(self._api.app()), listener


class _Server(uvicorn.Server):
    """uvicorn that stops at once when told, whatever it is in the middle of."""

    def __init__(self, app: Starlette) -> None:
        config = uvicorn.Config(
            self._answer,
            interface="asgi3",
            loop="asyncio",
            lifespan="off",
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
        )
        super().__init__(config)
        self.ready = threading.Event()
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told = asyncio.Event()

    def stop(self) -> None:
        """End `run`, from any thread or a signal handler."""
        self.should_exit = True
        if self._loop:
            self._loop.call_soon_threadsafe(self._told.set)

    # uvicorn's own would raise the signal again once everything is closed.
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 uvicorn's
        self.stop()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            super().run(sockets)
        finally:
            # Nobody may wait for ever for a server that could not start.
            self.ready.set()

    # uvicorn's own looks ten times a second whether it should stop; every test would wait.
    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):  # which also renews the Date that answers carry
            self.ready.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), timeout=1.0)

    # uvicorn's own waits for answers under way, and a stalled one never comes.
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[HANG_UP] = functools.partial(self._hang_up, scope["client"])
        # Neither is an error: the client went, or the server was told to stop.
        with contextlib.suppress(ClientDisconnect, asyncio.CancelledError):
            await self._app(scope, receive, send)

    def _hang_up(self, client: tuple[str, int], *, abort: bool) -> None:
        for connection in list(self.server_state.connections):
            transport = connection.transport
            if (transport.get_extra_info("peername") or ())[:2] == client:
                (transport.abort if abort else transport.close)()
