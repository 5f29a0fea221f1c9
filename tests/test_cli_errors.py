"""What goes wrong before anything is sent: one sentence that says what to do, and exit code 2."""

from __future__ import annotations

import shlex
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from test_cli import (
    KEY,
    PROGRAM,
    QUICK,
    Said,
    environment,
    process,
    runs_in,
    said_by,
    settings_for,
    statuses_in,
    write_sheet,
)

from batch.simulator import Behaviour, Outage, SimulatedApi

BYTES = bytes(range(128, 256)) * 8
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def api() -> Iterator[SimulatedApi]:
    with SimulatedApi(tokens=20) as running:
        yield running


@contextmanager
def answering(status: int, content_type: str, content: str) -> Iterator[str]:
    """A server that gives everything the same answer; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def assert_one_sentence(said: Said, *parts: str) -> None:
    """Exit code 2, nothing on stdout, and one line on stderr that holds these parts."""
    assert (said.code, said.out) == (2, "")
    (line,) = [line for line in said.err.splitlines() if not line.endswith("tokens read")]
    assert line.startswith("token-batch: ")
    assert "Traceback" not in line
    for part in parts:
        assert part in line


def assert_nothing_happened(api: SimulatedApi, folder: Path) -> None:
    assert api.requests == ()
    assert runs_in(folder) == []


@pytest.mark.parametrize("command", [("check",), ("apply", "--yes")])
@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("empty.csv", b"", ["empty.csv", "empty"]),
        ("blank.csv", b"\n\n \n", ["blank.csv"]),
        ("header.csv", b"id,comment\n", ["header.csv", "no row below the header"]),
        ("others.csv", b"navn,by\nMette,Aarhus\n", ["others.csv", '"id"', '"label"', "comment"]),
        ("noid.csv", b"comment,isActive\nx,yes\n", ["noid.csv", '"id"', '"label"', '"uid"']),
        ("nearly.csv", b"id,coment\n100001,x\n", ["nearly.csv", '"coment"', '"comment"']),
        ("twice.csv", b"id,comment,comment\n100001,x,y\n", ["twice.csv", "comment"]),
        ("bytes.csv", BYTES, ["bytes.csv", "encoding"]),
        ("bytes.xlsx", BYTES, ["bytes.xlsx", "save it again as .xlsx"]),
        ("empty.xlsx", b"", ["empty.xlsx"]),
        ("bytes.csv.gz", BYTES, ["bytes.csv.gz"]),
        ("missing.csv", None, ["missing.csv", "no such file"]),
        ("", None, ["folder", "name a file"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unfit_sheet_is_named_with_what_to_do(
    command: tuple[str, ...],
    name: str,
    content: bytes | None,
    parts: list[str],
    api: SimulatedApi,
    tmp_path: Path,
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    first, *options = command
    said = said_by(first, path, *options, folder=tmp_path, **settings_for(api))
    assert_one_sentence(said, *parts)
    assert_nothing_happened(api, tmp_path)


def test_an_error_is_one_sentence_of_a_real_process_too(api: SimulatedApi, tmp_path: Path) -> None:
    said = process("apply", "missing.csv", "--yes", folder=tmp_path, **settings_for(api))
    assert_one_sentence(said, "missing.csv", "no such file")
    assert_nothing_happened(api, tmp_path)


def test_empty_standard_input_is_named(api: SimulatedApi, tmp_path: Path) -> None:
    said = process("apply", "-", "--yes", folder=tmp_path, **settings_for(api))
    assert_one_sentence(said, "standard input", "empty")
    assert_nothing_happened(api, tmp_path)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--write-rate", "lots"), ["'lots'", "120/min"]),
        (("--write-rate", "0/min"), ["'0/min'", "120/min"]),
        (("--write-rate", "-5/s"), ["'-5/s'", "120/min"]),
        (("--read-rate", "600"), ["'600'", "120/min"]),
        (("--timezone", "Mars/Base"), ["'Mars/Base'", "Europe/"]),
        (("--timezone", "../../etc/passwd"), ["Europe/"]),
        (("--base-url", "ftp://api.spirii.com"), ["'ftp://api.spirii.com'", "https://"]),
        (("--base-url", "api.spirii.com"), ["'api.spirii.com'", "https://"]),
        (("--base-url", "https://me:secret@api.spirii.com"), ["password"]),
        (("--reports", "a file"), ["a file", "--reports"]),
        (("--map", "Card no"), ["'Card no'", '--map "Card no=label"']),
        (("--map", "comment=hat"), ['"hat"', "comment"]),
        (("--map", "Nowhere=label"), ['"Nowhere"']),
        (("--sheet", "Sheet1"), ["--sheet"]),
        (("--encoding", "klingon"), ['"klingon"', "utf-8"]),
        (("--delimiter", "ab"), ['"ab"', "tab"]),
    ],
    ids=" ".join,
)
def test_an_unfit_option_is_named_with_what_would_do(
    options: tuple[str, ...], parts: list[str], tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("", encoding="utf-8")
    with SimulatedApi(tokens=20) as api:
        said = said_by(
            "apply", write_sheet(tmp_path), "--yes", *options, folder=tmp_path, **settings_for(api)
        )
        assert_one_sentence(said, *parts)
        assert api.writes == []
    assert runs_in(tmp_path) == []


def test_no_deactivation_at_all_may_be_allowed(tmp_path: Path) -> None:
    with SimulatedApi(tokens=20) as api:
        working = next(token for token, each in api.tokens().items() if each["isActive"])
        sheet = tmp_path / "off.csv"
        sheet.write_text(f"id,isActive\n{working},no\n", encoding="utf-8")
        options = ("--yes", "--max-deactivations", "0")
        said = said_by("apply", str(sheet), *options, folder=tmp_path, **settings_for(api))
        assert api.writes == []
    assert said.code == 2
    assert "--max-deactivations allows 0" in said.err


def test_a_plan_that_is_refused_is_shown_with_the_reason(tmp_path: Path) -> None:
    options = ("--yes", "--max-changes", "7")
    with SimulatedApi(tokens=20) as api:
        sheet = write_sheet(tmp_path)
        said = said_by("apply", sheet, *options, folder=tmp_path, **settings_for(api))
        assert api.writes == []
    sentence = "the plan changes 8 tokens and --max-changes allows 7"
    assert said.code == 2
    assert f"Refused: {sentence}" in said.out
    assert said.err.splitlines()[-1] == f"token-batch: {sentence}: nothing was sent"
    assert runs_in(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("TOKEN_BATCH_WRITE_RATE", "lots", ["'lots'", "120/min"]),
        ("TOKEN_BATCH_WORKERS", "lots", ["workers"]),
        ("TOKEN_BATCH_TIMEZONE", "Mars/Base", ["'Mars/Base'", "Europe/"]),
        ("SPIRII_BASE_URL", "api.spirii.com", ["'api.spirii.com'", "https://"]),
        ("SPIRII_API_KEY", "k\u00f8y", ["SPIRII_API_KEY", "copy it again"]),
        ("SPIRII_API_KEY", "two words", ["SPIRII_API_KEY", "copy it again"]),
    ],
)
def test_an_unfit_variable_is_named_with_what_would_do(
    name: str, value: str, parts: list[str], api: SimulatedApi, tmp_path: Path
) -> None:
    settings = settings_for(api) | {name: value}
    said = said_by("apply", write_sheet(tmp_path), "--yes", folder=tmp_path, **settings)
    assert_one_sentence(said, *parts)
    assert_nothing_happened(api, tmp_path)


@pytest.mark.parametrize("command", [("plan",), ("apply", "--yes")])
@pytest.mark.parametrize("key", [{}, {"SPIRII_API_KEY": ""}], ids=["none", "empty"])
def test_without_a_key_it_says_where_the_key_goes(
    command: tuple[str, ...], key: dict[str, str], api: SimulatedApi, tmp_path: Path
) -> None:
    first, *options = command
    settings = {"SPIRII_BASE_URL": api.url} | key
    said = said_by(first, write_sheet(tmp_path), *options, folder=tmp_path, **settings)
    assert_one_sentence(said, "SPIRII_API_KEY", ".env", "--simulate")
    assert_nothing_happened(api, tmp_path)


def test_an_env_file_that_is_no_text_is_named(api: SimulatedApi, tmp_path: Path) -> None:
    # PowerShell's `echo SPIRII_API_KEY=… > .env` writes UTF-16.
    (tmp_path / ".env").write_text(f"SPIRII_API_KEY={KEY}\n", encoding="utf-16")
    said = said_by("plan", write_sheet(tmp_path), folder=tmp_path, SPIRII_BASE_URL=api.url)
    assert_one_sentence(said, ".env", "UTF-8")
    assert_nothing_happened(api, tmp_path)


@pytest.mark.parametrize("command", [("plan",), ("apply", "--yes")])
def test_an_unreachable_host_is_named_and_leaves_no_run(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    first, *options = command
    sheet = write_sheet(tmp_path)
    account = {"SPIRII_API_KEY": KEY, "SPIRII_BASE_URL": NOWHERE}
    said = said_by(first, sheet, *options, *QUICK, folder=tmp_path, **account)
    assert_one_sentence(said, "127.0.0.1", "base URL", "nothing was sent")
    assert runs_in(tmp_path) == []


def test_a_url_that_answers_with_pages_is_not_the_api(tmp_path: Path) -> None:
    with SimulatedApi(tokens=20) as api:
        api.outage = Outage.NOT_THE_API
        sheet = write_sheet(tmp_path)
        said = said_by("apply", sheet, "--yes", *QUICK, folder=tmp_path, **settings_for(api))
        assert_one_sentence(said, "base URL", "nothing was sent")
        assert api.writes == []
    assert runs_in(tmp_path) == []


@pytest.mark.parametrize("rows", [1, 8])
@pytest.mark.parametrize(
    ("status", "content_type", "content"),
    [
        (200, "text/html", "<html>Welcome</html>"),
        (200, "application/json", '{"data": [], "hello": "world"}'),
        (404, "text/html", "<html>There is no such page</html>"),
        (404, "application/json", '{"message": "no Route matched with those values"}'),
        (302, "text/html", ""),
        (405, "text/plain", "Method Not Allowed"),
        (500, "text/plain", "Internal Server Error"),
    ],
    ids=["page", "other json", "404 page", "404 json", "redirect", "405", "500"],
)
def test_a_url_that_is_not_the_api_is_said_to_be_none(
    status: int, content_type: str, content: str, rows: int, tmp_path: Path
) -> None:
    sheet = write_sheet(tmp_path, rows=rows)
    with answering(status, content_type, content) as url:
        account = {"SPIRII_API_KEY": KEY, "SPIRII_BASE_URL": url}
        said = said_by("apply", sheet, "--yes", *QUICK, folder=tmp_path, **account)
    assert_one_sentence(said, "URL", "nothing was sent")
    assert runs_in(tmp_path) == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_bad_key_is_said_with_what_to_mend_and_leaves_no_run(status: int, tmp_path: Path) -> None:
    behaviour = Behaviour(key="the right one", bad_key_status=403 if status == 403 else 401)
    with SimulatedApi(tokens=20, behaviour=behaviour) as api:
        sheet = write_sheet(tmp_path)
        said = said_by("apply", sheet, "--yes", *QUICK, folder=tmp_path, **settings_for(api))
        assert_one_sentence(said, str(status), "SPIRII_API_KEY", "nothing was sent")
        assert len(api.requests) == 1
    assert runs_in(tmp_path) == []


@pytest.mark.parametrize("command", ["resume", "report"])
@pytest.mark.parametrize(
    ("name", "parts"),
    [((), ["no run", "reports"]), (("20261121-000000-none",), ["20261121-000000-none"])],
    ids=["latest", "named"],
)
def test_a_run_that_does_not_exist_is_named(
    command: str, name: tuple[str, ...], parts: list[str], api: SimulatedApi, tmp_path: Path
) -> None:
    said = said_by(command, *name, folder=tmp_path, **settings_for(api))
    assert_one_sentence(said, *parts)
    assert_nothing_happened(api, tmp_path)


def test_a_run_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    with SimulatedApi(tokens=20) as api:
        said_by("apply", write_sheet(tmp_path), "--yes", folder=tmp_path, **settings_for(api))
    (tmp_path / "reports" / "20200101-000000-old").mkdir()
    broken = tmp_path / "reports" / "20200101-000000-old" / "journal.sqlite"
    broken.write_bytes(b"no journal")

    said = said_by("runs", folder=tmp_path)

    assert said.code == 0
    assert "left out: " in said.err
    assert str(broken.relative_to(tmp_path)) in said.err
    assert len(said.out.splitlines()) == 2


def test_runs_without_any_says_so(tmp_path: Path) -> None:
    said = said_by("runs", folder=tmp_path)
    assert said.code == 0
    assert "no run" in (said.out + said.err).lower()
    assert said_by("runs", "--json", folder=tmp_path).document == []


def test_a_simulated_run_is_not_resumed_against_the_real_api(
    api: SimulatedApi, tmp_path: Path
) -> None:
    sheet = write_sheet(tmp_path)
    assert said_by("apply", sheet, "--yes", "--simulate", folder=tmp_path).code == 0
    for account in ({}, settings_for(api)):
        said = said_by("resume", folder=tmp_path, **account)
        assert_one_sentence(said, "--simulate")
    assert api.requests == ()


@pytest.mark.parametrize("port", ["99999", "-1"])
def test_simulate_at_a_port_that_cannot_be_exits_2(port: str, tmp_path: Path) -> None:
    said = said_by("simulate", "--port", port, folder=tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "--port" in said.err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_run_started_without_its_streams_is_sent_and_exits_0(
    closed: str, api: SimulatedApi, tmp_path: Path
) -> None:
    sheet = write_sheet(tmp_path)
    done = subprocess.run(  # noqa: S602 - only a shell closes streams so
        f"exec {shlex.join([*PROGRAM, 'apply', str(sheet), '--yes', *QUICK])} {closed}",
        shell=True,
        cwd=tmp_path,
        env=environment(**settings_for(api)),
        timeout=30,
        check=False,
    )
    assert done.returncode == 0
    assert statuses_in(*runs_in(tmp_path)) == ["updated"] * 8
