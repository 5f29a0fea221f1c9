"""httpx's transport on aiohttp's connections.

httpx's own pool and parser reach about a tenth of the requests a second that this does with 64
connections; the ready-made bridges are as fast but mistake a dropped connection for one that was
never made, and that is the difference between "not applied" and "nobody knows".
"""

from __future__ import annotations

import math
import urllib.request
from types import TracebackType
from typing import Self

import aiohttp
import httpx
from yarl import URL

IDLE_SECONDS = 15.0  # a kept connection older than that may be gone at the server's end


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends each request exactly once, and tells failures apart in httpx's own terms.

    `httpx.ConnectError` and `ConnectTimeout` mean that not a byte of the request went out; every
    other failure leaves open whether the server acted. `timeout` (seconds) bounds the whole
    exchange, `connect_timeout` the part before the request; nothing outlives them.
    """

    def __init__(self, *, connect_timeout: float, timeout: float, proxy: str | None = None) -> None:
        self._timeout = aiohttp.ClientTimeout(
            total=timeout, connect=connect_timeout, ceil_threshold=math.inf
        )
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=0,  # as many as requests under way: none waits for another's
                keepalive_timeout=IDLE_SECONDS,
                ssl=httpx.create_ssl_context(),  # as httpx: certifi's, or SSL_CERT_FILE's
            ),
            timeout=self._timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            proxy=self._proxy,
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        if self._session:
            await self._session.close()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One exchange on the wire; the answer is read whole."""
        if self._session is None:
            raise RuntimeError("the transport is used outside its `async with`")
        try:
            async with self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                data=await request.aread() or None,
                headers=request.headers.multi_items(),
                allow_redirects=False,
                middlewares=_READ_ONCE if request.method == "GET" else None,
            ) as answer:
                content = await answer.read()
                return httpx.Response(
                    answer.status, headers=answer.raw_headers, content=content, request=request
                )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _in_httpx_terms(error, request) from error


def environment_proxy(url: str) -> str | None:
    """The proxy that HTTPS_PROXY, HTTP_PROXY and NO_PROXY name for this URL, if any."""
    target = httpx.URL(url)
    if urllib.request.proxy_bypass(target.host):
        return None
    return urllib.request.getproxies().get(target.scheme)


class _Dropped(aiohttp.ClientConnectionError):
    """The connection of a read broke after it was made."""


async def _once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keeps aiohttp from sending a read a second time on its own when a connection breaks:
    a request that nobody counts would break the budget. A PATCH it never repeats.
    """
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Dropped(str(error) or type(error).__name__) from error


_READ_ONCE = (_once,)

# The first match counts, so a class stands before those it inherits from.
_TRANSLATION: tuple[tuple[type[BaseException], type[httpx.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout),
    (aiohttp.ClientConnectorError, httpx.ConnectError),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError),
    (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol),
    (aiohttp.InvalidURL, httpx.UnsupportedProtocol),
    (TimeoutError, httpx.ReadTimeout),
    (_Dropped, httpx.RemoteProtocolError),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError),
    (OSError, httpx.ReadError),
    (aiohttp.ClientError, httpx.ReadError),
)


def _in_httpx_terms(error: BaseException, request: httpx.Request) -> httpx.TransportError:
    kind = next(ours for theirs, ours in _TRANSLATION if isinstance(error, theirs))
    return kind(_reason(error), request=request)


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.os_error.strerror or str(error.os_error)
    return str(error) or type(error).__name__
