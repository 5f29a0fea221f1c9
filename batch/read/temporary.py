"""Sheets that must first become a file of their own: standard input, and what is packed."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from batch.errors import SheetError
from batch.read.forms import form_by_content
from batch.read.packed import Packing, unpack


def copy_of_standard_input() -> Path:
    """A file with all that standard input gives."""
    with _temporary() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
    return Path(copy.name)


def unpacked(path: Path, packing: Packing, most: int) -> Path:
    """A file with what the packed one holds. SheetError if that is no text, or more than `most`
    bytes.
    """
    with _temporary() as copy:
        unpack(path, packing, copy, most=most)
    content = Path(copy.name)
    if form_by_content(content) != "csv":
        raise SheetError("it does not hold a text file: unpack it and hand in what it holds")
    return content


@contextmanager
def _temporary() -> Iterator[IO[bytes]]:
    """A file that is there until the program ends: rows are read from it again and again."""
    with tempfile.NamedTemporaryFile(prefix="token-batch-", delete=False) as file:
        atexit.register(Path(file.name).unlink, missing_ok=True)
        yield file
