"""Operations become outcomes: who goes first, when to wait, when to stop.

Every operation ends in exactly one of two ways: `settle` with an outcome that is true on the
server, or left open (`release` when no request for it can have been applied) because the run
stops; resuming decides those by looking.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TypeVar

from batch.client.retrying import Retrying
from batch.client.token_client import FORBIDDEN, TokenClient
from batch.errors import Abandoned, KeyRefused, NotAsAsked, StopRun, Unavailable
from batch.models import Entry, Operation, Outcome, Status
from batch.send.evidence import tells_of_no_service
from batch.send.exchange import Again, Exchange, Record
from batch.send.outage import FAILURES, Effort, Outage, Turns

REFUSED_KEYS = 3  # 403s in a row that make the key, not the row, the cause
SURPRISES = 3  # answers not as asked after which a run still goes on …
SURPRISING_SHARE = 0.01  # … and, in a long run, the share that other people's edits explain

PROBES = 10  # operations at most, without those that failed, that go alone at the start
MAX_OUTAGE = 3600.0  # seconds that the service may be away before the run stops

T = TypeVar("T")


async def _together(works: Iterable[Coroutine[None, None, None]]) -> None:
    """All at once; none goes on when one of them fails."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _unheard(_: object) -> None:
    return


class Sender:
    """Sends operations, `workers` at once, and never two for one token: a plan has one each.

    `again` decides about an operation whose token was read a while ago; `read_at`: when all of
    them were, in the loop's time, at the earliest. `settled` is told each
    operation's outcome once it is durable. `paused` hears in words that the
    service is away and nothing new begins, `resumed` after how many seconds the run goes on. An
    outage of more than `max_outage` seconds stops it.
    """

    def __init__(
        self,
        client: TokenClient,
        record: Record,
        *,
        workers: int,
        tries: int,
        pin_defaults: bool,
        settled: Callable[[Operation, Outcome], None],
        again: Again,
        read_at: float | None = None,
        max_outage: float = MAX_OUTAGE,
        paused: Callable[[str], object] = _unheard,
        resumed: Callable[[float], object] = _unheard,
    ) -> None:
        self._client = client
        self._record = record
        self._workers = workers
        self._settled = settled
        self._max_outage = max_outage
        self._paused = paused
        self._resumed = resumed
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._reason: StopRun | None = None
        self._turns = Turns(iter(()))
        self._outage = Outage()
        self._outage_limit: asyncio.TimerHandle | None = None
        self._pausing = False  # from the beginning of an outage until all begins anew
        self._tries_once = False
        self._goes_alone = PROBES  # so many operations, if none shows what they go alone for
        self._surprises = 0
        self._held: list[Effort] = []  # their outcome's cause may lie beyond their row
        self._settling: set[asyncio.Future[None]] = set()
        self._refused_in_a_row = 0
        self.retrying = Retrying(tries=tries, rest=self._rest)
        self._exchange = Exchange(
            client,
            record,
            at_once=workers,
            pin_defaults=pin_defaults,
            again=again,
            read_at=self._loop.time() if read_at is None else read_at,
            tried=self._tried,
            surprised=self._note_surprise,
        )

    async def send(self, entries: Iterator[Entry]) -> None:
        """Send all, or raise the StopRun that ended it early. Returns early when stopped."""
        self._turns = Turns(entries)
        try:
            while not (self._stopping.is_set() or self._turns.is_over):
                await self._catch_up()
                await self._go()
                await self._sit_out()
        finally:
            if self._outage_limit:
                self._outage_limit.cancel()
        await self._decide_held()
        await asyncio.gather(*self._settling, return_exceptions=True)
        if self._reason:
            raise self._reason

    def stop(self, reason: StopRun | None = None) -> None:
        """No further request leaves; those under way finish. The first reason stands."""
        self._reason = self._reason or reason
        self._stopping.set()
        self._client.close()

    # Who goes

    async def _go(self) -> None:
        """Operations one at a time, until an answer has shown what the API does with fields that
        are left out or enough have gone by that could not show it; else many at once. Until
        nothing is left, the run stops or the service is away.
        """
        # Twice as many as may be under way: while one half's requests are, the other half's
        # starts come onto the disk.
        alone = self._probing
        count = 1 if alone else 2 * self._workers
        await _together(self._work(alone=alone) for _ in range(count))

    @property
    def _probing(self) -> bool:
        return self._goes_alone > 0

    @property
    def _ends(self) -> bool:
        return self._pausing or self._stopping.is_set()

    async def _work(self, *, alone: bool) -> None:
        while not self._ends and alone == self._probing:
            effort = self._turns.new()
            if effort is None:
                return
            await self._operate(effort)

    async def _operate(self, effort: Effort) -> None:
        if effort.attempts:
            self.retrying.retries += 1
        effort.take_turn()
        try:
            outcome = await self._exchange.outcome(effort)
            await self._conclude(effort, replace(outcome, attempts=effort.attempts))
        except Abandoned:
            await self._leave_open(effort)
        except StopRun as reason:
            self.stop(reason)
            await self._leave_open(effort)

    async def _leave_open(self, effort: Effort) -> None:
        if effort.outcome and effort.outcome.status is Status.UNKNOWN:
            self._settle(effort.entry, effort.outcome)  # resuming decides it in any case
        elif effort.outcome or not effort.doubtful:
            await self._record.release(effort.entry.number, effort.attempts)

    async def _rest(self, seconds: float) -> None:
        """Sleep, unless the run stops."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
        raise Abandoned("the run is stopping")

    # When the service is away

    def _pause(self, outcome: Outcome) -> None:
        """Nothing new begins, and what failed is tried again."""
        self._pausing = True
        self._outage.begin(self._loop.time())
        held, self._held = self._held, []
        for effort in held:
            self._hold(effort)
        met = f"{FAILURES} tokens in a row failed ({outcome.message})"
        stop = Unavailable(f"{met}: resume when the API is back")
        self._outage_limit = self._loop.call_later(self._max_outage, self.stop, stop)
        # Not called from here: a listener that fails must not disturb the run.
        self._loop.call_soon(self._paused, f"{met}: waiting until the API is back")

    async def _sit_out(self) -> None:
        """During an outage: one operation at a time, once each, until an answer ends it."""
        self._tries_once = True
        with suppress(Abandoned):
            while self._outage.since is not None:
                await self._rest(self._outage.gap())
                effort = self._turns.probe()
                if effort is None:
                    self._go_on()
                else:
                    await self._operate(effort)
        self._tries_once = self._pausing = False
        self._turns.restore_order()

    async def _catch_up(self) -> None:
        """Try again what failed in an outage: too few at a time to look like another one, and
        after them one that is new, because its success shows that their fault is their own.
        """
        while self._turns.has_again and not self._ends:
            count = 1 if self._probing else FAILURES - 1 - len(self._held)
            await _together(self._operate(effort) for effort in self._turns.some_again(count))
            if self._held and not self._ends and (witness := self._turns.new()):
                await self._operate(witness)

    def _go_on(self) -> None:
        seconds = self._outage.end(self._loop.time())
        if self._outage_limit:
            self._outage_limit.cancel()
        if not self._stopping.is_set():
            self._loop.call_soon(self._resumed, seconds)

    async def _tried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        return await (attempt() if self._tries_once else self.retrying.call(attempt))

    # How it ends

    async def _conclude(self, effort: Effort, outcome: Outcome) -> None:
        """Settle, or hold an outcome whose cause may lie beyond its row: what the next rows
        meet decides between a bad row and a refused key or a service that is away.
        """
        effort.outcome, effort.known_at = outcome, self._loop.time()
        if outcome.http_status == FORBIDDEN:
            self._hold(effort)
            self._stop_on_a_row_of(outcome)
        elif tells_of_no_service(outcome):
            self._hold(effort)
            if not self._pausing and self._outage.failed(effort.failed_at):
                self._pause(outcome)
        else:
            self._note_success(effort)
            await self._decide_held(before=effort.sent_at)
            self._settle(effort.entry, outcome)

    def _hold(self, effort: Effort) -> None:
        refused = effort.outcome and effort.outcome.http_status == FORBIDDEN
        if self._pausing and not refused:
            self._turns.again(effort)
        else:
            self._held.append(effort)

    def _stop_on_a_row_of(self, refusal: Outcome) -> None:
        self._refused_in_a_row += 1
        if self._refused_in_a_row >= (1 if self._probing else REFUSED_KEYS):
            self.stop(
                KeyRefused(
                    f"the API refuses the key (403: {refusal.message}): check SPIRII_API_KEY"
                )
            )

    def _note_success(self, effort: Effort) -> None:
        self._refused_in_a_row = 0
        self._outage.succeeded(effort.sent_at)
        shown_all = effort.answered and bool(effort.entry.operation.reveals)
        self._goes_alone = 0 if shown_all else self._goes_alone - 1
        since = self._outage.since
        if since is not None and effort.proves_service_since(since):
            self._go_on()

    async def _decide_held(self, before: float = math.inf) -> None:
        """Held outcomes are the rows' own once a request that left later went well; when the
        run stops they are tried again by resuming.
        """
        held, self._held = self._held, []
        if self._stopping.is_set():
            for effort in held + self._turns.all_again():
                await self._leave_open(effort)
            return
        for effort in held:
            if effort.outcome and effort.known_at < before:
                self._settle(effort.entry, effort.outcome)
            else:
                self._held.append(effort)

    def _settle(self, entry: Entry, outcome: Outcome) -> None:
        """Record the outcome; the next operation does not wait for the disk, its showing does."""

        def settled(durable: asyncio.Future[None]) -> None:
            self._settling.discard(durable)
            failure = durable.exception()
            if isinstance(failure, StopRun):
                self.stop(failure)
            elif failure is None:
                self._settled(entry.operation, outcome)

        durable = self._record.settle(entry.number, outcome)
        self._settling.add(durable)
        durable.add_done_callback(settled)

    # What was not asked for

    def _note_surprise(self, operation: Operation, message: str, *, moved_unasked: bool) -> None:
        """Stop at the first while probing, else when there are more than a few."""
        self._surprises += 1
        bearable = max(SURPRISES, SURPRISING_SHARE * self._exchange.answers)
        if self._probing or self._surprises > bearable:
            self.stop(NotAsAsked.to_token(operation.token.id, message, moved_unasked=moved_unasked))
