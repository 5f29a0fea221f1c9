"""A small XML part that is edited where its elements stand: all else stays as it was, byte for
byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from xml.parsers.expat import ExpatError, ParserCreate, XMLParserType

from batch.report.marked.marks import CannotMark

_TAG = re.compile(rb"""<(?:[^"'>]|"[^"]*"|'[^']*')*>""")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=/>"']+)\s*=\s*("[^"]*"|'[^']*')""")
_ENCODING = re.compile(rb"""^(<\?xml[^>]*?)\s+encoding\s*=\s*["']([\w.-]+)["']""")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")
_READ_ALIKE = ("utf-8", "utf8", "us-ascii", "ascii")
_MOST_UNITS = 32_767  # of UTF-16 in a cell
_UNWRITABLE = re.compile("[\0-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


@dataclass(slots=True, eq=False)
class Element:
    """An element, and the places in its part where its start tag begins and ends, and its end
    tag begins and ends. One without an end tag has its end at all of the last three.
    """

    name: str
    attributes: dict[str, str]
    start: int
    inside: int
    tail: int = -1
    end: int = -1
    text: str = ""
    children: list[Element] = field(default_factory=list)

    @property
    def is_self_closed(self) -> bool:
        """Whether its start tag is its end tag, too."""
        return self.inside == self.end


class XmlPart:
    """The elements of a part and the edits to it. Elements are named as in the part's own
    vocabulary: those with another prefix than its root are of another one.

    CannotMark if it is not well-formed or defines entities. Of a part that `is_whole` or not, what
    is open at its end has no end.
    """

    def __init__(self, content: bytes, *, is_whole: bool = True) -> None:
        self._content = as_utf8(content)
        self._splices: list[tuple[int, int, bytes]] = []
        self._added: dict[Element, list[str]] = {}
        self._tags: dict[Element, str] = {}
        top = Element("", {}, 0, 0)
        self._open = [top]
        parser = new_parser()
        parser.buffer_text = True
        parser.StartElementHandler = lambda name, attributes: self._start(
            name, attributes, parser.CurrentByteIndex
        )
        parser.EndElementHandler = lambda _: self._end(parser.CurrentByteIndex)
        parser.CharacterDataHandler = self._text
        try:
            parser.Parse(self._content, is_whole)
        except ExpatError as error:
            raise CannotMark("one of its parts is damaged") from error
        if not top.children:
            raise CannotMark("one of its parts is empty")
        self.root = top.children[0]
        self.prefix = prefix_of(self.root.name)

    def named(self, parent: Element, name: str) -> list[Element]:
        """The children of that name."""
        return [child for child in parent.children if child.name == self.prefix + name]

    def first(self, parent: Element, *path: str) -> Element | None:
        """The first child of that name, its first child of the next name, and so on."""
        found: Element | None = parent
        for name in path:
            found = next(iter(self.named(found, name)), None) if found else None
        return found

    def within(self, parent: Element, name: str) -> Iterator[Element]:
        """All elements of that name, at any depth."""
        for child in parent.children:
            if child.name == self.prefix + name:
                yield child
            yield from self.within(child, name)

    def source(self, element: Element) -> str:
        """The element as it is written."""
        return self._content[element.start : element.end].decode()

    def insert(self, place: int, text: str) -> None:
        """Put the text at a place, after what was put there before."""
        self.replace(place, place, text)

    def replace(self, start: int, end: int, text: str) -> None:
        """Put the text in the place of what stands there."""
        self._splices.append((start, end, text.encode()))

    def remove(self, element: Element) -> None:
        """Leave the element out."""
        self.replace(element.start, element.end, "")

    def append(self, parent: Element, text: str) -> None:
        """Put the text at the end of the element's content."""
        self._added.setdefault(parent, []).append(text)

    def set(self, element: Element, **attributes: str | int) -> None:
        """Give the element's attributes those values."""
        for name, value in attributes.items():
            self._tags[element] = with_attribute(self._tag(element), name, value)

    @property
    def is_edited(self) -> bool:
        """Whether anything in it is to be another."""
        return bool(self._splices or self._added or self._tags)

    def content(self) -> bytes:
        """The part with its edits."""
        splices = [*self._splices]
        for element in {**self._tags, **self._added}:
            tag, added = self._tag(element), "".join(self._added.get(element, ()))
            if added and element.is_self_closed:
                tag = f"{tag.removesuffix('/>')}>{added}</{element.name}>"
            elif added:
                splices.append((element.tail, element.tail, added.encode()))
            splices.append((element.start, element.inside, tag.encode()))
        pieces, at = [], 0
        for start, end, new in sorted(splices, key=lambda splice: splice[:2]):
            pieces += [self._content[at:start], new]
            at = end
        return b"".join([*pieces, self._content[at:]])

    def _tag(self, element: Element) -> str:
        return self._tags.get(element) or self._content[element.start : element.inside].decode()

    def _start(self, name: str, attributes: dict[str, str], at: int) -> None:
        tag = _TAG.match(self._content, at)
        element = Element(name, attributes, at, tag.end() if tag else at)
        self._open[-1].children.append(element)
        self._open.append(element)

    def _end(self, at: int) -> None:
        element = self._open.pop()
        is_self_closed = self._content.endswith(b"/>", element.start, element.inside)
        element.tail = element.inside if is_self_closed else at
        element.end = element.inside if is_self_closed else self._content.index(b">", at) + 1

    def _text(self, text: str) -> None:
        self._open[-1].text += text


def new_parser() -> XMLParserType:
    """A parser that refuses what could make more of a part than it holds."""
    parser = ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_entities
    return parser


def _refuse_entities(*_: object) -> None:
    raise CannotMark("one of its parts defines entities, which no spreadsheet does")


def as_utf8(content: bytes) -> bytes:
    """The part in UTF-8, in which most are."""
    if content.startswith(_UTF_16):
        is_marked = content.startswith(_UTF_16[:2])
        form = "utf-16" if is_marked else "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
        return _ENCODING.sub(rb"\1", content.decode(form).encode())
    declared = _ENCODING.match(content)
    if not declared or declared[2].decode().lower() in _READ_ALIKE:
        return content
    try:
        return _ENCODING.sub(rb"\1", content.decode(declared[2].decode()).encode())
    except (LookupError, UnicodeError) as error:
        raise CannotMark("one of its parts is in an unknown encoding") from error


def is_utf8(start: bytes) -> bool:
    """Whether a part that begins so is in UTF-8."""
    return as_utf8(start) == start


def prefix_of(name: str) -> str:
    """What stands before an element's local name: empty, or a prefix with its colon."""
    before, colon, _ = name.rpartition(":")
    return before + colon


def with_attribute(tag: str, name: str, value: str | int) -> str:
    """A start tag that gives the attribute that value."""
    source, new = tag.encode(), f'{name}="{escaped(str(value))}"'.encode()
    for found in _ATTRIBUTE.finditer(source):
        if found[1] == name.encode():
            return (source[: found.start(1)] + new + source[found.end() :]).decode()
    end = len(source) - (2 if source.endswith(b"/>") else 1)
    return (source[:end].rstrip() + b" " + new + source[end:]).decode()


def whole(attributes: Mapping[str, str], name: str, usual: int = 0) -> int:
    """The whole number that an attribute gives. CannotMark if it is none."""
    try:
        return int(attributes.get(name, usual))
    except ValueError as error:
        raise CannotMark(f'a "{name}" in it is no number') from error


def escaped(text: str) -> str:
    """The text as XML writes it."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&quot;")


def text_element(prefix: str, text: str) -> str:
    """A cell's or a note's text as Excel writes it: what XML cannot hold by its number, and no
    more of it than a cell holds.
    """
    if len(text) > _MOST_UNITS // 2:
        text = _cut(text)
    spelt = _UNWRITABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", text)
    return f'<{prefix}t xml:space="preserve">{escaped(spelt)}</{prefix}t>'


def _cut(text: str) -> str:
    units = text.encode("utf-16-le", "surrogatepass")
    if len(units) <= 2 * _MOST_UNITS:
        return text
    return units[: 2 * (_MOST_UNITS - 1)].decode("utf-16-le", "ignore") + "…"
