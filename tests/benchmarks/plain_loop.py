"""What people write today: one default httpx client, tenacity around it, 64 workers, no plan.

`python plain_loop.py URL FIRST_ID COUNT` prints the seconds that the sending took.
"""

from __future__ import annotations

import asyncio
import sys
import time

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

WORKERS = 64


async def send(url: str, ids: range) -> None:
    async with httpx.AsyncClient(headers={"Authorization": "Bearer benchmark"}) as client:

        @retry(
            retry=retry_if_exception_type(httpx.HTTPError),
            wait=wait_random_exponential(max=30),
            stop=stop_after_attempt(6),
        )
        async def update(token_id: int) -> None:
            answer = await client.patch(
                f"{url}/v2/tokens/{token_id}", json={"comment": f"benchmark {token_id}"}
            )
            answer.raise_for_status()
            answer.json()

        waiting = iter(ids)

        async def work() -> None:
            for token_id in waiting:
                await update(token_id)

        await asyncio.gather(*(work() for _ in range(WORKERS)))


if __name__ == "__main__":
    began = time.perf_counter()
    asyncio.run(send(sys.argv[1], range(int(sys.argv[2]), int(sys.argv[2]) + int(sys.argv[3]))))
    print(time.perf_counter() - began)
