"""Whatever goes wrong on the way, every row has one outcome and it is true on the server."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import Quiet, apply, by_token, hurry, lines, most_at_once, resume, statuses
from truth import KINDS, RARE, Truth, mixed_faults, mixed_sheet

from batch.client.retrying import REFUSALS_PER_TRY
from batch.errors import UsageError
from batch.simulator import Behaviour, ErrorBody, Fault, Faults, Planned, Request, SimulatedApi

TRIES = 3
STALLING = tuple(Fault)


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, first_wait=0.002)


@pytest.fixture
def api(seed: int) -> Iterator[SimulatedApi]:
    shape = ErrorBody.OLD if seed % 2 else ErrorBody.NEW
    behaviour = Behaviour(limits=None, error_body=shape)
    with SimulatedApi(tokens=80, behaviour=behaviour) as running:
        yield running


def within_the_tries(requests: list[Request]) -> bool:
    """Whether the writes for a token stopped when its tries were used up."""
    writes = [request for request in requests if request.is_write]
    used = [1 / REFUSALS_PER_TRY if write.status == 429 else 1.0 for write in writes]
    return sum(used[:-1]) < TRIES


SITUATIONS = [
    (seed, workers, share)
    for seed, (workers, share) in enumerate(
        [(workers, share) for workers in (1, 8, 64) for share in (0.05, 0.15, 0.4)] * 4
    )
][:30]


@pytest.mark.parametrize(("seed", "workers", "share"), SITUATIONS)
def test_every_row_has_one_true_outcome(
    api: SimulatedApi, tmp_path: Path, seed: int, workers: int, share: float
) -> None:
    rows = mixed_sheet(api, seed)
    truth = Truth(api, rows)
    methods = {"PATCH"} if seed % 3 == 0 else {"GET", "PATCH"}
    faults = mixed_faults(seed, share, KINDS, methods)
    begin = Quiet(confirmed=lambda: setattr(api, "faults", faults))
    ended = apply(api, tmp_path, rows, begin, workers=workers, tries=TRIES)
    truth.hold(ended)
    told = ended.summary.requests
    assert told.total == len(api.requests)
    assert (told.reads, told.writes) == (len(api.reads), len(api.writes))
    assert told.refusals_429 == sum(request.status == 429 for request in api.requests)
    for requests in by_token(api.requests).values():
        assert most_at_once(requests) == 1
        assert within_the_tries(requests)
    for line in lines(ended):
        if line["attempts"] != "0" and line["status"] not in {"not_sent", "unknown"}:
            writes = [r for r in api.writes if str(r.token_id) == line["token_id"]]
            assert line["attempts"] == str(len(writes))


@pytest.mark.parametrize(("seed", "workers", "share"), [(101, 8, 0.3), (102, 64, 0.5)])
def test_also_when_connections_stall(
    api: SimulatedApi, tmp_path: Path, seed: int, workers: int, share: float
) -> None:
    rows = mixed_sheet(api, seed)
    truth = Truth(api, rows)
    faults = mixed_faults(seed, share, STALLING, {"GET", "PATCH"})
    begin = Quiet(confirmed=lambda: setattr(api, "faults", faults))
    truth.hold(apply(api, tmp_path, rows, begin, workers=workers, tries=TRIES, timeout=0.2))


@pytest.mark.parametrize("seed", [150])
def test_years_later_a_run_tells_who_sent_what_when_and_every_attempt(
    api: SimulatedApi, tmp_path: Path, seed: int
) -> None:
    api.faults = Faults(script=[Planned(Fault.UNAVAILABLE, nth=2, times=2)])
    ended = apply(api, tmp_path, mixed_sheet(api, seed), workers=1)
    told = json.loads((Path(ended.summary.folder) / "summary.json").read_text(encoding="utf-8"))
    (sitting,) = told["sittings"]
    assert sitting["who"] == told["who"]
    assert sitting["settings"]["write_rate"] == "100000/s"
    assert sitting["began_at"] <= sitting["ended_at"]
    with (Path(ended.summary.folder) / "attempts.csv").open(encoding="utf-8-sig") as file:
        attempts = list(csv.DictReader(file))
    failed = [write for write in api.writes if write.status == 503]
    assert [attempt["token_id"] for attempt in attempts] == [str(each.token_id) for each in failed]
    assert all(attempt["http_status"] == "503" for attempt in attempts)
    assert all(attempt["request_id"] and attempt["at"] for attempt in attempts)


@pytest.mark.parametrize("seed", range(201, 209))
def test_resuming_until_nothing_is_open_leaves_no_row_without_a_known_outcome(
    api: SimulatedApi, tmp_path: Path, seed: int
) -> None:
    rows = mixed_sheet(api, seed)
    truth = Truth(api, rows)
    faults = mixed_faults(seed, 0.6, KINDS, {"GET", "PATCH"})
    begin = Quiet(confirmed=lambda: setattr(api, "faults", faults))
    ended = apply(api, tmp_path, rows, begin, tries=2)
    truth.hold(ended)
    api.faults = Faults()
    ended = resume(api, tmp_path)
    truth.hold(ended)
    assert not {"unknown", "not_sent"} & set(statuses(ended))
    sent = len(api.requests)
    truth.hold(resume(api, tmp_path))
    assert len(api.requests) == sent


@pytest.mark.parametrize("seed", range(301, 307))
def test_a_plan_that_cannot_be_read_sends_nothing_or_is_true(
    api: SimulatedApi, tmp_path: Path, seed: int
) -> None:
    rows = mixed_sheet(api, seed)
    truth = Truth(api, rows)
    before = api.tokens()
    kinds = tuple(fault for fault in KINDS if fault not in RARE)
    api.faults = mixed_faults(seed, 0.6, kinds, {"GET"})
    try:
        truth.hold(apply(api, tmp_path, rows, tries=1))
    except UsageError:
        assert not api.writes
        assert api.tokens() == before
        assert not list((tmp_path / "reports").iterdir())
