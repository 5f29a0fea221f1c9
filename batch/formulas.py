"""Texts that a spreadsheet would take for a formula, and what it shows when one has no value."""

from __future__ import annotations

import re

NOT_CALCULATED = "#GETTING_DATA"
"""How a formula without a stored value is read: the word of Excel for a value still to come."""

_FIRST_LETTERS = "'=+-@\t\r"
_TAKEN_FOR_A_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_QUOTED = re.compile(r'="((?:[^"]|"")*)"')
_MADE_HARMLESS = re.compile(r"'+[=+\-@\t\r]")


def harmless(text: str) -> str:
    """The text as it can be written to a file that a spreadsheet opens.

    A text that would be taken for a formula gets an apostrophe before it. So does one that
    only looks as if it had got one, so that `as_it_was` gives every text back.
    """
    # Nearly every text of a long report ends here.
    if not text or text[0] not in _FIRST_LETTERS:
        return text
    return f"'{text}" if _TAKEN_FOR_A_FORMULA.match(text) else text


def as_it_was(text: str) -> str:
    """The text before `harmless`; any other text unchanged."""
    return text[1:] if _MADE_HARMLESS.match(text) else text


def as_shown(text: str) -> str:
    """What a spreadsheet shows of a text file's cell: of ="00123", which keeps the zeros there,
    00123. Any other text is as it was before `harmless`.
    """
    quoted = _QUOTED.fullmatch(text)
    return quoted[1].replace('""', '"') if quoted else as_it_was(text)


def harmless_in_workbook(text: str) -> str:
    """The text as it can be written to a cell of a workbook that is typed as text.

    No spreadsheet takes such a cell for a formula. Only a text that looks as if it had been made
    harmless gets an apostrophe more, so that `as_it_was` gives every text back.
    """
    return f"'{text}" if _MADE_HARMLESS.match(text) else text
