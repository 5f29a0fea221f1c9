"""The tokens that a sheet names are found with as few requests as the API allows."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence

import httpx
import pytest
from pydantic import SecretStr

from batch.client.pacing import Pace
from batch.client.retrying import Retrying
from batch.client.token_client import TokenClient
from batch.client.transport import DirectTransport
from batch.errors import KeyRefused, NotTheApi, StopRun, Unavailable
from batch.lookup import READS_AT_ONCE, Lookup
from batch.models import Field, Outcome, Patch, Rate, Token, TokenRef
from batch.plan import Named
from batch.simulator import Behaviour, Fault, Faults, Outage, Planned, SimulatedApi

FIRST_ID = 100001
UNLIMITED = Behaviour(limits=None)
Seen = Callable[[int, int], None]


@pytest.fixture(autouse=True)
def no_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here speaks TLS, and loading the authorities would take most of every test."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    monkeypatch.setattr(httpx, "create_ssl_context", lambda: context)


@pytest.fixture(scope="module")
def steady() -> Iterator[SimulatedApi]:
    """An account that no test changes."""
    with SimulatedApi(tokens=2500, behaviour=UNLIMITED) as api:
        yield api


@pytest.fixture
def api() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=2500, behaviour=UNLIMITED) as api:
        yield api


def patches(*refs: TokenRef) -> list[Patch]:
    return [Patch(row, ref, {Field.COMMENT: "new"}) for row, ref in enumerate(refs, start=2)]


def by_ids(ids: Sequence[int]) -> list[Patch]:
    return patches(*(TokenRef(id=token_id) for token_id in ids))


def looking(
    transport: httpx.AsyncBaseTransport,
    url: str,
    work: Callable[[Lookup], Awaitable[None]],
    *,
    tries: int = 3,
    seen: Seen = lambda _seen, _count: None,
) -> list[float]:
    """Do the work; the rests between its tries."""
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    async def scenario() -> None:
        async with transport:
            client = TokenClient(
                transport,
                base_url=url,
                key=SecretStr("key"),
                reads=Pace(Rate(100_000, 1.0)),
                writes=Pace(Rate(1, 1.0)),
                longest_pause=60.0,
            )
            await work(Lookup(client, Retrying(tries=tries, rest=rest), seen))

    asyncio.run(scenario())
    return rests


def wires() -> DirectTransport:
    return DirectTransport(connect_timeout=5, timeout=10)


def collect(
    api: SimulatedApi,
    wanted: list[Patch],
    *,
    seen: Seen = lambda _seen, _count: None,
) -> tuple[list[Token | Outcome], int, list[float]]:
    """What each row's name leads to, the requests it took, and the rests between tries."""
    named = Named(wanted)
    before = len(api.requests)
    rests = looking(wires(), api.url, lambda lookup: lookup.collect(named), seen=seen)
    return [named.find(patch.ref) for patch in wanted], len(api.requests) - before, rests


def found_ids(found: list[Token | Outcome]) -> list[int | None]:
    return [each.id if isinstance(each, Token) else None for each in found]


LAST_ID = FIRST_ID + 2499
LATE = range(LAST_ID - 99, LAST_ID + 1)  # on the last page


@pytest.mark.parametrize(
    ("ids", "requests"),
    [
        ([], 0),
        ([FIRST_ID + 5], 1),
        ([LAST_ID], 1),
        ([FIRST_ID, FIRST_ID + 5], 1),
        (range(FIRST_ID, FIRST_ID + 1000), 1),
        (range(LAST_ID, FIRST_ID - 1, -1), 3),
        # Two pages are left after the first: two ids cost as much singly, three cost more.
        (LATE[:2], 1 + 2),
        (LATE[:3], 3),
        ([*range(FIRST_ID, FIRST_ID + 500), LAST_ID], 1 + 1),
    ],
)
def test_ids_are_read_in_the_cheaper_way(
    steady: SimulatedApi, ids: Sequence[int], requests: int
) -> None:
    found, made, _ = collect(steady, by_ids(ids))

    assert found_ids(found) == list(ids)
    assert made == requests


def test_ten_thousand_ids_cost_ten_reads_and_nine_of_the_last_page_too() -> None:
    with SimulatedApi(tokens=10_000, behaviour=UNLIMITED) as api:
        ids = range(FIRST_ID, FIRST_ID + 10_000)
        found, made, _ = collect(api, by_ids(ids))
        _, made_for_nine, _ = collect(api, by_ids(ids[-9:]))

    assert found_ids(found) == list(ids)
    assert (made, made_for_nine) == (10, 10)


def test_nothing_is_written_while_looking(steady: SimulatedApi) -> None:
    collect(steady, by_ids(LATE))

    assert steady.writes == []


@pytest.mark.parametrize("name", ["label", "uid"])
def test_a_label_or_uid_needs_all_pages_because_another_token_may_have_it_too(
    steady: SimulatedApi, name: str
) -> None:
    token = steady.token(FIRST_ID)
    assert token is not None
    ref = TokenRef(**{name: token["identifier"][name]})

    found, made, _ = collect(steady, patches(ref))

    assert (found_ids(found), made) == ([FIRST_ID], 3)


def test_labels_uids_and_ids_are_found_in_one_listing(steady: SimulatedApi) -> None:
    tokens = steady.tokens()
    refs = []
    for token_id in range(FIRST_ID, FIRST_ID + 300, 3):
        refs += [
            TokenRef(id=token_id),
            TokenRef(label=tokens[token_id + 1]["identifier"]["label"]),
            TokenRef(uid=tokens[token_id + 2]["identifier"]["uid"].lower()),
        ]

    found, made, _ = collect(steady, patches(*refs))

    assert found_ids(found) == list(range(FIRST_ID, FIRST_ID + 300))
    assert made == 3


def test_an_id_that_the_listing_lacks_is_asked_for_by_itself(api: SimulatedApi) -> None:
    missing = [1, 2, 3, 4]

    found, made, _ = collect(api, by_ids([FIRST_ID, *missing, FIRST_ID + 2400]))

    assert found_ids(found) == [FIRST_ID, *[None] * 4, FIRST_ID + 2400]
    asked_for = {request.token_id for request in api.reads} - {None}
    assert asked_for == set(missing)
    assert made == 3 + len(missing)


def test_a_label_that_no_token_has_costs_at_most_a_second_listing(api: SimulatedApi) -> None:
    found, made, _ = collect(api, patches(TokenRef(label="DK-NO-SUCH")))

    assert found_ids(found) == [None]
    assert made <= 2 * 3


def deleting(api: SimulatedApi, *ids: int) -> Seen:
    """Deletes tokens when the first page has been read, so that all later ones move up."""
    left = list(ids)

    def seen(_seen: int, _count: int) -> None:
        while left:
            api.delete(left.pop())

    return seen


# With one token of the first page gone, the first of the second page slips onto the first.
SLIPPED = FIRST_ID + 1000


def test_an_id_that_slipped_between_two_pages_is_found_all_the_same(api: SimulatedApi) -> None:
    wanted = range(SLIPPED, SLIPPED + 100)

    found, made, _ = collect(api, by_ids(wanted), seen=deleting(api, FIRST_ID))

    assert found_ids(found) == list(wanted)
    assert made == 3 + 1


@pytest.mark.parametrize("name", ["label", "uid"])
def test_a_label_or_uid_that_slipped_between_two_pages_is_found_all_the_same(
    api: SimulatedApi, name: str
) -> None:
    token = api.token(SLIPPED)
    assert token is not None
    ref = TokenRef(**{name: token["identifier"][name]})

    found, made, _ = collect(api, patches(ref), seen=deleting(api, FIRST_ID))

    assert (found_ids(found), made) == ([SLIPPED], 3 + 3)


def test_a_token_deleted_while_it_is_looked_for_is_missing_and_not_made_up(
    api: SimulatedApi,
) -> None:
    gone = FIRST_ID + 2000

    found, _, _ = collect(api, by_ids([gone, gone + 1]), seen=deleting(api, gone))

    assert found_ids(found) == [None, gone + 1]


def test_an_empty_account_has_no_token_and_is_no_error() -> None:
    with SimulatedApi(tokens=0, behaviour=UNLIMITED) as api:
        found, _, _ = collect(api, patches(TokenRef(id=1), TokenRef(label="a")))

    assert found_ids(found) == [None, None]


def test_the_watcher_is_told_the_tokens_gone_by_and_how_many_there_are(
    api: SimulatedApi,
) -> None:
    told: list[tuple[int, int]] = []

    collect(api, patches(TokenRef(label="a")), seen=lambda seen, count: told.append((seen, count)))

    assert told[:3] == [(1000, 2500), (2000, 2500), (2500, 2500)]


def test_named_tokens_are_read_each_by_itself(api: SimulatedApi) -> None:
    found: dict[int, Token | None] = {}
    ids = [*range(FIRST_ID, FIRST_ID + 20), 7]

    async def work(lookup: Lookup) -> None:
        found.update(await lookup.tokens(ids))

    looking(wires(), api.url, work)

    assert list(found) == ids
    assert [token.id if token else None for token in found.values()] == [*ids[:-1], None]
    assert len(api.reads) == 21


def test_no_more_reads_than_agreed_are_under_way_at_once() -> None:
    faults = Faults(latency=0.01)
    with SimulatedApi(tokens=60, behaviour=UNLIMITED, faults=faults) as api:

        async def work(lookup: Lookup) -> None:
            await lookup.tokens(range(FIRST_ID, FIRST_ID + 60))

        looking(wires(), api.url, work)
        spans = [(read.arrived, read.finished) for read in api.reads]

    at_once = [
        sum(begun <= start and (end or start) > start for begun, end in spans) for start, _ in spans
    ]
    assert 1 < max(at_once) <= READS_AT_ONCE


# When reading fails


@pytest.mark.parametrize(
    "fault",
    [
        Fault.TOO_MANY,
        Fault.SERVER_ERROR,
        Fault.BAD_GATEWAY,
        Fault.DROP,
        Fault.HTML,
        Fault.TRUNCATED,
        Fault.EMPTY,
        Fault.HALF,
    ],
)
def test_a_read_that_fails_for_a_while_is_tried_again(fault: Fault) -> None:
    faults = Faults(script=[Planned(fault, method="GET", nth=1, times=2)])
    with SimulatedApi(tokens=20, behaviour=UNLIMITED, faults=faults) as api:
        wanted = range(FIRST_ID, FIRST_ID + 20)
        found, made, rests = collect(api, by_ids(wanted))

    assert found_ids(found) == list(wanted)
    assert (made, len(rests)) == (1 + 2, 2)


ALWAYS = float("inf")


def always(fault: Fault) -> Faults:
    return Faults(script=[Planned(fault, method="GET", times=ALWAYS)])


@pytest.mark.parametrize(
    ("fault", "kind", "says", "reads"),
    [
        (Fault.UNAVAILABLE, Unavailable, "try again later", 3),
        (Fault.SERVER_ERROR, Unavailable, "try again later", 3),
        (Fault.DROP, Unavailable, "try again later", 3),
        (Fault.TOO_MANY, Unavailable, "try again later", 12),
        (Fault.HTML, NotTheApi, "check the base URL", 3),
        (Fault.TRUNCATED, NotTheApi, "check the base URL", 3),
        (Fault.FORBIDDEN, KeyRefused, "refuses the key", 1),
        (Fault.BAD_REQUEST, NotTheApi, "check the base URL", 1),
        (Fault.UNPROCESSABLE, NotTheApi, "check the base URL", 1),
        (Fault.NOT_FOUND, NotTheApi, "check the base URL", 1),
    ],
)
def test_a_read_that_fails_for_good_says_why_and_what_to_do(
    fault: Fault, kind: type[StopRun], says: str, reads: int
) -> None:
    with SimulatedApi(tokens=2, behaviour=UNLIMITED, faults=always(fault)) as api:
        with pytest.raises(kind, match=says):
            collect(api, by_ids([FIRST_ID, FIRST_ID + 1]))
        assert len(api.requests) == reads


@pytest.mark.parametrize("ids", [[FIRST_ID], [FIRST_ID, FIRST_ID + 1]], ids=["singly", "listing"])
@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_stops_the_looking_at_once(status: object, ids: list[int]) -> None:
    behaviour = Behaviour(key="another", bad_key_status=status)  # type: ignore[arg-type]
    with SimulatedApi(tokens=2, behaviour=behaviour) as api:
        with pytest.raises(KeyRefused, match=str(status)):
            collect(api, by_ids(ids))
        assert len(api.requests) == 1


@pytest.mark.parametrize("ids", [[FIRST_ID], [FIRST_ID, FIRST_ID + 1]], ids=["singly", "listing"])
@pytest.mark.parametrize(
    ("outage", "kind"), [(Outage.NOT_THE_API, NotTheApi), (Outage.UNAVAILABLE, Unavailable)]
)
def test_whatever_stands_in_front_of_the_api_is_told_apart(
    outage: Outage, kind: type[StopRun], ids: list[int]
) -> None:
    with SimulatedApi(tokens=2, behaviour=UNLIMITED) as api:
        api.outage = outage
        with pytest.raises(kind, match="check the base URL"):
            collect(api, by_ids(ids))


def test_nobody_at_the_address_is_unavailable() -> None:
    api = SimulatedApi(tokens=1)
    with api:
        pass

    with pytest.raises(Unavailable, match=r"cannot connect to 127\.0\.0\.1"):
        collect(api, by_ids([FIRST_ID]))


def test_one_read_that_fails_for_good_ends_the_others() -> None:
    faults = Faults(script=[Planned(Fault.FORBIDDEN, method="GET", nth=3)], latency=0.005)
    with SimulatedApi(tokens=100, behaviour=UNLIMITED, faults=faults) as api:

        async def work(lookup: Lookup) -> None:
            await lookup.tokens(range(FIRST_ID, FIRST_ID + 100))

        with pytest.raises(KeyRefused):
            looking(wires(), api.url, work)
        # Each reader may have begun its second when the third of all comes back refused.
        assert len(api.reads) <= 2 * READS_AT_ONCE


# An account that changes in ways the simulated one cannot


class Listing(httpx.AsyncBaseTransport):
    """An account of tokens with these ids; `then` is told after each page and may change them.

    `largest` is the most that a page holds, however many are asked for.
    """

    def __init__(
        self, ids: list[int], largest: int = 1000, then: Callable[[list[int]], None] | None = None
    ) -> None:
        self._ids = ids
        self._largest = largest
        self._then = then

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        query = request.url.params
        if "offset" not in query:
            token_id = int(request.url.path.rsplit("/", 1)[1])
            known = token_id in self._ids
            return (
                httpx.Response(200, json=told(token_id), request=request)
                if known
                else (httpx.Response(404, request=request))
            )
        start, limit = int(query["offset"]), min(int(query["limit"]), self._largest)
        data = [told(token_id) for token_id in sorted(self._ids)[start : start + limit]]
        page = {"data": data, "count": len(self._ids)}
        if self._then:
            self._then(self._ids)
        return httpx.Response(200, json=page, request=request)


def told(token_id: int) -> dict[str, object]:
    return {
        "id": token_id,
        "customerId": 1,
        "identifier": {"type": "rfid", "uid": None, "label": f"L{token_id}", "appUserId": None},
        "validFrom": "2025-01-01T00:00:00.000Z",
        "isActive": True,
        "roamingEnabled": True,
    }


def collect_from(listing: Listing, wanted: list[Patch]) -> list[int | None]:
    named = Named(wanted)
    looking(listing, "http://api.example", lambda lookup: lookup.collect(named))
    return found_ids([named.find(patch.ref) for patch in wanted])


def replacing_one(ids: list[int]) -> None:
    """The first token is deleted and another created: their number stays the same."""
    if 1 in ids:
        ids.remove(1)
        ids.append(max(ids) + 1)


@pytest.mark.parametrize("ref", [TokenRef(id=1001), TokenRef(label="L1001")], ids=["id", "label"])
def test_a_token_that_slipped_is_found_though_the_number_of_tokens_stayed_the_same(
    ref: TokenRef,
) -> None:
    listing = Listing(list(range(1, 2001)), then=replacing_one)

    found = collect_from(listing, patches(ref, TokenRef(label="L2")))

    assert found == [1001, 2]


@pytest.mark.parametrize("ref", [TokenRef(id=700), TokenRef(label="L700")], ids=["id", "label"])
def test_a_server_whose_pages_are_smaller_than_asked_hides_no_token(ref: TokenRef) -> None:
    listing = Listing(list(range(1, 1501)), largest=500)

    found = collect_from(listing, patches(ref, TokenRef(label="L2")))

    assert found == [700, 2]
