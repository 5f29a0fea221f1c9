"""Where the reports have it all from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from batch.models import About, Field, HandedIn, Line, Status, Token


class Record(Protocol):
    """A run's durable record, as far as reports read it."""

    folder: Path

    def about(self) -> About: ...
    def counts(self) -> Counter[Status]: ...
    def lines(self) -> Iterator[Line]: ...
    def handed_in(self, statuses: Collection[Status] = ...) -> Iterator[HandedIn]: ...
    def updated_fields(self) -> set[Field]: ...
    def updated(self) -> Iterator[tuple[Token, Collection[Field]]]: ...
