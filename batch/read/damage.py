"""What the libraries raise over a damaged file, translated at one door."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EINVAL
from lzma import LZMAError
from xml.parsers.expat import ExpatError
from zipfile import BadZipFile

from batch.errors import SheetError

_DAMAGE = (
    BadZipFile,
    EOFError,
    ExpatError,
    LookupError,
    LZMAError,
    RuntimeError,  # an unknown compression, and a part that is locked
    ValueError,
    struct.error,
    zlib.error,
)


@contextmanager
def damage_as(sentence: str) -> Iterator[None]:
    """SheetError with that sentence if the file turns out to be damaged, or with another one if
    it is protected with a password.
    """
    try:
        yield
    except RuntimeError as error:
        if "password" in str(error):
            raise SheetError("it is protected with a password: save it without one") from error
        raise SheetError(sentence) from error
    except _DAMAGE as error:
        raise SheetError(sentence) from error
    except OSError as error:
        if error.errno in {None, EINVAL}:  # of bz2, and of a place before the file's beginning
            raise SheetError(sentence) from error
        raise
