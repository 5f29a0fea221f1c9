"""The texts that a workbook's cells share, of which a few are asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from io import BufferedReader

from batch.report.marked.xml_part import new_parser, prefix_of

_BLOCK = 1 << 16


def texts_at(xml: BufferedReader, wanted: Collection[int]) -> Mapping[int, str]:
    """The texts with those numbers, as far as there are such."""
    parser = new_parser()
    found: dict[int, str] = {}
    last, number, tag = max(wanted, default=-1), -1, ""

    def start(name: str, _: object) -> None:
        nonlocal number, tag
        tag = name.removeprefix(prefix_of(name))
        if tag == "si":
            number += 1

    def text(content: str) -> None:
        if tag == "t" and number in wanted:
            found[number] = found.get(number, "") + content

    parser.StartElementHandler, parser.CharacterDataHandler = start, text
    while number <= last and (block := xml.read(_BLOCK)):
        parser.Parse(block, False)
    return found
