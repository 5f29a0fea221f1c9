"""Operations become true outcomes: order, probe, doubt, and when to stop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runs import (
    FIRST,
    NOBODY,
    Cells,
    Quiet,
    apply,
    by_token,
    comments,
    hurry,
    lines,
    most_at_once,
    most_in_a_window,
    moved,
    resume,
    shows,
    statuses,
)
from starlette.responses import Response

from batch.errors import KeyRefused, NotAsAsked, StopRun, Unavailable
from batch.journal import Journal
from batch.models import Rate
from batch.send import Sender
from batch.simulator import (
    Behaviour,
    ErrorBody,
    Fault,
    Faults,
    Limits,
    Outage,
    Planned,
    SimulatedApi,
    Window,
)
from batch.simulator.answers import ApiError

FOREVER = float("inf")
NO_LIMITS = Behaviour(limits=None)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The longest outage is short, and probed often."""
    monkeypatch.setattr("batch.send.outage.FIRST_GAP", 0.02)

    def sender(*arguments: Any, **named: Any) -> Sender:
        return Sender(*arguments, **named | {"max_outage": 0.2})

    monkeypatch.setattr("batch.run.Sender", sender)


@pytest.fixture
def api() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=250, behaviour=NO_LIMITS) as running:
        yield running


def account(behaviour: Behaviour, faults: Faults | None = None) -> SimulatedApi:
    return SimulatedApi(tokens=700, behaviour=behaviour, faults=faults)


def ids(api: SimulatedApi, count: int, **having: object) -> list[int]:
    """The first tokens of the account that are so."""
    return [number for number, token in api.tokens().items() if shows(token, having)][:count]


class TestOrder:
    def test_behind_what_shows_the_most_deactivations_go_first_then_the_order_of_the_sheet(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        off = ids(api, 6, isActive=True)[3:6]
        rows: list[Cells] = [*comments(3), *({"id": token, "isActive": "no"} for token in off)]
        apply(api, tmp_path, rows, workers=1)
        assert [request.token_id for request in api.writes] == [FIRST, *off, FIRST + 1, FIRST + 2]

    def test_the_first_operation_goes_alone(self, api: SimulatedApi, tmp_path: Path) -> None:
        api.faults = Faults(latency=0.03)
        apply(api, tmp_path, comments(20))
        first, *others = api.writes
        assert first.finished is not None
        assert min(request.arrived for request in others) >= first.finished
        assert most_at_once(others) > 1

    def test_operations_go_alone_until_an_answer_was_compared(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        # A token that is gone, and one whose every answer is lost, prove nothing about the API.
        api.faults = Faults(
            latency=0.02,
            script=[
                Planned(Fault.NOT_FOUND, token=FIRST),
                Planned(Fault.DROP_APPLIED, token=FIRST + 1, times=FOREVER),
            ],
        )
        ended = apply(api, tmp_path, comments(20), tries=2)
        alone = [FIRST, FIRST + 1, FIRST + 1, FIRST + 1, FIRST + 2]
        before = [r for r in api.requests if r.token_id in alone]
        after = [r for r in api.requests if r.token_id and r.token_id > FIRST + 2]
        assert [request.token_id for request in before] == alone
        assert most_at_once(before) == 1
        assert max(r.finished or FOREVER for r in before) <= min(r.arrived for r in after)
        assert statuses(ended) == ["not_found", *["updated"] * 19]

    @pytest.mark.parametrize("workers", [1, 3, 8])
    def test_never_more_than_the_workers_are_under_way(
        self, api: SimulatedApi, tmp_path: Path, workers: int
    ) -> None:
        api.faults = Faults(rates={Fault.SERVER_ERROR: 0.2, Fault.DROP: 0.1}, latency=0.005)
        apply(api, tmp_path, comments(30), workers=workers, tries=5)
        assert most_at_once(api.writes) == workers

    def test_never_two_requests_for_one_token_at_once(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        rates = {Fault.SERVER_ERROR: 0.15, Fault.DROP: 0.15, Fault.HTML: 0.1, Fault.TOO_MANY: 0.1}
        api.faults = Faults(rates=rates, methods=("PATCH",), jitter=0.02, retry_after=0)
        rows: list[Cells] = [
            *comments(40),
            *({**row, "billingReference": "B"} for row in comments(40)),
        ]
        apply(api, tmp_path, rows, workers=32)
        assert len(api.writes) > 50
        assert all(most_at_once(requests) == 1 for requests in by_token(api.requests).values())


# What one bad answer to the second of three tokens comes to, when the next answer is good:
# its attempts, and for the final ones the status, code and message.
FINAL = {
    Fault.BAD_REQUEST: ("rejected", "invalid_request", "The request was refused."),
    Fault.FORBIDDEN: (
        "rejected",
        "insufficient_permission",
        "This key may not change this token.",
    ),
    Fault.NOT_FOUND: ("not_found", "token_not_found", "Token not found."),
    Fault.CONFLICT: ("rejected", "conflict", "The token is being changed by another request."),
    Fault.UNPROCESSABLE: ("rejected", "unprocessable", "The token cannot be changed so."),
}
PASSING = [fault for fault in Fault if fault not in FINAL]
NO_STATUS = {
    Fault.DROP,
    Fault.DROP_APPLIED,
    Fault.STALL,
    Fault.STALL_APPLIED,
    Fault.HALF,
}


class TestOneFault:
    @pytest.mark.parametrize("shape", list(ErrorBody))
    @pytest.mark.parametrize("fault", FINAL)
    def test_of_the_row_itself_is_final(
        self, tmp_path: Path, fault: Fault, shape: ErrorBody
    ) -> None:
        faults = Faults(script=[Planned(fault, token=FIRST + 1)])
        with account(Behaviour(limits=None, error_body=shape), faults) as api:
            ended = apply(api, tmp_path, comments(3), workers=1)
            status, code, message = FINAL[fault]
            assert statuses(ended) == ["updated", status, "updated"]
            line = lines(ended)[1]
            new = shape is ErrorBody.NEW
            assert line["attempts"] == "1"
            assert line["http_status"] == str(fault.status)
            assert line["code"] == (code if new else "")
            assert line["message"] == message
            assert line["request_id"] == ("req_00000003" if new else "")
            assert ended.stop is None

    @pytest.mark.parametrize("fault", PASSING)
    def test_that_passes_costs_one_more_attempt(
        self, api: SimulatedApi, tmp_path: Path, fault: Fault
    ) -> None:
        api.faults = Faults(script=[Planned(fault, token=FIRST + 1)], retry_after=0)
        ended = apply(api, tmp_path, comments(3), workers=1, timeout=1.0)
        assert statuses(ended) == ["updated"] * 3
        assert [line["attempts"] for line in lines(ended)] == ["1", "2", "1"]
        assert {line["http_status"] for line in lines(ended)} == {"200"}
        assert ended.summary.requests.retries == 1
        assert ended.summary.requests.refusals_429 == (fault is Fault.TOO_MANY)
        assert ended.summary.requests.total == len(api.requests)

    @pytest.mark.parametrize("fault", PASSING)
    def test_that_stays_is_decided_by_reading_the_token(
        self, api: SimulatedApi, tmp_path: Path, fault: Fault
    ) -> None:
        api.faults = Faults(script=[Planned(fault, token=FIRST + 1, times=FOREVER)], retry_after=0)
        ended = apply(api, tmp_path, comments(3), workers=1, tries=2, timeout=0.3)
        assert statuses(ended) == ["updated", "updated" if fault.applies else "failed", "updated"]
        line = lines(ended)[1]
        status = fault.status or (None if fault in NO_STATUS else 200)
        assert line["http_status"] == str(status or "")
        assert line["attempts"] == ("8" if fault is Fault.TOO_MANY else "2")
        assert f"no success in {line['attempts']} tries" in line["message"]
        asked = {"comment": "asked 1"}
        assert shows(api.token(FIRST + 1), asked) == fault.applies

    @pytest.mark.parametrize("fault", [Fault.DROP, Fault.DROP_APPLIED, Fault.UNAVAILABLE])
    def test_that_also_keeps_the_token_from_being_read_leaves_it_unknown_until_resumed(
        self, api: SimulatedApi, tmp_path: Path, fault: Fault
    ) -> None:
        lasting = [
            Planned(fault, method, token=FIRST + 1, times=FOREVER) for method in ("PATCH", "GET")
        ]
        api.faults = Faults(script=lasting, retry_after=0)
        ended = apply(api, tmp_path, comments(3), workers=1, tries=2)
        assert statuses(ended) == ["updated", "unknown", "updated"]
        assert lines(ended)[1]["attempts"] == "2"
        api.faults = Faults()
        assert statuses(resume(api, tmp_path)) == ["updated"] * 3

    def test_that_comes_later_than_we_wait_is_seen_when_resumed(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        # Every request is acted upon after its sender gave up on it.
        slow = Quiet(confirmed=lambda: setattr(api, "faults", Faults(latency=0.3)))
        ended = apply(api, tmp_path, comments(2), slow, tries=1, timeout=0.1)
        assert statuses(ended) == ["unknown"] * 2
        time.sleep(0.3)
        api.faults = Faults()
        assert statuses(resume(api, tmp_path)) == ["updated"] * 2
        assert len(api.writes) == 2

    def test_a_refusal_after_a_lost_answer_does_not_hide_that_the_change_stands(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        script = [
            Planned(Fault.DROP_APPLIED, token=FIRST + 1),
            Planned(Fault.CONFLICT, token=FIRST + 1, nth=2),
        ]
        api.faults = Faults(script=script)
        ended = apply(api, tmp_path, comments(3), workers=1)
        assert statuses(ended) == ["updated"] * 3
        assert lines(ended)[1]["attempts"] == "2"

    @pytest.mark.timeout(10)
    def test_told_in_characters_that_no_file_takes_is_still_told(
        self, api: SimulatedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # JSON can hold half a character, and Python's text too; UTF-8 cannot.
        body = b'{"error": {"code": "odd", "message": "half: \\ud83d", "request_id": "r"}}'
        monkeypatch.setattr(ApiError, "response", lambda *_: Response(body, 409))
        api.faults = Faults(script=[Planned(Fault.CONFLICT, token=FIRST + 1)])
        ended = apply(api, tmp_path, comments(3))
        assert statuses(ended) == ["updated", "rejected", "updated"]
        assert lines(ended)[1]["message"].startswith("half: ")

    def test_a_customer_who_does_not_exist_is_not_found(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        ended = apply(api, tmp_path, [*comments(2), {"id": FIRST + 2, "customerId": 77}])
        assert statuses(ended) == ["updated", "updated", "not_found"]
        assert lines(ended)[2]["code"] == "customer_not_found"


class TestAnswersThatShowSomethingElse:
    def test_a_200_without_what_was_asked_is_not_updated(
        self, api: SimulatedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _swallow(api, monkeypatch, FIRST + 1)
        ended = apply(api, tmp_path, comments(3), workers=1)
        assert statuses(ended) == ["updated", "failed", "updated"]
        assert lines(ended)[1]["code"] == "not_as_asked"
        assert 'comment is "other" instead of "asked 1"' in lines(ended)[1]["message"]

    def test_a_200_with_an_older_state_is_looked_into(
        self, api: SimulatedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        change = api._store.change

        def told_as_before(token: int, changes: dict[str, object]) -> object:
            before = api._store.get(token)
            change(token, changes)  # type: ignore[arg-type]
            return before

        monkeypatch.setattr(api._store, "change", told_as_before)
        ended = apply(api, tmp_path, comments(3))
        assert statuses(ended) == ["updated"] * 3
        assert "read once more" in lines(ended)[0]["message"]

    def test_on_the_probe_it_stops_the_run(
        self, api: SimulatedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _swallow(api, monkeypatch, FIRST)
        ended = apply(api, tmp_path, comments(3))
        assert isinstance(ended.stop, NotAsAsked)
        assert statuses(ended) == ["failed", "not_sent", "not_sent"]
        assert len(api.writes) == 1

    @pytest.mark.parametrize("field", ["isActive", "roamingEnabled"])
    def test_a_side_effect_on_the_probe_stops_after_one_write(
        self, tmp_path: Path, field: str
    ) -> None:
        with account(Behaviour(limits=None, applies_defaults=True)) as api:
            tokens = ids(api, 5, **{field: False})
            before = api.tokens()
            rows: list[Cells] = [{"id": token, "comment": "asked"} for token in tokens]
            ended = apply(api, tmp_path, rows)
            assert len(api.writes) == 1
            assert isinstance(ended.stop, NotAsAsked)
            assert f"{field} false → true" in str(ended.stop)
            assert f"validFrom {before[tokens[0]]['validFrom']} → " in str(ended.stop)
            assert "--pin-defaults" in str(ended.stop)
            assert statuses(ended) == ["updated", *["not_sent"] * 4]
            assert lines(ended)[0]["code"] == "side_effect"
            assert {t: api.token(t) for t in tokens[1:]} == {t: before[t] for t in tokens[1:]}

    def test_with_pinned_defaults_every_other_field_stays_as_it_was(self, tmp_path: Path) -> None:
        with account(Behaviour(limits=None, applies_defaults=True)) as api:
            before = api.tokens()
            ended = apply(api, tmp_path, comments(60), pin_defaults=True)
            assert statuses(ended) == ["updated"] * 60
            after = api.tokens()
            assert all(moved(before[t], after[t]) == {"comment"} for t in range(FIRST, FIRST + 60))

    def test_a_stopped_run_goes_on_with_pinned_defaults(self, tmp_path: Path) -> None:
        with account(Behaviour(limits=None, applies_defaults=True)) as api:
            before = api.tokens()
            apply(api, tmp_path, comments(10))
            ended = resume(api, tmp_path, pin_defaults=True)
            assert statuses(ended) == ["updated"] * 10
            after = api.tokens()
            others = range(FIRST + 1, FIRST + 10)
            assert all(moved(before[t], after[t]) == {"comment"} for t in others)

    def test_a_probe_that_sent_all_defaults_proves_nothing_about_leaving_them_out(
        self, tmp_path: Path
    ) -> None:
        # The first row sets all three fields itself; the others leave them out, and their cards
        # are blocked. If the API applies its defaults, at most one of them may learn it.
        with account(Behaviour(limits=None, applies_defaults=True)) as api:
            (on,) = ids(api, 1, isActive=True, roamingEnabled=True)
            off = ids(api, 30, isActive=False)
            first = {
                "id": on,
                "isActive": "no",
                "roamingEnabled": "no",
                "validFrom": "2026-01-01",
            }
            ended = apply(api, tmp_path, [first, *({"id": t, "comment": "asked"} for t in off)])
            assert isinstance(ended.stop, NotAsAsked)
            woken = [token for token in off if shows(api.token(token), {"isActive": True})]
            assert len(woken) <= 1

    def test_pins_do_not_take_back_what_someone_else_did_since_the_plan(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        lost = ids(api, 3, isActive=True)[2]

        def block_the_lost_card() -> None:
            api.change(lost, isActive=False)

        rows: list[Cells] = [*comments(2), {"id": lost, "comment": "asked"}]
        apply(api, tmp_path, rows, Quiet(confirmed=block_the_lost_card), pin_defaults=True)
        assert shows(api.token(lost), {"isActive": False})


def _swallow(api: SimulatedApi, monkeypatch: pytest.MonkeyPatch, token_id: int) -> None:
    """Make the account put another comment on this token than it is asked to."""
    change = api._store.change

    def changed(token: int, changes: dict[str, object]) -> object:
        other = {"comment": "other"} if token == token_id else {}
        return change(token, {**changes, **other})  # type: ignore[dict-item]

    monkeypatch.setattr(api._store, "change", changed)


class TestWaiting:
    @pytest.mark.parametrize(
        ("fault", "as_date"),
        [(Fault.UNAVAILABLE, False), (Fault.TOO_MANY, True)],
    )
    def test_retry_after_holds_every_worker_back(
        self, tmp_path: Path, fault: Fault, *, as_date: bool
    ) -> None:
        faults = Faults(script=[Planned(fault, nth=10)], retry_after=1, latency=0.01)
        with account(Behaviour(limits=None, retry_after_as_date=as_date), faults) as api:
            ended = apply(api, tmp_path, comments(40))
            assert statuses(ended) == ["updated"] * 40
            (refused,) = [request for request in api.writes if request.fault]
            assert refused.finished is not None
            later = [r.arrived - refused.finished for r in api.writes if r is not refused]
            # What was already on its way when the answer came is let through.
            on_its_way = 0.05
            assert not [after for after in later if on_its_way < after < 0.99]
            assert max(later) > 0.99

    def test_retry_after_also_holds_back_who_waited_for_the_disk(
        self, api: SimulatedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        start = Journal.start

        async def slowly(durable: asyncio.Future[None]) -> None:
            await durable
            await asyncio.sleep(0.15)

        def start_on_a_slow_disk(self: Journal, number: int) -> asyncio.Future[None]:
            return asyncio.ensure_future(slowly(start(self, number)))

        monkeypatch.setattr(Journal, "start", start_on_a_slow_disk)
        api.faults = Faults(script=[Planned(Fault.TOO_MANY, nth=4)], retry_after=1, jitter=0.1)
        apply(api, tmp_path, comments(12))
        (refused,) = [request for request in api.writes if request.fault]
        assert refused.finished is not None
        later = [r.arrived - refused.finished for r in api.writes if r is not refused]
        assert not [after for after in later if 0.05 < after < 0.99]

    def test_a_server_that_asks_for_more_than_the_longest_outage_stops_the_run(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        api.faults = Faults(script=[Planned(Fault.TOO_MANY, nth=3)], retry_after=7200)
        ended = apply(api, tmp_path, comments(5), workers=1)
        assert isinstance(ended.stop, Unavailable)
        assert statuses(ended) == ["updated", "updated", *["not_sent"] * 3]

    def test_and_what_it_applied_before_it_asked_is_updated_when_resumed(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        fault = Planned(Fault.UNAVAILABLE_APPLIED, nth=3)
        api.faults = Faults(script=[fault], retry_after=7200)
        ended = apply(api, tmp_path, comments(5), workers=1)
        assert isinstance(ended.stop, Unavailable)
        assert statuses(ended) == ["updated", "updated", "unknown", "not_sent", "not_sent"]
        assert statuses(resume(api, tmp_path)) == ["updated"] * 5

    def test_tries_are_bounded_and_a_429_is_a_quarter_of_one(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        script = [
            Planned(Fault.TOO_MANY, token=FIRST + 1, times=5),
            Planned(Fault.SERVER_ERROR, token=FIRST + 1, nth=6, times=FOREVER),
        ]
        api.faults = Faults(script=script, retry_after=0)
        ended = apply(api, tmp_path, comments(2), tries=3)
        assert statuses(ended) == ["updated", "failed"]
        assert lines(ended)[1]["attempts"] == "7"  # 5/4 + 2 are more than 3


class TestPace:
    @pytest.mark.parametrize("window", list(Window))
    @pytest.mark.parametrize(
        ("rate", "count", "faults"),
        [
            (Rate(20, 0.5), 41, Faults()),
            (Rate(10, 0.5), 31, Faults(latency=0.01, jitter=0.04)),
        ],
    )
    def test_the_budget_is_used_and_never_passed(
        self, tmp_path: Path, window: Window, rate: Rate, count: int, faults: Faults
    ) -> None:
        limits = Limits(writes=rate, window=window)
        with account(Behaviour(limits=limits), faults) as api:
            ended = apply(api, tmp_path, comments(count), write_rate=rate)
            assert statuses(ended) == ["updated"] * count
            assert ended.summary.requests.refusals_429 == 0
            assert most_in_a_window(api.writes, rate.seconds) == rate.limit
            # Each window is followed by the next when its answers are here; the probe is alone.
            cycle = rate.seconds + faults.latency + faults.jitter
            took = api.writes[-1].arrived - api.writes[0].arrived
            assert took <= 1.1 * cycle * ((count - 1) // rate.limit) + 0.2

    def test_a_shared_limit_is_met_by_sharing_the_budget(self, tmp_path: Path) -> None:
        limits = Limits(writes=Rate(40, 0.5), reads=None)
        with account(Behaviour(limits=limits, error_body=ErrorBody.OLD)) as api:
            ended = apply(
                api, tmp_path, comments(50), read_rate=Rate(10, 0.5), write_rate=Rate(30, 0.5)
            )
            assert statuses(ended) == ["updated"] * 50
            assert ended.summary.requests.refusals_429 == 0

    def test_a_budget_above_the_limit_still_ends_well(self, tmp_path: Path) -> None:
        limits = Limits(writes=Rate.parse("30/1s"), reads=None)
        with account(Behaviour(limits=limits, error_body=ErrorBody.OLD)) as api:
            ended = apply(api, tmp_path, comments(50), tries=6)
            assert statuses(ended) == ["updated"] * 50
            assert ended.summary.requests.total == len(api.requests)


@pytest.mark.parametrize("status", [401, 403])
class TestKeys:
    def test_a_key_refused_on_the_probe_stops_the_run(self, tmp_path: Path, status: int) -> None:
        with account(_expiring(status, 0)) as api:
            # The reads of the plan are let through, as with a key that ends just then.
            api._api.keys._writes_left = None
            end = Quiet(confirmed=lambda: setattr(api._api.keys, "_writes_left", 0))
            ended = apply(api, tmp_path, comments(20), end)
            assert isinstance(ended.stop, KeyRefused)
            assert statuses(ended) == ["not_sent"] * 20
            assert len(api.writes) == 1

    def test_a_key_that_ends_in_the_middle_costs_no_row(self, tmp_path: Path, status: int) -> None:
        with account(_expiring(status, 500), Faults(latency=0.002, jitter=0.01)) as api:
            ended = apply(api, tmp_path, comments(600), workers=16)
            assert isinstance(ended.stop, KeyRefused)
            found = statuses(ended)
            assert found.count("updated") == 500
            assert set(found) <= {"updated", "not_sent", "rejected"}
            assert found.count("rejected") <= 16
            assert len(api.writes) <= 500 + 2 * 16
            burnt = found.count("rejected")
            api.accept_key("new")
            ended = resume(api, tmp_path, api_key="new")
            assert statuses(ended).count("updated") == 600 - burnt

    @pytest.mark.parametrize("seed", range(3))
    def test_answers_from_before_its_end_do_not_make_its_refusals_the_rows_own(
        self, tmp_path: Path, status: int, seed: int
    ) -> None:
        # A 200 to a request that left before the refused one says nothing about the key now.
        with account(_expiring(status, 30), Faults(seed=seed, jitter=0.1)) as api:
            ended = apply(api, tmp_path, comments(80), workers=16)
            assert isinstance(ended.stop, KeyRefused)
            assert set(statuses(ended)) == {"updated", "not_sent"}

    def test_lost_answers_before_it_are_still_decided(self, tmp_path: Path, status: int) -> None:
        # The third write is applied, its answer lost; the key ends before it is tried again.
        faults = Faults(script=[Planned(Fault.DROP_APPLIED, nth=3)])
        with account(_expiring(status, 3), faults) as api:
            ended = apply(api, tmp_path, comments(10), workers=1)
            assert isinstance(ended.stop, KeyRefused)
            api.accept_key("new")
            ended = resume(api, tmp_path, api_key="new")
            assert statuses(ended) == ["updated"] * 10


def _expiring(status: int, writes: int) -> Behaviour:
    return Behaviour(
        limits=None,
        key_expires_after=writes,
        bad_key_status=401 if status == 401 else 403,
        error_body=ErrorBody.NEW if status == 401 else ErrorBody.OLD,
    )


class TestReading:
    def test_more_reads_at_once_than_workers_wait_for_no_connection(self, tmp_path: Path) -> None:
        with SimulatedApi(tokens=9000, behaviour=NO_LIMITS, faults=Faults(latency=0.06)) as api:
            named = [api.tokens()[FIRST + place] for place in range(0, 400, 50)]
            rows: list[Cells] = [{"label": t["identifier"]["label"], "comment": "x"} for t in named]
            ended = apply(api, tmp_path, rows, workers=1, connect_timeout=0.15)
            assert statuses(ended) == ["updated"] * 8
            assert ended.summary.requests.total == len(api.requests)

    def test_repeated_reads_count_as_retries(self, api: SimulatedApi, tmp_path: Path) -> None:
        api.faults = Faults(script=[Planned(Fault.SERVER_ERROR, "GET", times=2)])
        assert apply(api, tmp_path, comments(3)).summary.requests.retries == 2


class TestStops:
    def test_a_key_that_may_only_read_stops_after_the_probe(self, tmp_path: Path) -> None:
        with account(Behaviour(limits=None, read_only_key=True)) as api:
            ended = apply(api, tmp_path, comments(20))
            assert isinstance(ended.stop, KeyRefused)
            assert statuses(ended) == ["not_sent"] * 20
            assert len(api.writes) == 1

    def test_single_403s_between_successes_are_the_rows_own(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        refused = range(FIRST + 5, FIRST + 40, 5)
        api.faults = Faults(script=[Planned(Fault.FORBIDDEN, token=token) for token in refused])
        ended = apply(api, tmp_path, comments(40), workers=1)
        assert ended.stop is None
        assert statuses(ended) == [
            "rejected" if token in refused else "updated" for token in range(FIRST, FIRST + 40)
        ]

    @pytest.mark.usefixtures("impatient")
    def test_a_service_that_goes_away_costs_no_row(self, api: SimulatedApi, tmp_path: Path) -> None:
        api.faults = Faults(latency=0.01)
        away = _Once(api.stop, after=30)
        ended = apply(api, tmp_path, comments(200), Quiet(settling=away), tries=2)
        away.join()
        assert isinstance(ended.stop, Unavailable)
        assert set(statuses(ended)) == {"updated", "unknown", "not_sent"}
        api.start()
        ended = resume(api, tmp_path)
        assert statuses(ended) == ["updated"] * 200
        assert ended.stop is None

    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("outage", list(Outage))
    def test_an_outage_costs_no_row(
        self, api: SimulatedApi, tmp_path: Path, outage: Outage
    ) -> None:
        away = _Once(lambda: setattr(api, "outage", outage), after=30)
        ended = apply(api, tmp_path, comments(200), Quiet(settling=away), tries=2)
        away.join()
        assert isinstance(ended.stop, StopRun)
        assert set(statuses(ended)) == {"updated", "unknown", "not_sent"}
        api.outage = None
        assert statuses(resume(api, tmp_path)) == ["updated"] * 200

    @pytest.mark.usefixtures("impatient")
    @pytest.mark.parametrize("from_the", [1, 30])
    def test_a_service_that_only_fails_to_write_costs_no_row(
        self, api: SimulatedApi, tmp_path: Path, from_the: int
    ) -> None:
        fault = Planned(Fault.SERVER_ERROR, nth=from_the, times=FOREVER)
        api.faults = Faults(script=[fault], retry_after=0)
        ended = apply(api, tmp_path, comments(200), tries=2)
        assert isinstance(ended.stop, Unavailable)
        assert statuses(ended).count("failed") <= 10
        assert statuses(ended).count("not_sent") > 100

    def test_a_watcher_that_fails_does_not_disturb_the_run(
        self, api: SimulatedApi, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("the screen is gone")

        ended = apply(api, tmp_path, comments(20), Quiet(settling=fail))
        assert statuses(ended) == ["updated"] * 20
        assert "the screen is gone" in caplog.text

    def test_a_token_deleted_after_the_plan_is_not_found(
        self, api: SimulatedApi, tmp_path: Path
    ) -> None:
        gone = Quiet(confirmed=lambda: api.delete(FIRST + 1))
        ended = apply(api, tmp_path, comments(3), gone)
        assert statuses(ended) == ["updated", "not_found", "updated"]

    def test_a_token_that_never_was_is_not_found(self, api: SimulatedApi, tmp_path: Path) -> None:
        ended = apply(api, tmp_path, [*comments(2), {"id": NOBODY, "comment": "x"}])
        assert statuses(ended) == ["updated", "updated", "not_found"]
        assert {request.token_id for request in api.writes} == {FIRST, FIRST + 1}


class _Once:
    """Does something in a thread of its own when so many operations are settled."""

    def __init__(self, do: object, after: int) -> None:
        assert callable(do)
        self._left = after
        self._thread = threading.Thread(target=do)

    def __call__(self, *_: object) -> None:
        self._left -= 1
        if not self._left:
            self._thread.start()
            time.sleep(0)

    def join(self) -> None:
        self._thread.join(timeout=10)
