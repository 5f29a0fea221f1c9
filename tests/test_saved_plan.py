"""A plan that is saved, looked at, and applied as it is."""

from __future__ import annotations

import asyncio
import json
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
    comments,
    hurry,
    lines,
    settings_for,
    statuses,
    write_sheet,
)

from batch import run
from batch.check import Source
from batch.errors import RunError, UsageError
from batch.run import Ended
from batch.saved_plan import _digest
from batch.simulator import SimulatedApi

SHEET: list[Cells] = [
    {"id": FIRST, "comment": "new", "validFrom": "2026-02-01", "expiresAt": "2030-12-31"},
    {"id": FIRST + 1, "isActive": "no", "roamingEnabled": "no", "customerId": 2009},
    {"id": FIRST + 2, "isActive": "perhaps"},
    {"id": NOBODY, "comment": "x"},
    {"id": FIRST + 3, "comment": ""},
    {"id": FIRST, "billingReference": "KST-7"},
    {"id": FIRST + 4, "expiresAt": "NULL", "comment": "NULL"},
]
COMPARED = ("row", "token_id", "label", "status", "changes", "code", "message")


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def api() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=50) as started:
        yield started


def saved(api: SimulatedApi, folder: Path, rows: list[Cells] = SHEET) -> Path:
    source = Source(str(write_sheet(folder, rows)))
    settings = settings_for(api, folder)
    asyncio.run(run.propose(source, settings, Quiet(), folder / "plan.json"))
    return folder / "plan.json"


def applied(api: SimulatedApi, folder: Path, path: Path, **more: Any) -> Ended:
    settings = settings_for(api, folder, **more)
    ended = asyncio.run(run.apply(Source(str(path)), settings, Quiet()))
    assert ended is not None
    return ended


def told(ended: Ended) -> list[list[str]]:
    return [[line[name] for name in COMPARED] for line in lines(ended)]


def test_a_saved_plan_does_and_reports_what_the_sheet_would(tmp_path: Path) -> None:
    (tmp_path / "planned").mkdir()
    (tmp_path / "direct").mkdir()
    with SimulatedApi(tokens=50) as one, SimulatedApi(tokens=50) as other:
        planned = applied(one, tmp_path / "planned", saved(one, tmp_path / "planned"))
        sheet = write_sheet(tmp_path / "direct", SHEET)
        direct = applied(other, tmp_path / "direct", sheet)

        assert told(planned) == told(direct)
        assert [write.body for write in one.writes] == [write.body for write in other.writes]
        for name in ("fix.csv", "undo.csv"):
            first, second = (Path(each.summary.folder) / name for each in (planned, direct))
            assert first.read_bytes() == second.read_bytes()
        assert planned.summary.sha256 == direct.summary.sha256


def test_a_token_changed_since_the_plan_is_a_conflict_and_never_sent(
    api: SimulatedApi, tmp_path: Path
) -> None:
    plan = saved(api, tmp_path, comments(3))
    api.change(FIRST + 1, comment="by a colleague")

    ended = applied(api, tmp_path, plan)

    assert statuses(ended) == ["updated", "conflict", "updated"]
    assert FIRST + 1 not in {write.token_id for write in api.writes}


def test_other_fields_may_have_changed_since(api: SimulatedApi, tmp_path: Path) -> None:
    plan = saved(api, tmp_path, comments(1))
    api.change(FIRST, billingReference="by a colleague")
    assert statuses(applied(api, tmp_path, plan)) == ["updated"]


def test_what_has_become_so_meanwhile_is_unchanged(api: SimulatedApi, tmp_path: Path) -> None:
    plan = saved(api, tmp_path, comments(1))
    api.change(FIRST, comment="asked 0")
    assert statuses(applied(api, tmp_path, plan)) == ["unchanged"]


def test_a_saved_plan_is_readable(api: SimulatedApi, tmp_path: Path) -> None:
    content = json.loads(saved(api, tmp_path).read_text(encoding="utf-8"))
    assert (content["format"], content["version"]) == ("token-batch plan", 1)
    first = content["operations"][0]
    assert (first["token_id"], first["rows"]) == (FIRST + 1, [3])
    assert first["new"] == {"isActive": False, "roamingEnabled": False, "customerId": 2009}
    assert [row["row"] for row in content["rows"]] == [2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    "edit",
    [
        lambda plan: plan["operations"][0]["new"].update(customerId=2001),
        lambda plan: plan["operations"].pop(),
        lambda plan: plan["rows"][0].update(row=99),
        lambda plan: plan.update(base_url="http://elsewhere"),
        lambda plan: plan.pop("digest"),
    ],
)
def test_an_edited_plan_is_refused(api: SimulatedApi, tmp_path: Path, edit: Any) -> None:
    path = saved(api, tmp_path)
    plan = json.loads(path.read_text(encoding="utf-8"))
    edit(plan)
    path.write_text(json.dumps(plan), encoding="utf-8")
    with pytest.raises(UsageError, match="was edited since it was made"):
        applied(api, tmp_path, path)
    assert api.writes == []


def test_a_plan_written_anew_by_an_editor_but_not_changed_is_taken(
    api: SimulatedApi, tmp_path: Path
) -> None:
    path = saved(api, tmp_path, comments(1))
    plan = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(plan, sort_keys=True), encoding="utf-8")
    assert statuses(applied(api, tmp_path, path)) == ["updated"]


def test_a_plan_of_another_account_is_refused(api: SimulatedApi, tmp_path: Path) -> None:
    path = saved(api, tmp_path)
    with SimulatedApi(tokens=50) as other:
        with pytest.raises(RunError, match="the plan was made for"):
            applied(other, tmp_path, path)
        assert other.writes == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "another"}', "\x00"])
def test_what_is_no_plan_is_refused(api: SimulatedApi, tmp_path: Path, content: str) -> None:
    (tmp_path / "plan.json").write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match="is no saved plan"):
        applied(api, tmp_path, tmp_path / "plan.json")


def signed(content: dict[str, Any], path: Path) -> Path:
    """A plan whose digest fits whatever is in it."""
    content.pop("digest", None)
    path.write_text(json.dumps({**content, "digest": _digest(content)}), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("field", "value"),
    [("isActive", "maybe"), ("expiresAt", "tomorrow"), ("customerId", 0), ("label", "DK-1")],
)
def test_a_plan_asks_only_what_the_api_takes(
    api: SimulatedApi, tmp_path: Path, field: str, value: object
) -> None:
    content = json.loads(saved(api, tmp_path).read_text(encoding="utf-8"))
    content["operations"][-1]["new"] = {field: value}

    with pytest.raises(UsageError, match="damaged"):
        applied(api, tmp_path, signed(content, tmp_path / "plan.json"))
    assert api.writes == []


def test_a_plan_accounts_for_every_row(api: SimulatedApi, tmp_path: Path) -> None:
    content = json.loads(saved(api, tmp_path).read_text(encoding="utf-8"))
    del content["operations"][-1]

    with pytest.raises(UsageError, match="damaged"):
        applied(api, tmp_path, signed(content, tmp_path / "plan.json"))
    assert api.writes == []


def test_a_plan_of_whose_tokens_none_exists_is_of_another_account(
    api: SimulatedApi, tmp_path: Path
) -> None:
    plan = saved(api, tmp_path, comments(3))
    for token_id in range(FIRST, FIRST + 3):
        api.delete(token_id)

    with pytest.raises(UsageError, match="another account"):
        applied(api, tmp_path, plan)


def test_a_missing_plan_is_told(api: SimulatedApi, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        applied(api, tmp_path, tmp_path / "plan.json")


def test_the_guards_hold_for_a_saved_plan_too(api: SimulatedApi, tmp_path: Path) -> None:
    plan = saved(api, tmp_path, comments(3))
    with pytest.raises(UsageError, match="--max-changes allows 2"):
        applied(api, tmp_path, plan, max_changes=2)
    assert api.writes == []


def test_the_time_that_a_question_stays_open_makes_tokens_old(
    api: SimulatedApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batch.send.exchange.FRESH_FOR", 0.1)

    def a_colleague_is_quicker() -> None:
        api.change(FIRST + 1, comment="by a colleague")
        time.sleep(0.2)

    source = Source(str(write_sheet(tmp_path, comments(3))))
    settings = settings_for(api, tmp_path)
    ended = asyncio.run(run.apply(source, settings, Quiet(a_colleague_is_quicker)))

    assert ended is not None
    assert statuses(ended) == ["updated", "conflict", "updated"]


@pytest.mark.parametrize("pin_defaults", [False, True])
def test_a_token_that_was_read_long_ago_is_compared_once_more_before_its_write(
    api: SimulatedApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    pin_defaults: bool,  # noqa: FBT001 - a column of the table
) -> None:
    monkeypatch.setattr("batch.send.exchange.FRESH_FOR", -1.0)
    plan = saved(api, tmp_path, comments(3))
    later = Quiet(confirmed=lambda: api.change(FIRST + 1, comment="by a colleague"))
    settings = settings_for(api, tmp_path, pin_defaults=pin_defaults)

    ended = asyncio.run(run.apply(Source(str(plan)), settings, later))

    assert ended is not None
    assert statuses(ended) == ["updated", "conflict", "updated"]
    assert 'comment is now "by a colleague"' in lines(ended)[1]["message"]
    assert FIRST + 1 not in {write.token_id for write in api.writes}
