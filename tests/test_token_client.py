"""Every answer and every failure of the wire has one meaning, and the key is nowhere to be read."""

from __future__ import annotations

import asyncio
import inspect
import json
import ssl
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from batch.client.pacing import Pace
from batch.client.token_client import (
    IN_DOUBT,
    NEVER_BETTER,
    NOT_SENT,
    TRY_AGAIN,
    Answer,
    TokenClient,
    Traffic,
    body,
    retry_after,
)
from batch.client.transport import DirectTransport
from batch.errors import (
    Abandoned,
    JournalError,
    KeyRefused,
    NotTheApi,
    Refused,
    TokenBatchError,
    TryAgain,
    Unavailable,
)
from batch.models import Field, Rate, Token, Value
from batch.simulator import Behaviour, ErrorBody, Fault, Faults, Planned, SimulatedApi

T = TypeVar("T")

KEY = "sk-live-0123456789abcdef"
TOKEN_ID = 100001
TOKEN: dict[str, Any] = {
    "id": TOKEN_ID,
    "customerId": 2001,
    "identifier": {"type": "rfid", "uid": "04A1", "label": "DK-1", "appUserId": None},
    "createdAt": "2025-01-01T00:00:00.000Z",
    "updatedAt": "2025-01-01T00:00:00.000Z",
    "validFrom": "2025-01-01T00:00:00.000Z",
    "expiresAt": None,
    "isActive": True,
    "roamingEnabled": True,
    "priorityChargingEnabled": False,
    "billingReference": None,
    "comment": "x",
}
CHANGES: dict[Field, Value] = {Field.COMMENT: "x"}

Reply = httpx.Response | Exception


@pytest.fixture(autouse=True)
def no_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here speaks TLS, and loading the authorities would take most of every test."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: context)


class Wire(httpx.AsyncBaseTransport):
    """Answers every request with the same reply, and keeps the requests."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        self.requests.append(request)
        if isinstance(self.reply, Exception):
            raise self.reply
        self.reply.request = request
        return self.reply


def frozen_pace(limit: int = 1000) -> Pace:
    return Pace(Rate(limit, 60.0), clock=lambda: 0.0)


def client_on(
    wire: httpx.AsyncBaseTransport,
    *,
    base_url: str = "https://api.example",
    reads: Pace | None = None,
    writes: Pace | None = None,
    longest_pause: float = 3600.0,
) -> TokenClient:
    return TokenClient(
        wire,
        base_url=base_url,
        key=SecretStr(KEY),
        reads=reads or frozen_pace(),
        writes=writes or frozen_pace(),
        longest_pause=longest_pause,
    )


def update(reply: Reply) -> Answer:
    return asyncio.run(client_on(Wire(reply)).update(TOKEN_ID, CHANGES))


def failure_of(reply: Reply) -> TokenBatchError:
    with pytest.raises(TokenBatchError) as caught:
        update(reply)
    return caught.value


def on_server(
    api: SimulatedApi, work: Callable[[TokenClient], Awaitable[T]], timeout: float = 5.0
) -> T:
    async def scenario() -> T:
        transport = DirectTransport(connect_timeout=2.0, timeout=timeout)
        async with transport:
            return await work(client_on(transport, base_url=api.url))

    return asyncio.run(scenario())


# What httpx can raise

NEVER_RAISED_BY_A_TRANSPORT = {
    httpx.HTTPError: "only the base of others",
    httpx.RequestError: "only the base of others",
    httpx.TransportError: "only the base of others",
    httpx.TimeoutException: "only the base of others",
    httpx.NetworkError: "only the base of others",
    httpx.ProtocolError: "only the base of others",
    httpx.StreamError: "only the base of others",
    httpx.HTTPStatusError: "raised by raise_for_status, which nobody calls",
    httpx.CookieConflict: "raised by a cookie jar, and none is kept",
    httpx.RequestNotRead: "raised for a request with a streaming body, and ours are bytes",
    httpx.ResponseNotRead: "raised for an answer that is read in pieces, and ours is read whole",
    httpx.StreamConsumed: "raised for an answer that is read in pieces, and ours is read whole",
    httpx.StreamClosed: "raised for an answer that is read in pieces, and ours is read whole",
}


def exceptions_of_httpx() -> set[type[Exception]]:
    return {
        member
        for _, member in inspect.getmembers(httpx, inspect.isclass)
        if issubclass(member, Exception)
    }


def test_every_exception_of_httpx_has_exactly_one_fate() -> None:
    decided = [*NOT_SENT, *IN_DOUBT, *NEVER_BETTER, *NEVER_RAISED_BY_A_TRANSPORT]

    assert set(decided) == exceptions_of_httpx()
    assert len(decided) == len(set(decided))


@pytest.mark.parametrize("kind", NOT_SENT)
def test_a_request_that_never_left_is_tried_again_without_doubt(
    kind: type[httpx.TransportError],
) -> None:
    cause = kind("nobody there")

    failure = failure_of(cause)

    assert isinstance(failure, TryAgain)
    assert (failure.doubtful, failure.http_status, failure.retry_after) == (False, None, None)
    assert "api.example" in str(failure)
    assert failure.__cause__ is cause


@pytest.mark.parametrize("kind", IN_DOUBT)
def test_a_request_that_may_have_left_is_tried_again_in_doubt(
    kind: type[httpx.TransportError],
) -> None:
    cause = kind("silence")

    failure = failure_of(cause)

    assert isinstance(failure, TryAgain)
    assert (failure.doubtful, failure.http_status) == (True, None)
    assert failure.__cause__ is cause


@pytest.mark.parametrize("kind", NEVER_BETTER)
def test_a_request_that_can_never_be_made_stops_the_run(kind: type[Exception]) -> None:
    cause = kind("no such thing")

    failure = failure_of(cause)

    assert isinstance(failure, NotTheApi)
    assert failure.__cause__ is cause


def test_an_unknown_failure_is_never_taken_for_one_to_try_again() -> None:
    with pytest.raises(ZeroDivisionError):
        update(ZeroDivisionError("a fault of the program itself"))


# What each status means


def kind_of(status: int) -> type[TokenBatchError]:
    if status == HTTPStatus.UNAUTHORIZED:
        return KeyRefused
    if status < 200 or 300 <= status < 400:
        return NotTheApi
    if status in {429, 500, 502, 503, 504} or status < 300:
        return TryAgain
    return Refused


@pytest.mark.parametrize("status", [status for status in range(100, 600) if status != 200])
def test_every_status_but_200_is_one_kind_of_failure(status: int) -> None:
    reply = httpx.Response(status, json={"error": {"code": "c", "message": "Why."}})

    failure = failure_of(reply)

    assert type(failure) is kind_of(status)
    if isinstance(failure, TryAgain | Refused):
        assert failure.http_status == status


@pytest.mark.parametrize("status", sorted(TRY_AGAIN))
def test_only_a_429_says_for_sure_that_nothing_was_applied(status: int) -> None:
    failure = failure_of(httpx.Response(status))

    assert isinstance(failure, TryAgain)
    assert failure.doubtful is (status != 429)


@pytest.mark.parametrize(
    ("status", "doubtful"),
    [
        *((status, False) for status in (400, 403, 404, 409, 422, 499)),
        *((status, True) for status in (501, 505, 507, 599)),
    ],
)
def test_a_refusal_leaves_doubt_only_when_the_error_is_the_servers_own(
    status: int,
    doubtful: bool,  # noqa: FBT001 - a column of the table
) -> None:
    failure = failure_of(httpx.Response(status))

    assert isinstance(failure, Refused)
    assert failure.doubtful is doubtful


@pytest.mark.parametrize("status", [201, 202, 204, 206])
def test_another_success_without_the_token_is_in_doubt(status: int) -> None:
    failure = failure_of(httpx.Response(status))

    assert isinstance(failure, TryAgain)
    assert (failure.doubtful, failure.http_status) == (True, status)


def test_a_200_with_the_token_is_its_new_state() -> None:
    answer = update(httpx.Response(200, json=TOKEN, headers={"X-Request-Id": "req_7"}))

    assert (answer.http_status, answer.request_id) == (200, "req_7")
    assert answer.token.value(Field.COMMENT) == "x"
    assert answer.token.value(Field.VALID_FROM) == datetime(2025, 1, 1, tzinfo=UTC)


UNREADABLE = {
    "truncated": json.dumps(TOKEN).encode()[:80],
    "html": b"<!DOCTYPE html><html></html>",
    "empty": b"",
    "another token": json.dumps({**TOKEN, "id": TOKEN_ID + 1}).encode(),
    "a list": json.dumps([TOKEN]).encode(),
    "null": b"null",
    "no token": b'{"data": []}',
    "a switch that is none": json.dumps({**TOKEN, "isActive": "perhaps"}).encode(),
    "a date without a zone": json.dumps({**TOKEN, "validFrom": "2025-01-01T00:00:00"}).encode(),
    "not UTF-8": b'{"id": "\xff"}',
    "nested without end": b"[" * 100_000,
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_unreadable_200_to_a_change_is_in_doubt(content: bytes) -> None:
    failure = failure_of(httpx.Response(200, content=content))

    assert isinstance(failure, TryAgain)
    assert (failure.doubtful, failure.http_status) == (True, 200)


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_unreadable_200_to_a_read_is_tried_again(content: bytes) -> None:
    client = client_on(Wire(httpx.Response(200, content=content)))

    with pytest.raises(TryAgain):
        asyncio.run(client.token(TOKEN_ID))


@pytest.mark.parametrize(
    "content",
    [
        *(UNREADABLE[name] for name in ("truncated", "html", "empty", "a list", "null")),
        b'{"data": []}',
        b'{"count": 1}',
        b'{"data": [{"id": 1}], "count": 1}',
        b'{"data": null, "count": 0}',
    ],
)
def test_an_unreadable_page_is_tried_again(content: bytes) -> None:
    client = client_on(Wire(httpx.Response(200, content=content)))

    with pytest.raises(TryAgain) as caught:
        asyncio.run(client.page(0))
    assert caught.value.http_status == 200


def test_an_unreadable_200_names_what_came_instead() -> None:
    reply = httpx.Response(200, content=b"<html>", headers={"Content-Type": "text/html; c=1"})

    assert "text/html, 6 bytes" in str(failure_of(reply))


# What an error says

REASONS: list[tuple[Any, str, str, str]] = [
    (
        {"error": {"type": "t", "code": "bad", "message": "No.", "param": "p", "request_id": "r"}},
        "bad",
        "No.",
        "r",
    ),
    ({"message": "No."}, "", "No.", "of-header"),
    ({"error": {"code": None, "message": None}}, "", "422 Unprocessable Entity", "of-header"),
    ({"error": "No."}, "", "422 Unprocessable Entity", "of-header"),
    ({}, "", "422 Unprocessable Entity", "of-header"),
    ([], "", "422 Unprocessable Entity", "of-header"),
    ("No.", "", "422 Unprocessable Entity", "of-header"),
    (None, "", "422 Unprocessable Entity", "of-header"),
    (17, "", "422 Unprocessable Entity", "of-header"),
    ({"error": {"code": 17, "message": "Nej, ø 🚗."}}, "17", "Nej, ø 🚗.", "of-header"),
]


@pytest.mark.parametrize(("content", "code", "message", "request_id"), REASONS)
def test_both_shapes_of_an_error_are_understood_and_no_other_breaks_the_run(
    content: Any, code: str, message: str, request_id: str
) -> None:
    reply = httpx.Response(422, json=content, headers={"X-Request-Id": "of-header"})

    failure = failure_of(reply)

    assert isinstance(failure, Refused)
    assert (failure.code, str(failure), failure.request_id) == (code, message, request_id)


@pytest.mark.parametrize(
    "content", [b"", b"<html>Bad gateway</html>", b"\xff\xfe\x00", b"{", b"[" * 100_000]
)
@pytest.mark.parametrize("status", [400, 502])
def test_an_error_that_is_no_json_is_told_by_its_status(status: int, content: bytes) -> None:
    failure = failure_of(httpx.Response(status, content=content))

    assert str(failure) == f"{status} {HTTPStatus(status).phrase}"


def test_the_words_of_an_error_can_be_written_to_every_file() -> None:
    cut_emoji = b'{"message": "Comment too long: \\ud83d"}'  # the API cut its text in the middle

    failure = failure_of(httpx.Response(400, content=cut_emoji))

    assert "Comment too long" in str(failure).encode("utf-8").decode()


def test_a_failure_to_try_again_keeps_what_support_asks_for() -> None:
    reply = httpx.Response(503, json={"error": {"message": "Later.", "request_id": "req_9"}})

    failure = failure_of(reply)

    assert isinstance(failure, TryAgain)
    assert (str(failure), failure.request_id) == ("Later.", "req_9")


@pytest.mark.parametrize("shape", ErrorBody)
def test_the_words_of_the_api_arrive_in_both_shapes(shape: ErrorBody) -> None:
    behaviour = Behaviour(error_body=shape)
    with SimulatedApi(tokens=1, behaviour=behaviour) as api, pytest.raises(Refused) as caught:
        on_server(api, lambda client: client.update(TOKEN_ID, {Field.COMMENT: "x" * 101}))

    assert caught.value.http_status == 400
    assert "at most 100 characters" in str(caught.value)
    assert bool(caught.value.request_id) is (shape is ErrorBody.NEW)


# Retry-After

DATE = "Wed, 21 Oct 2026 07:28:00 GMT"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("-5", 0.0),
        ("86400", 86400.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 09:28:30 +0200", 30.0),
        ("Wednesday, 21-Oct-26 07:28:30 GMT", 30.0),
        ("Wed Oct 21 07:28:30 2026", 30.0),
        ("Wed, 21 Oct 2026 07:27:00 GMT", 0.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("", None),
        (" ", None),
        ("soon", None),
        ("5, 10", None),
        ("nan", None),
        ("inf", None),
        ("-inf", None),
        ("1e999", None),
        ("Wed, 42 Oct 2026 07:28:30 GMT", None),
        ("Wed, 21 Oct 99999999999999 07:28:30 GMT", None),
        ("Wed, 21 Oct 2026 07:28:30 +999999999999999999", None),
    ],
)
def test_the_seconds_to_wait_are_understood_in_both_forms_and_nonsense_is_none(
    text: str, seconds: float | None
) -> None:
    assert retry_after(httpx.Headers({"Retry-After": text, "Date": DATE})) == seconds


def test_an_answer_without_a_wait_asks_for_none() -> None:
    assert retry_after(httpx.Headers({"Date": DATE})) is None


@pytest.mark.parametrize("date", [None, "", "yesterday", "Wed, 21 Oct 2026 07:28:00 +99999999999"])
def test_without_a_date_of_its_own_an_answer_is_measured_against_our_clock(
    date: str | None,
) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    headers = {"Retry-After": until} | ({} if date is None else {"Date": date})

    seconds = retry_after(httpx.Headers(headers))

    assert seconds is not None
    assert 90 < seconds <= 100


HEADER_TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(alphabet="0123456789.,+-:eE_naif GMTOctWed", max_size=40),
    st.builds(
        "{}, {} {} {} {}:{}:{} {}".format,
        st.sampled_from(["Wed", "Mon", ""]),
        st.integers(-1, 40),
        st.sampled_from(["Oct", "oct", "13", ""]),
        st.integers(-1, 10**12),
        st.integers(-1, 99),
        st.integers(-1, 99),
        st.integers(-1, 99),
        st.one_of(st.sampled_from(["GMT", "EST", ""]), st.integers(-(10**12), 10**12).map(str)),
    ),
)


@given(text=HEADER_TEXTS, date=HEADER_TEXTS)
def test_whatever_a_server_writes_as_a_wait_is_a_bearable_number_or_none(
    text: str, date: str
) -> None:
    seconds = retry_after({"retry-after": text, "date": date})

    assert seconds is None or 0 <= seconds < float("inf")


@pytest.mark.parametrize("status", sorted(TRY_AGAIN))
@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_a_wait_that_the_server_names_holds_reads_and_writes(status: int, method: str) -> None:
    reads, writes = frozen_pace(), frozen_pace()
    client = client_on(
        Wire(httpx.Response(status, headers={"Retry-After": "7"})), reads=reads, writes=writes
    )

    with pytest.raises(TryAgain) as caught:
        asyncio.run(client.update(TOKEN_ID, CHANGES) if method == "PATCH" else client.page(0))

    assert caught.value.retry_after == 7.0
    assert (reads._budget.wait(0.0), writes._budget.wait(0.0)) == (7.0, 7.0)


@pytest.mark.parametrize("header", [None, "soon"])
def test_without_named_seconds_nobody_else_is_held(header: str | None) -> None:
    reads, writes = frozen_pace(), frozen_pace()
    headers = {} if header is None else {"Retry-After": header}
    client = client_on(Wire(httpx.Response(503, headers=headers)), reads=reads, writes=writes)

    with pytest.raises(TryAgain) as caught:
        asyncio.run(client.update(TOKEN_ID, CHANGES))

    assert caught.value.retry_after is None
    assert (reads._budget.wait(0.0), writes._budget.wait(0.0)) == (0.0, 0.0)


def test_a_wait_as_a_date_is_kept_by_everybody() -> None:
    reads, writes = frozen_pace(), frozen_pace()
    headers = {"Retry-After": "Wed, 21 Oct 2026 07:28:30 GMT", "Date": DATE}
    client = client_on(Wire(httpx.Response(429, headers=headers)), reads=reads, writes=writes)

    with pytest.raises(TryAgain):
        asyncio.run(client.page(0))

    assert (reads._budget.wait(0.0), writes._budget.wait(0.0)) == (30.0, 30.0)


@pytest.mark.parametrize(
    ("seconds", "kind"), [("99", TryAgain), ("100", TryAgain), ("101", Unavailable)]
)
def test_a_longer_wait_than_allowed_ends_the_run_and_nobody_waits(
    seconds: str, kind: type[TokenBatchError]
) -> None:
    writes = frozen_pace()
    wire = Wire(httpx.Response(429, headers={"Retry-After": seconds}))
    client = client_on(wire, writes=writes, longest_pause=100.0)

    with pytest.raises(kind) as caught:
        asyncio.run(client.update(TOKEN_ID, CHANGES))

    assert type(caught.value) is kind
    assert (writes._budget.wait(0.0) > 0) is (kind is TryAgain)


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "date"])
def test_the_real_server_is_waited_for_in_both_forms(as_date: bool) -> None:  # noqa: FBT001 - a row
    behaviour = Behaviour(limits=None, retry_after_as_date=as_date)
    faults = Faults(script=[Planned(Fault.TOO_MANY)], retry_after=20)
    api = SimulatedApi(tokens=1, behaviour=behaviour, faults=faults)

    with api, pytest.raises(TryAgain) as caught:
        on_server(api, lambda client: client.update(TOKEN_ID, CHANGES))

    assert caught.value.retry_after is not None
    assert 19 <= caught.value.retry_after <= 21


# What is asked

OSLO = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("changes", "written"),
    [
        ({}, {}),
        ({Field.IS_ACTIVE: False}, {"isActive": False}),
        ({Field.COMMENT: None, Field.EXPIRES_AT: None}, {"comment": None, "expiresAt": None}),
        ({Field.COMMENT: ""}, {"comment": ""}),
        ({Field.COMMENT: 'Søren\'s "🚗"\n\t\\'}, {"comment": 'Søren\'s "🚗"\n\t\\'}),
        ({Field.APP_USER_ID: 7}, {"identifier": {"appUserId": 7}}),
        ({Field.CUSTOMER_ID: 2001}, {"customerId": 2001}),
        (
            {Field.VALID_FROM: datetime(2026, 7, 1, 0, 30, tzinfo=OSLO)},
            {"validFrom": "2026-06-30T22:30:00.000Z"},
        ),
        (
            {Field.EXPIRES_AT: datetime(2025, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)},
            {"expiresAt": "2025-12-31T23:59:59.999Z"},
        ),
        (
            {Field.EXPIRES_AT: datetime(2025, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)},
            {"expiresAt": "2025-12-31T23:59:59.999Z"},
        ),
    ],
)
def test_the_body_says_the_changes_in_the_words_of_the_api(
    changes: dict[Field, Value], written: dict[str, Any]
) -> None:
    assert json.loads(body(changes)) == written


def test_a_body_is_utf_8_without_escapes() -> None:
    assert body({Field.COMMENT: "ø🚗"}) == '{"comment": "ø🚗"}'.encode()


@pytest.mark.parametrize(
    "base_url", ["https://api.example", "https://api.example/", "https://api.example///"]
)
def test_a_change_is_one_patch_of_json_to_the_token(base_url: str) -> None:
    wire = Wire(httpx.Response(200, json=TOKEN))

    asyncio.run(client_on(wire, base_url=base_url).update(TOKEN_ID, CHANGES))

    (request,) = wire.requests
    assert (request.method, str(request.url)) == (
        "PATCH",
        f"https://api.example/v2/tokens/{TOKEN_ID}",
    )
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.content == b'{"comment": "x"}'


def test_a_page_is_asked_for_by_ascending_id_and_as_large_as_it_can_be() -> None:
    with SimulatedApi(tokens=1010) as api:
        first, second = (
            on_server(api, lambda client: client.page(0)),
            on_server(api, lambda client: client.page(1000)),
        )

    ids = [token.id for page in (first, second) for token in page.data]
    assert ids == list(range(100001, 101011))
    assert (first.count, second.count) == (1010, 1010)
    assert len(first.data) == 1000


def test_a_token_that_does_not_exist_is_none_and_no_failure() -> None:
    with SimulatedApi(tokens=1) as api:
        found = on_server(api, lambda client: client.token(TOKEN_ID))
        missing = on_server(api, lambda client: client.token(TOKEN_ID + 1))

    assert isinstance(found, Token)
    assert missing is None


def test_a_change_to_a_token_that_does_not_exist_is_refused() -> None:
    with SimulatedApi(tokens=1) as api, pytest.raises(Refused) as caught:
        on_server(api, lambda client: client.update(TOKEN_ID + 1, CHANGES))

    assert (caught.value.http_status, caught.value.code) == (404, "token_not_found")


@pytest.mark.parametrize(
    ("status", "kind"), [(401, KeyRefused), (403, Refused)], ids=["401", "403"]
)
def test_a_wrong_key_is_told_as_the_api_tells_it(status: Any, kind: type[TokenBatchError]) -> None:
    behaviour = Behaviour(key="another", bad_key_status=status)
    with SimulatedApi(tokens=1, behaviour=behaviour) as api, pytest.raises(kind):
        on_server(api, lambda client: client.token(TOKEN_ID))


@pytest.mark.parametrize(
    ("fault", "applied"),
    [
        (Fault.DROP, False),
        (Fault.DROP_APPLIED, True),
        (Fault.STALL_APPLIED, True),
        (Fault.HALF, True),
        (Fault.TRUNCATED, True),
        (Fault.HTML, True),
        (Fault.EMPTY, True),
        (Fault.SERVER_ERROR_APPLIED, True),
    ],
)
def test_every_answer_that_is_lost_on_the_way_leaves_doubt(
    fault: Fault,
    applied: bool,  # noqa: FBT001 - a column of the table
) -> None:
    faults = Faults(script=[Planned(fault)])
    with SimulatedApi(tokens=1, faults=faults) as api:
        with pytest.raises(TryAgain) as caught:
            on_server(
                api, lambda client: client.update(TOKEN_ID, {Field.COMMENT: "new"}), timeout=0.3
            )
        after = api.token(TOKEN_ID)

    assert caught.value.doubtful
    assert after is not None
    assert (after["comment"] == "new") is applied


# The budget and the count


def test_reads_and_writes_take_their_places_in_their_own_budgets() -> None:
    reads, writes = frozen_pace(2), frozen_pace(3)
    client = client_on(Wire(httpx.Response(200, json=TOKEN)), reads=reads, writes=writes)

    async def scenario() -> None:
        await client.token(TOKEN_ID)
        await client.update(TOKEN_ID, CHANGES)
        await client.update(TOKEN_ID, CHANGES)

    asyncio.run(scenario())

    assert (len(reads._budget._answers), len(writes._budget._answers)) == (1, 2)


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(200, json=TOKEN),
        httpx.Response(500),
        httpx.ReadTimeout("silence"),
        httpx.UnsupportedProtocol("what"),
        ZeroDivisionError("a fault of our own"),
    ],
    ids=["200", "500", "timeout", "never", "fault"],
)
def test_however_an_attempt_ends_its_place_becomes_free_one_window_later(reply: Reply) -> None:
    writes = frozen_pace(1)
    client = client_on(Wire(reply), writes=writes)

    async def scenario() -> None:
        await asyncio.gather(client.update(TOKEN_ID, CHANGES), return_exceptions=True)

    asyncio.run(scenario())

    assert writes._budget.wait(0.0) == pytest.approx(60.0, rel=0.01)


def test_what_must_be_done_before_a_request_leaves_is_done_when_its_turn_has_come() -> None:
    wire = Wire(httpx.Response(200, json=TOKEN))
    writes = frozen_pace(1)
    seen: list[tuple[int, int]] = []

    async def before() -> None:
        seen.append((writes._budget._under_way, len(wire.requests)))

    asyncio.run(client_on(wire, writes=writes).update(TOKEN_ID, CHANGES, before))

    assert seen == [(1, 0)]


def test_no_request_leaves_or_counts_when_what_must_be_done_before_it_fails() -> None:
    wire = Wire(httpx.Response(200, json=TOKEN))
    client = client_on(wire)

    async def before() -> None:
        raise JournalError("the disk is full")

    with pytest.raises(JournalError):
        asyncio.run(client.update(TOKEN_ID, CHANGES, before))
    assert (wire.requests, client.traffic) == ([], Traffic())


def test_a_closed_client_sends_nothing_more() -> None:
    wire = Wire(httpx.Response(200, json=TOKEN))
    client = client_on(wire)
    client.close()

    async def scenario() -> list[object]:
        calls = (client.token(TOKEN_ID), client.page(0), client.update(TOKEN_ID, CHANGES))
        return list(await asyncio.gather(*calls, return_exceptions=True))

    assert [type(result) for result in asyncio.run(scenario())] == [Abandoned] * 3
    assert (wire.requests, client.traffic) == ([], Traffic())


def test_the_traffic_is_what_went_over_the_wire() -> None:
    wire = Wire(httpx.Response(429))
    client = client_on(wire)

    async def scenario() -> None:
        await asyncio.gather(
            client.token(TOKEN_ID),
            client.page(0),
            client.update(TOKEN_ID, CHANGES),
            return_exceptions=True,
        )
        wire.reply = httpx.ReadTimeout("silence")
        await asyncio.gather(client.update(TOKEN_ID, CHANGES), return_exceptions=True)

    asyncio.run(scenario())

    assert client.traffic == Traffic(requests=4, reads=2, writes=2, refusals_429=3)


# The key


def everything_said_of(failure: BaseException) -> str:
    """Its text and that of its causes, as a log would show them."""
    lines = traceback.format_exception(failure)
    links = [failure.__cause__, failure.__context__]
    return "".join(lines) + repr(failure) + repr(failure.__dict__) + "".join(map(repr, links))


@pytest.mark.parametrize(
    "reply",
    [
        *(httpx.Response(status) for status in (200, 204, 301, 400, 401, 403, 404, 429, 500)),
        httpx.Response(429, headers={"Retry-After": "99999"}),
        *(kind("no") for kind in (*NOT_SENT, *IN_DOUBT, *NEVER_BETTER)),
    ],
    ids=lambda reply: str(getattr(reply, "status_code", type(reply).__name__)),
)
def test_the_key_is_in_nothing_that_is_said_of_a_failure(reply: Reply) -> None:
    assert KEY not in everything_said_of(failure_of(reply))


def test_the_key_is_in_no_repr() -> None:
    wire = Wire(httpx.Response(200, json=TOKEN))
    client = client_on(wire)

    answer = asyncio.run(client.update(TOKEN_ID, CHANGES))

    request = wire.requests[0]
    said = [client, vars(client), request, request.headers, request.url, answer, wire.reply]
    assert KEY not in "".join(map(repr, said))


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(401, json={"message": f"Bearer {KEY} is not valid"}),
        httpx.Response(403, json={"error": {"code": KEY, "message": f"{KEY} may not do this"}}),
        httpx.Response(400, json={"error": {"message": "no", "request_id": KEY}}),
        httpx.Response(503, json={"message": f"Bearer {KEY}: later"}),
        httpx.ReadError(f"in answer to 'Bearer {KEY}'"),
        httpx.LocalProtocolError(f"Illegal header value b'Bearer {KEY}'"),
    ],
    ids=lambda reply: str(getattr(reply, "status_code", type(reply).__name__)),
)
def test_a_key_that_others_repeat_is_not_repeated_by_us(reply: Reply) -> None:
    failure = failure_of(reply)

    assert KEY not in f"{failure} {failure.__dict__}"
