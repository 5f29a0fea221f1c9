"""The transport tells the truth about failures, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
import trustme

from batch.client.transport import (
    DirectTransport,
    ProxiedTransport,
    environment_proxy,
    transport_to,
)

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A TCP server on loopback that behaves as told and counts the requests it has read."""

    def __init__(self, behave: Behave, tls: ssl.SSLContext | None = None) -> None:
        self._behave = behave
        self._tls = tls
        self._serving: set[asyncio.Task[None]] = set()
        self.requests: list[bytes] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        port = server.sockets[0].getsockname()[1]
        yield f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await asyncio.sleep(0.01)  # aborted connections are closed in the loop's next turns

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                await self._behave(reader, writer)
        finally:
            writer.transport.abort()
            self._serving.discard(task)

    async def read_request(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (
                int(line[15:])
                for line in head.lower().split(b"\r\n")
                if line[:15] == b"content-length:"
            ),
            0,
        )
        self.requests.append(head + await reader.readexactly(length))


def exchange(
    server: Server,
    method: str = "PATCH",
    times: int = 1,
    timeout: float = 5.0,
) -> tuple[list[httpx.Response | BaseException], float]:
    """What each request in turn came to, and the seconds that the last took."""

    async def scenario() -> tuple[list[httpx.Response | BaseException], float]:
        results: list[httpx.Response | BaseException] = []
        transport = DirectTransport(connect_timeout=1.0, timeout=timeout)
        async with server.running() as url, transport:
            for _ in range(times):
                began = time.monotonic()
                content = b'{"comment":"x"}' if method == "PATCH" else None
                request = httpx.Request(method, f"{url}/v2/tokens/1", content=content)
                try:
                    results.append(await transport.handle_async_request(request))
                except httpx.HTTPError as error:
                    results.append(error)
        return results, time.monotonic() - began

    return asyncio.run(scenario())


def serving(
    behave: Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> Server:
    async def bound(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await behave(server, reader, writer)

    server = Server(bound)
    return server


async def answers(
    server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while True:
        await server.read_request(reader)
        writer.write(ANSWER)


async def drops_before_reading(
    server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    pass


async def drops_after_reading(
    server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await server.read_request(reader)


async def stalls(
    server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await server.read_request(reader)
    await asyncio.sleep(3600)


async def drips(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await server.read_request(reader)
    writer.write(ANSWER[:-2].replace(b"Length: 2", b"Length: 2000"))
    while True:
        writer.write(b" ")
        await asyncio.sleep(0.02)


async def answers_half(
    server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await server.read_request(reader)
    writer.write(ANSWER[:-1])
    await writer.drain()
    writer.close()


async def answers_half_a_header(
    server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await server.read_request(reader)
    writer.write(ANSWER[:30])
    await writer.drain()
    writer.close()


async def answers_no_http(
    server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await server.read_request(reader)
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    await writer.drain()
    await asyncio.sleep(0.1)


async def answers_once_then_drops(
    server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    if not server.requests:
        await server.read_request(reader)
        writer.write(ANSWER)
    await server.read_request(reader)


NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout)


def test_an_answer_comes_back_whole() -> None:
    server = serving(answers)

    (response,), _ = exchange(server)

    assert isinstance(response, httpx.Response)
    assert (response.status_code, response.content) == (200, b"{}")
    assert response.headers["content-type"] == "application/json"
    assert server.requests[0].endswith(b'\r\n\r\n{"comment":"x"}')


def test_a_refused_port_means_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    async def scenario() -> None:
        async with DirectTransport(connect_timeout=1, timeout=5) as transport:
            await transport.handle_async_request(
                httpx.Request("PATCH", f"http://127.0.0.1:{port}/v2/tokens/1", content=b"{}")
            )

    with pytest.raises(httpx.ConnectError):
        asyncio.run(scenario())


def test_a_name_that_does_not_resolve_means_not_sent() -> None:
    async def scenario() -> None:
        async with DirectTransport(connect_timeout=5, timeout=5) as transport:
            await transport.handle_async_request(
                httpx.Request("PATCH", "http://no-such-host.invalid/v2/tokens/1", content=b"{}")
            )

    with pytest.raises(NOT_SENT):
        asyncio.run(scenario())


@pytest.mark.parametrize("method", ["PATCH", "GET"])
@pytest.mark.parametrize(
    "behave",
    [
        drops_before_reading,
        drops_after_reading,
        answers_half,
        answers_half_a_header,
        answers_no_http,
    ],
)
def test_a_connection_that_breaks_after_it_was_made_leaves_open_whether_the_server_acted(
    behave: Callable[..., Awaitable[None]], method: str
) -> None:
    (failure,), _ = exchange(serving(behave), method)

    assert isinstance(failure, httpx.TransportError)
    assert not isinstance(failure, NOT_SENT)


@pytest.mark.parametrize("method", ["PATCH", "GET"])
@pytest.mark.parametrize("behave", [drops_after_reading, answers_once_then_drops])
def test_no_request_is_sent_a_second_time_behind_our_back(
    behave: Callable[..., Awaitable[None]], method: str
) -> None:
    server = serving(behave)

    results, _ = exchange(server, method, times=2)

    assert len(server.requests) == 2
    assert isinstance(results[1], httpx.TransportError)


@pytest.mark.parametrize("behave", [stalls, drips])
def test_no_stall_outlives_its_timeout(behave: Callable[..., Awaitable[None]]) -> None:
    (failure,), seconds = exchange(serving(behave), timeout=0.3)

    assert isinstance(failure, httpx.ReadTimeout)
    assert 0.3 <= seconds < 2.0


def test_a_server_that_accepts_nobody_means_not_sent() -> None:
    async def scenario(port: int) -> None:
        async with DirectTransport(connect_timeout=0.3, timeout=5) as transport:
            await transport.handle_async_request(
                httpx.Request("PATCH", f"http://127.0.0.1:{port}/v2/tokens/1", content=b"{}")
            )

    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(8):  # until its queue is full, so that a further connection is not made
            queued = stack.enter_context(socket.socket())
            queued.setblocking(False)
            queued.connect_ex(full.getsockname())
        with pytest.raises(httpx.ConnectTimeout):
            asyncio.run(scenario(full.getsockname()[1]))


def test_a_certificate_that_nobody_vouches_for_means_not_sent() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = serving(answers)
    server._tls = context

    (failure,), _ = exchange(server)

    assert isinstance(failure, httpx.ConnectError)
    assert server.requests == []


def test_an_answer_over_tls_comes_back_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = serving(answers)
    server._tls = context
    with authority.cert_pem.tempfile() as trusted:
        monkeypatch.setenv("SSL_CERT_FILE", trusted)
        (response,), _ = exchange(server)

    assert isinstance(response, httpx.Response)
    assert response.status_code == 200


def test_the_proxy_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    assert environment_proxy("https://api.spirii.com") == "http://proxy.example:3128"
    assert environment_proxy("https://127.0.0.1:8443") is None


# Through a proxy


def through_a_proxy(server: Server, *, timeout: float = 5.0) -> httpx.Response | BaseException:
    """What a request for another host comes to when this server is the proxy."""

    async def scenario() -> httpx.Response | BaseException:
        async with server.running() as proxy:
            transport = ProxiedTransport(proxy, connect_timeout=1.0, timeout=timeout)
            async with transport:
                request = httpx.Request(
                    "PATCH",
                    "http://api.example/v2/tokens/1",
                    stream=httpx.ByteStream(b'{"comment":"x"}'),
                )
                try:
                    return await transport.handle_async_request(request)
                except httpx.HTTPError as error:
                    return error

    return asyncio.run(scenario())


def test_a_proxy_is_given_the_whole_request() -> None:
    server = serving(answers)

    response = through_a_proxy(server)

    assert isinstance(response, httpx.Response)
    assert (response.status_code, response.content) == (200, b"{}")
    (request,) = server.requests
    assert request.startswith(b"PATCH http://api.example/v2/tokens/1 HTTP/1.1\r\n")
    assert b"\r\nhost: api.example\r\n" in request.lower()
    assert request.endswith(b'\r\n\r\n{"comment":"x"}')


@pytest.mark.parametrize("behave", [drops_after_reading, answers_half, stalls, drips])
def test_a_failure_behind_a_proxy_leaves_open_whether_the_server_acted(
    behave: Callable[..., Awaitable[None]],
) -> None:
    server = serving(behave)

    failure = through_a_proxy(server, timeout=0.3)

    assert isinstance(failure, httpx.TransportError)
    assert not isinstance(failure, NOT_SENT)
    assert len(server.requests) == 1


def test_a_proxy_that_is_away_means_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]

    async def scenario() -> None:
        transport = ProxiedTransport(f"http://127.0.0.1:{port}", connect_timeout=1, timeout=5)
        async with transport:
            request = httpx.Request("PATCH", "http://api.example/v2/tokens/1", content=b"{}")
            await transport.handle_async_request(request)

    with pytest.raises(httpx.ConnectError):
        asyncio.run(scenario())


def test_the_way_to_an_api_is_the_environments_proxy_or_direct(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    async def ways() -> list[type]:
        return [
            type(transport_to(url, connect_timeout=1, timeout=1))
            for url in ("https://api.spirii.com", "https://127.0.0.1:8443")
        ]

    assert asyncio.run(ways()) == [ProxiedTransport, DirectTransport]
