"""httpx's transport on asyncio's connections and the parser of httptools.

What this program has to know of a failed request is whether the server can have seen it, and
here is the one place that knows: an exchange begins with the write of its bytes. Nothing is ever
sent a second time on its own. See docs/decisions/0001 for what else was measured.
"""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from types import TracebackType
from typing import Self

import httptools
import httpx

IDLE_SECONDS = 15.0  # a connection kept longer may be gone at the server's end
LARGEST_ANSWER = 64 * 2**20  # bytes; a page of 1,000 tokens has about half of one MiB
FIRST_FINAL_STATUS = 200  # those below announce another answer


class DirectTransport(httpx.AsyncBaseTransport):
    """Sends each request exactly once, and tells failures apart in httpx's own terms.

    `httpx.ConnectError` and `ConnectTimeout` mean that not a byte of the request went out; every
    other failure leaves open whether the server acted. `timeout` (seconds) bounds the whole
    exchange, `connect_timeout` the part before the request; nothing outlives them. There are as
    many connections as requests under way; they are kept for the next ones.
    """

    def __init__(self, *, connect_timeout: float, timeout: float) -> None:
        self._connect_timeout = min(connect_timeout, timeout)
        self._timeout = timeout
        self._tls: ssl.SSLContext | None = None
        self._open: set[_Connection] = set()
        self._idle: list[_Connection] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        open_connections = list(self._open)
        for connection in open_connections:
            connection.abort()
        await asyncio.gather(*(connection.closed for connection in open_connections))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One exchange on the wire; the answer is read whole."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        message = _message(request, await request.aread())
        connection = self._kept(loop.time()) or await self._connected(request)
        timer = loop.call_at(deadline, connection.time_out)
        try:
            status, headers, content = await connection.exchange(message)
        except httpx.TransportError as error:
            error.request = request
            raise
        except asyncio.CancelledError:
            connection.abort()
            raise
        finally:
            timer.cancel()
        if connection.reusable:
            connection.idle_since = loop.time()
            self._idle.append(connection)
        else:
            connection.abort()
        return httpx.Response(status, headers=headers, content=content, request=request)

    def _kept(self, now: float) -> _Connection | None:
        """The connection used last, because the others are likelier to be gone."""
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and now - connection.idle_since < IDLE_SECONDS:
                return connection
            connection.abort()
        return None

    async def _connected(self, request: httpx.Request) -> _Connection:
        url = request.url
        secure = url.scheme == "https"
        if secure and self._tls is None:
            self._tls = httpx.create_ssl_context()  # certifi's, or SSL_CERT_FILE's
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: _Connection(self._open),
                    url.host,
                    url.port or (443 if secure else 80),
                    ssl=self._tls if secure else None,
                )
        except TimeoutError as error:
            raise httpx.ConnectTimeout("it takes too long", request=request) from error
        except OSError as error:  # refused, unreachable, no such name, no trusted certificate
            raise httpx.ConnectError(error.strerror or str(error), request=request) from error
        return connection


_Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


class _Connection(asyncio.Protocol):
    """One connection, with one exchange at a time. httptools calls the `on_` methods."""

    def __init__(self, registry: set[_Connection]) -> None:
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = loop.create_future()
        self.reusable = True
        self.idle_since = 0.0
        self._registry = registry
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[_Answer] | None = None

    async def exchange(self, message: bytes) -> _Answer:
        """Send the message; its answer, or the httpx.TransportError that says what went wrong."""
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._in_body = False
        self._answer = asyncio.get_running_loop().create_future()
        if self._transport is None or self._transport.is_closing():
            self._fail(httpx.RemoteProtocolError("the connection was closed"))
        else:
            self._transport.write(message)
        return await self._answer

    def abort(self) -> None:
        """Close at once; an exchange under way fails."""
        self.reusable = False
        if self._transport:
            self._transport.abort()

    def time_out(self) -> None:
        """The exchange has taken too long."""
        self._fail(httpx.ReadTimeout("no whole answer in time"))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # create_connection's is one
        self._registry.add(self)

    def data_received(self, data: bytes) -> None:
        if self._answer is None or self._answer.done():
            self.abort()  # nobody asked: what comes now would be taken for the next answer
            return
        self._size += len(data)
        if self._size > LARGEST_ANSWER:
            self._fail(httpx.RemoteProtocolError(f"an answer of more than {LARGEST_ANSWER} bytes"))
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(httpx.RemoteProtocolError(f"no HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._registry.discard(self)
        if self._ends_with_connection and exc is None:
            self.on_message_complete()
        self._fail(httpx.ReadError(str(exc)) if exc else httpx.RemoteProtocolError("disconnected"))
        if not self.closed.done():
            self.closed.set_result(None)

    # httptools

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_body = True

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < FIRST_FINAL_STATUS:
            self._headers, self._in_body = [], False
            return
        if not self._parser.should_keep_alive():
            self.reusable = False
        if self._answer and not self._answer.done():
            self._answer.set_result((status, self._headers, b"".join(self._body)))

    @property
    def _ends_with_connection(self) -> bool:
        """Whether the answer under way has no other end than that of its connection."""
        if self._answer is None or self._answer.done() or not self._in_body:
            return False
        names = {name.lower() for name, _ in self._headers}
        return names.isdisjoint({b"content-length", b"transfer-encoding"})

    def _fail(self, error: httpx.TransportError) -> None:
        self.abort()
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)


def _message(request: httpx.Request, content: bytes) -> bytes:
    url = request.url
    head = [b"%s %s HTTP/1.1\r\nHost: %s" % (request.method.encode(), url.raw_path, url.netloc)]
    head += [
        b"%s: %s" % (name, value)
        for name, value in request.headers.raw
        if name.lower() not in {b"host", b"content-length"}
    ]
    if content:
        head.append(b"Content-Length: %d" % len(content))
    return b"\r\n".join((*head, b"", content))


class ProxiedTransport(httpx.AsyncBaseTransport):
    """The same promises through a proxy, by httpx's own transport: slower, and rarely needed."""

    def __init__(self, proxy: str, *, connect_timeout: float, timeout: float) -> None:
        self._wrapped = httpx.AsyncHTTPTransport(proxy=proxy, limits=httpx.Limits())
        self._phases = httpx.Timeout(timeout, connect=min(connect_timeout, timeout)).as_dict()
        self._timeout = timeout

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._wrapped.aclose()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One exchange on the wire; the answer is read whole."""
        request.extensions["timeout"] = self._phases
        request.headers["Host"] = request.url.netloc.decode("ascii")
        content = await request.aread()
        if content:
            request.headers["Content-Length"] = str(len(content))
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._wrapped.handle_async_request(request)
                await response.aread()
        except TimeoutError as error:
            raise httpx.ReadTimeout("no whole answer in time", request=request) from error
        response.request = request
        return response


def transport_to(
    url: str, *, connect_timeout: float, timeout: float
) -> DirectTransport | ProxiedTransport:
    """The way to this URL: direct, unless the environment names a proxy for it."""
    proxy = environment_proxy(url)
    if proxy is None:
        return DirectTransport(connect_timeout=connect_timeout, timeout=timeout)
    return ProxiedTransport(proxy, connect_timeout=connect_timeout, timeout=timeout)


def environment_proxy(url: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name for this URL, if any."""
    target = httpx.URL(url)
    if urllib.request.proxy_bypass(target.host):
        return None
    return urllib.request.getproxies().get(target.scheme)
