"""Sheets that come packed: `.gz`, or `.zip` with one text file in it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Literal
from zipfile import ZipFile, ZipInfo, is_zipfile

from batch.errors import SheetError
from batch.read.damage import damage_as

Packing = Literal["gz", "zip"]

_BLOCK = 1 << 20  # bytes in memory at a time
_ENCRYPTED = 0x1  # of a zip member's flags
_NAMED = 3  # members that a message lists
_NOT_SHEETS = ("__MACOSX/", ".")  # what macOS adds to its archives, and hidden files


def unpack(path: Path, packing: Packing, into: IO[bytes], *, most: int) -> None:
    """Write the packed file's content. SheetError if it is damaged, locked, more than one file
    or longer than `most` bytes: no more than those are written.
    """
    with _unpacking(path, packing) as content:
        left = most
        while block := content.read(_BLOCK):
            left -= len(block)
            if left < 0:
                raise SheetError(
                    f"unpacked it is longer than {most:,} bytes: unpack it and hand in a part,"
                    " or allow more (--max-unpacked)"
                )
            into.write(block)


def refuse_bomb(path: Path, most: int) -> None:
    """SheetError if a workbook, its parts unpacked as its archive says, is longer than `most`
    bytes.
    """
    length = path.stat().st_size
    if is_zipfile(path):
        with damage_as("it is damaged: save it again"), ZipFile(path) as archive:
            length = sum(member.file_size for member in archive.infolist())
    if length > most:
        raise SheetError(
            f"unpacked it is {length:,} bytes long, and at most {most:,} are allowed: save the"
            " sheet alone as a new workbook or as CSV, or allow more (--max-unpacked)"
        )


@contextmanager
def _unpacking(path: Path, packing: Packing) -> Iterator[IO[bytes] | gzip.GzipFile]:
    with damage_as("it is damaged, or packed in an unusual way: pack it again"):
        if packing == "gz":
            with gzip.open(path) as content:
                yield content
        else:
            with ZipFile(path) as archive, archive.open(_only_member(archive)) as content:
                yield content


def _only_member(archive: ZipFile) -> ZipInfo:
    members = [
        member
        for member in archive.infolist()
        if not member.is_dir()
        and not member.filename.startswith(_NOT_SHEETS)
        and not Path(member.filename).name.startswith(_NOT_SHEETS)
    ]
    if len(members) != 1:
        names = ", ".join(f'"{member.filename}"' for member in members[:_NAMED])
        more = " …" if len(members) > _NAMED else ""
        found = f"{len(members)} files ({names}{more})" if members else "no file"
        raise SheetError(f"it holds {found}: pack one sheet alone")
    if members[0].flag_bits & _ENCRYPTED:
        raise SheetError("it is protected with a password: pack the sheet without one")
    return members[0]
