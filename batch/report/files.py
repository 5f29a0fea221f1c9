"""How a report comes into its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from batch.errors import JournalError


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A UTF-8 file that appears under its name when it is whole. JournalError if it cannot."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise JournalError(
            f"{path} cannot be written ({error.strerror}): the run is in its journal; "
            f"`token-batch report {path.parent.name}` writes the reports again"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
