"""The key goes to the API and nowhere else, whatever goes wrong."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from test_cli import FIRST, QUICK, ended, runs_in, said_by, started, write_sheet

from batch.settings import load
from batch.simulator import Behaviour, Fault, Faults, SimulatedApi

KEY = "zebra-7-kangaroo-4411"
TROUBLE = Faults(
    rates={
        Fault.DROP: 0.1,
        Fault.DROP_APPLIED: 0.1,
        Fault.SERVER_ERROR: 0.1,
        Fault.BAD_GATEWAY_APPLIED: 0.1,
        Fault.UNAVAILABLE: 0.05,
        Fault.BAD_REQUEST: 0.05,
        Fault.UNPROCESSABLE: 0.05,
        Fault.HTML: 0.1,
        Fault.TRUNCATED: 0.1,
        Fault.EMPTY: 0.05,
    },
    methods=("PATCH",),
    latency=0.005,
)


def forms(secret: str) -> list[bytes]:
    """The secret as files and terminals could hold it."""
    return [secret.encode(), secret.encode("utf-16-le"), secret.encode().hex().encode()]


def assert_secret(*texts: str | bytes, secret: str = KEY) -> None:
    for text in texts:
        content = text.encode() if isinstance(text, str) else text
        assert not any(form in content for form in forms(secret))


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below, also those that the next moment removes: a journal's -wal and -shm."""
    found = {}
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            found[path.name] = path.read_bytes()
    return found


def command_lines() -> bytes:
    """Those of every process that runs now."""
    found = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += path.read_bytes()
    return found


def test_the_key_is_nowhere_after_faults_an_expired_key_a_refused_port_and_a_resume(
    tmp_path: Path,
) -> None:
    behaviour = Behaviour(limits=None, key=KEY, key_expires_after=40)
    options = (*QUICK, "--workers", "16")
    as_json = ("--log-format", "json")
    with SimulatedApi(tokens=60, behaviour=behaviour, faults=TROUBLE) as api:
        account = {"SPIRII_API_KEY": KEY, "SPIRII_BASE_URL": api.url}
        sheet = write_sheet(tmp_path, rows=50)
        seen: dict[str, bytes] = {}
        with started(
            "apply", sheet, "--yes", *options, *as_json, folder=tmp_path, **account
        ) as going:
            while going.poll() is None:
                assert_secret(command_lines())
                seen |= files_in(tmp_path)
            said = ended(going)
        assert said.code == 3
        assert "journal.sqlite-wal" in seen
        assert_secret(said.out, said.err, *seen.values())

        api.stop()
        said = said_by("resume", *options, folder=tmp_path, **account)
        assert said.code in {2, 3}
        assert_secret(said.out, said.err)

        api.start()
        api.accept_key("another")
        said = said_by("resume", *options, *as_json, "--json", folder=tmp_path, **account)
        assert said.code in {2, 3}
        assert_secret(said.out, said.err)

        api.accept_key(KEY)
        for command in (("resume", *options), ("report", "--json"), ("runs",)):
            said = said_by(*command, folder=tmp_path, **account)
            assert said.code in {0, 1}
            assert_secret(said.out, said.err)
    (folder,) = runs_in(tmp_path)
    assert {"report.csv", "summary.json", "journal.sqlite"} <= files_in(folder).keys()
    assert_secret(*files_in(tmp_path).values())


def test_the_key_of_an_env_file_is_in_no_file_but_that(tmp_path: Path) -> None:
    with SimulatedApi(tokens=60, behaviour=Behaviour(limits=None, key=KEY)) as api:
        (tmp_path / ".env").write_text(f"SPIRII_API_KEY={KEY}\n", encoding="utf-8")
        sheet = write_sheet(tmp_path)
        said = said_by("apply", sheet, "--yes", folder=tmp_path, SPIRII_BASE_URL=api.url)
    assert said.code == 0
    assert_secret(said.out, said.err)
    (tmp_path / ".env").unlink()
    assert_secret(*files_in(tmp_path).values())


@contextmanager
def telling(refuse: str, token: str) -> Iterator[str]:
    """A server that answers `refuse` requests with 400 and all that it was sent; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            listing = f'{{"data": [{token}], "count": 1}}'
            self._answer(token if self.path.endswith(str(FIRST)) else listing)

        def do_PATCH(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(token)

        def _answer(self, content: str) -> None:
            if self.command == refuse:
                sent = self.headers["Authorization"]
                content = f'{{"error": {{"code": "{sent}", "message": "cannot do: {sent}"}}}}'
            self.send_response(400 if self.command == refuse else 200)
            self.send_header("X-Request-Id", self.headers["Authorization"])
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


@pytest.mark.parametrize("refuse", ["GET", "PATCH"])
def test_a_server_that_repeats_the_key_in_its_errors_does_not_make_us_write_it(
    refuse: str, tmp_path: Path
) -> None:
    with SimulatedApi(tokens=1) as api:
        headers = {"Authorization": "Bearer key"}
        token = httpx.get(f"{api.url}/v2/tokens/{FIRST}", headers=headers).text
    sheet = write_sheet(tmp_path, rows=1)
    with telling(refuse, token) as url:
        account = {"SPIRII_API_KEY": KEY, "SPIRII_BASE_URL": url}
        said = said_by("apply", sheet, "--yes", *QUICK, folder=tmp_path, **account)
    assert said.code in {1, 2}
    assert_secret(said.out, said.err, *files_in(tmp_path).values())


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_an_env_file_that_cannot_be_read_is_not_repeated(encoding: str, tmp_path: Path) -> None:
    content = f"# nøgle\nSPIRII_API_KEY={KEY}\n".encode(encoding)
    (tmp_path / ".env").write_bytes(content)
    said = said_by("plan", write_sheet(tmp_path), folder=tmp_path, TMPDIR=str(tmp_path))
    assert said.code == 2
    (tmp_path / ".env").unlink()
    readable = said.err.replace("\\x00", "")  # as Python shows bytes of UTF-16
    assert_secret(said.out, said.err, readable, *files_in(tmp_path).values())


def test_the_key_is_not_in_the_log_of_a_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object) -> None:
        raise ZeroDivisionError(*given)  # the settings among them

    monkeypatch.setattr("batch.run.propose", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    account = {"SPIRII_API_KEY": KEY, "SPIRII_BASE_URL": "http://127.0.0.1:9"}
    said = said_by("plan", write_sheet(tmp_path), folder=tmp_path, **account)
    assert said.code == 70
    assert list(tmp_path.glob("*.log"))
    assert_secret(said.out, said.err, *files_in(tmp_path).values())


def test_settings_do_not_show_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIRII_API_KEY", KEY)
    settings = load()
    assert settings.key.get_secret_value() == KEY == os.environ["SPIRII_API_KEY"]
    assert_secret(repr(settings), str(settings), settings.model_dump_json())


def test_the_key_cannot_be_a_flag(tmp_path: Path) -> None:
    for flag in ("--key", "--api-key"):
        said = said_by("plan", write_sheet(tmp_path), flag, KEY, folder=tmp_path)
        assert said.code == 2
        assert_secret(said.out, said.err)
