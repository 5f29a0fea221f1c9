"""Whole runs, measured beside what people would use instead. Nothing is judged here.

`pytest -m benchmark -s tests/benchmarks/test_whole_runs.py` prints the figures. Each ratio is of
processes that ran in turn on the same machine, the server in a process of its own; quote the
ratios, not the seconds.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from bench_server import FIRST_ID

from batch.models import Rate
from batch.simulator import Behaviour, Limits, SimulatedApi

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]

HERE = Path(__file__).parent
WORKERS = 64
ROUNDS = 3
NO_LIMIT = "100000000/min"
ENVIRONMENT = os.environ | {"SPIRII_API_KEY": "benchmark"}


@contextmanager
def server(tokens: int, delay: float) -> Iterator[str]:
    command = [sys.executable, str(HERE / "bench_server.py"), str(tokens), str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield process.stdout.readline().strip()
        process.kill()


def write_sheet(path: Path, rows: int, differing: int) -> Path:
    """Rows that name their token; `differing` of them have a comment that it lacks."""
    with path.open("w") as file:
        file.write("id,comment\n")
        for place in range(rows):
            comment = f"round {time.monotonic_ns()} {place}" if place < differing else ""
            file.write(f"{FIRST_ID + place},{comment}\n")
    return path


def seconds_of(command: list[str], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, check=True)
    return time.perf_counter() - began


def apply(sheet: Path, url: str) -> list[str]:
    return [
        *(sys.executable, "-m", "batch", "apply", str(sheet), "--yes", "--json"),
        *("--base-url", url, "--workers", str(WORKERS)),
        *("--read-rate", NO_LIMIT, "--write-rate", NO_LIMIT),
    ]


def plain_loop(url: str, rows: int) -> list[str]:
    return [sys.executable, str(HERE / "plain_loop.py"), url, str(FIRST_ID), str(rows)]


def curl(url: str, rows: int, folder: Path) -> list[str]:
    config = folder / "curl.txt"
    config.write_text(
        "next\n".join(
            f'url = "{url}/v2/tokens/{FIRST_ID + place}"\nrequest = PATCH\noutput = /dev/null\n'
            f'header = "Content-Type: application/json"\ndata = "{{\\"comment\\":\\"{place}\\"}}"\n'
            for place in range(rows)
        )
    )
    return ["curl", "-s", "--parallel", "--parallel-max", str(WORKERS), "-K", str(config)]


@pytest.mark.parametrize(
    ("name", "rows", "delay"),
    [("a server that answers at once", 10_000, 0.0), ("one that takes 50 ms", 40_000, 0.05)],
)
def test_rows_a_second_beside_the_alternatives(
    name: str, rows: int, delay: float, tmp_path: Path
) -> None:
    rates: dict[str, list[float]] = {"apply": [], "plain httpx + tenacity": [], "curl": []}
    with server(rows, delay) as url:
        for _ in range(ROUNDS):
            sheet = write_sheet(tmp_path / "sheet.csv", rows, rows)
            rates["apply"].append(rows / seconds_of(apply(sheet, url), tmp_path))
            loop = seconds_of(plain_loop(url, rows), tmp_path)
            rates["plain httpx + tenacity"].append(rows / loop)
            if shutil.which("curl"):
                rates["curl"].append(rows / seconds_of(curl(url, rows, tmp_path), tmp_path))
    print(f"\n{rows:,} rows, {WORKERS} at once, {name} (whole processes, median of {ROUNDS}):")
    ours = rates["apply"]
    for who, found in rates.items():
        if found:
            ratio = statistics.median(a / b for a, b in zip(ours, found, strict=True))
            print(
                f"  {who:24} {statistics.median(found):7,.0f} rows/s   apply is {ratio:.2f} times"
            )
    if delay:
        ideal = WORKERS / delay
        print(f"  apply reaches {statistics.median(ours) / ideal:.1%} of the ideal {ideal:,.0f}/s")


def test_requests_that_a_nightly_sheet_costs(tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path / "nightly.csv", 10_000, 100)
    with server(10_000, 0.0) as url:
        seconds_of(apply(sheet, url), tmp_path)
        requests = httpx.get(f"{url}/count").json()["requests"]
    print(f"\n10,000 rows of which 100 differ: {requests} requests; writing all blindly: 10,000")


@pytest.mark.parametrize("rate", ["50/s", "300/10s"])
def test_share_of_the_budget_that_a_long_run_uses(rate: str, tmp_path: Path) -> None:
    budget = Rate.parse(rate)
    windows = 8
    rows = budget.limit * windows
    sheet = write_sheet(tmp_path / "sheet.csv", rows, rows)
    behaviour = Behaviour(limits=Limits(writes=budget, reads=Rate(1_000_000, 60.0)))
    with SimulatedApi(tokens=rows, behaviour=behaviour) as api:
        command = [*apply(sheet, api.url), "--write-rate", rate]
        subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, check=False)
        arrivals = sorted(write.arrived for write in api.writes)
        refused = sum(write.status == 429 for write in api.writes)
    # The first windowful goes at once, so the others set the time.
    used = (len(arrivals) - budget.limit) * budget.seconds / (arrivals[-1] - arrivals[0])
    print(f"\n{rate}: {used / budget.limit:.2%} of the budget used, {refused} answers of 429")


@pytest.mark.parametrize("rows", [10_000, 200_000])
def test_peak_memory(rows: int, tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path / "sheet.csv", rows, rows)
    with server(rows, 0.0) as url:
        command = [sys.executable, str(HERE / "peak_memory.py"), *apply(sheet, url)]
        done = subprocess.run(
            command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, check=True, text=True
        )
    print(f"\n{rows:,} rows, all written: at most {done.stderr.splitlines()[-1]} MB")
