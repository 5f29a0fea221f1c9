"""The archive that an XLSX, XLSM or XLSB workbook is: its parts, and how they are linked."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import IO
from xml.parsers.expat import ParserCreate
from zipfile import ZipFile

Attributes = dict[str, str]


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
            parser.ParseFile(xml)
        return tags


def local_name(tag: str) -> str:
    """An element's name without its namespace's prefix."""
    return tag.rpartition(":")[2]
