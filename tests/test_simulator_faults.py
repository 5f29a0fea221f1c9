"""Every fault as a client meets it, and how faults are chosen."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.simulator import Behaviour, Fault, Faults, Outage, Planned, SimulatedApi
from batch.simulator.faults import Chooser

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading authorities would take most of a test
STATUSES = [fault for fault in Fault if fault.status]
SILENT = [Fault.DROP, Fault.DROP_APPLIED, Fault.STALL, Fault.STALL_APPLIED]


@pytest.fixture
def api() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=20, behaviour=Behaviour(limits=None)) as running:
        yield running


@pytest.fixture
def http(api: SimulatedApi) -> Iterator[httpx.Client]:
    headers = {"Authorization": "Bearer key"}
    with httpx.Client(base_url=f"{api.url}/v2", headers=headers, verify=NO_TLS) as opened:
        yield opened


def patch(http: httpx.Client, token: int = 100005) -> httpx.Response:
    return http.patch(f"/tokens/{token}", json={"comment": "asked"})


def comment(api: SimulatedApi, token: int = 100005) -> str | None:
    text: str | None = (api.token(token) or {})["comment"]
    return text


class TestEachFault:
    @pytest.mark.parametrize("fault", STATUSES)
    def test_with_a_status_is_answered_so(
        self, api: SimulatedApi, http: httpx.Client, fault: Fault
    ) -> None:
        api.faults = Faults(script=[Planned(fault)])
        assert patch(http).status_code == fault.status
        assert (api.writes[0].status, api.writes[0].fault) == (fault.status, fault)

    @pytest.mark.parametrize("fault", SILENT)
    def test_that_cuts_the_connection_leaves_no_answer(
        self, api: SimulatedApi, http: httpx.Client, fault: Fault
    ) -> None:
        api.faults = Faults(script=[Planned(fault)], stall=0.05)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            patch(http)
        assert api.writes[0].status is None

    @pytest.mark.parametrize("fault", list(Fault))
    def test_applies_or_does_not_as_it_says(
        self, api: SimulatedApi, http: httpx.Client, fault: Fault
    ) -> None:
        api.change(100005, comment="before")
        api.faults = Faults(script=[Planned(fault)], stall=0.05)
        with contextlib.suppress(httpx.TransportError):
            patch(http)
        assert comment(api) == ("asked" if fault.applies else "before")
        assert api.writes[0].applied is fault.applies
        assert patch(http).status_code == 200

    def test_stall_lasts_until_the_client_gives_up(
        self, api: SimulatedApi, http: httpx.Client
    ) -> None:
        api.faults = Faults(script=[Planned(Fault.STALL)])
        with pytest.raises(httpx.ReadTimeout):
            http.patch("/tokens/100005", json={}, timeout=0.1)
        assert patch(http).status_code == 200

    def test_truncated_is_whole_for_http_and_broken_for_json(
        self, api: SimulatedApi, http: httpx.Client
    ) -> None:
        api.faults = Faults(script=[Planned(Fault.TRUNCATED)])
        answer = patch(http)
        assert answer.status_code == 200
        assert answer.text.startswith('{"id":100005')
        with pytest.raises(json.JSONDecodeError):
            answer.json()

    def test_html_and_empty_are_200_without_json(
        self, api: SimulatedApi, http: httpx.Client
    ) -> None:
        api.faults = Faults(script=[Planned(Fault.HTML), Planned(Fault.EMPTY, nth=2)])
        html, empty = patch(http), patch(http)
        assert (html.status_code, html.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert (empty.status_code, empty.content) == (200, b"")

    def test_half_breaks_off_within_the_body(self, api: SimulatedApi, http: httpx.Client) -> None:
        api.faults = Faults(script=[Planned(Fault.HALF)])
        with http.stream("PATCH", "/tokens/100005", json={"comment": "asked"}) as answer:
            parts = answer.iter_raw()
            received = next(parts)
            with pytest.raises(httpx.RemoteProtocolError):
                next(parts)
        assert answer.status_code == 200
        assert received.startswith(b'{"id":100005')
        assert len(received) < int(answer.headers["Content-Length"])

    def test_does_not_apply_what_the_api_would_refuse(
        self, api: SimulatedApi, http: httpx.Client
    ) -> None:
        api.faults = Faults(rates={Fault.SERVER_ERROR_APPLIED: 1.0})
        assert http.patch("/tokens/100005", json={"colour": "red"}).status_code == 500
        assert http.patch("/tokens/1", json={}).status_code == 500
        assert [write.applied for write in api.writes] == [False, False]

    def test_of_a_read_is_answered_too(self, api: SimulatedApi, http: httpx.Client) -> None:
        api.faults = Faults(script=[Planned(Fault.UNAVAILABLE, method="GET", times=2)])
        statuses = [http.get("/tokens?limit=1").status_code for _ in range(3)]
        assert statuses == [503, 503, 200]


class TestRetryAfter:
    @pytest.mark.parametrize("fault", [Fault.TOO_MANY, Fault.UNAVAILABLE_APPLIED])
    def test_is_sent_when_wanted(self, api: SimulatedApi, http: httpx.Client, fault: Fault) -> None:
        api.faults = Faults(script=[Planned(fault)], retry_after=7)
        assert patch(http).headers["Retry-After"] == "7"

    def test_is_left_out_otherwise_and_where_it_means_nothing(
        self, api: SimulatedApi, http: httpx.Client
    ) -> None:
        api.faults = Faults(script=[Planned(Fault.TOO_MANY)])
        assert "Retry-After" not in patch(http).headers
        api.faults = Faults(script=[Planned(Fault.CONFLICT)], retry_after=7)
        assert "Retry-After" not in patch(http).headers

    def test_can_be_a_date(self) -> None:
        behaviour = Behaviour(retry_after_as_date=True)
        faults = Faults(rates={Fault.TOO_MANY: 1.0}, retry_after=100)
        with SimulatedApi(tokens=5, behaviour=behaviour, faults=faults) as api:
            headers = {"Authorization": "Bearer key"}
            refused = httpx.get(f"{api.url}/v2/tokens", headers=headers)
        until = parsedate_to_datetime(refused.headers["Retry-After"]).timestamp()
        assert until - time.time() == pytest.approx(100, abs=3)


class TestLatency:
    def test_delays_the_answer(self, api: SimulatedApi, http: httpx.Client) -> None:
        api.faults = Faults(latency=0.05, jitter=0.02)
        patch(http)
        request = api.requests[0]
        assert request.finished is not None
        assert 0.05 <= request.finished - request.arrived < 0.5

    def test_lets_a_change_arrive_after_the_client_gave_up(
        self, api: SimulatedApi, http: httpx.Client
    ) -> None:
        api.change(100005, comment="before")
        api.faults = Faults(latency=0.2)
        with pytest.raises(httpx.ReadTimeout):
            http.patch("/tokens/100005", json={"comment": "late"}, timeout=0.05)
        assert comment(api) == "before"
        time.sleep(0.3)
        assert comment(api) == "late"


class TestOutage:
    def test_answers_503_to_everything_until_it_is_over(
        self, api: SimulatedApi, http: httpx.Client
    ) -> None:
        api.outage = Outage.UNAVAILABLE
        assert [http.get("/tokens").status_code, patch(http).status_code] == [503, 503]
        assert httpx.get(f"{api.url}/v2/tokens").status_code == 503
        api.faults = Faults(retry_after=7)
        assert patch(http).headers["Retry-After"] == "7"
        api.outage = None
        assert patch(http).status_code == 200
        assert [write.applied for write in api.writes] == [False, False, True]

    def test_can_be_a_page_that_is_not_the_api(self, api: SimulatedApi, http: httpx.Client) -> None:
        api.outage = Outage.NOT_THE_API
        for answer in (http.get("/tokens"), patch(http), httpx.get(api.url)):
            assert answer.status_code == 200
            assert answer.headers["Content-Type"].startswith("text/html")
        assert not any(request.applied for request in api.requests)


class TestScript:
    def test_hits_the_nth_request_to_a_token(self, api: SimulatedApi, http: httpx.Client) -> None:
        script = [Planned(Fault.CONFLICT, token=100005, nth=3)]
        api.faults = Faults(script=script)
        tokens = [100005, 100006, 100005, 100006, 100006, 100005, 100005]
        statuses = [patch(http, token).status_code for token in tokens]
        assert statuses == [200, 200, 200, 200, 200, 409, 200]

    def test_goes_on_for_as_long_as_it_says(self) -> None:
        chooser = Chooser(Faults(script=[Planned(Fault.DROP, nth=2, times=float("inf"))]))
        faults = [chooser.choose("PATCH", "/t", 1)[0] for _ in range(4)]
        assert faults == [None, Fault.DROP, Fault.DROP, Fault.DROP]

    def test_goes_before_the_rates_and_the_first_match_counts(self) -> None:
        script = [Planned(Fault.DROP), Planned(Fault.CONFLICT, times=2)]
        chooser = Chooser(Faults(rates={Fault.HTML: 1.0}, script=script))
        faults = [chooser.choose("PATCH", "/t", 1)[0] for _ in range(3)]
        assert faults == [Fault.DROP, Fault.CONFLICT, Fault.HTML]


class TestRates:
    def test_are_met_by_about_their_share(self) -> None:
        chooser = Chooser(Faults(rates={Fault.DROP: 0.1, Fault.TOO_MANY: 0.2}))
        faults = [chooser.choose("PATCH", f"/{token}", token)[0] for token in range(5000)]
        assert 400 < faults.count(Fault.DROP) < 600
        assert 850 < faults.count(Fault.TOO_MANY) < 1150

    def test_are_about_the_methods_named(self) -> None:
        chooser = Chooser(Faults(rates={Fault.DROP: 1.0}, methods=["PATCH"]))
        assert chooser.choose("GET", "/", None)[0] is None
        assert chooser.choose("PATCH", "/1", 1)[0] is Fault.DROP

    @given(st.permutations([*range(8), *range(8)]), st.integers(0, 99))
    def test_meet_a_request_the_same_whatever_comes_between(
        self, order: list[int], seed: int
    ) -> None:
        faults = Faults(rates={Fault.DROP: 0.3, Fault.STALL: 0.3}, seed=seed, jitter=1.0)

        def met(tokens: list[int]) -> dict[int, list[tuple[Fault | None, float]]]:
            chooser = Chooser(faults)
            found: dict[int, list[tuple[Fault | None, float]]] = {token: [] for token in range(8)}
            for token in tokens:
                found[token].append(chooser.choose("PATCH", f"/{token}", token))
            return found

        assert met(order) == met(sorted(order))

    @pytest.mark.parametrize("rates", [{Fault.DROP: 0.6, Fault.HTML: 0.5}, {Fault.DROP: -0.1}])
    def test_that_make_no_sense_are_refused(self, rates: dict[Fault, float]) -> None:
        with pytest.raises(ValueError, match="shares of one"):
            Faults(rates=rates)
