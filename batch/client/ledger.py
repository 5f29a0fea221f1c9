"""What the processes of one machine know together of a budget's requests, in a small file.

The file says how many requests of each process are under way, and when the last answers came.
With a limit of N the n-th request of all goes one window after the (n - N)-th answer of all: the
argument of `pacing`, with slots that belong to nobody. Nothing is reserved ahead, so a process
that dies leaves only what it had under way. Its place is a lock that the system frees with it;
whoever finds that free says that the answers came at that moment, because they may have.

Every write is one that a kill cannot divide, and they come in such an order that a process which
dies between two of them has counted a request twice, never not at all.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from struct import Struct

if sys.platform != "win32":
    import fcntl

from batch.models import Rate

MEMBERS = 16  # processes at once; the next one finds no place
LOOK_AGAIN = 0.05  # seconds until one who waits looks whether others died or left
GRACE = 0.1  # seconds for which a free slot is kept for a process that waits longer
PATIENCE = 5.0  # seconds until a lock that is never free counts as a failure
TRIES = 40  # for the lock, at one time; it is held for microseconds

_MAGIC = 0x746B62_0001  # the last digits: version of this layout
_TABLE = Struct("=" + "4q" + "qdqd" * MEMBERS)
_ROW = Struct("=qdqd")
_COUNT = Struct("=q")
_INSTANT = Struct("=d")
# Places in the table: the head, and then each member's row.
_VERSION, _BOOT, _CAPACITY, _ANSWERS, _ROWS = range(5)
_LIMIT, _SECONDS, _UNDER_WAY, _WAITING = range(_ROWS, _ROWS + 4)
_WIDTH = 4
_EMPTY_ROW = (0, 0.0, 0, 0.0)

_Cells = list[float]  # those of the head, limits and requests under way are whole numbers


class Ledger:
    """One process's view of the file at `path`, which is made when there is none.

    Every method raises BlockingIOError when the lock is not free now and a later call may find
    it so, and any other OSError when the file is of no use. Where processes differ in their
    rate, the one that lets the most through counts for all together.
    """

    def __init__(self, path: Path, rate: Rate, clock: Callable[[], float], boot: int) -> None:
        self._limit, self._seconds = rate.limit, rate.seconds
        self._clock = clock
        self._boot = boot
        self._under_way = 0
        self._answered = 0  # of them, as the file has yet to be told
        self._waiting_since = 0.0
        self._looked_at = -math.inf
        self._busy_since = math.inf
        self._rates: tuple[_Cells, _Cells] = ([], [])
        self._common = (rate.limit, rate.seconds)
        self._path = path
        self.opens_at = -math.inf  # when to ask again after `take` gave nothing
        _make(path, rate.limit, boot)
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._place_fd = -1
        try:
            self._place, self._place_fd = self._free_place()
            self._join()
        except BaseException:
            self._close_files()
            raise

    def take(self, by: float) -> float | None:
        """Use a slot that is free at that instant, and say since when; None: not before
        `opens_at`, or earlier if a process dies or leaves.
        """
        with self._locked() as now:
            cells = self._read(now)
            opens_at = self._turn_at(cells, now)
            if opens_at > by and self._look_around(cells, now):
                opens_at = self._turn_at(cells, now)
            if opens_at > by:
                self._wait(cells, now)
                alone = sum(limit > 0 for limit in cells[_LIMIT::_WIDTH]) == 1
                self.opens_at = opens_at if alone else min(opens_at, by + LOOK_AGAIN)
                return None
            self._under_way += 1
            self._waiting_since = 0.0
            self._write_row()
            return opens_at

    def answered(self) -> None:
        """One answer is here, or will never come. Where this raises, a later call tells it."""
        self._answered += 1
        with self._locked() as now:
            self._read(now)

    def has_free(self, slots: int) -> bool:
        """Whether so many slots are free now."""
        with self._locked() as now:
            return self._free_at(self._read(now), now, slots) <= now

    def forgo(self) -> None:
        """Nobody waits here any more: the turn is others'."""
        if self._waiting_since:
            self._waiting_since = 0.0
            with self._locked() as now:
                self._read(now)

    def close(self) -> None:
        """Leave. What is still under way counts as answered now."""
        try:
            self._answered = self._under_way
            with self._locked() as now:
                self._read(now)
                self._limit, self._seconds, self._waiting_since = 0, 0.0, 0.0
                self._write_row()
        except OSError:
            pass  # whoever finds the place free clears it
        finally:
            self._close_files()

    # Whose turn it is

    def _turn_at(self, cells: _Cells, now: float) -> float:
        """When this process may take a slot: after those that wait longer, unless they dally."""
        opens_at = self._free_at(cells, now)
        mine = self._waiting_since or now
        waiting = cells[_WAITING::_WIDTH]
        before = sum(0 < since < mine for since in waiting) if any(waiting) else 0
        if not before or opens_at == math.inf:
            return opens_at
        return min(self._free_at(cells, now, before + 1), opens_at + GRACE)

    def _free_at(self, cells: _Cells, now: float, slots: int = 1) -> float:
        """When so many slots are free at once: -inf since ever, inf while too few are answered."""
        limit, window = self._common_rate(cells)
        answers = int(cells[_ANSWERS])
        number = answers + int(sum(cells[_UNDER_WAY::_WIDTH])) - limit + slots - 1
        if number >= answers:
            return math.inf
        if number < 0:
            return -math.inf
        answer = self._answer(cells, number)
        if not answer <= now:  # damaged, or of another clock
            cells[:] = self._start_afresh(now)
            return now + window
        return answer + window

    def _common_rate(self, cells: _Cells) -> tuple[int, float]:
        rates = (cells[_LIMIT::_WIDTH], cells[_SECONDS::_WIDTH])
        if rates != self._rates:
            self._rates = rates
            known = [rate for rate in zip(*rates, strict=True) if rate[0] > 0]
            # Of two that let through the same, the one with the smaller bursts.
            limit, seconds = max(known, key=lambda rate: (rate[0] / rate[1], -rate[0]))
            self._common = (int(limit), seconds)
        return self._common

    def _wait(self, cells: _Cells, now: float) -> None:
        if not self._waiting_since:
            self._waiting_since = now
            cells[_WAITING + self._place * _WIDTH] = now
            self._write_row()

    # The others

    def _free_place(self) -> tuple[int, int]:
        for place in range(MEMBERS):
            fd = self._lock_place(place)
            if fd is not None:
                return place, fd
        raise OSError(f"{MEMBERS} processes share it already")

    def _lock_place(self, place: int) -> int | None:
        """The place's lock file, if it was free."""
        path = f"{self._path}.{place}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError:
            os.close(fd)
            raise
        return fd

    def _join(self) -> None:
        if (second := self._lock_place(self._place)) is not None:
            os.close(second)
            raise OSError("locks have no effect there")
        while True:
            with suppress(BlockingIOError), self._locked() as now:
                self._look_around(self._read(now, joining=True), now)
                return

    def _look_around(self, cells: _Cells, now: float) -> bool:
        """Clear the places of processes that died. False if that was done just before."""
        if now < self._looked_at + LOOK_AGAIN:
            return False
        self._looked_at = now
        if not os.fstat(self._fd).st_nlink:
            raise FileNotFoundError("it was removed")
        for place in range(MEMBERS):
            if place != self._place and cells[_LIMIT + place * _WIDTH]:
                fd = self._lock_place(place)
                if fd is not None:
                    try:
                        self._bury(cells, place, now)
                    finally:
                        os.close(fd)
        return True

    def _bury(self, cells: _Cells, place: int, now: float) -> None:
        row = _ROWS + place * _WIDTH
        self._tell_answers(cells, int(cells[_UNDER_WAY + place * _WIDTH]), now)
        cells[row : row + _WIDTH] = _EMPTY_ROW
        self._write(_ROW.pack(*_EMPTY_ROW), _COUNT.size * row)

    # The file

    def _read(self, now: float, *, joining: bool = False) -> _Cells:
        """The table, once it is sound, has this process in its row, and all of its answers."""
        data = os.pread(self._fd, _TABLE.size, 0)
        cells: _Cells = list(_TABLE.unpack(data)) if len(data) == _TABLE.size else []
        if not self._is_sound(cells):
            cells = self._start_afresh(now)
        elif cells[_BOOT] != self._boot:
            cells = self._start_afresh(0.0)  # whatever was answered, was so before this start
        elif cells[_CAPACITY] < self._limit:
            cells = self._grow(cells)
        if joining:
            self._bury(cells, self._place, now)
        row = _ROWS + self._place * _WIDTH
        if cells[row : row + _WIDTH] != self._row():  # else somebody else started it afresh
            cells[row : row + _WIDTH] = self._row()
            self._write_row()
        if self._answered:
            self._tell_answers(cells, self._answered, now)
            self._under_way -= self._answered
            self._answered = 0
            cells[row : row + _WIDTH] = self._row()
            self._write_row()
        return cells

    def _is_sound(self, cells: _Cells) -> bool:
        if not cells or cells[_VERSION] != _MAGIC or cells[_ANSWERS] < 0:
            return False
        most = cells[_CAPACITY]
        limits, seconds = cells[_LIMIT::_WIDTH], cells[_SECONDS::_WIDTH]
        if (limits, seconds) != self._rates and not all(
            0 <= limit <= most and (not limit or 0 < window < math.inf)
            for limit, window in zip(limits, seconds, strict=True)
        ):
            return False
        under_way = cells[_UNDER_WAY::_WIDTH]
        return min(under_way) >= 0 and max(under_way) <= most

    def _start_afresh(self, answered_at: float) -> _Cells:
        """Every slot rests as if it had been answered then, and nobody else is known."""
        cells = [*_head(self._boot, self._limit, 2 * self._limit), *_EMPTY_ROW * MEMBERS]
        row = _ROWS + self._place * _WIDTH
        cells[row : row + _WIDTH] = self._row()
        return self._lay_out(cells, [answered_at] * self._limit)

    def _grow(self, cells: _Cells) -> _Cells:
        """Room for more answers; those no longer known count as the oldest known."""
        answers, capacity = int(cells[_ANSWERS]), int(cells[_CAPACITY])
        known = [self._answer(cells, n) for n in range(max(0, answers - capacity), answers)]
        if answers > capacity:
            known = [known[0]] * (self._limit - capacity) + known
            answers = 2 * self._limit  # as many as say that the first of all are forgotten
        return self._lay_out([*_head(self._boot, self._limit, answers), *cells[_ROWS:]], known)

    def _lay_out(self, cells: _Cells, answers: _Cells) -> _Cells:
        self._write(_COUNT.pack(0), 0)  # whoever finds it half laid out starts afresh
        os.ftruncate(self._fd, _offset(cells, int(cells[_CAPACITY]) - 1) + _INSTANT.size)
        self._write(Struct(f"={len(answers)}d").pack(*answers), _TABLE.size)
        self._write(_TABLE.pack(*cells)[_COUNT.size :], _COUNT.size)
        self._write(_COUNT.pack(_MAGIC), 0)
        return cells

    def _answer(self, cells: _Cells, number: int) -> float:
        data = os.pread(self._fd, _INSTANT.size, _offset(cells, number))
        return float(_INSTANT.unpack(data)[0]) if len(data) == _INSTANT.size else math.nan

    def _tell_answers(self, cells: _Cells, count: int, now: float) -> None:
        """Before the row says that they are under way no more."""
        answers = int(cells[_ANSWERS])
        for number in range(answers, answers + count):
            self._write(_INSTANT.pack(now), _offset(cells, number))
        cells[_ANSWERS] = answers + count
        self._write(_COUNT.pack(answers + count), _COUNT.size * _ANSWERS)

    def _row(self) -> _Cells:
        return [self._limit, self._seconds, self._under_way, self._waiting_since]

    def _write_row(self) -> None:
        row = _ROW.pack(self._limit, self._seconds, self._under_way, self._waiting_since)
        self._write(row, _COUNT.size * (_ROWS + self._place * _WIDTH))

    def _write(self, data: bytes, offset: int) -> None:
        if os.pwrite(self._fd, data, offset) != len(data):
            raise OSError("no room left there")

    @contextmanager
    def _locked(self) -> Iterator[float]:
        """The file for this process alone, from the instant that it gives."""
        self._lock()
        try:
            yield self._clock()
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _lock(self) -> None:
        # Never for long: a process that was stopped while it holds the lock could do so for ever.
        for attempt in range(TRIES):
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if attempt > TRIES // 2:
                    time.sleep(0.0001)
            else:
                self._busy_since = math.inf
                return
        now = self._clock()
        self._busy_since = min(self._busy_since, now)
        if now > self._busy_since + PATIENCE:
            raise TimeoutError("another process holds its lock and does not go on")
        raise BlockingIOError

    def _close_files(self) -> None:
        for fd in (self._place_fd, self._fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._place_fd = -1


def _offset(cells: _Cells, number: int) -> int:
    return _TABLE.size + number % int(cells[_CAPACITY]) * _INSTANT.size


def _head(boot: int, capacity: int, answers: int) -> _Cells:
    return [_MAGIC, boot, capacity, answers]


def _make(path: Path, limit: int, boot: int) -> None:
    """A ledger without answers, there as a whole or not at all: an empty file is a damaged one."""
    if path.exists():
        return
    fd, whole = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # only ours to read
    try:
        os.truncate(whole, _TABLE.size + limit * _INSTANT.size)
        os.write(fd, _TABLE.pack(*_head(boot, limit, 0), *_EMPTY_ROW * MEMBERS))
        with suppress(FileExistsError):
            os.link(whole, path)
    finally:
        os.close(fd)
        Path(whole).unlink()
