"""The looks of cells: a workbook's own, and what is added to them."""

from __future__ import annotations

from functools import cached_property

from batch.report.marked.marks import CannotMark
from batch.report.marked.xml_part import Element, XmlPart, escaped, whole, with_attribute

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
FINE, TO_MEND, WRONG = "FFE2F0D9", "FFFDE9D9", "FFFFC7B3"  # backgrounds, alpha first
EMPTY_STYLES = (
    f'<styleSheet xmlns="{MAIN}"><fonts count="1"><font><sz val="11"/><name val="Calibri"/>'
    '<family val="2"/></font></fonts><fills count="2"><fill><patternFill patternType="none"/>'
    '</fill><fill><patternFill patternType="gray125"/></fill></fills><borders count="1"><border>'
    '<left/><right/><top/><bottom/><diagonal/></border></borders><cellStyleXfs count="1"><xf/>'
    '</cellStyleXfs><cellXfs count="1"><xf xfId="0"/></cellXfs><cellStyles count="1">'
    '<cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>'
)
# The second colour of a full background is not seen: there a mark keeps what was before it.
_NONE = 'indexed="64"'
_OF_STATUSES = {f'rgb="{FINE}"', f'rgb="{TO_MEND}"'}
_MOST_LOOKS = 64_000  # of Excel
_ORDER = ("numFmts", "fonts", "fills", "borders", "cellStyleXfs", "cellXfs")


class _Collection:
    """The entries of one kind, and what is put after them."""

    def __init__(self, xml: XmlPart, name: str, *usual: str) -> None:
        self._xml = xml
        self._name = name
        self._element = xml.first(xml.root, name)
        self.entries = self._element.children if self._element else []
        self._usual = () if self.entries else usual
        self._added: dict[str, int] = {}
        self._known = {xml.source(entry): n for n, entry in enumerate(self.entries)}

    def add(self, entry: str) -> int:
        """The number of such an entry."""
        known = self._known.get(entry)
        return self._added.setdefault(entry, len(self)) if known is None else known

    def __len__(self) -> int:
        return len(self.entries) + len(self._usual) + len(self._added)

    def finish(self) -> None:
        """Write what was added."""
        text, prefix = "".join((*self._usual, *self._added)), self._xml.prefix
        if self._element:
            self._xml.append(self._element, text)
            self._xml.set(self._element, count=len(self))
            return
        element = f'<{prefix}{self._name} count="{len(self)}">{text}</{prefix}{self._name}>'
        before = [prefix + name for name in _ORDER[: _ORDER.index(self._name)]]
        ends = [child.end for child in self._xml.root.children if child.name in before]
        self._xml.insert(max(ends, default=self._xml.root.inside), element)


class Styles:
    """A workbook's looks of cells, each known by its number. CannotMark if they are too many."""

    def __init__(self, xml: XmlPart) -> None:
        self._xml = xml
        p = self._p = xml.prefix
        self._fonts = _Collection(xml, "fonts", f"<{p}font/>")
        pattern = f'<{p}fill><{p}patternFill patternType="{{}}"/></{p}fill>'
        self._fills = _Collection(xml, "fills", *map(pattern.format, ("none", "gray125")))
        self._looks = _Collection(xml, "cellXfs", f"<{p}xf/>")
        self._marked: dict[int, int] = {}
        self.marks = self._marks()

    def marked(self, look: int) -> int:
        """The look of a cell that is wrong, with the background of one that is."""
        if look in self.marks:
            return look
        if look not in self._marked:
            fill = self._fill(WRONG, self._colour(look, "fgColor") or _NONE)
            self._marked[look] = self._with(look, fillId=fill, applyFill=1)
        return self._marked[look]

    def unmarked(self, look: int) -> int:
        """What the look was before an earlier report marked it."""
        before = self._colour(look, "bgColor")
        plain = before in {None, _NONE} or not self._are_kept
        return self._with(look, fillId=0 if plain else self._fill_as(before or _NONE))

    def bold(self, look: int) -> int:
        """The look with a bold font."""
        font = whole(self._look(look).attributes, "fontId") if self._has(look) else 0
        return self._with(look, fontId=self._bold(font), applyFont=1)

    def own(self, *, bold: bool = False, size: int = 11, colour: str = "") -> int:
        """A look in the workbook's usual font."""
        p = self._p
        weight = f"<{p}b/>" if bold else ""
        name = f'<{p}name val="{escaped(self._font_name())}"/>'
        font = self._fonts.add(f'<{p}font>{weight}<{p}sz val="{size}"/>{name}</{p}font>')
        fill = self._fill(colour) if colour else 0
        side = f'<{p}alignment horizontal="left" indent="1"/>'
        return self._add(
            f'<{p}xf numFmtId="0" fontId="{font}" fillId="{fill}" borderId="0" applyFont="1"'
            f' applyFill="1" applyAlignment="1">{side}</{p}xf>'
        )

    def content(self) -> bytes:
        """The part with what was added."""
        for collection in (self._fonts, self._fills, self._looks):
            collection.finish()
        return self._xml.content()

    def _marks(self) -> frozenset[int]:
        """The looks that earlier reports have given to wrong cells."""
        fills = {
            number
            for number, fill in enumerate(self._fills.entries)
            if any(c.attributes.get("rgb") == WRONG for c in self._xml.within(fill, "fgColor"))
        }
        looks = enumerate(self._looks.entries)
        return frozenset(n for n, look in looks if whole(look.attributes, "fillId") in fills)

    @cached_property
    def _are_kept(self) -> bool:
        """Whether no program has put other second colours, as LibreOffice does, in the place of
        ours: those of the statuses tell.
        """
        looks = range(len(self._looks.entries))
        ours = (look for look in looks if self._colour(look, "fgColor") in _OF_STATUSES)
        return any(self._colour(look, "bgColor") == _NONE for look in ours)

    def _colour(self, look: int, name: str) -> str | None:
        """The attributes of one of the two colours of a look with a full background."""
        number = whole(self._look(look).attributes, "fillId") if self._has(look) else 0
        fills = self._fills.entries[number : number + 1]
        found = self._xml.first(fills[0], "patternFill") if fills else None
        if not found or found.attributes.get("patternType") != "solid":
            return None
        colour = self._xml.first(found, name)
        given = colour.attributes.items() if colour else ()
        return " ".join(f'{key}="{escaped(value)}"' for key, value in given) or None

    def _has(self, look: int) -> bool:
        return 0 <= look < len(self._looks.entries)

    def _look(self, look: int) -> Element:
        return self._looks.entries[look]

    def _with(self, look: int, **attributes: int) -> int:
        p = self._p
        source = self._xml.source(self._look(look)) if self._has(look) else f"<{p}xf/>"
        tag_end = source.index(">") + 1
        tag = source[:tag_end]
        for name, value in attributes.items():
            tag = with_attribute(tag, name, value)
        return self._add(tag + source[tag_end:])

    def _add(self, look: str) -> int:
        number = self._looks.add(look)
        if number >= _MOST_LOOKS:
            raise CannotMark("its cells have more different looks than Excel allows")
        return number

    def _fill(self, colour: str, beneath: str = _NONE) -> int:
        return self._fill_as(f'rgb="{colour}"', beneath)

    def _fill_as(self, colour: str, beneath: str = _NONE) -> int:
        p = self._p
        return self._fills.add(
            f'<{p}fill><{p}patternFill patternType="solid"><{p}fgColor {colour}/>'
            f"<{p}bgColor {beneath}/></{p}patternFill></{p}fill>"
        )

    def _bold(self, font: int) -> int:
        p = self._p
        if not 0 <= font < len(self._fonts.entries):
            return self._fonts.add(f"<{p}font><{p}b/></{p}font>")
        element = self._fonts.entries[font]
        if any(
            child.attributes.get("val", "1") in {"1", "true"} for child in self._weights(element)
        ):
            return font
        bold = f"<{p}b/>"
        parts = [self._xml.source(c) for c in element.children if c not in self._weights(element)]
        return self._fonts.add(f"<{p}font>{bold}{''.join(parts)}</{p}font>")

    def _weights(self, font: Element) -> list[Element]:
        return self._xml.named(font, "b")

    def _font_name(self) -> str:
        fonts = self._fonts.entries
        named = self._xml.first(fonts[0], "name") if fonts else None
        return named.attributes.get("val", "Calibri") if named else "Calibri"
