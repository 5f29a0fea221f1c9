"""Old → new by field, of any number of tokens in the same memory. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field

from batch.models import Field
from batch.report.words import shortened

SHOWN = 5  # changes of one field that are told
KEPT = 2000  # different changes, and new values, of one field that are counted apart
ANY = "…"  # stands for old values that differ

_VALUE = r'"(?:[^"\\]|\\.)*"|[^";]*?'
_CHANGE = re.compile(rf"(\w+): ({_VALUE}) → ({_VALUE})(?:; |$)")


@dataclass(frozen=True, slots=True)
class Change:
    """What so many tokens had in a field, and what they have now."""

    old: str
    new: str
    tokens: int


@dataclass(frozen=True, slots=True)
class FieldChanges:
    """A field in which so many tokens were changed. `are_commonest`: the changes are those made to
    most tokens; else they are examples, because nearly every token got a value of its own.
    """

    field: Field
    tokens: int
    changes: tuple[Change, ...]
    are_commonest: bool

    @property
    def others(self) -> int:
        """Tokens of which the changes do not tell."""
        return self.tokens - sum(change.tokens for change in self.changes)


class Changes:
    """Counts them as operations go by."""

    def __init__(self) -> None:
        self._fields = {name: _Counts() for name in Field}
        self.tokens = 0

    def add(self, difference: str) -> None:
        """One more token, with its difference as an Operation tells it."""
        self.tokens += 1
        for name, old, new in _CHANGE.findall(difference):
            self._fields[name].add(old, new)

    def by_field(self) -> list[FieldChanges]:
        """The fields that changed, in the order of the API's page."""
        return [counts.told(name) for name, counts in self._fields.items() if counts.tokens]


@dataclass(slots=True)
class _Counts:
    tokens: int = 0
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    news: Counter[str] = field(default_factory=Counter)
    uncounted_pairs: int = 0
    uncounted_news: int = 0

    def add(self, old: str, new: str) -> None:
        self.tokens += 1
        if (old, new) in self.pairs or len(self.pairs) < KEPT:
            self.pairs[old, new] += 1
        else:
            self.uncounted_pairs += 1
        if new in self.news or len(self.news) < KEPT:
            self.news[new] += 1
        else:
            self.uncounted_news += 1

    def told(self, name: Field) -> FieldChanges:
        """By old and new where few changes make up most of it, else by new value alone."""
        pairs = [(*pair, count) for pair, count in self.pairs.most_common(SHOWN)]
        news = [(ANY, new, count) for new, count in self.news.most_common(SHOWN)]
        if self._tell(pairs, self.uncounted_pairs) or len(self.pairs) <= SHOWN:
            return self._of(name, pairs, are_commonest=True)
        if self._tell(news, self.uncounted_news):
            return self._of(name, news, are_commonest=True)
        return self._of(name, pairs[: SHOWN - 2], are_commonest=False)

    def _tell(self, found: list[tuple[str, str, int]], uncounted: int) -> bool:
        """Whether these are most of all, and none that was not counted can be more common."""
        told = sum(count for *_, count in found)
        return 2 * told >= self.tokens and uncounted <= found[-1][2]

    def _of(
        self, name: Field, found: list[tuple[str, str, int]], *, are_commonest: bool
    ) -> FieldChanges:
        changes = tuple(Change(_said(old), _said(new), count) for old, new, count in found)
        return FieldChanges(name, self.tokens, changes, are_commonest)


def _said(value: str) -> str:
    if value.startswith('"'):
        return f"“{json.loads(value)}”"
    return shortened(value)
