"""The archive that a workbook of today is: its parts, how they are linked, and their XML."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from typing import IO
from xml.parsers.expat import ParserCreate
from zipfile import ZipFile

from batch.errors import SheetError

Attributes = dict[str, str]

_BLOCK = 1 << 20  # bytes of XML in memory at a time
_LONGEST_TEXT = 1 << 24  # bytes between two tags; a cell holds 32,767 characters
_LARGEST_PART = 1 << 24  # bytes of a part that is read as a whole


class Package:
    """The parts of a workbook's archive, whose names are the same in any case.

    KeyError for a part that is missing, ExpatError for one that is no XML.
    """

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._members = {name.casefold(): name for name in archive.namelist()}

    def open(self, part: str) -> IO[bytes]:
        """The part's bytes."""
        return self._archive.open(self._members[part.casefold()])

    def main_part(self) -> str:
        """The part that tells of the worksheets. KeyError if there is none."""
        return self._linked("", lambda link: link["Type"].endswith("/officeDocument"))

    def linked(self, part: str, identifier: str) -> str:
        """The part to which a part refers by that identifier. KeyError if there is none."""
        return self._linked(part, lambda link: link["Id"] == identifier)

    def _linked(self, part: str, fits: Callable[[Attributes], bool]) -> str:
        for target, link in self.links(part):
            if fits(link):
                return target
        raise KeyError(part)

    def links(self, part: str) -> Iterator[tuple[str, Attributes]]:
        """The parts to which a part refers, each with what its relationship says; those of the
        package itself for an empty name.
        """
        folder, name = posixpath.split(part)
        for tag, attributes in self.tags(posixpath.join(folder, "_rels", f"{name}.rels")):
            if tag == "Relationship":
                target = posixpath.join("/", folder, attributes["Target"])
                yield posixpath.normpath(target).lstrip("/"), attributes

    def tags(self, part: str) -> list[tuple[str, Attributes]]:
        """Every element of a small part, by its local name, with its attributes."""
        tags: list[tuple[str, Attributes]] = []
        parser = ParserCreate()
        parser.StartElementHandler = lambda tag, attributes: tags.append(
            (local_name(tag), attributes)
        )
        with self.open(part) as xml:
            parser.Parse(whole(xml), True)
        return tags


def whole(xml: IO[bytes]) -> bytes:
    """A small part's XML. ValueError if it is not small."""
    # In one piece: expat begins an unfinished tag anew for every piece that it is given.
    content = xml.read(_LARGEST_PART + 1)
    if len(content) > _LARGEST_PART:
        raise ValueError("the part is larger than any of its kind")
    return content


def whole_tags(xml: IO[bytes]) -> Iterator[bytes]:
    """A large part's XML in blocks, none of which ends within a tag.

    SheetError if a text or a tag in it is longer than any that a spreadsheet keeps.
    """
    rest = b""
    while block := xml.read(_BLOCK):
        rest += block
        end = rest.rfind(b"<")
        if len(rest) - end > _LONGEST_TEXT:
            raise SheetError("one of its cells is longer than any that a spreadsheet keeps")
        if end > 0:
            yield rest[:end]
            rest = rest[end:]
    yield rest


def local_name(tag: str) -> str:
    """An element's name without its namespace's prefix."""
    return tag.rpartition(":")[2]
