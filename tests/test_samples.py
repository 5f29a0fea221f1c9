"""The sheets of sample_csvs/, each with what it does to the simulated account, and the README."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from make_nightly import NIGHTLY, write_nightly
from test_cli import environment, runs_in, said_by, settings_for, statuses_in, summary_of

from batch.simulator import SimulatedApi

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "sample_csvs"


@dataclass(frozen=True)
class Figures:
    """What is to be expected of a sheet. `ended`: rows by outcome."""

    rows: int
    invalid: int  # as `check` finds them, without the account
    operations: int
    ended: Mapping[str, int]
    ignored: tuple[str, ...]
    options: tuple[str, ...] = field(default=())


FIGURES = {
    "fleet_update.csv": Figures(60, 0, 54, {"updated": 54, "unchanged": 6}, ("employee",)),
    "dansk_excel_eksport.csv": Figures(
        24, 0, 22, {"updated": 22, "unchanged": 2}, ("Medarbejder",)
    ),
    "cards.xlsx": Figures(40, 0, 28, {"updated": 28, "unchanged": 12}, ("Medarbejder",)),
    "nightly_fleet.csv": Figures(3000, 0, 30, {"updated": 30, "unchanged": 2970}, ()),
    "every_mistake.csv": Figures(
        40,
        32,
        3,
        {"updated": 2, "unchanged": 1, "invalid": 35, "not_found": 2},
        ("note",),
        ("--timezone", "Europe/Copenhagen"),
    ),
}
SHEETS = pytest.mark.parametrize("name", FIGURES)

# Rows of every_mistake.csv whose mistake is no cell of theirs, or none that the sheet shows.
OTHERWISE = {
    2: ("updated", ""),  # right, for comparison
    3: ("invalid", "names no token"),
    11: ("invalid", "DK-NRD-000209"),  # id and label are of different tokens
    12: ("not_found", "999999"),
    24: ("updated", ""),  # already expired: a warning
    36: ("not_found", ""),  # no such customer
    37: ("invalid", "row 38"),  # the two rows of one token name each other
    38: ("invalid", "row 37"),
    39: ("invalid", "14 cells"),
    41: ("unchanged", ""),
}


def test_every_sample_has_its_figures() -> None:
    assert {path.name for path in SAMPLES.iterdir()} == set(FIGURES)


@SHEETS
def test_check_finds_the_rows_of_a_sample(name: str, tmp_path: Path) -> None:
    expected = FIGURES[name]
    said = said_by("check", SAMPLES / name, "--json", *expected.options, folder=tmp_path)
    assert said.code == (1 if expected.invalid else 0)
    assert said.document["rows"] == expected.rows
    assert said.document["invalid_rows"] == expected.invalid
    assert tuple(said.document["ignored_columns"]) == expected.ignored


@SHEETS
def test_a_sample_is_planned_applied_and_then_needs_nothing_more(name: str, tmp_path: Path) -> None:
    expected = FIGURES[name]
    to_mend = expected.rows - expected.ended["updated"] - expected.ended["unchanged"]
    code = 1 if to_mend else 0

    plan = ("plan", SAMPLES / name, "--simulate", "--json", *expected.options)
    planned = said_by(*plan, folder=tmp_path)
    assert planned.code == code
    assert len(planned.document["operations"]) == expected.operations

    apply = ("apply", SAMPLES / name, "--simulate", "--yes", *expected.options)
    assert said_by(*apply, folder=tmp_path).code == code
    assert said_by(*apply, folder=tmp_path).code == code
    first, second = (summary_of(folder) for folder in runs_in(tmp_path))
    assert _without_zeros(first["counts"]) == expected.ended
    assert first["requests"]["writes"] == expected.operations
    # Only what the API refused is asked again.
    assert second["requests"]["writes"] == expected.operations - expected.ended["updated"]
    assert second["counts"]["updated"] == 0


def _without_zeros(counts: Mapping[str, int]) -> dict[str, int]:
    return {status: number for status, number in counts.items() if number}


def test_each_mistake_is_told_with_its_cell(tmp_path: Path) -> None:
    options = ("--simulate", "--yes", "--timezone", "Europe/Copenhagen")
    said = said_by("apply", SAMPLES / "every_mistake.csv", *options, folder=tmp_path)
    assert said.code == 1
    (folder,) = runs_in(tmp_path)
    with (SAMPLES / "every_mistake.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with (folder / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        report = list(csv.DictReader(file))
    assert [int(line["row"]) for line in report] == list(range(2, 2 + len(rows)))
    for number, row, line in zip(range(2, 2 + len(rows)), rows, report, strict=True):
        assert row["note"]
        status, told = OTHERWISE.get(number, ("invalid", ""))
        assert (number, line["status"]) == (number, status)
        assert told in line["message"]
        if number not in OTHERWISE:
            cells = re.findall(r"(\w+) \([A-Z]+(\d+)\): ", line["message"])
            assert cells, line["message"]
            assert all(row[column] and place == str(number) for column, place in cells)


def test_the_plan_warns_of_an_expiry_in_the_past_and_of_another_customer(tmp_path: Path) -> None:
    said = said_by("plan", SAMPLES / "every_mistake.csv", "--simulate", folder=tmp_path)
    assert re.search(r"1 token\b.* in the past", said.out)
    assert re.search(r"1 token\b.* customer", said.out)


def test_two_mistakes_of_one_row_are_told_together(tmp_path: Path) -> None:
    said = said_by("check", SAMPLES / "every_mistake.csv", "--json", folder=tmp_path)
    problems = [p["column"] for p in said.document["problems"] if p["row"] == 40]
    assert problems == ["expiresAt", "isActive"]


def test_the_danish_export_keeps_its_letters_and_its_days(tmp_path: Path) -> None:
    sheet = SAMPLES / "dansk_excel_eksport.csv"
    document = said_by("plan", sheet, "--simulate", "--json", folder=tmp_path).document
    changes = {o["label"]: o["changes"] for o in document["operations"]}
    assert changes["DK-NRD-000017"]["comment"]["new"] == "Ny chauffør: Bjørn Åsgård"
    assert changes["DK-NRD-000017"]["expiresAt"]["new"].startswith("2026-12-31T23:59:59.999")
    assert changes["DK-NRD-000010"]["validFrom"]["new"].startswith("2026-12-01T00:00:00")
    document = said_by(
        "plan",
        sheet,
        "--simulate",
        "--json",
        "--timezone",
        "Europe/Copenhagen",
        folder=tmp_path,
    ).document
    changes = {o["label"]: o["changes"] for o in document["operations"]}
    assert changes["DK-NRD-000010"]["validFrom"]["new"].startswith("2026-11-30T23:00:00")


def test_a_night_costs_the_pages_and_its_differences(tmp_path: Path) -> None:
    with SimulatedApi() as api:
        account = settings_for(api)
        said = said_by("apply", NIGHTLY, "--yes", "--json", folder=tmp_path, **account)
        assert said.code == 0
        assert len(api.writes) == 30
        assert len(api.requests) <= 3 + 30 + 2
        assert said.document["requests"]["total"] == len(api.requests)
    (folder,) = runs_in(tmp_path)
    statuses = statuses_in(folder)
    assert (statuses.count("updated"), statuses.count("unchanged")) == (30, 2970)


def test_the_nightly_sheet_is_what_its_generator_writes(tmp_path: Path) -> None:
    write_nightly(tmp_path / "nightly.csv")
    assert NIGHTLY.read_bytes() == (tmp_path / "nightly.csv").read_bytes()


# The README


def first_command() -> str:
    """The first command line of the README."""
    found = re.search(r"^```sh\n(.+)$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert found
    return found[1]


def test_the_first_command_of_the_readme_is_a_line_that_the_shell_understands() -> None:
    assert subprocess.run(["/bin/sh", "-n", "-c", first_command()], check=False).returncode == 0


def test_the_first_command_of_the_readme_installs_extras_that_exist() -> None:
    found = re.search(r"pip install (?:-\S+ )*'\.\[([\w,]+)\]'", first_command())
    assert found
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(found[1].split(",")) <= set(project["optional-dependencies"])


def test_the_first_command_of_the_readme_applies_a_sample_in_a_copy_of_the_repository(
    tmp_path: Path,
) -> None:
    command = first_command().rpartition("&&")[2].strip()
    assert command.startswith("token-batch apply ")
    for name in ("batch", "sample_csvs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    programs = Path(sys.executable).parent
    assert (programs / "token-batch").exists(), "install the project first: pip install -e ."
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=tmp_path,
        env=environment(PATH=path, PYTHONPATH=str(tmp_path)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, "SIMULATED" in done.stdout) == (0, True), done.stderr
    (folder,) = runs_in(tmp_path)
    assert set(statuses_in(folder)) == {"updated", "unchanged"}
