"""What lost answers leave open, the tokens themselves tell."""

from __future__ import annotations

import asyncio

from batch import plan
from batch.errors import KeyRefused, NotAsAsked
from batch.journal import Journal, in_transactions
from batch.lookup import ById, Lookup
from batch.models import SIDE_EFFECT, Entry, Operation, Outcome, State, Token

NONE_EXISTS = "none of its tokens exists in this account: is the key another account's?"


async def settle(journal: Journal, lookup: Lookup) -> None:
    """Decide, against the tokens as they are now, every operation whose end is not known.

    NotAsAsked, once all are decided, if a token whose answer was lost moved in other fields too:
    that may be what the first operation goes alone for.
    """
    tokens = ById(entry.operation.token.id for entry in journal.unsettled())
    if tokens.missing:
        await lookup.collect(tokens)
        if not tokens.found and tokens.missing >= plan.FOREIGN:
            raise KeyRefused(NONE_EXISTS)
    strange: NotAsAsked | None = None
    for entries in in_transactions(journal.unsettled()):
        decided = await asyncio.gather(
            *(_settle_or_replan(journal, entry, tokens) for entry in entries)
        )
        for entry, outcome in zip(entries, decided, strict=True):
            if isinstance(outcome, Outcome) and outcome.code == SIDE_EFFECT and not strange:
                strange = NotAsAsked.to_token(
                    entry.operation.token.id, outcome.message, moved_unasked=True
                )
    if strange:
        raise strange


async def _settle_or_replan(journal: Journal, entry: Entry, tokens: ById) -> Operation | Outcome:
    now = tokens.found.get(entry.operation.token.id)
    decided = plan.again(entry.operation, now, was_sent=entry.may_have_been_sent)
    if isinstance(decided, Outcome):
        await journal.settle(entry.number, decided)
    else:
        await journal.replan(entry.number, decided)
    return decided


async def correct(journal: Journal, lookup: Lookup) -> None:
    """Settle the operations of a run that is over which no answer has told; and those that were
    not seen to be carried out when they were last looked for, if their tokens hold any of it now.
    """
    tokens = ById(entry.operation.token.id for entry in journal.doubtful())
    await lookup.collect(tokens)
    for entry in journal.doubtful():
        now = tokens.found.get(entry.operation.token.id)
        if entry.state is State.SETTLED and not _holds_any(now, entry.operation):
            continue  # what was known of it stays true, whatever others have done since
        decided = plan.again(entry.operation, now, was_sent=True)
        if isinstance(decided, Outcome):
            await journal.settle(entry.number, decided)
    await journal.caught_up()


def _holds_any(token: Token | None, operation: Operation) -> bool:
    changes = operation.changes
    return token is not None and any(token.value(name) == changes[name] for name in changes)
