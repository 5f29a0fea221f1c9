from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.formulas import as_it_was, harmless

TEXTS = st.text() | st.text(alphabet="'=+-@\t\r a", max_size=6)


@given(TEXTS)
def test_every_text_comes_back_as_it_was(text: str) -> None:
    assert as_it_was(harmless(text)) == text


@given(TEXTS)
def test_no_harmless_text_begins_as_a_formula_does(text: str) -> None:
    assert not harmless(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("text", ["", "'", "'s-Hertogenbosch", "O'Brien", "a=b", "100001"])
def test_a_text_that_is_no_formula_stays_as_it_is(text: str) -> None:
    assert (harmless(text), as_it_was(text)) == (text, text)
