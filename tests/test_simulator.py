"""What the simulated API promises to those who ask it properly, and to those who do not."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from batch.simulator import CUSTOMERS, Behaviour, ErrorBody, SimulatedApi, sample

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading authorities would take most of a test


@pytest.fixture(scope="module")
def large() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=1200, behaviour=Behaviour(limits=None)) as running:
        yield running


@pytest.fixture
def api() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=20, behaviour=Behaviour(limits=None)) as running:
        yield running


@pytest.fixture
def http(api: SimulatedApi) -> Iterator[httpx.Client]:
    with client(api) as opened:
        yield opened


def client(api: SimulatedApi, key: str = "key") -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.Client(base_url=f"{api.url}/v2", headers=headers, verify=NO_TLS)


def listed(http: httpx.Client, **params: str | int) -> list[dict[str, Any]]:
    answer = http.get("/tokens", params=params)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


class TestListing:
    @pytest.fixture
    def api(self, large: SimulatedApi) -> SimulatedApi:
        return large

    def test_gives_500_tokens_by_descending_id_when_not_told_otherwise(
        self, http: httpx.Client
    ) -> None:
        page = http.get("/tokens").json()
        assert [token["id"] for token in page["data"]] == list(range(101200, 100700, -1))
        assert page["count"] == 1200

    def test_pages_through_all_tokens(self, api: SimulatedApi, http: httpx.Client) -> None:
        first = listed(http, limit=1000, sortDirection="asc")
        second = listed(http, limit=1000, offset=1000, sortDirection="asc")
        assert {token["id"]: token for token in first + second} == api.tokens()

    @pytest.mark.parametrize("column", ["createdAt", "updatedAt", "validFrom", "expiresAt"])
    def test_sorts_by_each_date(self, http: httpx.Client, column: str) -> None:
        values = [token[column] or "" for token in listed(http, sortBy=column, sortDirection="asc")]
        assert values == sorted(values)

    @pytest.mark.parametrize(
        ("query", "field", "wanted"),
        [
            ({"isActive": "false"}, "isActive", False),
            ({"roamingEnabled": "true"}, "roamingEnabled", True),
            ({"priority": "true"}, "priorityChargingEnabled", True),
            ({"customerId": "2003"}, "customerId", 2003),
        ],
    )
    def test_filters_by_value(
        self,
        api: SimulatedApi,
        http: httpx.Client,
        query: dict[str, str],
        field: str,
        wanted: object,
    ) -> None:
        expected = {key for key, token in api.tokens().items() if token[field] == wanted}
        page = http.get("/tokens", params={"limit": "1000", **query}).json()
        assert {token["id"] for token in page["data"]} == expected
        assert page["count"] == len(expected) > 0

    def test_filters_by_type(self, http: httpx.Client) -> None:
        kinds = {token["identifier"]["type"] for token in listed(http, type="virtual")}
        assert kinds == {"virtual"}

    def test_filters_by_dates_as_instants(self, api: SimulatedApi, http: httpx.Client) -> None:
        begun = listed(http, limit=1000, validFrom="2025-01-01T01:00:00+01:00")
        ending = listed(http, limit=1000, expiresFrom="2027-01-01T00:00:00Z")
        tokens = api.tokens().values()
        assert len(begun) == sum(token["validFrom"] >= "2025-01-01T" for token in tokens)
        assert len(ending) == sum((token["expiresAt"] or "") >= "2027" for token in tokens)

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=1001",
            "limit=ten",
            "offset=-1",
            "offset=" + "9" * 5000,
            "sortBy=comment",
            "sortDirection=down",
            "isActive=1",
            "type=card",
            "validFrom=yesterday",
            "search=DK-NRD",
        ],
    )
    def test_refuses_wrong_parameters(self, http: httpx.Client, query: str) -> None:
        answer = http.get(f"/tokens?{query}")
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == query.partition("=")[0]


class TestReading:
    def test_tells_every_field_of_a_token(self, http: httpx.Client) -> None:
        token = http.get("/tokens/100005").json()
        assert token.keys() == {
            *("id", "customerId", "identifier", "createdAt", "updatedAt", "validFrom"),
            *("expiresAt", "isActive", "roamingEnabled", "priorityChargingEnabled"),
            *("billingReference", "comment"),
        }
        assert token["identifier"].keys() == {"type", "uid", "label", "appUserId"}
        assert token["identifier"]["label"] == "DK-NRD-000005"

    def test_answers_404_for_an_unknown_token(self, http: httpx.Client) -> None:
        assert http.get("/tokens/1").status_code == 404

    @pytest.mark.parametrize("token", ["abc", "1.5", "-1", "٣", "9" * 30])
    def test_answers_400_for_what_is_no_number(self, http: httpx.Client, token: str) -> None:
        assert http.get(f"/tokens/{token}").status_code == 400

    def test_answers_404_for_a_path_or_method_that_does_not_exist(self, http: httpx.Client) -> None:
        assert http.get("/cards").status_code == 404
        assert http.delete("/tokens/100005").status_code == 404
        assert http.get("/tokens/100005/").status_code == 404


class TestPatching:
    def test_changes_what_was_asked_and_nothing_else(
        self, api: SimulatedApi, http: httpx.Client
    ) -> None:
        before = api.token(100005)
        assert before is not None
        asked = {
            "validFrom": "2025-01-01T00:00:00.000Z",
            "expiresAt": "2025-12-31T23:59:59.999Z",
            "isActive": False,
            "roamingEnabled": False,
            "priorityChargingEnabled": True,
            "billingReference": "x" * 100,
            "comment": "Åse's kort",
            "customerId": CUSTOMERS[-1],
        }
        answer = http.patch("/tokens/100005", json=asked | {"identifier": {"appUserId": 7}})
        after = answer.json()
        identifier = before["identifier"] | {"appUserId": 7}
        updated = {"updatedAt": after["updatedAt"], "identifier": identifier}
        assert (answer.status_code, after) == (200, before | asked | updated)
        assert api.token(100005) == after

    def test_dates_the_update(self, http: httpx.Client) -> None:
        told = http.patch("/tokens/100005", json={}).json()["updatedAt"]
        assert datetime.now(UTC) - datetime.fromisoformat(told) < timedelta(seconds=5)

    @pytest.mark.parametrize("field", ["expiresAt", "billingReference", "comment"])
    def test_empties_nullable_fields(self, http: httpx.Client, field: str) -> None:
        assert http.patch("/tokens/100005", json={field: None}).json()[field] is None

    def test_tells_dates_in_utc_with_milliseconds(self, http: httpx.Client) -> None:
        answer = http.patch("/tokens/100005", json={"validFrom": "2026-01-01T01:00:00.9876+02:00"})
        assert answer.json()["validFrom"] == "2025-12-31T23:00:00.987Z"

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"validFrom": None}, "validFrom"),
            ({"validFrom": "31.12.2026"}, "validFrom"),
            ({"validFrom": "2026-12-31"}, "validFrom"),
            ({"validFrom": "2026-12-31T00:00:00"}, "validFrom"),
            ({"validFrom": 1767225600}, "validFrom"),
            ({"expiresAt": "0001-01-01T00:00:00+14:00"}, "expiresAt"),
            ({"expiresAt": ""}, "expiresAt"),
            ({"isActive": None}, "isActive"),
            ({"isActive": "true"}, "isActive"),
            ({"roamingEnabled": 1}, "roamingEnabled"),
            ({"priorityChargingEnabled": None}, "priorityChargingEnabled"),
            ({"comment": "x" * 101}, "comment"),
            ({"comment": 7}, "comment"),
            ({"billingReference": "x" * 101}, "billingReference"),
            ({"customerId": None}, "customerId"),
            ({"customerId": "2001"}, "customerId"),
            ({"customerId": True}, "customerId"),
            ({"customerId": 2**70}, "customerId"),
            ({"identifier": {"appUserId": "7"}}, "identifier.appUserId"),
            ({"identifier": {"appUserId": 7, "uid": "04"}}, "identifier"),
            ({"identifier": {}}, "identifier"),
            ({"identifier": None}, "identifier"),
            ({"active": True}, "active"),
            ({"id": 100006}, "id"),
        ],
    )
    def test_refuses_a_wrong_body_naming_the_field(
        self, api: SimulatedApi, http: httpx.Client, body: dict[str, Any], param: str
    ) -> None:
        before = api.token(100005)
        answer = http.patch("/tokens/100005", json=body)
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (400, param)
        assert param in error["message"]
        assert api.token(100005) == before

    @pytest.mark.parametrize(
        "content",
        [
            *(b"", b"comment=x", b"[]", b"null", b"\xff", b"[" * 9999),
            *(b'{"comment": "\\ud800"}', b'{"\\ud800": 1}', b'{"comment": NaN}'),
            b'{"customerId": 1e999}',
        ],
    )
    def test_refuses_what_is_no_json_object(self, http: httpx.Client, content: bytes) -> None:
        assert http.patch("/tokens/100005", content=content).status_code == 400

    def test_answers_404_for_an_unknown_token_and_for_an_unknown_customer(
        self, http: httpx.Client
    ) -> None:
        token = http.patch("/tokens/1", json={"comment": "x"})
        customer = http.patch("/tokens/100005", json={"customerId": 9})
        assert (token.status_code, token.json()["error"]["code"]) == (404, "token_not_found")
        assert (customer.status_code, customer.json()["error"]["code"]) == (
            404,
            "customer_not_found",
        )

    def test_leaves_the_defaults_alone_in_one_reading(
        self, api: SimulatedApi, http: httpx.Client
    ) -> None:
        api.change(100005, isActive=False, roamingEnabled=False)
        before = api.token(100005)
        assert before is not None
        after = http.patch("/tokens/100005", json={"comment": "x"}).json()
        assert after == before | {"comment": "x", "updatedAt": after["updatedAt"]}

    def test_applies_the_defaults_in_the_other(self) -> None:
        with SimulatedApi(tokens=5, behaviour=Behaviour(applies_defaults=True)) as api:
            api.change(100005, isActive=False, roamingEnabled=False)
            with client(api) as http:
                changed = http.patch("/tokens/100005", json={"comment": "x"}).json()
                kept = http.patch("/tokens/100005", json={"isActive": False}).json()
        assert (changed["isActive"], changed["roamingEnabled"]) == (True, True)
        assert changed["validFrom"] == changed["updatedAt"]
        assert kept["isActive"] is False


class TestKeys:
    @pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer"}, {"Authorization": "key"}])
    def test_refuses_a_missing_key_on_every_request(
        self, api: SimulatedApi, header: dict[str, str]
    ) -> None:
        url = f"{api.url}/v2/tokens"
        assert httpx.get(url, headers=header).status_code == 401
        assert httpx.patch(f"{url}/100005", headers=header, json={}).status_code == 401

    def test_answers_a_wrong_key_with_403_in_the_older_reading(self) -> None:
        behaviour = Behaviour(key="right", bad_key_status=403)
        with SimulatedApi(tokens=5, behaviour=behaviour) as api:
            with client(api, "wrong") as http:
                assert http.get("/tokens").status_code == 403
            with client(api, "right") as http:
                assert http.get("/tokens").status_code == 200

    def test_lets_a_read_only_key_read(self) -> None:
        behaviour = Behaviour(read_only_key=True)
        with SimulatedApi(tokens=5, behaviour=behaviour) as api, client(api) as http:
            assert http.get("/tokens").status_code == 200
            refused = http.patch("/tokens/100005", json={})
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "insufficient_permission"

    def test_expires_after_its_writes_and_another_takes_over(self) -> None:
        behaviour = Behaviour(key="old", key_expires_after=2)
        with SimulatedApi(tokens=5, behaviour=behaviour) as api:
            with client(api, "old") as http:
                writes = [http.patch("/tokens/100005", json={}).status_code for _ in range(3)]
                read = http.get("/tokens").status_code
            api.accept_key("new")
            with client(api, "new") as http:
                renewed = http.patch("/tokens/100005", json={}).status_code
        assert (writes, read, renewed) == ([200, 200, 401], 401, 200)


class TestErrorBodies:
    def test_tell_type_code_and_request_id_in_the_newer_reading(self, http: httpx.Client) -> None:
        first, second = (http.get("/tokens/1").json()["error"] for _ in range(2))
        assert first.keys() == {"type", "code", "message", "param", "request_id"}
        assert first["request_id"] != second["request_id"]

    def test_tell_only_a_message_in_the_older_one(self) -> None:
        behaviour = Behaviour(error_body=ErrorBody.OLD)
        with SimulatedApi(tokens=5, behaviour=behaviour) as api, client(api) as http:
            assert http.get("/tokens/1").json() == {"message": "Token not found."}


class TestAccount:
    def test_is_the_same_for_the_same_seed(self) -> None:
        assert list(sample.tokens(500, 7)) == list(sample.tokens(500, 7))
        assert list(sample.tokens(500, 7)) != list(sample.tokens(500, 8))

    def test_begins_the_same_whatever_its_size(self) -> None:
        assert list(sample.tokens(900))[:30] == list(sample.tokens(30))

    def test_has_only_cards_among_the_first_400_and_all_kinds_after(self) -> None:
        tokens = list(sample.tokens(5000))
        assert {token["type"] for token in tokens[:400]} == {"rfid"}
        shares = {kind: sum(token["type"] == kind for token in tokens) for kind in sample._LABELS}
        assert 4100 < shares["rfid"] < 4500
        assert 400 < shares["virtual"] < 600
        assert 150 < shares["vehicleId"] < 350

    def test_has_no_uid_twice(self) -> None:
        uids = [token["uid"] for token in sample.tokens(5000) if token["uid"]]
        assert len(uids) == len(set(uids))

    def test_lives_on_in_its_file(self, tmp_path: Path) -> None:
        store = tmp_path / "account.db"
        with SimulatedApi(store, tokens=5) as api:
            api.change(100005, comment="kept")
            api.delete(100001)
            before = api.tokens()
        with SimulatedApi(store, tokens=50, seed=9) as api:
            assert api.tokens() == before
            assert (api.token(100005) or {})["comment"] == "kept"

    def test_can_be_changed_behind_the_clients_back(
        self, api: SimulatedApi, http: httpx.Client
    ) -> None:
        api.change(100005, comment="by someone else", appUserId=7)
        api.delete(100006)
        token = http.get("/tokens/100005").json()
        assert (token["comment"], token["identifier"]["appUserId"]) == ("by someone else", 7)
        assert http.get("/tokens/100006").status_code == 404
        assert api.token(100006) is None

    def test_refuses_changes_that_cannot_be(self, api: SimulatedApi) -> None:
        with pytest.raises(KeyError):
            api.change(1, comment="x")
        with pytest.raises(KeyError):
            api.delete(1)
        with pytest.raises(ValueError, match="colour"):
            api.change(100005, colour="red")


class TestRecord:
    def test_keeps_every_request_in_order(self, api: SimulatedApi, http: httpx.Client) -> None:
        http.get("/tokens?limit=1")
        http.patch("/tokens/100005", json={"comment": "x"})
        http.patch("/tokens/100005", content=b"no json")
        read, write, refused = api.requests
        assert (read.method, read.path, read.query) == ("GET", "/v2/tokens", "limit=1")
        assert (read.status, read.applied, read.body, read.token_id) == (200, False, None, None)
        assert (write.token_id, write.body, write.applied) == (100005, {"comment": "x"}, True)
        assert (refused.status, refused.body, refused.applied) == (400, "no json", False)
        assert read.finished is not None
        assert read.arrived <= read.finished <= write.arrived
        assert (api.reads, api.writes) == ([read], [write, refused])

    def test_can_be_asked_for_over_http(self, api: SimulatedApi, http: httpx.Client) -> None:
        http.get("/tokens/1")
        http.patch("/tokens/100005", json={"comment": "x"})
        http.patch("/tokens/100005", content=b'{"comment": NaN}')
        told = httpx.get(f"{api.url}/_simulator/requests").json()
        assert (told["reads"], told["writes"], told["applied"]) == (1, 2, 1)
        assert told["requests"][1]["body"] == {"comment": "x"}
        assert len(api.requests) == 3
