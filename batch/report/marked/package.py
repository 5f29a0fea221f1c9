"""The archive that a workbook is: its parts, how they are linked, and what each is declared as."""

from __future__ import annotations

import posixpath
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, BufferedWriter
from itertools import count
from typing import IO, Any, cast
from zipfile import ZipFile

from batch.report.marked.marks import CannotMark
from batch.report.marked.xml_part import Element, XmlPart, escaped

LINKS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
DECLARATION = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPES = "[Content_Types].xml"
_OWN_LINKS = "_rels/.rels"
_LARGEST_PART = 1 << 26  # bytes of a part that is held as a whole
_LARGEST_STREAM = 3 << 29  # bytes; from 2 GiB on, Excel takes what zipfile writes for damaged
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Link:
    """What a part says of another: by which identifier, as what, and where it stands."""

    identifier: str
    kind: str
    target: str
    element: Element

    def is_a(self, *kinds: str) -> bool:
        """Whether it is of such a kind, by whomever that was defined."""
        return self.kind.rpartition("/")[2] in kinds


class Package:
    """The parts of an archive, whose names are the same in any case, and the changes to them.

    CannotMark for a part that is missing, or too large.
    """

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._members = {info.filename.casefold(): info for info in archive.infolist()}
        if len(self._members) < len(archive.infolist()):
            raise CannotMark("two of its parts have the same name")
        self._changed: dict[str, bytes] = {}
        self._heads: dict[str, tuple[int, bytes]] = {}
        self._new: dict[str, str] = {}  # names
        self._done: set[str] = set()  # written, or to be left out

    def has(self, part: str) -> bool:
        """Whether there is such a part."""
        return part.casefold() in self._members or part.casefold() in self._new

    def names(self, suffix: str) -> list[str]:
        """The parts whose names end so."""
        return [name for name in (*self._members, *self._new) if name.endswith(suffix)]

    def open(self, part: str) -> BufferedReader:
        """The part's bytes as they were."""
        info = self._members.get(part.casefold())
        if not info:
            raise CannotMark(f"its part {part} is missing")
        if info.file_size > _LARGEST_STREAM:
            raise CannotMark(f"its part {part} is too large")
        return BufferedReader(cast("Any", self._archive.open(info)), _BLOCK)

    def read(self, part: str) -> bytes:
        """The part as it is now."""
        changed = self._changed.get(part.casefold())
        if changed is not None:
            return changed
        with self.open(part) as stream:
            content = stream.read(_LARGEST_PART + 1)
        if len(content) > _LARGEST_PART:
            raise CannotMark(f"its part {part} is too large")
        return content

    def xml(self, part: str) -> XmlPart:
        """The part as it is now, to be edited and then put."""
        return XmlPart(self.read(part))

    def put(self, part: str, content: bytes) -> None:
        """Give a part that content."""
        if not self.has(part):
            self._new[part.casefold()] = part
        self._changed[part.casefold()] = content

    def put_head(self, part: str, length: int, head: bytes) -> None:
        """Give a large part another beginning in the place of its first bytes."""
        self._heads[part.casefold()] = length, head

    def add(self, pattern: str, content: str, content_type: str) -> str:
        """A new part, its name the pattern with a number in the place of {}. Returns the name."""
        part = next(part for n in count(1) if not self.has(part := pattern.format(n)))
        self.put(part, (DECLARATION + content).encode())
        self.declare(part, content_type)
        return part

    def links(self, part: str) -> Iterator[Link]:
        """What a part says of others in the archive; for an empty name, the archive itself."""
        if self.has(_links_of(part)):
            yield from _links(part, self.xml(_links_of(part)))

    def linked(self, part: str, kind: str) -> str | None:
        """The first part to which a part refers as that kind."""
        return next((link.target for link in self.links(part) if link.is_a(kind)), None)

    def link(self, part: str, kind: str, target: str) -> str:
        """Let a part refer to another. Returns the identifier by which it does."""
        name = _links_of(part)
        if not self.has(name):
            empty = f'{DECLARATION}<Relationships xmlns="{_PACKAGE}/relationships"/>'
            self.put(name, empty.encode())
        xml = self.xml(name)
        used = {element.attributes.get("Id", "").casefold() for element in xml.root.children}
        new = next(f"rId{number}" for number in count(1) if f"rid{number}" not in used)
        xml.append(
            xml.root,
            f'<{xml.prefix}Relationship Id="{new}" Type="{LINKS}/{kind}"'
            f' Target="/{escaped(target)}"/>',
        )
        self.put(name, xml.content())
        return new

    def content_type(self, part: str) -> str:
        """What the part is declared as, empty if it is not."""
        xml = self.xml(_TYPES)
        path, suffix = f"/{part}".casefold(), part.rpartition(".")[2].casefold()
        ways = (("Override", "PartName", path), ("Default", "Extension", suffix))
        for name, attribute, wanted in ways:
            for element in xml.named(xml.root, name):
                if element.attributes.get(attribute, "").casefold() == wanted:
                    return element.attributes.get("ContentType", "")
        return ""

    def declare(self, part: str, content_type: str) -> None:
        """Declare what the part is."""
        self._undeclare(part)
        before, suffix = self.content_type(part), part.rpartition(".")[2]
        if before == content_type:
            return
        is_usual = not before and suffix != "xml"
        which = f'Default Extension="{suffix}"' if is_usual else f'Override PartName="/{part}"'
        xml = self.xml(_TYPES)
        xml.append(xml.root, f'<{xml.prefix}{which} ContentType="{content_type}"/>')
        self.put(_TYPES, xml.content())

    def leave_out(self, part: str, *kinds: str) -> bool:
        """Leave out what a part refers to as one of those kinds. Returns whether there was any."""
        name = _links_of(part)
        if not self.has(name):
            return False
        xml = self.xml(name)
        found = [link for link in _links(part, xml) if link.is_a(*kinds)]
        for link in found:
            xml.remove(link.element)
            self._drop(link.target)
        self.put(name, xml.content())
        return bool(found)

    @contextmanager
    def rewriting(self, out: ZipFile, part: str) -> Iterator[IO[bytes]]:
        """To write a large part's new content into another archive."""
        with _writing(out, self._members[part.casefold()].filename) as stream:
            yield stream
        self._done.add(part.casefold())

    def write_own_links(self, out: ZipFile) -> None:
        """Write what programs expect at the beginning to know the archive for a workbook."""
        self._write(out, self._members[_OWN_LINKS].filename)

    def write_rest(self, out: ZipFile) -> None:
        """Write all parts that are not yet written, as they are now."""
        for info in self._members.values():
            self._write(out, info.filename)
        for name in self._new.values():
            self._write(out, name)

    def _write(self, out: ZipFile, name: str) -> None:
        part = name.casefold()
        if part in self._done:
            return
        self._done.add(part)
        with _writing(out, name) as target:
            if part in self._changed:
                target.write(self._changed[part])
                return
            with self.open(part) as source:
                length, head = self._heads.get(part, (0, b""))
                source.read(length)
                target.write(head)
                shutil.copyfileobj(source, target, _BLOCK)

    def _drop(self, part: str) -> None:
        """Leave out the part, and what belongs to it alone."""
        if part.casefold() in self._done or not self.has(part):
            return
        self._done |= {part.casefold(), _links_of(part).casefold()}
        for link in self.links(part):
            self._drop(link.target)
        self._undeclare(part)

    def _undeclare(self, part: str) -> None:
        xml = self.xml(_TYPES)
        for element in xml.named(xml.root, "Override"):
            if element.attributes.get("PartName", "").casefold() == f"/{part}".casefold():
                xml.remove(element)
        self.put(_TYPES, xml.content())


@contextmanager
def _writing(out: ZipFile, name: str) -> Iterator[IO[bytes]]:
    with BufferedWriter(cast("Any", out.open(name, "w")), _BLOCK) as stream:
        yield stream


def _links(part: str, xml: XmlPart) -> Iterator[Link]:
    for element in xml.named(xml.root, "Relationship"):
        given = element.attributes
        if given.get("TargetMode") != "External":
            target = posixpath.join("/", posixpath.dirname(part), given.get("Target", ""))
            path = posixpath.normpath(target).lstrip("/")
            yield Link(given.get("Id", ""), given.get("Type", ""), path, element)


def _links_of(part: str) -> str:
    folder, name = posixpath.split(part)
    return posixpath.join(folder, "_rels", f"{name}.rels")
