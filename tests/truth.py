"""Sheets of every kind of row, faults of every kind, and what must be true of a run with both."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

from runs import FIRST, NOBODY, Cells, by_token, lines, moved, shows

from batch.run import Ended
from batch.simulator import Fault, Faults, Request, SimulatedApi

KINDS = tuple(fault for fault in Fault if fault not in {Fault.STALL, Fault.STALL_APPLIED})
# Refusals of the rows themselves: too many of them would be a refused key.
RARE = {Fault.BAD_REQUEST, Fault.FORBIDDEN, Fault.NOT_FOUND, Fault.CONFLICT, Fault.UNPROCESSABLE}


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
    """What the sheet asked and the server has, to hold a report against.

    `others`: the fields of tokens that somebody else changes meanwhile, none of them asked for.
    """

    def __init__(
        self,
        api: SimulatedApi,
        rows: list[Cells],
        others: Mapping[int, Collection[str]] = MappingProxyType({}),
    ) -> None:
        self._api = api
        self._rows = rows
        self._others = others
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
            assert moved(before, after[number]) <= asked.union(self._others.get(number, ()))
        named = {self._token(row) for row in self._rows}
        assert {write.token_id for write in self._api.writes} <= named

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
