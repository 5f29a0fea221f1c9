"""What a field's value is as a sheet's text, and the marker that empties a field.

An apostrophe before a text that reads like the marker says that it is the text that is meant:
'NULL stores NULL.
"""

from __future__ import annotations

from datetime import datetime

from batch.models import Value, iso


def said(value: Value, marker: str) -> str:
    """The value as a cell says it that is read again where `marker` empties a field."""
    match value:
        case None | "":
            return marker
        case bool():
            return str(value).lower()
        case datetime():
            return iso(value)
    return literal(str(value), marker)


def literal(text: str, marker: str) -> str:
    """The text as a cell must say it in a sheet where `marker` empties a field."""
    return f"'{text}" if _reads_like(text, marker) else text


def is_literal(text: str, marker: str) -> bool:
    """Whether the cell's text is one that `literal` has marked: the rest of it is what is meant."""
    return text.startswith("'") and _reads_like(text, marker)


def _reads_like(text: str, marker: str) -> bool:
    return text.lstrip("'").strip().casefold() == marker.strip().casefold()
