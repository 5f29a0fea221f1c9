"""One operation's requests, and what its answers, or their absence, prove."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Protocol, TypeVar

from batch.client.token_client import Answer, TokenClient
from batch.errors import Abandoned, Refused, TryAgain, Unavailable
from batch.models import (
    DEFAULTED,
    NOT_AS_ASKED,
    Field,
    Operation,
    Outcome,
    Status,
    Token,
    Value,
)
from batch.send.evidence import NO_ANSWER, not_as_asked, of_failure, of_refusal
from batch.send.outage import Effort

FRESH_FOR = 600.0  # seconds after which a token is read again before its change is sent

T = TypeVar("T")

Again = Callable[[Operation, Token, bool], Operation | Outcome]
"""What an operation comes to against its token as it is now, and whether it may have been sent."""


class Tried(Protocol):
    """Makes attempts until one goes well, or raises the last one's failure."""

    async def __call__(self, attempt: Callable[[], Awaitable[T]]) -> T: ...


class Surprised(Protocol):
    """Hears of a token that the API did something else to than it was asked."""

    def __call__(self, operation: Operation, message: str, *, moved_unasked: bool) -> None: ...


class Record(Protocol):
    """The durable record: what was told is on the disk when the future is done."""

    def start(self, number: int) -> asyncio.Future[None]: ...
    def settle(self, number: int, outcome: Outcome) -> asyncio.Future[None]: ...
    def release(self, number: int, attempts: int) -> asyncio.Future[None]: ...
    def attempt(
        self, number: int, *, http_status: int | None, request_id: str, failure: str
    ) -> None: ...


class Exchange:
    """Sends an operation and decides what became of it: `at_once` requests may be under way.

    `again` decides about an operation whose token was read a while ago; `read_at`: when all of
    them were at the earliest, in the loop's time. `answers`: how many changes were answered.
    """

    def __init__(
        self,
        client: TokenClient,
        record: Record,
        *,
        at_once: int,
        pin_defaults: bool,
        again: Again,
        read_at: float,
        tried: Tried,
        surprised: Surprised,
    ) -> None:
        self._client = client
        self._record = record
        self._places = asyncio.Semaphore(at_once)
        self._pin_defaults = pin_defaults
        self._again = again
        self._read_at = read_at
        self._tried = tried
        self._surprised = surprised
        self._loop = asyncio.get_running_loop()
        self.answers = 0

    async def outcome(self, effort: Effort) -> Outcome:
        """What the operation comes to. Raises Abandoned and StopRun."""
        operation = effort.entry.operation
        is_old = self._loop.time() - self._read_at > FRESH_FOR
        if self._pin_defaults or is_old:
            now = await self._as_it_is_now(operation, effort)
            if isinstance(now, Outcome):
                return now
            decided = self._again(operation, now, effort.doubtful) if is_old else None
            if isinstance(decided, Outcome):
                return decided
            operation = decided or replace(operation, token=now)
        return await self._patched(operation, effort)

    async def _as_it_is_now(self, operation: Operation, effort: Effort) -> Token | Outcome:
        """The token, or why no change was asked for."""
        try:
            now = await self._read(operation)
        except (TryAgain, Refused) as failure:
            message = f"the token could not be read, and nothing was sent: {failure}"
            status = Status.FAILED
            if effort.doubtful:
                message = f"no answer, and the token could not be read: {failure}"
                status = Status.UNKNOWN
            return Outcome(status, message, NO_ANSWER, failure.http_status)
        return now or Outcome(Status.NOT_FOUND, f"token {operation.token.id} no longer exists")

    async def _patched(self, operation: Operation, effort: Effort) -> Outcome:
        asked = self._asked(operation)

        async def leaving() -> None:
            if not effort.started:
                await self._record.start(effort.entry.number)
                effort.started = True
            await self._places.acquire()
            effort.has_place = True
            effort.sent_at = self._loop.time()
            effort.outcome = None

        async def attempt() -> Answer:
            effort.attempts += 1
            try:
                return await self._client.update(operation.token.id, asked, leaving)
            except Abandoned:
                effort.attempts -= 1
                raise
            except (TryAgain, Refused, Unavailable) as failure:
                self._note_failure(effort, failure)
                effort.doubtful = effort.doubtful or failure.doubtful
                effort.failed_at = min(effort.failed_at, self._loop.time())
                raise
            finally:
                if effort.has_place:
                    effort.has_place = False
                    self._places.release()

        try:
            answer = await self._tried(attempt)
        except Refused as failure:
            effort.heard = not failure.doubtful
            return await self._settled_by_reading(operation, effort, of_refusal(failure))
        except TryAgain as failure:
            outcome = of_failure(failure, effort.attempts)
            return await self._settled_by_reading(operation, effort, outcome)
        effort.answered = effort.heard = True
        self.answers += 1
        return await self._compared(operation, answer)

    def _note_failure(self, effort: Effort, failure: TryAgain | Refused | Unavailable) -> None:
        answer = None if isinstance(failure, Unavailable) else failure
        self._record.attempt(
            effort.entry.number,
            http_status=answer.http_status if answer else None,
            request_id=answer.request_id if answer else "",
            failure=str(failure),
        )

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
        token = await self._seen(operation, otherwise)
        if isinstance(token, Outcome):
            return token
        message = f"settled by reading the token, after: {otherwise.message}"
        if not not_as_asked(operation, token):
            updated = replace(otherwise, status=Status.UPDATED, message=message, code="")
            return self._with_side_effects(operation, replace(updated, after=token), token)
        decided = self._again(operation, token, True)
        if isinstance(decided, Outcome):
            return replace(
                decided, message=f"{decided.message}; {message}", http_status=otherwise.http_status
            )
        return replace(otherwise, after=token)

    async def _seen(self, operation: Operation, otherwise: Outcome) -> Token | Outcome:
        """The token as it is now; what `otherwise` comes to if there is none to be seen."""
        try:
            token = await self._read(operation)
        except (TryAgain, Refused) as failure:
            message = f"{otherwise.message}; and the token could not be read: {failure}"
            return replace(otherwise, status=Status.UNKNOWN, message=message, code=NO_ANSWER)
        return token or replace(otherwise, status=Status.NOT_FOUND)

    async def _read(self, operation: Operation) -> Token | None:
        async def attempt() -> Token | None:
            async with self._places:
                return await self._client.token(operation.token.id)

        return await self._tried(attempt)

    async def _compared(self, operation: Operation, answer: Answer) -> Outcome:
        """A 200 is believed for what its token shows, not for its number; and where that is not
        what was asked, the token itself tells: an answer may show an older state.
        """
        outcome = Outcome(
            Status.UPDATED,
            http_status=answer.http_status,
            request_id=answer.request_id,
            after=answer.token,
            seconds=answer.seconds,
        )
        wrong = not_as_asked(operation, answer.token)
        if not wrong:
            return self._with_side_effects(operation, outcome, answer.token)
        message = f"the API answered {answer.http_status}, but {wrong}"
        token = await self._seen(operation, replace(outcome, message=message))
        if isinstance(token, Outcome):
            return token
        wrong = not_as_asked(operation, token)
        if not wrong:
            message += "; read once more, the token is as asked"
            outcome = replace(outcome, message=message, after=token)
            return self._with_side_effects(operation, outcome, token)
        message = f"the API answered {answer.http_status}, but {wrong}"
        self._surprised(operation, message, moved_unasked=False)
        return replace(
            outcome, status=Status.FAILED, message=message, code=NOT_AS_ASKED, after=token
        )

    def _with_side_effects(self, operation: Operation, outcome: Outcome, now: Token) -> Outcome:
        told = outcome.with_side_effects(operation.side_effects(now))
        if told is not outcome:
            self._surprised(operation, told.message, moved_unasked=True)
        return told
