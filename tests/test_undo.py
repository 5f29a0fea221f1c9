"""A run taken back, and a run checked against the account."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from runs import FIRST, Quiet, apply, comments, hurry, lines, resume, settings_for, statuses

from batch import run
from batch.errors import BusyError, NotAsAsked, RunError, UsageError
from batch.journal import Journal
from batch.models import State
from batch.report import Verification
from batch.run import Ended
from batch.simulator import Behaviour, Fault, Faults, Planned, SimulatedApi

EVERYTHING = {
    "validFrom": "2026-02-01",
    "expiresAt": "2030-12-31",
    "isActive": "no",
    "roamingEnabled": "no",
    "priorityChargingEnabled": "yes",
    "billingReference": "KST-1",
    "comment": "new",
    "customerId": "2009",
}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def api() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=50) as started:
        yield started


def undo(api: SimulatedApi, folder: Path, of: Ended, **more: Any) -> Ended:
    settings = settings_for(api, folder, **more)
    ended = asyncio.run(run.undo(Path(of.summary.folder), settings, Quiet()))
    assert ended is not None
    return ended


def verify(api: SimulatedApi, folder: Path, of: Ended) -> Verification:
    settings = settings_for(api, folder)
    return asyncio.run(run.verify(Path(of.summary.folder), settings, Quiet()))


def state(api: SimulatedApi) -> dict[int, dict[str, Any]]:
    return {
        token_id: {name: value for name, value in token.items() if name != "updatedAt"}
        for token_id, token in api.tokens().items()
    }


def test_undo_brings_back_the_exact_earlier_state(api: SimulatedApi, tmp_path: Path) -> None:
    before = state(api)
    done = apply(api, tmp_path, [{"id": FIRST + place, **EVERYTHING} for place in range(20)])
    assert state(api) != before

    undone = undo(api, tmp_path, done)

    assert set(statuses(undone)) == {"updated"}
    assert state(api) == before


def test_an_undo_is_a_run_that_can_be_undone(api: SimulatedApi, tmp_path: Path) -> None:
    done = apply(api, tmp_path, comments(5))
    after = state(api)
    undone = undo(api, tmp_path, done)
    assert undone.summary.run.endswith("-undo-sheet")

    again = undo(api, tmp_path, undone)

    assert state(api) == after
    assert again.summary.all_well


def test_what_others_have_changed_since_is_left_alone(api: SimulatedApi, tmp_path: Path) -> None:
    done = apply(api, tmp_path, comments(3))
    api.change(FIRST + 1, comment="by a colleague")
    before = len(api.writes)

    undone = undo(api, tmp_path, done)

    assert statuses(undone) == ["updated", "conflict", "updated"]
    assert 'comment is now "by a colleague", not "asked 1"' in lines(undone)[1]["message"]
    assert api.tokens()[FIRST + 1]["comment"] == "by a colleague"
    assert len(api.writes) - before == 2


def test_what_others_have_put_back_already_is_unchanged(api: SimulatedApi, tmp_path: Path) -> None:
    old = api.tokens()[FIRST]["comment"]
    done = apply(api, tmp_path, comments(2))
    api.change(FIRST, comment=old)
    assert statuses(undo(api, tmp_path, done)) == ["unchanged", "updated"]


def test_fields_that_the_run_did_not_move_are_not_touched(
    api: SimulatedApi, tmp_path: Path
) -> None:
    done = apply(api, tmp_path, comments(1))
    api.change(FIRST, billingReference="by a colleague")

    undo(api, tmp_path, done)

    assert api.tokens()[FIRST]["billingReference"] == "by a colleague"
    assert api.writes[-1].body.keys() == {"comment"}


def test_a_run_that_stopped_at_its_first_operation_is_put_back_with_what_it_moved(
    tmp_path: Path,
) -> None:
    with SimulatedApi(tokens=50, behaviour=Behaviour(applies_defaults=True)) as api:
        for token_id in range(FIRST, FIRST + 5):
            api.change(token_id, isActive=0, roamingEnabled=0)
        before = state(api)
        done = apply(api, tmp_path, comments(5))
        assert isinstance(done.stop, NotAsAsked)
        assert len(api.writes) == 1
        assert state(api) != before

        undone = undo(api, tmp_path, done)

        assert statuses(undone) == ["updated"]
        assert state(api) == before


def test_undo_goes_through_where_defaults_are_given_if_they_are_pinned(tmp_path: Path) -> None:
    with SimulatedApi(tokens=50, behaviour=Behaviour(applies_defaults=True)) as api:
        api.change(FIRST + 1, isActive=0)
        before = state(api)
        done = apply(api, tmp_path, comments(3), pin_defaults=True)
        assert done.summary.all_well

        undone = undo(api, tmp_path, done)

        assert undone.summary.all_well
        assert state(api) == before


def test_a_value_that_the_api_does_not_take_back_is_told(api: SimulatedApi, tmp_path: Path) -> None:
    token_id = next(
        token_id
        for token_id, token in api.tokens().items()
        if token["identifier"]["appUserId"] is None
    )
    done = apply(api, tmp_path, [{"id": token_id, "appUserId": 7}, *comments(1, first=FIRST + 40)])

    undone = undo(api, tmp_path, done)

    assert sorted(statuses(undone)) == ["invalid", "updated"]
    told = next(line["message"] for line in lines(undone) if line["status"] == "invalid")
    assert "cannot be put back: the API does not take appUserId (empty)" in told


def test_a_run_that_changed_nothing_cannot_be_undone(api: SimulatedApi, tmp_path: Path) -> None:
    done = apply(api, tmp_path, [{"id": FIRST, "comment": ""}])
    with pytest.raises(RunError, match="there is nothing to undo"):
        undo(api, tmp_path, done)
    assert len(list((tmp_path / "reports").iterdir())) == 1


def test_a_run_of_another_account_is_not_undone_in_this_one(
    api: SimulatedApi, tmp_path: Path
) -> None:
    done = apply(api, tmp_path, comments(1))
    with SimulatedApi(tokens=50) as other, pytest.raises(RunError, match="was sent to"):
        undo(other, tmp_path, done)


@pytest.mark.parametrize("applied", [True, False])
def test_an_operation_whose_answer_is_lost_is_put_back_if_it_was_carried_out(
    api: SimulatedApi,
    tmp_path: Path,
    applied: bool,  # noqa: FBT001 - a column of the table
) -> None:
    before = state(api)
    done = apply(api, tmp_path, comments(2))
    lose_the_answer(done)
    if not applied:
        api.change(FIRST, comment=before[FIRST]["comment"])

    undone = undo(api, tmp_path, done)

    assert statuses(undone) == ["updated"] * (2 if applied else 1)
    assert state(api) == before


def lose_the_answer(done: Ended) -> None:
    """As if the process had been killed before it heard of its first operation's end."""
    with Journal.open(Path(done.summary.folder)) as journal, journal._writer as file:
        file.execute(
            "UPDATE operations SET state = ?, status = NULL, code = NULL, after = NULL "
            "WHERE number = 1",
            (State.SENDING,),
        )


def test_a_run_killed_at_its_first_operation_is_put_back_with_what_the_api_reset(
    tmp_path: Path,
) -> None:
    with SimulatedApi(tokens=50, behaviour=Behaviour(applies_defaults=True)) as api:
        api.change(FIRST, isActive=0, roamingEnabled=0)
        before = state(api)
        done = apply(api, tmp_path, comments(1))
        lose_the_answer(done)

        undone = undo(api, tmp_path, done)

        assert undone.summary.all_well
        assert state(api) == before
        assert lines(done)[0]["code"] == "side_effect"


def test_what_stands_of_a_change_that_others_partly_undid_is_told_and_put_back(
    api: SimulatedApi, tmp_path: Path
) -> None:
    api.change(FIRST, isActive=0)
    done = apply(api, tmp_path, [{"id": FIRST, "isActive": "yes", "comment": "asked"}])
    lose_the_answer(done)
    api.change(FIRST, comment="by a colleague")

    resumed = resume(api, tmp_path)
    assert statuses(resumed) == ["conflict"]
    assert "as asked: isActive" in lines(resumed)[0]["message"]

    assert statuses(undo(api, tmp_path, done)) == ["updated"]
    token = api.token(FIRST)
    assert token is not None
    assert (token["isActive"], token["comment"]) == (False, "by a colleague")


def test_a_change_that_the_api_carried_out_after_it_was_looked_for_is_put_back(
    api: SimulatedApi, tmp_path: Path
) -> None:
    before = state(api)
    api.faults = Faults(script=[Planned(Fault.DROP, token=FIRST, times=3)])
    done = apply(api, tmp_path, comments(2))
    assert statuses(done)[0] == "failed"
    api.change(FIRST, comment="asked 0")

    assert statuses(undo(api, tmp_path, done)) == ["updated", "updated"]
    assert statuses(done) == ["updated", "updated"]
    assert state(api) == before


def test_nobody_else_works_on_the_sheet_of_a_run_that_is_resumed_or_undone(
    api: SimulatedApi, tmp_path: Path
) -> None:
    rows = comments(3)
    done = apply(api, tmp_path, rows)
    met: list[BaseException | None] = []

    def meanwhile() -> None:
        with ThreadPoolExecutor() as pool:
            met.append(pool.submit(resume, api, tmp_path, done.summary.run).exception())
            met.append(pool.submit(undo, api, tmp_path, done).exception())

    apply(api, tmp_path, rows, Quiet(meanwhile))

    assert [type(each) for each in met] == [BusyError, BusyError]


def test_a_run_that_was_taken_back_does_not_go_on(api: SimulatedApi, tmp_path: Path) -> None:
    done = apply(api, tmp_path, comments(3))
    undone = undo(api, tmp_path, done)

    with pytest.raises(RunError, match=f"taken back by {undone.summary.run}"):
        resume(api, tmp_path, done.summary.run)


def test_another_accounts_key_is_told_from_tokens_that_are_gone(
    api: SimulatedApi, tmp_path: Path
) -> None:
    done = apply(api, tmp_path, comments(3))
    for token_id in range(FIRST, FIRST + 3):
        api.delete(token_id)

    with pytest.raises(UsageError, match="another account"):
        undo(api, tmp_path, done)


def test_many_tokens_switched_off_are_asked_about_twice(api: SimulatedApi, tmp_path: Path) -> None:
    working = [token_id for token_id, token in api.tokens().items() if token["isActive"]][:11]
    rows = [{"id": token_id, "isActive": "no"} for token_id in working]

    job = Quiet(can_be_asked=False)
    with pytest.raises(UsageError, match=r"--max-deactivations 11"):
        apply(api, tmp_path, rows, job)
    assert api.writes == []
    assert apply(api, tmp_path, rows, job, max_deactivations=11).summary.all_well


# Verifying


def test_a_run_that_nobody_has_touched_since_is_verified(api: SimulatedApi, tmp_path: Path) -> None:
    done = apply(api, tmp_path, comments(5))
    found = verify(api, tmp_path, done)
    assert (found.tokens, found.differences) == (5, [])


def test_what_differs_from_what_a_run_wrote_is_listed_by_field(
    api: SimulatedApi, tmp_path: Path
) -> None:
    done = apply(
        api, tmp_path, [{"id": FIRST, "comment": "new", "isActive": "no"}, *comments(2, FIRST + 1)]
    )
    api.change(FIRST, comment="newer", isActive=1, billingReference="not the run's")
    api.delete(FIRST + 2)

    found = verify(api, tmp_path, done)

    told = [(each.token_id, each.field, each.written, each.now) for each in found.differences]
    assert told == [
        (FIRST, "isActive", "false", "true"),
        (FIRST, "comment", '"new"', '"newer"'),
        (FIRST + 2, "", "", "no such token"),
    ]
    with (Path(done.summary.folder) / "verify.csv").open(encoding="utf-8-sig") as file:
        assert len(list(csv.DictReader(file))) == len(told)
