"""The records of which every part of a binary workbook consists, as [MS-XLSB] defines them, and
what those of cells hold.

ValueError, IndexError or struct.error for bytes that are no such records.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, time, timedelta
from functools import lru_cache, partial
from math import isfinite
from typing import IO

from openpyxl.styles.numbers import is_date_format, is_timedelta_format
from openpyxl.utils.datetime import from_excel

from batch.models import Cell
from batch.read.workbooks.worksheet import stored_moment

Record = tuple[int, bytes]
"""A record's kind and its content."""

Dated = Callable[[float], Cell]
"""What makes a number the date or the time that it is shown as."""

Decoders = Mapping[int, tuple[int, Callable[[bytes, int], Cell]]]
"""By the kind of a cell's record: its value's place, and what reads the value there."""

UINT32 = struct.Struct("<I")
_DOUBLE = struct.Struct("<d")
_DOUBLE_OF_RK = struct.Struct("<ii")

# Where a cell's value stands: after its style, and that after its column. The short kinds, which
# [MS-XLSB] does not tell of, have no column: theirs follows that of the cell before.
LONG, _SHORT = 8, 4
_STYLE = 0xFFFFFF  # without flags about the spoken form of a text
_STYLED_NUMBER = struct.Struct("<Id")
_STYLED_SHORT_NUMBER = struct.Struct("<Ii")

_BLOCK = 1 << 20  # bytes of a part that are read at a time
_LONGEST = 1 << 24  # bytes of a record; the longest text has 65,534
_LENGTH_BYTES = 4
_SEVEN_BITS = 0x7F

_MOMENTS_REMEMBERED = 1024  # a sheet repeats few dates

_BEGIN_FUTURE = 35  # what comes before the end is for later versions of Excel,
_END_FUTURE = 36  # and its records may have the numbers of others

_RK_HUNDREDTHS = 0x01
_RK_INTEGER = 0x02
_RK_FLAGS = 0x03

_ERRORS = {
    0x00: "#NULL!",
    0x07: "#DIV/0!",
    0x0F: "#VALUE!",
    0x17: "#REF!",
    0x1D: "#NAME?",
    0x24: "#NUM!",
    0x2A: "#N/A",
    0x2B: "#GETTING_DATA",
}
_UNKNOWN_ERROR = "#UNKNOWN!"


def records(part: IO[bytes]) -> Iterator[Record]:
    """The records of a part, without those that only later versions of Excel know."""
    depth = 0
    for record in _all_records(part):
        kind = record[0]
        if kind == _BEGIN_FUTURE:
            depth += 1
        elif kind == _END_FUTURE:
            depth -= 1
        elif not depth:
            yield record


def text(content: bytes, place: int) -> str:
    """The text that stands at a place: its length in UTF-16 units, and these."""
    start = place + UINT32.size
    end = start + 2 * UINT32.unpack_from(content, place)[0]
    if end > len(content):
        raise ValueError("a text goes on beyond the end of its record")
    return content[start:end].decode("utf-16-le", "surrogatepass")


def after_text(content: bytes, place: int) -> int:
    """The place after the text that stands at a place."""
    length: int = UINT32.unpack_from(content, place)[0]
    return place + UINT32.size + 2 * length


def _unpacked(packed: int) -> float:
    """The number that an RK is, given as a signed integer: a whole number or the first half of
    one in eight bytes, or a hundredth of either.
    """
    value: float
    if packed & _RK_INTEGER:
        value = float(packed >> 2)
    else:
        value = _DOUBLE.unpack(_DOUBLE_OF_RK.pack(0, packed & ~_RK_FLAGS))[0]
    return value / 100 if packed & _RK_HUNDREDTHS else value


def _boolean(content: bytes, place: int) -> bool:
    return content[place] != 0


def _error(content: bytes, place: int) -> str:
    return _ERRORS.get(content[place], _UNKNOWN_ERROR)


def dated(pattern: str, epoch: datetime) -> Dated | None:
    """What makes a number the date or time that the pattern shows; None for other patterns."""
    if not is_date_format(pattern):
        return None
    moment_of = partial(_moment, epoch=epoch, is_duration=is_timedelta_format(pattern))
    return lru_cache(_MOMENTS_REMEMBERED)(moment_of)


def _moment(serial: float, *, epoch: datetime, is_duration: bool) -> Cell:
    if serial < 0 and not is_duration:
        return serial
    try:
        moment: datetime | time | timedelta = from_excel(serial, epoch, timedelta=is_duration)
    except OverflowError:
        return serial  # beyond all calendars: no date, which validation says of its cell
    return stored_moment(moment) if isinstance(moment, datetime) else moment


class Values:
    """What cells hold, given the texts that they share and, by style, their formats."""

    def __init__(self, strings: Sequence[str], formats: Sequence[Dated | None]) -> None:
        self._strings = strings
        self._formats = formats

    def decoders(self) -> Decoders:
        """How the record of every kind of cell is read."""
        plain = [_blank, self._short_number, _error, _boolean, self._number, text, self._shared]
        formulas = [text, self._number, _boolean, _error]
        return {
            **{kind: (LONG, decode) for kind, decode in enumerate([*plain, *formulas], 1)},
            **{kind: (_SHORT, decode) for kind, decode in enumerate(plain, 12)},
            62: (LONG, rich_text),
        }

    def _shared(self, content: bytes, place: int) -> Cell:
        index: int = UINT32.unpack_from(content, place)[0]
        return self._strings[index]

    def _number(self, content: bytes, place: int) -> Cell:
        style, value = _STYLED_NUMBER.unpack_from(content, place - UINT32.size)
        return self._in_format(value, style)

    def _short_number(self, content: bytes, place: int) -> Cell:
        style, packed = _STYLED_SHORT_NUMBER.unpack_from(content, place - UINT32.size)
        return self._in_format(_unpacked(packed), style)

    def _in_format(self, value: float, style: int) -> Cell:
        if not isfinite(value):
            return "#NUM!"
        moment_of = self._formats[style & _STYLE]
        return moment_of(value) if moment_of else value


def _blank(_content: bytes, _place: int) -> str:
    return ""


def rich_text(content: bytes, place: int) -> str:
    """The text that stands at a place, after flags and before what they tell of its fonts."""
    return text(content, place + 1)


def _all_records(part: IO[bytes]) -> Iterator[Record]:
    rest = b""
    while block := part.read(_BLOCK):
        rest = yield from _whole_records(rest + block)
    if rest:
        raise ValueError("the part ends within a record")


def _whole_records(block: bytes) -> Generator[Record, None, bytes]:
    """The records that end within the block. Returns what follows them."""
    place = 0
    with suppress(IndexError):  # the block ends within the head of a record
        while place < len(block):
            kind, length, start = block[place], block[place + 1], place + 2
            if kind > _SEVEN_BITS or length > _SEVEN_BITS:
                kind, length, start = _long_head(block, place)
            end = start + length
            if end > len(block):
                break
            yield kind, block[start:end]
            place = end
    return block[place:]


def _long_head(block: bytes, place: int) -> tuple[int, int, int]:
    """Kind, length and start of a record, the first two in up to two and four bytes: each has
    seven bits, and one that says whether another follows.
    """
    kind = block[place] & _SEVEN_BITS
    if block[place] > _SEVEN_BITS:
        place += 1
        kind |= (block[place] & _SEVEN_BITS) << 7
    length = 0
    for position in range(_LENGTH_BYTES):
        place += 1
        length |= (block[place] & _SEVEN_BITS) << 7 * position
        if block[place] <= _SEVEN_BITS:
            break
    if length > _LONGEST:
        raise ValueError("a record is longer than any can be")
    return kind, length, place + 1
