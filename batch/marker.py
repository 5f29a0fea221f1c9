"""The clear marker, and how a text that reads like it is told from it.

An apostrophe before such a text says that it is the text that is meant: 'NULL stores NULL.
"""

from __future__ import annotations


def literal(text: str, marker: str) -> str:
    """The text as a cell must say it in a sheet where `marker` empties a field."""
    return f"'{text}" if _reads_like(text, marker) else text


def is_literal(text: str, marker: str) -> bool:
    """Whether the cell's text is one that `literal` has marked: the rest of it is what is meant."""
    return text.startswith("'") and _reads_like(text, marker)


def _reads_like(text: str, marker: str) -> bool:
    return text.lstrip("'").strip().casefold() == marker.strip().casefold()
