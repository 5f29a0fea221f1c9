"""The simulated API as a server: starting, stopping, and being killed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from batch.simulator import Behaviour, Fault, Faults, SimulatedApi

KEY = {"Authorization": "Bearer key"}
FOREGROUND = """
import sys
from batch.simulator import Behaviour, SimulatedApi
api = SimulatedApi(sys.argv[1], behaviour=Behaviour(limits=None))
api.run_foreground(lambda url: print(url, flush=True))
api.close()
"""


@contextlib.contextmanager
def foreground(store: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", FOREGROUND, store]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def hang(api: SimulatedApi) -> threading.Thread:
    """A client that waits for an answer; returned once its request has arrived."""

    def ask() -> None:
        with contextlib.suppress(httpx.TransportError):
            httpx.patch(f"{api.url}/v2/tokens/100005", headers=KEY, json={}, timeout=30)

    thread = threading.Thread(target=ask)
    thread.start()
    while not api.requests:
        time.sleep(0.005)
    return thread


@pytest.mark.parametrize("faults", [Faults(rates={Fault.STALL: 1.0}), Faults(latency=30.0)])
def test_stops_at_once_with_requests_under_way(
    faults: Faults, caplog: pytest.LogCaptureFixture
) -> None:
    with SimulatedApi(tokens=5, faults=faults) as api:
        thread = hang(api)
        stopping = time.monotonic()
    assert time.monotonic() - stopping < 0.5
    thread.join(timeout=5)
    assert not thread.is_alive()
    assert not caplog.records


def test_clients_that_go_away_leave_no_trace_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    head = b"PATCH /v2/tokens/100005 HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n"
    with SimulatedApi(tokens=5) as api:
        port = httpx.URL(api.url).port
        for sent in (b"", head[:20], head, head + b'{"comment"'):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(sent)
        assert httpx.get(f"{api.url}/v2/tokens", headers=KEY).status_code == 200
        assert len(api.requests) == 1
    assert not caplog.records


def test_refuses_connections_while_stopped_and_returns_under_the_same_address() -> None:
    with SimulatedApi(tokens=5) as api:
        url = api.url
        assert httpx.get(f"{url}/v2/tokens/100001", headers=KEY).status_code == 200
        api.stop()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/v2/tokens/100001", headers=KEY)
        api.start()
        assert api.url == url
        assert httpx.get(f"{url}/v2/tokens/100001", headers=KEY).status_code == 200
        assert len(api.requests) == 2


def test_tells_the_time_of_day_as_it_goes_on() -> None:
    with SimulatedApi(tokens=5) as api:
        dates = []
        for pause in (0.0, 2.1):
            time.sleep(pause)
            dates.append(httpx.get(f"{api.url}/v2/tokens", headers=KEY).headers["Date"])
    assert dates[0] != dates[1]


def test_says_when_the_port_is_taken() -> None:
    with SimulatedApi(tokens=5) as first:
        port = httpx.URL(first.url).port
        assert port
        second = SimulatedApi(tokens=5, port=port)
        with pytest.raises(OSError, match="in use"):
            second.start()
        second.close()


def test_its_requests_can_be_asked_for_afterwards() -> None:
    with SimulatedApi(tokens=5) as api:
        httpx.get(f"{api.url}/v2/tokens", headers=KEY)
    assert [request.status for request in api.requests] == [200]


def test_serves_many_threads_while_its_account_is_changed_from_outside() -> None:
    behaviour = Behaviour(limits=None)
    with SimulatedApi(tokens=40, behaviour=behaviour) as api:

        def write(token: int) -> None:
            with httpx.Client(base_url=api.url, headers=KEY) as http:
                for _ in range(20):
                    http.patch(f"/v2/tokens/{token}", json={"comment": "x"})

        threads = [threading.Thread(target=write, args=(100001 + n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(100):
            api.change(100030, comment="y")
            assert len(api.tokens()) == 40
        for thread in threads:
            thread.join()
        assert [request.status for request in api.writes] == [200] * 160


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_in_the_foreground_ends_well_on_a_signal(number: signal.Signals) -> None:
    with foreground(":memory:") as (process, url):
        assert httpx.get(f"{url}/v2/tokens?limit=1", headers=KEY).status_code == 200
        process.send_signal(number)
        assert process.wait(timeout=5) == 0


def test_what_it_answered_outlives_its_process_being_killed(tmp_path: Path) -> None:
    store = tmp_path / "account.db"
    with foreground(str(store)) as (process, url), httpx.Client(headers=KEY) as http:
        for token in range(100001, 100031):
            http.patch(f"{url}/v2/tokens/{token}", json={"comment": "durable"})
        assert http.get(f"{url}/_simulator/requests").json()["applied"] == 30
        process.kill()
        process.wait()
    with SimulatedApi(store) as api:
        comments = [token["comment"] for token in api.tokens().values()]
    assert comments[:30] == ["durable"] * 30
    assert len(comments) == 5000


@pytest.mark.benchmark
def test_patches_a_second_in_a_process_of_its_own(tmp_path: Path) -> None:
    body = b'{"comment": "x"}'

    async def write(port: int, token: int) -> None:
        head = f"PATCH /v2/tokens/{token} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(1000):
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()

    async def all_at_once(port: int) -> None:
        await asyncio.gather(*(write(port, 100001 + n) for n in range(16)))

    with foreground(str(tmp_path / "account.db")) as (_, url):
        started = time.perf_counter()
        asyncio.run(all_at_once(httpx.URL(url).port or 0))
        print(f"{16_000 / (time.perf_counter() - started):,.0f} PATCHes/s")
