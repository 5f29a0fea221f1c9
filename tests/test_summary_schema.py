"""docs/summary.schema.json describes what is written, and whoever relies on it may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from runs import NOBODY, Cells, Quiet, apply, comments, hurry, resume
from write_schema import SCHEMA, schema

from batch.run import Ended
from batch.simulator import Fault, Faults, Planned, SimulatedApi


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.fixture
def api() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=20) as started:
        yield started


def assert_valid(ended: Ended) -> None:
    told = json.loads((Path(ended.summary.folder) / "summary.json").read_text(encoding="utf-8"))
    rules = json.loads(SCHEMA.read_text(encoding="utf-8"))
    validator = Draft202012Validator(rules, format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert list(validator.iter_errors(told)) == []
    assert set(told) == set(rules["properties"])


def test_the_schema_in_the_repository_is_that_of_the_program() -> None:
    written_anew = "python tests/write_schema.py writes it anew"
    assert SCHEMA.read_text(encoding="utf-8") == schema(), written_anew


def test_it_is_a_schema_whose_every_field_is_explained() -> None:
    rules = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(rules)
    assert [name for name, each in rules["properties"].items() if "description" not in each] == []
    assert set(rules["required"]) == set(rules["properties"])


def test_a_finished_run_fits_it(api: SimulatedApi, tmp_path: Path) -> None:
    rows: list[Cells] = [*comments(3), {"id": NOBODY, "comment": "x"}, {"comment": "nobody's"}]
    assert_valid(apply(api, tmp_path, rows))


def test_a_run_that_stopped_and_one_that_went_on_fit_it(api: SimulatedApi, tmp_path: Path) -> None:
    away = Quiet(settling=lambda *_: api.accept_key("another"))
    api.faults = Faults(script=[Planned(Fault.TOO_MANY)])
    ended = apply(api, tmp_path, comments(8), away, workers=1)
    assert ended.stop
    assert_valid(ended)
    api.accept_key("sk-7f3a9")
    assert_valid(resume(api, tmp_path))
