"""One budget for all processes of a machine that use the same key and URL.

Each process keeps its own budget as if it were alone, and asks a file besides, in which all of
them count together: see `ledger`. What befalls the file therefore never lets a process send
more than its own setting allows, and never stops it.
"""

from __future__ import annotations

import hashlib
import math
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from batch.client.ledger import LOOK_AGAIN, Ledger
from batch.client.pacing import CLOCK_DRIFT, Budget
from batch.models import Rate

Kind = Literal["reads", "writes"]

UNBOUNDED = 5_000  # requests a second that no two processes reach: nothing to share

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def shared_budget(
    folder: Path,
    base_url: str,
    key: str,
    kind: Kind,
    rate: Rate,
    *,
    warn: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
) -> Budget:
    """The budget that every process of this machine, and of this folder, shares for that account.

    Where processes differ in their rate, each keeps to its own, and all together to the one that
    lets the most through. `clock` must be one and the same in all of them. `close` it at the end.

    Where the folder or the file is of no use, `warn` gets one sentence, and the budget is the
    process's own from then on. On Windows, which has no such locks, it always is: run one
    process at a time there. Neither the key nor the URL can be told from the file.
    """
    if sys.platform == "win32" or rate.limit / rate.seconds > UNBOUNDED:
        return Budget(rate)
    return SharedBudget(_path(folder, base_url, key, kind), rate, clock, warn)


class SharedBudget(Budget):
    """A budget that is also kept in the file at `path`; see `shared_budget`."""

    def __init__(
        self,
        path: Path,
        rate: Rate,
        clock: Callable[[], float],
        warn: Callable[[str], None],
        boot: int | None = None,
    ) -> None:
        super().__init__(rate)
        self._warn = warn
        self._ask_again_at = -math.inf  # by the file, since it last gave nothing
        self._ledger: Ledger | None = None
        try:
            path = path.expanduser()
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            padded = Rate(rate.limit, rate.seconds * (1 + CLOCK_DRIFT))
            self._ledger = Ledger(path, padded, clock, _boot() if boot is None else boot)
        except (OSError, RuntimeError) as error:  # RuntimeError: nobody knows the home folder
            self._go_alone(error)

    def wait(self, now: float) -> float:
        """As of a process alone; at most LOOK_AGAIN where a slot may come sooner than known."""
        return max(super().wait(now), self._ask_again_at - now)

    def take_by(self, by: float) -> float | None:
        """As of a process alone, if the others leave a slot."""
        self._ask_again_at = -math.inf
        if super().wait(by) > 0:
            self.forgo()
            return None
        free_at = self._ask(by)
        return None if free_at is None else max(self.take(), free_at)

    def answered(self, now: float) -> None:
        """A request's answer is here, or will never come: its slot rests for one window."""
        super().answered(now)
        self._try(Ledger.answered)

    def forgo(self) -> None:
        """Nobody waits any more."""
        self._try(Ledger.forgo)

    def close(self) -> None:
        """Leave the others alone; what is under way counts as answered now."""
        if self._ledger:
            self._ledger.close()
            self._ledger = None

    def _has_free(self, slots: int, now: float) -> bool:
        if not super()._has_free(slots, now):
            return False
        return not self._ledger or self._try(lambda ledger: ledger.has_free(slots)) is True

    def _ask(self, by: float) -> float | None:
        if not self._ledger:
            return -math.inf
        try:
            free_at = self._ledger.take(by)
        except BlockingIOError:
            self._ask_again_at = by + LOOK_AGAIN
            return None
        except OSError as error:
            self._go_alone(error)
            return -math.inf
        if free_at is None:
            self._ask_again_at = self._ledger.opens_at
        return free_at

    def _try(self, ask: Callable[[Ledger], bool | None]) -> bool | None:
        try:
            return ask(self._ledger) if self._ledger else None
        except BlockingIOError:
            return None  # the next who asks makes up for it
        except OSError as error:
            self._go_alone(error)
            return None

    def _go_alone(self, error: Exception) -> None:
        self.close()
        reason = getattr(error, "strerror", None) or error
        self._warn(
            f"the budget cannot be shared with other processes of this machine ({reason}): "
            "run no other with this key at the same time"
        )


def _path(folder: Path, base_url: str, key: str, kind: Kind) -> Path:
    # The machine's name, because a home folder may be that of several.
    account = "\n".join((platform.node(), base_url.rstrip("/"), key))
    return folder / f"{hashlib.sha256(account.encode()).hexdigest()[:32]}-{kind}"


def _boot() -> int:
    """A number for the machine's present start, 0 where it cannot be told from others."""
    try:
        text = _BOOT_ID.read_text(encoding="ascii")
    except OSError:
        return 0
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
