"""Commands as their users meet them: streams, exit codes, signals and a terminal."""

from __future__ import annotations

import contextlib
import csv
import gc
import io
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from batch import run
from batch.cli import main
from batch.simulator import Behaviour, Fault, Faults, Planned, SimulatedApi

KEY = "key"
FIRST = 100_001  # the id of the account's first token
PROGRAM = (sys.executable, "-m", "batch")
OURS = ("SPIRII_", "TOKEN_BATCH_")
QUICK = ("--write-rate", "100000/s", "--read-rate", "100000/s", "--tries", "2")
SENDING = re.compile(r"run \S+: ([\d,]+) changes?$", re.MULTILINE)

# A terminal of its own for the program, so that a typed Ctrl-C is a signal.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, '-m', 'batch', *sys.argv[1:]])"
)


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What `--json` printed; the whole of stdout must be one document."""
        return json.loads(self.out)


def said_by(*arguments: object, folder: Path, **environment: str) -> Said:
    """The command run in this process, in `folder`, without a terminal."""
    out, err = io.StringIO(), io.StringIO()
    settings = {"COLUMNS": "80", **environment}
    terminated = signal.getsignal(signal.SIGTERM)
    thresholds = gc.get_threshold()
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            for name in [name for name in os.environ if name.startswith(OURS)]:
                patch.delenv(name)
            for name, value in settings.items():
                patch.setenv(name, value)
            patch.chdir(folder)
            patch.setattr(sys, "argv", ["token-batch", *map(str, arguments)])
            patch.setattr(sys, "stdin", io.StringIO())
            with pytest.raises(SystemExit) as end:
                main()
    finally:
        signal.signal(signal.SIGTERM, terminated)
        gc.unfreeze()
        gc.set_threshold(*thresholds)
    code = end.value.code
    assert isinstance(code, int)
    return Said(code, out.getvalue(), err.getvalue())


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of ours, but for those given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    kept.pop("COLUMNS", None)
    return kept | more


def process(*arguments: object, folder: Path, stdin: str = "", **settings: str) -> Said:
    """The command as a process of its own, without a terminal."""
    done = subprocess.run(
        [*PROGRAM, *map(str, arguments)],
        cwd=folder,
        env=environment(**settings),
        input=stdin,
        text=True,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)


@contextmanager
def started(*arguments: object, folder: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """The same, while it runs; killed if it does not end."""
    with subprocess.Popen(
        [*PROGRAM, *map(str, arguments)],
        cwd=folder,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as going:
        try:
            yield going
        finally:
            going.kill()


def ended(going: subprocess.Popen[str], within: float = 15.0) -> Said:
    """How a started command ended."""
    out, err = going.communicate(timeout=within)
    return Said(going.returncode, out, err)


def settings_for(api: SimulatedApi) -> dict[str, str]:
    return {"SPIRII_API_KEY": KEY, "SPIRII_BASE_URL": api.url}


def wait_until(true: Callable[[], object]) -> None:
    """Until it holds; half a minute is for ever."""
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until, "it never came to that"
        time.sleep(0.01)


def write_sheet(folder: Path, rows: int = 8, text: str = "asked", name: str = "fleet.csv") -> Path:
    """A sheet that gives so many tokens a comment."""
    lines = [f"{FIRST + place},{text} {place}" for place in range(rows)]
    path = folder / name
    path.write_text("\n".join(["id,comment", *lines, ""]), encoding="utf-8")
    return path


def runs_in(folder: Path) -> list[Path]:
    """The folders of all runs, whether begun, confirmed or ended."""
    return sorted(path for path in (folder / "reports").glob("*") if path.is_dir())


def summary_of(folder: Path) -> Any:
    return json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def statuses_in(folder: Path) -> list[str]:
    with (folder / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        return [line["status"] for line in csv.DictReader(file)]


def lines_of_log(err: str) -> list[Any]:
    """Each line of stderr as the JSON object that it must be."""
    return [json.loads(line) for line in err.splitlines()]


@pytest.fixture
def api() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=60, behaviour=Behaviour(limits=None)) as running:
        yield running


@pytest.fixture
def slow() -> Iterator[SimulatedApi]:
    """An account whose answers take their time."""
    with SimulatedApi(
        tokens=60, behaviour=Behaviour(limits=None), faults=Faults(latency=0.2)
    ) as running:
        yield running


@pytest.fixture
def expiring() -> Iterator[SimulatedApi]:
    """An account that accepts the key for three changes."""
    with SimulatedApi(tokens=60, behaviour=Behaviour(limits=None, key_expires_after=3)) as running:
        yield running


@pytest.fixture
def stopped(expiring: SimulatedApi, tmp_path: Path) -> Path:
    """The folder of a run that stopped after three of eight changes; the key works again."""
    said = said_by(
        "apply", write_sheet(tmp_path), "--yes", *QUICK, folder=tmp_path, **settings_for(expiring)
    )
    assert said.code == 3
    expiring.accept_key(KEY)
    (folder,) = runs_in(tmp_path)
    return folder


# check and plan


def test_check_of_a_right_sheet_exits_0_and_needs_no_key(tmp_path: Path) -> None:
    said = said_by("check", write_sheet(tmp_path), folder=tmp_path)
    assert (said.code, said.err) == (0, "")
    assert "8 of 8 rows valid" in said.out


def test_each_command_ends_with_the_next_as_it_is_to_be_typed(
    api: SimulatedApi, tmp_path: Path
) -> None:
    options = ("--timezone", "Europe/Oslo", "a sheet.csv", "--clear-marker", "no value")
    write_sheet(tmp_path, name="a sheet.csv")

    checked = said_by("check", *options, folder=tmp_path)
    planned = said_by("plan", *options, folder=tmp_path, **settings_for(api))
    saved = said_by("plan", *options, "--out", "p.json", folder=tmp_path, **settings_for(api))

    typed = "--timezone Europe/Oslo 'a sheet.csv' --clear-marker 'no value'"
    assert checked.out.splitlines()[-1] == f"Next: token-batch plan {typed}"
    assert planned.out.splitlines()[-1] == f"Next: token-batch apply {typed}"
    assert saved.out.splitlines()[-1] == "Next: token-batch apply p.json"


def test_check_of_a_wrong_row_exits_1_and_names_its_cell(tmp_path: Path) -> None:
    (tmp_path / "wrong.csv").write_text("id,isActive\n100001,maybe\n100002,yes\n", "utf-8")
    said = said_by("check", "wrong.csv", folder=tmp_path)
    assert said.code == 1
    assert "1 of 2 rows valid" in said.out
    assert 'B2     isActive: "maybe"' in said.out
    assert "Next: mend these and check again" in said.out


def test_check_as_json_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "wrong.csv").write_text("id,isActive,team\n100001,maybe,A\n", encoding="utf-8")
    said = said_by("check", "wrong.csv", "--json", folder=tmp_path)
    assert said.code == 1
    assert said.document["ignored_columns"] == ["team"]
    (problem,) = said.document["problems"]
    assert (problem["row"], problem["column"], problem["cell"]) == (2, "isActive", "B2")


def test_plan_exits_0_sends_nothing_and_leaves_no_run(api: SimulatedApi, tmp_path: Path) -> None:
    said = said_by("plan", write_sheet(tmp_path), folder=tmp_path, **settings_for(api))
    assert said.code == 0
    assert "8 tokens to change" in said.out
    assert api.writes == []
    assert runs_in(tmp_path) == []


def test_plan_with_a_row_to_mend_exits_1(api: SimulatedApi, tmp_path: Path) -> None:
    (tmp_path / "gone.csv").write_text("id,comment\n100001,x\n999999,x\n", encoding="utf-8")
    said = said_by("plan", "gone.csv", folder=tmp_path, **settings_for(api))
    assert said.code == 1
    assert "not found" in said.out


def test_plan_as_json_is_one_document_with_old_and_new(api: SimulatedApi, tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path, rows=1)
    said = said_by("plan", sheet, "--json", folder=tmp_path, **settings_for(api))
    (operation,) = said.document["operations"]
    assert operation["token_id"] == FIRST
    assert operation["changes"] == {"comment": {"old": None, "new": "asked 0"}}
    assert said.document["requests_needed"] == 1


# apply and what follows it


def test_apply_exits_0_when_every_row_is_updated_or_unchanged(
    api: SimulatedApi, tmp_path: Path
) -> None:
    write_sheet(tmp_path)
    said = said_by("apply", "fleet.csv", "--yes", *QUICK, folder=tmp_path, **settings_for(api))
    assert said.code == 0
    assert len(api.writes) == 8
    again = said_by("apply", "fleet.csv", "--yes", *QUICK, folder=tmp_path, **settings_for(api))
    assert again.code == 0
    assert len(api.writes) == 8


def test_apply_exits_1_when_some_rows_are_not(api: SimulatedApi, tmp_path: Path) -> None:
    (tmp_path / "gone.csv").write_text("id,comment\n100001,x\n999999,x\n", encoding="utf-8")
    said = said_by("apply", "gone.csv", "--yes", *QUICK, folder=tmp_path, **settings_for(api))
    assert said.code == 1
    assert len(api.writes) == 1
    assert "fix.csv" in said.out


def test_apply_that_stops_early_exits_3_and_resume_finishes_with_0(
    expiring: SimulatedApi, stopped: Path, tmp_path: Path
) -> None:
    assert sorted(statuses_in(stopped)) == ["not_sent"] * 5 + ["updated"] * 3
    said = said_by("resume", *QUICK, folder=tmp_path, **settings_for(expiring))
    assert said.code == 0
    assert statuses_in(stopped) == ["updated"] * 8


def test_resume_that_stops_again_exits_3(
    expiring: SimulatedApi, stopped: Path, tmp_path: Path
) -> None:
    expiring.accept_key("another")
    said = said_by("resume", *QUICK, folder=tmp_path, **settings_for(expiring))
    assert said.code == 3
    assert statuses_in(stopped).count("not_sent") == 5


def test_resume_that_ends_with_rows_to_mend_exits_1(
    expiring: SimulatedApi, stopped: Path, tmp_path: Path
) -> None:
    expiring.change(FIRST + 7, comment="somebody else was here")
    said = said_by("resume", stopped.name, *QUICK, folder=tmp_path, **settings_for(expiring))
    assert said.code == 1
    assert statuses_in(stopped) == ["updated"] * 7 + ["conflict"]


def test_resume_says_how_many_changes_are_left(
    expiring: SimulatedApi, stopped: Path, tmp_path: Path
) -> None:
    said = said_by("resume", *QUICK, folder=tmp_path, **settings_for(expiring))
    assert SENDING.findall(said.err) == ["5"]


def test_json_is_the_summary_of_the_run_and_nothing_else(
    expiring: SimulatedApi, tmp_path: Path
) -> None:
    sheet = write_sheet(tmp_path)
    options = (*QUICK, "--json")
    account = settings_for(expiring)
    applied = said_by("apply", sheet, "--yes", *options, folder=tmp_path, **account)
    (folder,) = runs_in(tmp_path)
    assert (applied.code, applied.document) == (3, summary_of(folder))
    expiring.accept_key(KEY)
    resumed = said_by("resume", *options, folder=tmp_path, **account)
    assert (resumed.code, resumed.document) == (0, summary_of(folder))
    reported = said_by("report", "--json", folder=tmp_path)
    assert (reported.code, reported.document) == (0, summary_of(folder))
    listed = said_by("runs", "--json", folder=tmp_path)
    assert (listed.code, listed.document) == (0, [summary_of(folder)])


def test_stdout_carries_results_and_stderr_the_log(api: SimulatedApi, tmp_path: Path) -> None:
    said = said_by(
        "apply", write_sheet(tmp_path), "--yes", *QUICK, folder=tmp_path, **settings_for(api)
    )
    assert said.code == 0
    assert SENDING.findall(said.err) == ["8"]
    assert not SENDING.search(said.out)
    assert "8 tokens to change" in said.out
    assert "8 tokens to change" not in said.err
    assert "\x1b" not in said.out + said.err


def test_a_nightly_job_reads_one_document_on_stdout_and_json_lines_on_stderr(
    api: SimulatedApi, tmp_path: Path
) -> None:
    sheet = write_sheet(tmp_path)
    options = (*QUICK, "--json", "--log-format", "json")
    said = process("apply", sheet, "--yes", *options, folder=tmp_path, **settings_for(api))
    assert said.code == 0
    assert said.document["counts"]["updated"] == 8
    assert all({"time", "level", "message"} <= line.keys() for line in lines_of_log(said.err))


def test_an_error_too_is_a_json_line_of_the_log(tmp_path: Path) -> None:
    said = said_by("check", "missing.csv", "--log-format", "json", folder=tmp_path)
    assert said.code == 2
    (line,) = lines_of_log(said.err)
    assert line["level"] == "error"
    assert "missing.csv" in line["message"]


def test_apply_without_yes_and_without_a_terminal_exits_2_and_asks_nothing_of_the_api(
    api: SimulatedApi, tmp_path: Path
) -> None:
    said = said_by("apply", write_sheet(tmp_path), folder=tmp_path, **settings_for(api))
    assert (said.code, said.out) == (2, "")
    assert "--yes" in said.err
    assert api.requests == ()
    assert runs_in(tmp_path) == []


def test_a_sheet_that_another_process_works_on_exits_75_with_who_and_since_when(
    slow: SimulatedApi, tmp_path: Path
) -> None:
    sheet = write_sheet(tmp_path, rows=30)
    account = settings_for(slow)
    options = (*QUICK, "--workers", "1", "--yes")
    with started("apply", sheet, *options, folder=tmp_path, **account) as going:
        wait_until(lambda: slow.writes)
        said = said_by("apply", sheet, *options, folder=tmp_path, **account)
        other = write_sheet(tmp_path, rows=2, text="another", name="other.csv")
        beside = said_by("apply", other, *options, folder=tmp_path, **account)
    assert (said.code, said.out) == (75, "")
    assert f"is working on {sheet.name} (process {going.pid}, since 20" in said.err
    assert beside.code == 0
    assert said_by("apply", sheet, *options, folder=tmp_path, **account).code == 0


def test_a_run_that_another_process_works_on_exits_75_and_is_named(
    expiring: SimulatedApi, stopped: Path, tmp_path: Path
) -> None:
    requests = len(expiring.requests)
    with FileLock(stopped / ".lock"):
        resumed = process("resume", folder=tmp_path, **settings_for(expiring))
        reported = said_by("report", folder=tmp_path)
    for said in (resumed, reported):
        assert (said.code, said.out) == (75, "")
        assert stopped.name in said.err
    assert len(expiring.requests) == requests


def test_runs_tells_of_a_run_that_another_process_works_on(stopped: Path, tmp_path: Path) -> None:
    with FileLock(stopped / ".lock"):
        said = said_by("runs", folder=tmp_path)
    assert said.code == 0
    assert re.search(rf"{stopped.name}\s+8\s+3\s+stopped", said.out)


def test_runs_tells_the_whole_name_of_a_run(api: SimulatedApi, tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path, name="all our cards of the northern depots.csv")
    said_by("apply", sheet, "--yes", *QUICK, folder=tmp_path, **settings_for(api))
    (folder,) = runs_in(tmp_path)
    assert folder.name in said_by("runs", folder=tmp_path).out


@pytest.mark.parametrize("form", ["{}", "reports/{}", "./reports/{}/"])
def test_a_run_is_named_by_its_name_or_by_the_path_that_was_printed(
    form: str, stopped: Path, tmp_path: Path
) -> None:
    said = said_by("report", form.format(stopped.name), "--json", folder=tmp_path)
    assert (said.code, said.document["run"]) == (0, stopped.name)


def test_a_run_is_gone_on_with_by_the_command_that_was_printed(
    expiring: SimulatedApi, tmp_path: Path
) -> None:
    sheet = write_sheet(tmp_path)
    options = (*QUICK, "--reports", "elsewhere")
    account = settings_for(expiring)
    said = said_by("apply", sheet, "--yes", *options, folder=tmp_path, **account)
    assert said.code == 3
    expiring.accept_key(KEY)
    assert said_by(*_printed_command(said), *QUICK, folder=tmp_path, **account).code == 0


def test_a_simulated_run_is_gone_on_with_by_the_command_that_was_printed(tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path)
    rate = ("--write-rate", "2/s")
    with started("apply", sheet, "--yes", "--simulate", *rate, folder=tmp_path) as going:
        assert going.stderr is not None
        assert SENDING.search(going.stderr.readline())
        time.sleep(0.3)  # of the three seconds that this takes
        going.send_signal(signal.SIGINT)
        said = ended(going)
    assert said.code == 130
    assert said_by(*_printed_command(said), folder=tmp_path).code == 0


def _printed_command(said: Said) -> Sequence[str]:
    found = re.search(r"token-batch (resume .*)$", said.out, re.MULTILINE)
    assert found, said.out
    return shlex.split(found[1])


def test_everything_printed_about_a_simulated_run_says_so(tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path)
    applied = said_by("apply", sheet, "--yes", "--simulate", folder=tmp_path)
    assert applied.code == 0
    for said in (applied, said_by("report", folder=tmp_path), said_by("runs", folder=tmp_path)):
        assert "simulated" in said.out.lower()
    assert said_by("runs", "--json", folder=tmp_path).document[0]["simulated"] is True


def test_only_the_simulated_api_is_called_simulated(api: SimulatedApi, tmp_path: Path) -> None:
    settings = settings_for(api) | {"TOKEN_BATCH_SIMULATED": "1"}
    sheet = write_sheet(tmp_path)
    said = said_by("apply", sheet, "--yes", *QUICK, folder=tmp_path, **settings)
    # Either it is refused or it is honest: what changes real tokens never says "simulated".
    assert not api.writes or "simulated" not in (said.out + said.err).lower()


def test_successive_simulated_commands_see_each_others_changes(tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path)
    assert said_by("apply", sheet, "--yes", "--simulate", folder=tmp_path).code == 0
    said = said_by("plan", sheet, "--simulate", "--json", folder=tmp_path)
    assert (said.code, said.document["requests_needed"]) == (0, 0)


def test_a_fault_of_the_program_exits_70_and_names_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by the test")

    monkeypatch.setattr(run, "check", broken)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = said_by("check", write_sheet(tmp_path), folder=tmp_path)
    assert (said.code, said.out) == (70, "")
    (log,) = tmp_path.glob("*.log")
    assert str(log) in said.err
    assert len(said.err.splitlines()) == 1
    assert "Traceback" in log.read_text(encoding="utf-8")


# Interrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_sending_lets_requests_finish_reports_all_rows_and_resume_finishes(
    number: signal.Signals, slow: SimulatedApi, tmp_path: Path
) -> None:
    sheet = write_sheet(tmp_path, rows=30)
    options = (*QUICK, "--workers", "4")
    account = settings_for(slow)
    with started("apply", sheet, "--yes", *options, folder=tmp_path, **account) as going:
        wait_until(lambda: len(slow.writes) >= 4)  # the probe, and four at once
        going.send_signal(number)
        said = ended(going)
    assert said.code == 130
    assert all(request.status == 200 for request in slow.writes)
    (folder,) = runs_in(tmp_path)
    sent = len(slow.writes)
    assert sent < 30
    assert sorted(statuses_in(folder)) == ["not_sent"] * (30 - sent) + ["updated"] * sent
    assert summary_of(folder)["stopped"]
    assert f"resume {folder.name}" in said.out
    slow.faults = Faults()
    assert said_by("resume", *options, folder=tmp_path, **account).code == 0
    assert statuses_in(folder) == ["updated"] * 30
    assert len(slow.writes) == 30


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_sending_says_that_nothing_was_sent_and_leaves_no_run(
    number: signal.Signals, slow: SimulatedApi, tmp_path: Path
) -> None:
    slow.faults = Faults(latency=60.0)
    sheet = write_sheet(tmp_path)
    with started("apply", sheet, "--yes", folder=tmp_path, **settings_for(slow)) as going:
        wait_until(lambda: slow.reads)
        going.send_signal(number)
        said = ended(going, within=5)
    assert said.code == 130
    assert slow.writes == []
    assert runs_in(tmp_path) == []
    assert "Traceback" not in said.err
    assert "nothing was sent" in said.err


def test_the_report_of_a_killed_run_says_how_to_go_on(slow: SimulatedApi, tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path, rows=30)
    options = (*QUICK, "--workers", "4")
    with started("apply", sheet, "--yes", *options, folder=tmp_path, **settings_for(slow)):
        wait_until(lambda: len(slow.writes) >= 4)
    (folder,) = runs_in(tmp_path)
    said = said_by("report", folder=tmp_path)
    assert f"token-batch resume {folder.name}" in said.out
    assert "Mend" not in said.out


# At a terminal


class Screen:
    """A terminal with the program at it, and what it has shown so far."""

    def __init__(self, terminal: int, program: subprocess.Popen[bytes]) -> None:
        self._terminal = terminal
        self.program = program
        self.shown = ""

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def until(self, text: str) -> None:
        while text not in self.shown:
            assert self._read(), f"{text!r} was never shown, but {self.shown!r}"

    def waits(self) -> bool:
        """Whether the program sleeps until something happens."""
        status = Path(f"/proc/{self.program.pid}/stat").read_text()
        return status.rpartition(")")[2].split()[0] == "S"

    def end(self) -> int:
        """The exit code; everything is shown by then."""
        while self._read():
            pass
        return self.program.wait(10)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], 20)
        try:
            found = os.read(self._terminal, 65536) if ready else b""
        except OSError:  # Linux's way to say that the program closed its side
            found = b""
        self.shown += found.decode(errors="replace")
        return bool(found)


@contextmanager
def at_a_terminal(*arguments: object, folder: Path, **settings: str) -> Iterator[Screen]:
    """The command at a terminal of 80 columns."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (40, 80))
    program = subprocess.Popen(
        [sys.executable, "-c", _TAKE_TERMINAL, *map(str, arguments)],
        cwd=folder,
        env=environment(TERM="xterm-256color", **settings),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Screen(ours, program)
    finally:
        program.kill()
        program.wait()
        os.close(ours)


def test_a_yes_at_the_question_sends_and_leaves_the_terminal_as_it_was(
    slow: SimulatedApi, tmp_path: Path
) -> None:
    sheet = write_sheet(tmp_path, rows=4)
    with at_a_terminal(
        "apply", sheet, *QUICK, "--workers", "2", folder=tmp_path, **settings_for(slow)
    ) as screen:
        screen.until("Change 4 tokens now?")
        assert slow.writes == []
        screen.type("y\n")
        screen.until("/4")
        assert screen.end() == 0
    assert len(slow.writes) == 4
    # The bar hides the cursor while it is there.
    assert screen.shown.rfind("\x1b[?25h") > screen.shown.rfind("\x1b[?25l") > 0
    assert "4/4" not in screen.shown.rpartition("\x1b[2K")[2]


@pytest.mark.parametrize("answer", ["n\n", "\x04"], ids=["n", "end of input"])
def test_anything_but_a_yes_exits_2_sends_nothing_and_leaves_no_run(
    answer: str, api: SimulatedApi, tmp_path: Path
) -> None:
    sheet = write_sheet(tmp_path)
    with at_a_terminal("apply", sheet, folder=tmp_path, **settings_for(api)) as screen:
        screen.until("now?")
        screen.type(answer)
        assert screen.end() == 2
    assert "nothing was sent" in screen.shown
    assert api.writes == []
    assert runs_in(tmp_path) == []


def test_ctrl_c_at_the_question_exits_130_says_so_and_leaves_no_run(
    api: SimulatedApi, tmp_path: Path
) -> None:
    sheet = write_sheet(tmp_path)
    with at_a_terminal("apply", sheet, folder=tmp_path, **settings_for(api)) as screen:
        screen.until("now?")
        wait_until(screen.waits)  # a signal in the instant before is heard at the next key only
        screen.type("\x03")
        assert screen.end() == 130
    assert api.writes == []
    assert runs_in(tmp_path) == []
    assert "nothing was sent" in screen.shown


def test_ctrl_c_while_sending_finishes_and_a_second_one_quits_at_once(
    slow: SimulatedApi, tmp_path: Path
) -> None:
    sheet = write_sheet(tmp_path)
    with at_a_terminal("apply", sheet, *QUICK, folder=tmp_path, **settings_for(slow)) as screen:
        screen.until("now?")
        slow.faults = Faults(latency=60.0)
        screen.type("y\n")
        wait_until(lambda: slow.writes)
        screen.type("\x03")
        screen.until("once more")
        screen.type("\x03")
        began = time.monotonic()
        assert screen.end() == 130
        assert time.monotonic() - began < 5
    assert screen.shown.rfind("\x1b[?25h") > screen.shown.rfind("\x1b[?25l") > 0
    (folder,) = runs_in(tmp_path)
    slow.faults = Faults()
    said = said_by("resume", *QUICK, folder=tmp_path, **settings_for(slow))
    assert said.code == 0
    assert statuses_in(folder) == ["updated"] * 8


def test_no_line_is_broken_inside_a_word_on_a_terminal_of_80_columns(tmp_path: Path) -> None:
    (tmp_path / "wrong.csv").write_text(
        "id,isActive,a column with a long heading,another column with a long heading,and more\n"
        "100001.5,yes,,,\n100002,perhaps,,,\n#REF!,yes,,,\n",
        encoding="utf-8",
    )
    with at_a_terminal("check", "wrong.csv", folder=tmp_path) as screen:
        assert screen.end() == 1
    assert [line for line in screen.shown.splitlines() if len(line) > 80] == []


def test_a_long_text_is_shown_whole_in_the_plan(api: SimulatedApi, tmp_path: Path) -> None:
    text = "https://example.com/cards/" + "x" * 70
    (tmp_path / "long.csv").write_text(f"id,comment\n100001,{text}\n", encoding="utf-8")
    said = said_by("plan", "long.csv", folder=tmp_path, **settings_for(api))
    assert text in re.sub(r"\s", "", said.out)


# Where settings and sheets come from


def test_a_sheet_may_come_from_standard_input(api: SimulatedApi, tmp_path: Path) -> None:
    sheet = write_sheet(tmp_path).read_text(encoding="utf-8")
    said = process("apply", "-", "--yes", *QUICK, folder=tmp_path, stdin=sheet, **settings_for(api))
    assert said.code == 0
    assert len(api.writes) == 8
    (folder,) = runs_in(tmp_path)  # below the working folder unless told otherwise
    assert statuses_in(folder) == ["updated"] * 8


def test_an_env_file_in_the_working_folder_is_read_and_the_environment_goes_before_it(
    api: SimulatedApi, tmp_path: Path
) -> None:
    env = f"SPIRII_API_KEY={KEY}\nSPIRII_BASE_URL={api.url}\nTOKEN_BATCH_WRITE_RATE=7/min\n"
    (tmp_path / ".env").write_text(env, encoding="utf-8")
    sheet = write_sheet(tmp_path)
    api.accept_key(KEY)
    said = said_by("plan", sheet, folder=tmp_path)
    assert said.code == 0
    assert "at 7/min" in said.out
    variable = {"TOKEN_BATCH_WRITE_RATE": "9/min"}
    said = said_by("plan", sheet, folder=tmp_path, **variable)
    assert "at 9/min" in said.out
    said = said_by("plan", sheet, "--write-rate", "11/min", folder=tmp_path, **variable)
    assert "at 11/min" in said.out


def test_an_env_file_as_notepad_writes_it_is_read(api: SimulatedApi, tmp_path: Path) -> None:
    env = f"SPIRII_API_KEY={KEY}\r\nSPIRII_BASE_URL={api.url}\r\n"
    (tmp_path / ".env").write_text(env, encoding="utf-8-sig")
    assert said_by("plan", write_sheet(tmp_path), folder=tmp_path).code == 0


@pytest.mark.parametrize("name", ["API_KEY", "BASE_URL", "api_key", "base_url"])
def test_another_programs_variables_are_not_ours(
    name: str, api: SimulatedApi, tmp_path: Path
) -> None:
    api.accept_key(KEY)
    sheet = write_sheet(tmp_path)
    others = {name: "http://127.0.0.1:9"}
    said = said_by("plan", sheet, *QUICK, folder=tmp_path, **settings_for(api), **others)
    assert said.code == 0


def test_map_names_a_column(api: SimulatedApi, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("Card no,comment\nDK-NRD-000001,x\n", encoding="utf-8")
    said = said_by(
        "plan", "own.csv", "--map", "Card no=label", folder=tmp_path, **settings_for(api)
    )
    assert said.code == 0
    assert "1 token to change" in said.out


def test_sheet_names_a_worksheet(tmp_path: Path) -> None:
    cards = Path(__file__).parent.parent / "sample_csvs" / "cards.xlsx"
    said = said_by("check", cards, "--sheet", "Ladebrikker", folder=tmp_path)
    assert (said.code, "40 of 40 rows valid" in said.out) == (0, True)
    said = said_by("check", cards, "--sheet", "Lister", folder=tmp_path)
    assert "1 of 1 row valid" in said.out


# simulate, and the rest


def test_simulate_says_where_it_answers_keeps_its_account_and_ends_with_0(tmp_path: Path) -> None:
    with started("simulate", "--port", "0", folder=tmp_path) as going:
        assert going.stdout is not None
        line = going.stdout.readline()
        assert "SIMULATED" in line
        url = line.split()[-1]
        sheet = write_sheet(tmp_path)
        account = {"SPIRII_API_KEY": KEY, "SPIRII_BASE_URL": url}
        assert said_by("apply", sheet, "--yes", folder=tmp_path, **account).code == 0
        going.terminate()
        assert ended(going) == Said(0, "", "")
    said = said_by("plan", sheet, "--simulate", "--json", folder=tmp_path)
    assert said.document["requests_needed"] == 0


def test_simulate_at_a_port_in_use_exits_2_and_says_so(api: SimulatedApi, tmp_path: Path) -> None:
    port = api.url.rpartition(":")[2]
    said = said_by("simulate", "--port", port, folder=tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "--port" in said.err


def test_version_is_told(tmp_path: Path) -> None:
    said = said_by("--version", folder=tmp_path)
    assert said.code == 0
    assert re.fullmatch(r"token-batch \d+\.\d+\.\d+\n", said.out)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("aply",),
        ("apply",),
        ("apply", "fleet.csv", "--workers", "0"),
        ("apply", "fleet.csv", "--key", "x"),
    ],
)
def test_a_command_that_makes_no_sense_exits_2(arguments: Sequence[str], tmp_path: Path) -> None:
    said = said_by(*arguments, folder=tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "Usage" in said.err


def test_a_run_with_a_row_not_known_yet_is_not_said_to_have_been_killed(
    api: SimulatedApi, tmp_path: Path
) -> None:
    drops = [Planned(Fault.DROP, method, token=FIRST + 1, times=99) for method in ("PATCH", "GET")]
    api.faults = Faults(script=drops)
    sheet = write_sheet(tmp_path, rows=3)

    said = said_by("apply", sheet, "--yes", *QUICK, folder=tmp_path, **settings_for(api))

    assert said.code == 1
    assert "Not known yet: 1 row; resuming reads the tokens" in said.out
    assert "Stopped early" not in said.out
    assert "token-batch resume" in said.out
