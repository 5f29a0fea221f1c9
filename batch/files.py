"""How a written file comes into its place, and what a CSV file is here."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from batch.formulas import harmless

_MARK = "\ufeff"  # Excel takes a CSV file without one for Windows-1252


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, which takes the given one's place when the block has ended well.

    OSError if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_csv(path: Path, header: Iterable[str], lines: Iterable[tuple[object, ...]]) -> None:
    """A UTF-8 file that every spreadsheet opens and runs nothing of. OSError."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(_MARK)
        writer = csv.writer(file)
        writer.writerow([harmless(name) for name in header])
        for line in lines:
            writer.writerow([harmless(cell) if isinstance(cell, str) else cell for cell in line])
