"""One attempt each: a request in the API's words, its answer or failure in ours.

Facts about paths, fields, limits and status codes come from the API's public reference
("Update a token", "Get a list of tokens", "Get a token by ID", "Errors", "Rate limits").
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, TypeVar

import httpx
from pydantic import SecretStr, TypeAdapter, ValidationError

from batch.client.pacing import Pace
from batch.client.rate_headers import room_left
from batch.errors import KeyRefused, NotTheApi, Refused, StopRun, TryAgain, Unavailable
from batch.models import Field, Token, Value, iso

LEAD = 0.05  # seconds that `before` may take without a slot of the budget lying idle
LONGEST_MESSAGE = 500  # characters of the API's own words that are kept
PAGE_LIMIT = 1000  # tokens: the most that one listing answers

OK = 200
UNAUTHORIZED = 401
FORBIDDEN = 403
NOT_FOUND = 404
TOO_MANY_REQUESTS = 429
TRY_AGAIN = frozenset({TOO_MANY_REQUESTS, 500, 502, 503, 504})

NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
IN_DOUBT = (
    httpx.ReadTimeout,
    httpx.WriteTimeout,
    httpx.ReadError,
    httpx.WriteError,
    httpx.CloseError,
    httpx.RemoteProtocolError,
    httpx.DecodingError,
)
NEVER_BETTER = (
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
    httpx.TooManyRedirects,
    httpx.InvalidURL,
)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the listing, and how many tokens the whole of it has."""

    data: list[Token]
    count: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A 200 to a PATCH: the token as it is now. `seconds`: from the request to the answer."""

    token: Token
    http_status: int
    request_id: str
    seconds: float


@dataclass(slots=True)
class Traffic:
    """What went over the wire so far. Whoever repeats requests counts the retries."""

    requests: int = 0
    reads: int = 0
    writes: int = 0
    retries: int = 0
    refusals_429: int = 0


T = TypeVar("T")

_PAGE = TypeAdapter(Page)
_TOKEN = TypeAdapter(Token)
_ENCODER = json.JSONEncoder(ensure_ascii=False)


async def _nothing() -> None:
    return


class TokenClient:
    """The token API, one attempt a call, each within its budget.

    Every method raises TryAgain when a later attempt may succeed, Refused for the API's final
    word about this request, KeyRefused, NotTheApi or Unavailable when no request would fare
    better, and Abandoned when the run is stopping and the request was not sent.

    `longest_pause` (seconds): a server that asks for more than that is Unavailable.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        base_url: str,
        key: SecretStr,
        reads: Pace,
        writes: Pace,
        longest_pause: float,
    ) -> None:
        self._transport = transport
        self._tokens = f"{base_url.rstrip('/')}/v2/tokens"
        self._key = key
        self._headers = httpx.Headers(
            {
                "Authorization": f"Bearer {key.get_secret_value()}",
                "Accept": "application/json",
                "Content-Type": "application/json",
                "User-Agent": "token-batch",
            }
        )
        self._reads = reads
        self._writes = writes
        self._longest_pause = longest_pause
        self.traffic = Traffic()

    async def page(self, offset: int, limit: int = PAGE_LIMIT, query: str = "") -> Page:
        """Tokens `offset` … by ascending id; those alone that the API's own filters in `query`
        leave, such as `customerId=2001&isActive=true`.
        """
        query = f"limit={limit}&offset={offset}&sortBy=id&sortDirection=asc{query and '&'}{query}"
        response = await self._exchange("GET", f"{self._tokens}?{query}", self._reads)
        return _parsed(_PAGE, response)

    async def token(self, token_id: int) -> Token | None:
        """The token, None if there is none with this id."""
        try:
            response = await self._exchange("GET", f"{self._tokens}/{token_id}", self._reads)
        except Refused as error:
            if error.http_status == NOT_FOUND:
                return None
            raise
        return _the_token(token_id, response)

    async def update(
        self,
        token_id: int,
        changes: Mapping[Field, Value],
        before: Callable[[], Awaitable[None]] = _nothing,
    ) -> Answer:
        """Ask for the changes. `before` is awaited when the request is about to leave."""
        url = f"{self._tokens}/{token_id}"
        content = body(changes)
        response = await self._exchange("PATCH", url, self._writes, content, before, LEAD)
        token = _the_token(token_id, response)
        seconds = response.elapsed.total_seconds()
        return Answer(token, response.status_code, _request_id(response), seconds)

    def close(self) -> None:
        """No further request leaves; those under way go on."""
        self._reads.close()
        self._writes.close()

    async def _exchange(
        self,
        method: str,
        url: str,
        pace: Pace,
        content: bytes = b"",
        before: Callable[[], Awaitable[None]] = _nothing,
        lead: float = 0.0,
    ) -> httpx.Response:
        free_at = await pace.enter(lead)
        try:
            await before()
            await pace.hold_until(free_at)  # or longer: while `before` ran, a pause may have come
            self._count(method)
            left_at = time.monotonic()
            response = await self._attempt(self._request(method, url, content))
            response.elapsed = timedelta(seconds=time.monotonic() - left_at)
        finally:
            pace.leave()
        room = room_left(response.headers)
        if room:
            pace.told(*room)
        if response.status_code == OK:
            return response
        raise self._failure(response)

    def _count(self, method: str) -> None:
        self.traffic.requests += 1
        if method == "GET":
            self.traffic.reads += 1
        else:
            self.traffic.writes += 1

    def _request(self, method: str, url: str, content: bytes) -> httpx.Request:
        # Headers made once and a ready stream: httpx's own preparation of a request costs as
        # much as sending it.
        stream = httpx.ByteStream(content)
        return httpx.Request(method, url, headers=self._headers, stream=stream)

    async def _attempt(self, request: httpx.Request) -> httpx.Response:
        # The transport is asked directly: httpx's client above it would follow a redirect with
        # a PATCH and keep cookies, and costs more than the request itself.
        try:
            return await self._transport.handle_async_request(request)
        except NOT_SENT as error:
            message = f"cannot connect to {request.url.host}: {error}"
            raise TryAgain(self._sayable(message), doubtful=False) from error
        except IN_DOUBT as error:
            message = f"no answer from {request.url.host} ({type(error).__name__}: {error})"
            raise TryAgain(self._sayable(message), doubtful=True) from error
        except NEVER_BETTER as error:
            message = f"{request.url} cannot be asked: {error}"
            raise NotTheApi(self._sayable(message)) from error

    def _sayable(self, text: str) -> str:
        """A foreign text as it may stand in logs and reports: without the key, which some
        gateways repeat, of bearable length, and such as every file can hold.
        """
        hidden = text.replace(self._key.get_secret_value(), "…")[:LONGEST_MESSAGE]
        return hidden.replace("\0", "").encode("utf-8", "replace").decode()

    def _failure(self, response: httpx.Response) -> Exception:
        """What an answer other than 200 means for whoever asked, and for everybody."""
        status = response.status_code
        code, message, request_id = map(self._sayable, (*_reason(response), _request_id(response)))
        if status == UNAUTHORIZED:
            return KeyRefused(
                f"the API does not accept the key (401: {message}): check SPIRII_API_KEY"
            )
        if response.is_redirect or response.is_informational:
            return NotTheApi(f"{self._tokens} answers {status} and is not the API; mend the URL")
        if status in TRY_AGAIN:
            wait = self._pause(response)
            if isinstance(wait, StopRun):
                return wait
            return TryAgain(
                message,
                doubtful=status != TOO_MANY_REQUESTS,
                http_status=status,
                retry_after=wait,
                request_id=request_id,
            )
        if response.is_success:
            return TryAgain(
                f"the API answered {status} without the token", doubtful=True, http_status=status
            )
        return Refused(
            message,
            http_status=status,
            code=code,
            param=_error(response).get("param", ""),
            request_id=request_id,
            doubtful=response.is_server_error,
        )

    def _pause(self, response: httpx.Response) -> float | Unavailable | None:
        """Make everybody wait as long as the server asks: the limit is the account's."""
        if response.status_code == TOO_MANY_REQUESTS:
            self.traffic.refusals_429 += 1
        seconds = retry_after(response.headers)
        if seconds is None:
            return None
        if seconds > self._longest_pause:
            return Unavailable(
                f"the API asks to wait {seconds:.0f} seconds: go on later",
                doubtful=response.status_code != TOO_MANY_REQUESTS,
            )
        self._reads.pause(seconds)
        self._writes.pause(seconds)
        return seconds


def body(changes: Mapping[Field, Value]) -> bytes:
    """The changes as the API's PATCH body."""
    fields: dict[str, Any] = {}
    for name, value in changes.items():
        if name is Field.APP_USER_ID:
            fields["identifier"] = {"appUserId": value}
        else:
            fields[name.value] = iso(value) if isinstance(value, datetime) else value
    return _ENCODER.encode(fields).encode()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from either form of Retry-After; None when it says nothing usable.

    A date is measured against the answer's own Date, because the clocks may differ.
    """
    text = headers.get("retry-after", "").strip()
    try:
        seconds = float(text)
    except ValueError:
        until = _http_date(text)
        if until is None:
            return None
        now = _http_date(headers.get("date", "")) or datetime.now(UTC)
        seconds = (until - now).total_seconds()
    return max(seconds, 0.0) if isfinite(seconds) else None


def _http_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _parsed(kind: TypeAdapter[T], response: httpx.Response) -> T:
    try:
        return kind.validate_json(response.content)
    except ValidationError as error:
        raise TryAgain(
            f"{response.request.url.host} answered 200, but not as the token API does "
            f"({_described(response)})",
            doubtful=True,
            http_status=OK,
            request_id=_request_id(response),
        ) from error


def _the_token(token_id: int, response: httpx.Response) -> Token:
    token = _parsed(_TOKEN, response)
    if token.id != token_id:
        raise TryAgain(
            f"asked for token {token_id}, the API answered with token {token.id}",
            doubtful=True,
            http_status=OK,
        )
    return token


def _described(response: httpx.Response) -> str:
    kind = response.headers.get("content-type", "no content type").split(";")[0]
    return f"{kind}, {len(response.content)} bytes"


def _request_id(response: httpx.Response) -> str:
    """The id that support asks for: of the error body, or of the header."""
    of_header: str = response.headers.get("x-request-id", "")
    if response.status_code == OK:
        return of_header
    return _error(response).get("request_id") or of_header


def _reason(response: httpx.Response) -> tuple[str, str]:
    """The API's error code and message; newer pages nest them, the older has a message only."""
    error = _error(response)
    message = error.get("message") or f"{response.status_code} {response.reason_phrase}"
    return error.get("code", ""), message


def _error(response: httpx.Response) -> dict[str, str]:
    try:
        content = response.json()
    except (ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    nested = content.get("error")
    found = nested if isinstance(nested, dict) else content
    return {name: str(value) for name, value in found.items() if value is not None}
