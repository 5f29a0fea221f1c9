"""A token API that costs as little as a server can: the other end of the benchmarks.

`python bench_server.py TOKENS DELAY_SECONDS` prints its URL and answers until it is killed.
It keeps no limits. `GET /count` tells how many requests came before.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

FIRST_ID = 100_001
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"


def _token(token_id: int) -> dict[str, Any]:
    return {
        "id": token_id,
        "customerId": 2001,
        "identifier": {
            "type": "rfid",
            "uid": f"04{token_id:012X}",
            "label": f"DK-NRD-{token_id - FIRST_ID + 1:06d}",
            "appUserId": None,
        },
        "createdAt": "2024-01-01T00:00:00.000Z",
        "updatedAt": "2024-01-01T00:00:00.000Z",
        "validFrom": "2024-01-01T00:00:00.000Z",
        "expiresAt": None,
        "isActive": True,
        "roamingEnabled": True,
        "priorityChargingEnabled": False,
        "billingReference": None,
        "comment": None,
    }


class Account:
    """The tokens, made when they are asked for; only changes are kept."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.changed: dict[int, dict[str, Any]] = {}
        self.requests = 0

    def get(self, token_id: int) -> dict[str, Any]:
        return self.changed.get(token_id) or _token(token_id)

    def answer(self, method: bytes, target: bytes, body: bytes) -> bytes:
        path, _, query = target.partition(b"?")
        if path == b"/count":
            return json.dumps({"requests": self.requests}).encode()
        self.requests += 1
        if method == b"PATCH":
            token_id = int(path.rpartition(b"/")[2])
            token = self.get(token_id) | json.loads(body)
            self.changed[token_id] = token
            return json.dumps(token).encode()
        if path == b"/v2/tokens":
            asked = dict(pair.split(b"=") for pair in query.split(b"&"))
            first = FIRST_ID + int(asked.get(b"offset", 0))
            last = min(first + int(asked.get(b"limit", 500)), FIRST_ID + self.count)
            data = [self.get(token_id) for token_id in range(first, last)]
            return json.dumps({"data": data, "count": self.count}).encode()
        return json.dumps(self.get(int(path.rpartition(b"/")[2]))).encode()


class Connection(asyncio.Protocol):
    def __init__(self, account: Account, delay: float) -> None:
        self._account = account
        self._delay = delay
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            method, target, _ = self._buffer.split(b" ", 2)
            self._buffer = self._buffer[end + 4 + length :]
            content = self._account.answer(method, target, body)
            answer = ANSWER % (len(content), content)
            if self._delay:
                asyncio.get_running_loop().call_later(self._delay, self._write, answer)
            else:
                self._write(answer)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(answer)


async def serve(count: int, delay: float) -> None:
    account = Account(count)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(account, delay), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    print(f"http://{host}:{port}", flush=True)
    await server.serve_forever()


def loop_factory() -> Any:
    """uvloop's where it is installed: the less the server takes, the more the clients show."""
    try:
        import uvloop  # noqa: PLC0415 - an optional extra
    except ImportError:
        return None
    return uvloop.new_event_loop


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(int(sys.argv[1]), float(sys.argv[2])))
