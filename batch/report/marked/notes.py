"""Notes at cells: their texts, and the drawing in which a spreadsheet shows them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from math import ceil

from batch.models import column_letter
from batch.report.marked.grid import MAIN, MOST_COLUMNS, Grid, place_of
from batch.report.marked.marks import MOST_NOTES, CannotMark, Mark
from batch.report.marked.package import LINKS, Package
from batch.report.marked.xml_part import Element, as_utf8, text_element, whole

_AUTHOR = "token-batch"
_OURS = f"{_AUTHOR}: "  # begins each text, because LibreOffice forgets the authors
_EARLIER = re.compile(rf"\n*^{_OURS}.*", re.DOTALL | re.MULTILINE)
_THREAD = "tc="  # begins the author of the note that stands in for a conversation
_NOTES_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.comments+xml"
_DRAWING_TYPE = "application/vnd.openxmlformats-officedocument.vmlDrawing"
_WIDTH, _LINE, _ROW, _MARGIN = 300, 15, 20, 12  # pixels
_POINTS = 0.75  # of a pixel
_LETTERS = 44  # of a line
_BLOCK = 1024  # numbers of shapes that belong together; the first of them is not used
_IDMAP = re.compile(r"""(<[\w.]+:idmap\b[^>]*?\sdata\s*=\s*["'])([\d,\s]*)""")
_SHAPE_NUMBER = re.compile(r"""_s(\d+)["']""")
_SHAPE = re.compile(r"<([\w.]+:shape)\s.*?</\1>", re.DOTALL)
_PLACE = re.compile(r"<[\w.]+:(Row|Column)>\s*(\d+)\s*<")
_ANCHOR = re.compile(r"(:Anchor>\s*(?:\d+\s*,\s*){6})(\d+)")
_HEIGHT = re.compile(r"(\bheight:\s*)([\d.]+)(?=p[tx])")
_VOCABULARIES = {
    "v": "urn:schemas-microsoft-com:vml",
    "o": "urn:schemas-microsoft-com:office:office",
    "x": "urn:schemas-microsoft-com:office:excel",
}
_EMPTY_NOTES = f'<comments xmlns="{MAIN}"><authors></authors><commentList></commentList></comments>'
_EMPTY_DRAWING = (
    '<xml xmlns:v="urn:schemas-microsoft-com:vml" xmlns:o="urn:schemas-microsoft-com:office:office"'
    ' xmlns:x="urn:schemas-microsoft-com:office:excel"><o:shapelayout v:ext="edit">'
    '<o:idmap v:ext="edit" data=""/></o:shapelayout></xml>'
)
_SHAPE_TYPE = (
    '<{v}:shapetype id="_x0000_t202" coordsize="21600,21600" {o}:spt="202"'
    ' path="m,l,21600r21600,l21600,xe"><{v}:stroke joinstyle="miter"/>'
    '<{v}:path gradientshapeok="t" {o}:connecttype="rect"/></{v}:shapetype>'
)
_NOTE_SHAPE = (
    '<{v}:shape id="_x0000_s{number}" type="#_x0000_t202" style="position:absolute;'
    'margin-left:{left}pt;margin-top:{top}pt;width:{width}pt;height:{height}pt;z-index:{order};visibility:hidden"'
    ' fillcolor="#ffffe1" {o}:insetmode="auto"><{v}:fill color2="#ffffe1"/>'
    '<{v}:shadow on="t" color="black" obscured="t"/><{v}:path {o}:connecttype="none"/>'
    '<{v}:textbox style="mso-direction-alt:auto"><div style="text-align:left"></div></{v}:textbox>'
    '<{x}:ClientData ObjectType="Note"><{x}:MoveWithCells/><{x}:SizeWithCells/>'
    "<{x}:Anchor>{anchor}</{x}:Anchor><{x}:AutoFill>False</{x}:AutoFill>"
    "<{x}:Row>{row}</{x}:Row><{x}:Column>{column}</{x}:Column></{x}:ClientData></{v}:shape>"
)


class Notes:
    """The notes of a worksheet: its own, and those of the marks, of which the first are taken.

    `pixels` tells how wide a column is.
    """

    def __init__(
        self, package: Package, part: str, grid: Grid, pixels: Callable[[int], int]
    ) -> None:
        self._package = package
        self._part = part
        self._grid = grid
        self._pixels = pixels
        self._notes: list[tuple[int, int, str]] = []
        self.wanted = 0

    def add_all(self, mark: Mark) -> None:
        """Take those of a row."""
        for column, text in sorted(mark.notes.items()):
            self.wanted += 1
            if self.wanted <= MOST_NOTES:
                self._notes.append((mark.row, column, text))

    @property
    def left_out(self) -> int:
        """How many were not taken."""
        return max(self.wanted - MOST_NOTES, 0)

    def finish(self) -> str:
        """Write them, and leave out those of an earlier report. Returns the element by which the
        worksheet names their drawing, if that is new.
        """
        if not self._notes and not self._package.linked(self._part, "comments"):
            return ""
        texts = _Texts(self._package, self._part)
        drawn, grown = [], {}
        for row, column, text in self._notes:
            if texts.add(row, column, text):
                drawn.append((row, column, text))
            else:
                grown[row - 1, column] = _lines(text) + 1
        return self._draw(drawn, grown, texts.left_out) if texts.finish() else ""

    def _draw(
        self,
        notes: list[tuple[int, int, str]],
        grown: Mapping[tuple[int, int], int],
        left_out: Collection[tuple[int, int]],
    ) -> str:
        package, grid = self._package, self._grid
        if grid.notes_link is None:
            drawing = package.add("xl/drawings/vmlDrawing{}.vml", "", _DRAWING_TYPE)
            package.put(drawing, self._with_shapes(_EMPTY_DRAWING, notes).encode())
            link = package.link(self._part, "vmlDrawing", drawing)
            return f'<{grid.prefix}legacyDrawing xmlns:r="{LINKS}" r:id="{link}"/>'

        def fitted(shape: re.Match[str]) -> str:
            place = _place(shape[0])
            return "" if place in left_out else _taller(shape[0], grown.get(place, 0))

        links = package.links(self._part)
        target = next((k.target for k in links if k.identifier == grid.notes_link), "")
        source = as_utf8(package.read(target)).decode(errors="surrogateescape")
        drawing = self._with_shapes(_SHAPE.sub(fitted, source), notes)
        package.put(target, drawing.encode(errors="surrogateescape"))
        return ""

    def _with_shapes(self, drawing: str, notes: list[tuple[int, int, str]]) -> str:
        if not notes:
            return drawing
        drawing = _declaring(drawing)
        end, prefixes = drawing.rfind("</xml>"), _prefixes(drawing)
        if end < 0 or len(prefixes) < len(_VOCABULARIES):
            raise CannotMark("its notes are drawn in an unknown way")
        first = self._first_unused_block()
        blocks = range(first, first + ceil(len(notes) / (_BLOCK - 1)))
        numbers = (block * _BLOCK + n for block in blocks for n in range(1, _BLOCK))
        shapes = "".join(
            self._shape(prefixes, number, *note)
            for number, note in zip(numbers, notes, strict=False)
        )
        kind = "" if 'id="_x0000_t202"' in drawing else _SHAPE_TYPE.format(**prefixes)
        whole = f"{drawing[:end]}{kind}{shapes}{drawing[end:]}"
        new = ",".join(map(str, blocks))
        return _IDMAP.sub(lambda m: f"{m[1]}{m[2]}{',' if m[2] else ''}{new}", whole, count=1)

    def _first_unused_block(self) -> int:
        return max((block for block in self._used_blocks()), default=0) + 1

    def _used_blocks(self) -> Iterator[int]:
        for name in self._package.names(".vml"):
            drawing = as_utf8(self._package.read(name)).decode(errors="replace")
            for _, blocks in _IDMAP.findall(drawing):
                yield from (int(block) for block in blocks.split(",") if block.strip())
            yield from (int(number) // _BLOCK for number in _SHAPE_NUMBER.findall(drawing))

    def _shape(
        self, prefixes: Mapping[str, str], number: int, row: int, column: int, text: str
    ) -> str:
        height = _lines(text) * _LINE + _MARGIN
        left, top = min(column + 1, MOST_COLUMNS - 1), max(row - 2, 0)
        right, over = left, _MARGIN + _WIDTH
        while right < MOST_COLUMNS - 1 and over > (pixels := self._pixels(right)):
            right, over = right + 1, over - pixels
        rows, under = divmod(height, _ROW)
        anchor = (left, _MARGIN, right, over, top, 0, top + rows, under)
        before = sum(map(self._pixels, range(left))) + _MARGIN
        return _NOTE_SHAPE.format(
            **prefixes,
            number=number,
            left=before * _POINTS,
            top=top * _ROW * _POINTS,
            order=number % _BLOCK,
            width=_WIDTH * _POINTS,
            height=height * _POINTS,
            anchor=", ".join(map(str, anchor)),
            row=row - 1,
            column=column,
        )


class _Texts:
    """The part with the notes' texts. `left_out`: at which rows and columns, both from 0, stood
    notes of an earlier report.
    """

    def __init__(self, package: Package, part: str) -> None:
        self._package = package
        found = package.linked(part, "comments")
        self._name = found or package.add("xl/comments{}.xml", _EMPTY_NOTES, _NOTES_TYPE)
        if not found:
            package.link(part, "comments", self._name)
        xml = self._xml = package.xml(self._name)
        authors, notes = xml.first(xml.root, "authors"), xml.first(xml.root, "commentList")
        if not authors or not notes:
            raise CannotMark("its notes are damaged")
        self._list, self._author_list = notes, authors
        self._authors = [author.text for author in xml.named(authors, "author")]
        self._after: dict[str, str] = {}
        self._present: dict[str, Element] = {}
        self.left_out: set[tuple[int, int]] = set()
        for note in xml.named(notes, "comment"):
            self._take(note, note.attributes.get("ref", ""))

    def add(self, row: int, column: int, text: str) -> bool:
        """Write a note. Returns whether it is new, rather than put after the cell's own."""
        reference, p = f"{column_letter(column)}{row}", self._xml.prefix
        if reference in self._present:
            self._after[reference] = f"\n\n{_OURS}{text}"
            return False
        if _AUTHOR not in self._authors:
            self._xml.append(self._author_list, f"<{p}author>{_AUTHOR}</{p}author>")
            self._authors.append(_AUTHOR)
        author = self._authors.index(_AUTHOR)
        self._xml.append(
            self._list,
            f'<{p}comment ref="{reference}" authorId="{author}"><{p}text>{self._run(_OURS + text)}'
            f"</{p}text></{p}comment>",
        )
        return True

    def finish(self) -> bool:
        """Give the part its new content. Returns whether it is another one."""
        for reference, note in self._present.items():
            if not self._author(note).startswith(_THREAD):  # shown instead of the note
                self._put_after(note, self._after.get(reference, ""))
        self._package.put(self._name, self._xml.content())
        return self._xml.is_edited

    def _take(self, note: Element, reference: str) -> None:
        text = next((text.text for text in self._xml.within(note, "t") if text.text), "")
        if text.startswith(_OURS):
            row, column = place_of(reference)
            self._xml.remove(note)
            self.left_out.add((row - 1, column))
        else:
            self._present[reference] = note

    def _author(self, note: Element) -> str:
        author = whole(note.attributes, "authorId")
        return self._authors[author] if author < len(self._authors) else ""

    def _run(self, text: str) -> str:
        p = self._xml.prefix
        return (
            f'<{p}r><{p}rPr><{p}sz val="9"/><{p}color indexed="81"/><{p}rFont val="Tahoma"/>'
            f'<{p}family val="2"/></{p}rPr>{text_element(p, text)}</{p}r>'
        )

    def _put_after(self, note: Element, ours: str) -> None:
        """Let the note end with our text, in the place of that of an earlier report."""
        xml = self._xml
        content = xml.first(note, "text")
        if not content:
            return
        runs, plain = xml.named(content, "r"), xml.first(content, "t")
        for run in runs:
            text = xml.first(run, "t")
            theirs = _EARLIER.sub("", text.text) if text else ""
            if text and theirs and theirs != text.text:
                xml.replace(text.start, text.end, text_element(xml.prefix, theirs))
            elif text and theirs != text.text:
                xml.remove(run)
        if plain and (ours or _EARLIER.search(plain.text)):
            new = _EARLIER.sub("", plain.text) + ours
            xml.replace(plain.start, plain.end, text_element(xml.prefix, new))
        elif ours and runs:
            xml.insert(runs[-1].end, self._run(ours))
        elif ours:
            xml.append(content, self._run(ours))


def _root(drawing: str) -> str:
    """The drawing up to the end of its first tag: what is declared there holds everywhere."""
    return drawing[: drawing.find(">", drawing.find("<xml")) + 1]


def _declaring(drawing: str) -> str:
    """The drawing whose first tag declares all that our shapes need: other programs may declare
    it on each shape of theirs.
    """
    missing = _VOCABULARIES.keys() - _prefixes(drawing)
    declared = "".join(f' xmlns:our_{usual}="{_VOCABULARIES[usual]}"' for usual in sorted(missing))
    return drawing.replace("<xml", f"<xml{declared}", 1)


def _prefixes(drawing: str) -> dict[str, str]:
    """What stands in the drawing for the usual prefixes."""
    declared = dict(re.findall(r"""\bxmlns:([\w.]+)\s*=\s*["']([^"']*)["']""", _root(drawing)))
    names = {vocabulary: name for name, vocabulary in declared.items()}
    return {usual: names[v] for usual, v in _VOCABULARIES.items() if v in names}


def _place(shape: str) -> tuple[int, int]:
    place = {name: int(value) for name, value in _PLACE.findall(shape)}
    return place.get("Row", -1), place.get("Column", -1)


def _taller(shape: str, lines: int) -> str:
    """The shape with room for so many lines more."""
    if not lines:
        return shape
    pixels = lines * _LINE
    rows = ceil(pixels / _ROW)
    taller = _HEIGHT.sub(lambda found: f"{found[1]}{float(found[2]) + pixels:g}", shape, count=1)
    return _ANCHOR.sub(lambda found: f"{found[1]}{int(found[2]) + rows}", taller)


def _lines(text: str) -> int:
    return sum(max(ceil(len(line) / _LETTERS), 1) for line in text.split("\n"))
