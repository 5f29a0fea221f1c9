"""In which encoding a text file is written: decided over the whole file, a block at a time."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from charset_normalizer import from_bytes

from batch.errors import SheetError

LEGACY = "cp1252"  # what Excel in Western Europe saves as "CSV"

_BLOCK = 1 << 20  # characters or bytes in memory at a time
_SAMPLE = 1 << 16  # bytes that are enough to suggest another encoding
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BEYOND_ASCII = re.compile(r"[\x80-\ud7ff\ue000-\U0010ffff]")
_UNDECODED = re.compile(r"[\udc80-\udcff]")  # where surrogateescape keeps a byte


def encoding_of(path: Path, wanted: str | None = None) -> str:
    """The file's encoding, `wanted` if given, after all of the file has been decoded with it.

    SheetError if some byte cannot be, or if the file holds what no text holds.
    """
    encoding = wanted or _marked(path) or _guessed(path)
    try:
        for text in _blocks(path, encoding):
            _refuse_binary(text)
    except LookupError as error:
        raise SheetError(f'"{encoding}" is no encoding; write for example utf-8') from error
    except UnicodeError as error:
        raise SheetError(_undecodable(path, encoding)) from error
    return encoding


def _marked(path: Path) -> str | None:
    with path.open("rb") as file:
        start = file.read(len(codecs.BOM_UTF8))
    return next((encoding for mark, encoding in _MARKS if start.startswith(mark)), None)


def _guessed(path: Path) -> str:
    utf8 = other = False
    for text in _blocks(path, "utf-8", errors="surrogateescape"):
        utf8 = utf8 or bool(_BEYOND_ASCII.search(text))
        other = other or bool(_UNDECODED.search(text))
    if utf8 and other:
        # Read as either one, letters written in the other would reach the API as two wrong ones.
        raise SheetError(
            "some of its letters are written in UTF-8 and some in another encoding: save it"
            f" again as UTF-8, or name the encoding (--encoding {LEGACY})"
        )
    return LEGACY if other else "utf-8"


def _blocks(path: Path, encoding: str, errors: str = "strict") -> Iterator[str]:
    with path.open(encoding=encoding, errors=errors, newline="") as file:
        while text := file.read(_BLOCK):
            yield text


def _refuse_binary(text: str) -> None:
    if "\0" in text:
        raise SheetError(
            "it holds zero bytes, which no text does: save it as CSV UTF-8, or if it is text"
            " in UTF-16 without its mark, say so (--encoding utf-16-le)"
        )


def _undecodable(path: Path, encoding: str) -> str:
    with path.open("rb") as file:
        likely = from_bytes(file.read(_SAMPLE)).best()
    hint = f" (--encoding {likely.encoding} may be right)" if likely else ""
    return f"it cannot be read as {encoding}: save it as CSV UTF-8, or name its encoding{hint}"
