"""Operations become outcomes: who goes first, what an answer proves, when to stop.

Every operation ends in exactly one of two ways: `settle` with an outcome that is true on the
server, or left open (`release` when no request for it can have been applied) because the run
stops; resuming decides those by looking.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from batch.client.retrying import Retrying
from batch.client.token_client import FORBIDDEN, Answer, TokenClient
from batch.errors import (
    Abandoned,
    KeyRefused,
    NotAsAsked,
    Refused,
    StopRun,
    TryAgain,
    Unavailable,
)
from batch.models import DEFAULTED, Entry, Field, Operation, Outcome, Status, Token, Value
from batch.send.evidence import (
    NO_ANSWER,
    TRIES_USED_UP,
    not_as_asked,
    of_failure,
    of_refusal,
    would_reveal,
)

REFUSED_KEYS = 3  # 403s in a row that make the key, not the row, the cause
FAILURES = 10  # operations in a row with all tries used up that make it an outage
SURPRISES = 3  # answers not as asked after which a run still goes on …
SURPRISING_SHARE = 0.01  # … and, in a long run, the share that other people's edits explain

PROBES = 10  # operations at most that go alone at the start


class Record(Protocol):
    """The durable record: what was told is on the disk when the future is done."""

    def start(self, number: int) -> asyncio.Future[None]: ...
    def settle(self, number: int, outcome: Outcome) -> asyncio.Future[None]: ...
    def release(self, number: int, attempts: int) -> asyncio.Future[None]: ...


@dataclass(slots=True)
class Effort:
    """What has been tried for one operation."""

    attempts: int = 0
    started: bool = False  # it is recorded that a request may leave
    has_place: bool = False  # among those that may be under way at once
    sent_at: float = 0.0  # the loop's time when the last request left
    doubtful: bool = False  # a request went out whose fate no answer told
    answered: bool = False  # the API answered the change with the token as it is now


@dataclass(frozen=True, slots=True)
class Held:
    """An outcome whose cause may lie beyond its row, and the loop's time when it was known."""

    entry: Entry
    outcome: Outcome
    known_at: float


class Sender:
    """Sends operations, `workers` at once, and never two for one token: a plan has one each.

    `settled` is told each operation's outcome once it is durable.
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
    ) -> None:
        self._client = client
        self._record = record
        self._workers = workers
        self._places = asyncio.Semaphore(workers)
        self._pin_defaults = pin_defaults
        self._settled = settled
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._reason: StopRun | None = None
        self._probing = True
        self._answers = 0
        self._surprises = 0
        self._held: list[Held] = []
        self._settling: set[asyncio.Future[None]] = set()
        self._refused_in_a_row = 0
        self._failed_in_a_row = 0
        self.retrying = Retrying(tries=tries, rest=self._rest)

    async def send(self, entries: Iterator[Entry]) -> None:
        """Send all, or raise the StopRun that ended it early. Returns early when stopped."""
        await self._probe(entries)
        # Twice as many as may be under way: while one half's requests are, the other half's
        # starts come onto the disk.
        workers = [asyncio.ensure_future(self._work(entries)) for _ in range(2 * self._workers)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
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

    async def _probe(self, entries: Iterator[Entry]) -> None:
        """One operation at a time, until an answer has shown what the API does with fields that
        are left out, or enough have gone by that could not show it.
        """
        for entry in islice(entries, PROBES):
            effort = await self._operate(entry)
            shown_all = effort.answered and would_reveal(entry.operation)
            if shown_all or self._stopping.is_set():
                break
        self._probing = False

    async def _work(self, entries: Iterator[Entry]) -> None:
        while not self._stopping.is_set():
            entry = next(entries, None)
            if entry is None:
                return
            await self._operate(entry)

    async def _operate(self, entry: Entry) -> Effort:
        effort = Effort()
        try:
            outcome = await self._outcome(entry, effort)
            await self._conclude(entry, replace(outcome, attempts=effort.attempts), effort)
        except Abandoned:
            await self._leave_open(entry, effort)
        except StopRun as reason:
            self.stop(reason)
            await self._leave_open(entry, effort)
        return effort

    async def _leave_open(self, entry: Entry, effort: Effort) -> None:
        if not effort.doubtful:
            await self._record.release(entry.number, effort.attempts)

    async def _rest(self, seconds: float) -> None:
        """Sleep, unless the run stops."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
        raise Abandoned("the run is stopping")

    # How it ends

    async def _conclude(self, entry: Entry, outcome: Outcome, effort: Effort) -> None:
        """Settle, or hold an outcome whose cause may lie beyond its row: what the next rows
        meet decides between a bad row and a refused key or a service that is gone.
        """
        if outcome.http_status == FORBIDDEN:
            self._refused_in_a_row += 1
        elif outcome.code in {NO_ANSWER, TRIES_USED_UP}:
            self._failed_in_a_row += 1
        else:
            self._refused_in_a_row = self._failed_in_a_row = 0
            await self._decide_held(before=effort.sent_at)
            self._settle(entry, outcome)
            return
        if outcome.status is Status.UNKNOWN:
            self._settle(entry, outcome)  # resuming decides it in any case
        else:
            self._held.append(Held(entry, outcome, self._loop.time()))
        self._stop_on_a_row_of(outcome)

    def _stop_on_a_row_of(self, outcome: Outcome) -> None:
        if self._refused_in_a_row >= (1 if self._probing else REFUSED_KEYS):
            self.stop(
                KeyRefused(
                    f"the API refuses the key (403: {outcome.message}): check SPIRII_API_KEY"
                )
            )
        if self._failed_in_a_row >= FAILURES:
            self.stop(
                Unavailable(
                    f"{FAILURES} tokens in a row failed ({outcome.message}): "
                    "resume when the API is back"
                )
            )

    async def _decide_held(self, before: float = math.inf) -> None:
        """Held outcomes are the rows' own once a request that left later went well; when the
        run stops they are tried again by resuming.
        """
        held, self._held = self._held, []
        for one in held:
            if self._stopping.is_set():
                await self._record.release(one.entry.number, one.outcome.attempts)
            elif one.known_at < before:
                self._settle(one.entry, one.outcome)
            else:
                self._held.append(one)

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

    # What an answer proves

    async def _outcome(self, entry: Entry, effort: Effort) -> Outcome:
        operation = entry.operation
        if self._pin_defaults:
            now = await self._as_it_is_now(operation)
            if isinstance(now, Outcome):
                return now
            operation = replace(operation, token=now)
        return await self._patched(entry.number, operation, effort)

    async def _as_it_is_now(self, operation: Operation) -> Token | Outcome:
        """The token, or why no change was asked for."""
        try:
            now = await self._read(operation)
        except (TryAgain, Refused) as failure:
            message = f"the token could not be read, and nothing was sent: {failure}"
            return Outcome(Status.FAILED, message, NO_ANSWER, failure.http_status)
        return now or Outcome(Status.NOT_FOUND, f"token {operation.token.id} no longer exists")

    async def _patched(self, number: int, operation: Operation, effort: Effort) -> Outcome:
        asked = self._asked(operation)

        async def leaving() -> None:
            if not effort.started:
                await self._record.start(number)
                effort.started = True
            await self._places.acquire()
            effort.has_place = True
            effort.sent_at = self._loop.time()

        async def attempt() -> Answer:
            effort.attempts += 1
            try:
                return await self._client.update(operation.token.id, asked, leaving)
            except Abandoned:
                effort.attempts -= 1
                raise
            except (TryAgain, Refused, Unavailable) as failure:
                effort.doubtful = effort.doubtful or failure.doubtful
                raise
            finally:
                if effort.has_place:
                    effort.has_place = False
                    self._places.release()

        try:
            answer = await self.retrying.call(attempt)
        except Refused as failure:
            return await self._settled_by_reading(operation, effort, of_refusal(failure))
        except TryAgain as failure:
            outcome = of_failure(failure, effort.attempts)
            return await self._settled_by_reading(operation, effort, outcome)
        effort.answered = True
        self._answers += 1
        return self._compared(operation, answer)

    def _asked(self, operation: Operation) -> Mapping[Field, Value]:
        """The changes, with `pin_defaults` also what the API might else reset, as it is now:
        an older value would take back what somebody else did meanwhile.
        """
        if not self._pin_defaults:
            return operation.changes
        pins = {name: operation.token.value(name) for name in DEFAULTED}
        kept = {name: value for name, value in pins.items() if value is not None}
        return {**kept, **operation.changes}

    async def _settled_by_reading(
        self, operation: Operation, effort: Effort, otherwise: Outcome
    ) -> Outcome:
        """`otherwise`, unless a request without an answer leaves that open: then the token
        itself tells.
        """
        if not effort.doubtful:
            return otherwise
        try:
            token = await self._read(operation)
        except (TryAgain, Refused) as failure:
            message = f"{otherwise.message}; and the token could not be read: {failure}"
            return replace(otherwise, status=Status.UNKNOWN, message=message, code=NO_ANSWER)
        if token is None:
            return replace(otherwise, status=Status.NOT_FOUND)
        if not_as_asked(operation, token):
            return replace(otherwise, after=token)
        message = f"settled by reading the token, after: {otherwise.message}"
        outcome = Outcome(Status.UPDATED, message, http_status=otherwise.http_status, after=token)
        return self._with_side_effects(operation, outcome, token)

    async def _read(self, operation: Operation) -> Token | None:
        async def attempt() -> Token | None:
            async with self._places:
                return await self._client.token(operation.token.id)

        return await self.retrying.call(attempt)

    def _compared(self, operation: Operation, answer: Answer) -> Outcome:
        """A 200 is believed for what its token shows, not for its number."""
        outcome = Outcome(
            Status.UPDATED,
            http_status=answer.http_status,
            request_id=answer.request_id,
            after=answer.token,
        )
        wrong = not_as_asked(operation, answer.token)
        if wrong:
            message = f"the API answered {answer.http_status}, but {wrong}"
            self._note_surprise(operation, message, moved_unasked=False)
            return replace(outcome, status=Status.FAILED, message=message, code="not_as_asked")
        return self._with_side_effects(operation, outcome, answer.token)

    def _with_side_effects(self, operation: Operation, outcome: Outcome, now: Token) -> Outcome:
        told = outcome.with_side_effects(operation.side_effects(now))
        if told is not outcome:
            self._note_surprise(operation, told.message, moved_unasked=True)
        return told

    def _note_surprise(self, operation: Operation, message: str, *, moved_unasked: bool) -> None:
        """Stop at the first while probing, else when there are more than a few."""
        self._surprises += 1
        bearable = max(SURPRISES, SURPRISING_SHARE * self._answers)
        if self._probing or self._surprises > bearable:
            self.stop(NotAsAsked.to_token(operation.token.id, message, moved_unasked=moved_unasked))
