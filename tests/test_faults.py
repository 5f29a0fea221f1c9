"""Whatever goes wrong on the way, every row has one outcome and it is true on the server."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
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
    hurry,
    lines,
    most_at_once,
    moved,
    resume,
    shows,
    statuses,
)

from batch.client.retrying import REFUSALS_PER_TRY
from batch.errors import UsageError
from batch.run import Ended
from batch.simulator import Behaviour, ErrorBody, Fault, Faults, Request, SimulatedApi

TRIES = 3
KINDS = tuple(fault for fault in Fault if fault not in {Fault.STALL, Fault.STALL_APPLIED})
STALLING = tuple(Fault)
# Refusals of the rows themselves: too many of them would be a refused key.
RARE = {Fault.BAD_REQUEST, Fault.FORBIDDEN, Fault.NOT_FOUND, Fault.CONFLICT, Fault.UNPROCESSABLE}


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch, first_wait=0.002)


@pytest.fixture
def api(seed: int) -> Iterator[SimulatedApi]:
    shape = ErrorBody.OLD if seed % 2 else ErrorBody.NEW
    behaviour = Behaviour(limits=None, error_body=shape)
    with SimulatedApi(tokens=80, behaviour=behaviour) as running:
        yield running


def mixed_sheet(api: SimulatedApi, seed: int) -> list[Cells]:
    """Some forty rows: valid, unchanged, merged, disagreeing, invalid, missing; by id and label."""
    tokens = api.tokens()
    draw = random.Random(seed)
    chosen = iter(draw.sample(list(tokens), 40))
    rows: list[Cells] = [{"id": next(chosen), "comment": f"asked {n}"} for n in range(20)]
    rows += [{"id": next(chosen), "isActive": draw.choice(["yes", "no"])} for _ in range(6)]
    for number in range(3):
        rows.append({"label": label(tokens[next(chosen)]), "billingReference": f"B{number}"})
        merged = next(chosen)
        rows += [{"id": merged, "comment": "both"}, {"id": merged, "billingReference": "both"}]
    disagreeing = next(chosen)
    rows += [{"id": disagreeing, "comment": text} for text in ("this", "that")]
    so_already = [token for token in chosen if tokens[token]["billingReference"]][:3]
    rows += [{"id": t, "billingReference": tokens[t]["billingReference"]} for t in so_already]
    rows += [{"id": NOBODY, "comment": "x"}, {"label": "nobody's", "comment": "x"}]
    rows += [{"id": FIRST, "isActive": "perhaps"}, {"comment": "of no token"}]
    draw.shuffle(rows)
    return rows


def label(token: Mapping[str, Any]) -> str:
    text: str = token["identifier"]["label"]
    return text


def mixed_faults(seed: int, share: float, kinds: tuple[Fault, ...], methods: set[str]) -> Faults:
    if "GET" in methods:  # a 404 to a read is no fault but a lie about the account
        kinds = tuple(fault for fault in kinds if fault is not Fault.NOT_FOUND)
    draw = random.Random(seed)
    weights = {fault: draw.random() * (0.1 if fault in RARE else 1.0) for fault in kinds}
    rates = {fault: share * weight / sum(weights.values()) for fault, weight in weights.items()}
    return Faults(rates=rates, seed=seed, methods=methods, jitter=0.004, stall=0.3, retry_after=0)


class Truth:
    """What the sheet asked and the server has, to hold a report against."""

    def __init__(self, api: SimulatedApi, rows: list[Cells]) -> None:
        self._api = api
        self._rows = rows
        self._before = api.tokens()
        self._labels = {label(token): number for number, token in self._before.items()}

    def hold(self, ended: Ended) -> None:
        """Fail unless the run's report is true, and the run did nothing else."""
        after = self._api.tokens()
        report = lines(ended)
        assert [line["row"] for line in report] == [str(2 + n) for n in range(len(self._rows))]
        for row, line in zip(self._rows, report, strict=True):
            self._hold_line(row, line, after)
        for number, before in self._before.items():
            asked = {
                name
                for row, line in zip(self._rows, report, strict=True)
                if self._token(row) == number and line["status"] != "invalid"
                for name in wanted(row)
            }
            assert moved(before, after[number]) <= asked

    def _token(self, row: Cells) -> int | None:
        number = row.get("id") or self._labels.get(str(row.get("label")))
        return number if isinstance(number, int) else None

    def _hold_line(
        self, row: Cells, line: Mapping[str, str], after: Mapping[int, Mapping[str, Any]]
    ) -> None:
        number = self._token(row)
        status = line["status"]
        if number not in self._before:
            assert status in {"not_found", "invalid"}, line
            return
        was_so = shows(self._before[number], wanted(row))
        is_so = shows(after[number], wanted(row))
        if status == "updated":
            assert is_so, line
            assert not was_so, line
        elif status == "unchanged":
            assert was_so, line
        elif status == "unknown":
            assert self._reading_failed(number), line
        elif status != "invalid":
            assert status in {"failed", "rejected", "not_found", "not_sent"}, line
            assert not is_so, line

    def _reading_failed(self, number: int) -> bool:
        requests = by_token(self._api.requests)[number]
        last_write = max(place for place, request in enumerate(requests) if request.is_write)
        reads = requests[last_write + 1 :]
        return bool(reads) and not any(_good(read) for read in reads)


def wanted(row: Cells) -> dict[str, object]:
    """The fields that a row asks for, as the API tells them."""
    asked = {name: row[name] for name in row if name not in {"id", "label"}}
    if "isActive" in asked:
        asked["isActive"] = asked["isActive"] == "yes"
    return asked


def _good(request: Request) -> bool:
    return request.status == 200 and request.fault is None


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
