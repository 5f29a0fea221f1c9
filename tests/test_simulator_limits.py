"""The simulated API's rate limits, by arithmetic and over the wire."""

from __future__ import annotations

import ssl
import time
from email.utils import parsedate_to_datetime

import httpx
import pytest

from batch.models import Rate
from batch.simulator import Behaviour, Limits, SimulatedApi, Window
from batch.simulator.limits import Limiter

HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # loading authorities would take most of a test
SOME = Rate(3, 10.0)
LONG = Limits(writes=Rate(2, 3600.0), window=Window.SLIDING)  # no test lives to see it reset


def allowed(limiter: Limiter, times: list[float]) -> list[bool]:
    return [limiter.rule(time, write=True).allowed for time in times]


def client(api: SimulatedApi) -> httpx.Client:
    headers = {"Authorization": "Bearer key"}
    return httpx.Client(base_url=f"{api.url}/v2", headers=headers, verify=NO_TLS)


class TestWindows:
    def test_a_fixed_one_starts_empty_on_the_clock(self) -> None:
        limiter = Limiter(Limits(writes=SOME))
        assert allowed(limiter, [108.0, 108.1, 109.0, 109.9]) == [True, True, True, False]
        assert allowed(limiter, [110.0, 110.1, 110.2, 119.9]) == [True, True, True, False]

    def test_a_sliding_one_frees_a_place_when_its_request_is_old_enough(self) -> None:
        limiter = Limiter(Limits(writes=SOME, window=Window.SLIDING))
        assert allowed(limiter, [108.0, 108.1, 109.0, 110.0]) == [True, True, True, False]
        assert allowed(limiter, [117.9, 118.0, 118.05]) == [False, True, False]

    @pytest.mark.parametrize(("window", "reset"), [(Window.FIXED, "110"), (Window.SLIDING, "118")])
    def test_headers_tell_what_is_left_and_until_when(self, window: Window, reset: str) -> None:
        limiter = Limiter(Limits(writes=SOME, window=window))
        rulings = [limiter.rule(108.0, write=True) for _ in range(4)]
        assert [ruling.remaining for ruling in rulings] == [2, 1, 0, 0]
        assert rulings[3].headers() == dict(zip(HEADERS, ("3", "0", reset), strict=True))

    def test_reads_and_writes_have_a_budget_each(self) -> None:
        limiter = Limiter(Limits(writes=Rate(1, 10.0), reads=Rate(1, 10.0)))
        assert limiter.rule(1.0, write=True).allowed
        assert limiter.rule(1.0, write=False).allowed
        assert not limiter.rule(1.0, write=False).allowed

    def test_reads_and_writes_share_one_in_the_older_reading(self) -> None:
        limiter = Limiter(Limits(writes=Rate(2, 10.0), reads=None))
        assert limiter.rule(1.0, write=True).allowed
        assert limiter.rule(1.0, write=False).allowed
        assert not limiter.rule(1.0, write=True).allowed

    def test_the_defaults_are_those_of_the_newer_page(self) -> None:
        assert Limits() == Limits(writes=Rate(120, 60.0), reads=Rate(600, 60.0))


class TestAnswers:
    def test_carry_the_headers_whatever_their_status(self) -> None:
        with SimulatedApi(tokens=5) as api, client(api) as http:
            read, missing = http.get("/tokens/100001"), http.get("/tokens/1")
            write = http.patch("/tokens/100001", json={})
        assert read.headers["X-RateLimit-Limit"] == missing.headers["X-RateLimit-Limit"] == "600"
        assert write.headers["X-RateLimit-Limit"] == "120"
        assert write.headers["X-RateLimit-Remaining"] == "119"
        assert 0 < int(write.headers["X-RateLimit-Reset"]) - time.time() <= 61

    def test_carry_none_when_there_is_no_limit(self) -> None:
        with SimulatedApi(tokens=5, behaviour=Behaviour(limits=None)) as api, client(api) as http:
            assert not set(HEADERS) & set(http.get("/tokens").headers)

    def test_beyond_the_limit_are_429_and_nothing_is_applied(self) -> None:
        behaviour = Behaviour(limits=LONG)
        with SimulatedApi(tokens=5, behaviour=behaviour) as api, client(api) as http:
            answers = [http.patch("/tokens/100001", json={}) for _ in range(3)]
            assert [write.applied for write in api.writes] == [True, True, False]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        refused = answers[2]
        assert refused.headers["X-RateLimit-Remaining"] == "0"
        wait = int(refused.headers["X-RateLimit-Reset"]) - time.time()
        assert int(refused.headers["Retry-After"]) == pytest.approx(wait, abs=2)

    def test_name_the_wait_as_a_date_in_the_other_form(self) -> None:
        behaviour = Behaviour(limits=LONG, retry_after_as_date=True)
        with SimulatedApi(tokens=5, behaviour=behaviour) as api, client(api) as http:
            refused = [http.patch("/tokens/100001", json={}) for _ in range(3)][2]
        until = parsedate_to_datetime(refused.headers["Retry-After"]).timestamp()
        assert until == pytest.approx(int(refused.headers["X-RateLimit-Reset"]), abs=1)

    def test_allow_requests_again_after_the_window(self) -> None:
        limits = Limits(writes=Rate(2, 0.2), window=Window.SLIDING)
        with SimulatedApi(tokens=5, behaviour=Behaviour(limits=limits)) as api, client(api) as http:
            before = [http.patch("/tokens/100001", json={}).status_code for _ in range(3)]
            time.sleep(0.25)
            after = http.patch("/tokens/100001", json={}).status_code
        assert (before, after) == ([200, 200, 429], 200)
