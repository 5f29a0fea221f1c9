"""The workbook's own part: its sheets, and what it says of them."""

from __future__ import annotations

from batch.report.marked.figures import MARK_OF_FIGURES
from batch.report.marked.marks import CannotMark
from batch.report.marked.package import DECLARATION, LINKS, Link, Package
from batch.report.marked.sheet import deselect
from batch.report.marked.styles import EMPTY_STYLES
from batch.report.marked.xml_part import (
    Element,
    XmlPart,
    escaped,
    is_utf8,
    new_parser,
    prefix_of,
    whole,
)

_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml."
_SHEET_KINDS = ("worksheet", "chartsheet", "dialogsheet")
_OF_THE_BOOK = ("vbaProject", "attachedToolbars", "revisionHeaders", "usernames")
_SIGNATURES, _RIBBON = "origin", "extensibility"
_STYLES = "xl/styles.xml"
_BLOCK = 1 << 16


class Book:
    """The workbook of a package. CannotMark if it is none that Excel would write as .xlsx."""

    def __init__(self, package: Package) -> None:
        self._package = package
        part = package.linked("", "officeDocument")
        if not part or "xml" not in package.content_type(part):
            raise CannotMark("it is no .xlsx or .xlsm workbook")
        self._part = part
        xml = package.xml(part)
        sheets = xml.first(xml.root, "sheets")
        if not sheets:
            raise CannotMark("its list of sheets is not as Excel writes it")
        self._sheets = xml.named(sheets, "sheet")
        self._links = {link.identifier: link for link in package.links(part)}
        if not all(self._link(sheet).is_a(*_SHEET_KINDS) for sheet in self._sheets):
            raise CannotMark("it holds a sheet of macros")

    def worksheet(self, name: str) -> str:
        """The part of that worksheet."""
        for sheet in self._sheets:
            if sheet.attributes.get("name") == name:
                return self._link(sheet).target
        raise CannotMark(f'it has no worksheet "{name}"')

    def styles(self) -> str:
        """The part of its looks, a new one if it has none."""
        found = self._package.linked(self._part, "styles")
        if found:
            return found
        self._package.put(_STYLES, EMPTY_STYLES.encode())
        self._package.declare(_STYLES, f"{_TYPE}styles+xml")
        self._package.link(self._part, "styles", _STYLES)
        return _STYLES

    def shared_texts(self) -> str | None:
        """The part of the texts that its cells share."""
        return self._package.linked(self._part, "sharedStrings")

    def become_plain(self) -> None:
        """Leave out what a plain workbook cannot have, or an edited one: macros, signatures, and
        the history of one that is shared.
        """
        package = self._package
        package.leave_out("", _SIGNATURES)
        had_macros = any(link.is_a("vbaProject") for link in package.links(self._part))
        package.leave_out(self._part, *_OF_THE_BOOK)
        if had_macros:
            package.leave_out("", _RIBBON)  # its buttons would call the macros
        package.declare(self._part, f"{_TYPE}sheet.main+xml")

    def deselect(self, but: str) -> None:
        """Let none of its sheets but that one, which is written anew, be selected."""
        for sheet in self._sheets:
            part = self._link(sheet).target
            if part.casefold() != but.casefold():
                head = _head_of(self._package, part)
                xml = XmlPart(head, is_whole=False)
                if deselect(xml):
                    self._package.put_head(part, len(head), xml.content())

    def put_first(self, sheet: str, name: str) -> None:
        """Let a worksheet stand before all others, in the place of that of an earlier report, and
        be shown.
        """
        earlier = self._link(self._sheets[0]).target
        is_ours = self._sheets[0].attributes.get("name") == name
        if is_ours and MARK_OF_FIGURES.encode() in _head_of(self._package, earlier):
            self._package.put(earlier, (DECLARATION + sheet).encode())
            xml = self._package.xml(self._part)
            self._show_first(xml, moved=0)
            self._package.put(self._part, xml.content())
            return
        part = self._package.add("xl/worksheets/sheet{}.xml", sheet, f"{_TYPE}worksheet+xml")
        link = self._package.link(self._part, "worksheet", part)
        xml = self._package.xml(self._part)
        p, first = xml.prefix, self._sheets[0].start
        xml.insert(
            first,
            f'<{p}sheet xmlns:r="{LINKS}" name="{escaped(self._unused_name(name))}"'
            f' sheetId="{self._unused_number()}" r:id="{link}"/>',
        )
        self._show_first(xml, moved=1)
        self._package.put(self._part, xml.content())

    def _show_first(self, xml: XmlPart, moved: int) -> None:
        views, names = xml.first(xml.root, "bookViews"), xml.first(xml.root, "definedNames")
        for view in xml.named(views, "workbookView") if views else ():
            xml.set(view, activeTab=0, firstSheet=0)
        for name in xml.named(names, "definedName") if names else ():
            if "localSheetId" in name.attributes:
                xml.set(name, localSheetId=whole(name.attributes, "localSheetId") + moved)

    def _unused_name(self, name: str) -> str:
        used = {sheet.attributes.get("name", "").casefold() for sheet in self._sheets}
        names = (name, *(f"{name} {number}" for number in range(2, len(used) + 3)))
        return next(name for name in names if name.casefold() not in used)

    def _unused_number(self) -> int:
        numbers = (whole(sheet.attributes, "sheetId") for sheet in self._sheets)
        return max(numbers, default=0) + 1

    def _link(self, sheet: Element) -> Link:
        given = sheet.attributes.items()
        identifier = next((value for name, value in given if name.endswith(":id")), "")
        if identifier not in self._links:
            raise CannotMark("one of its sheets is missing")
        return self._links[identifier]


def _head_of(package: Package, part: str) -> bytes:
    """What stands before a sheet's rows: all of a sheet that has none, or is not in UTF-8."""
    parser, at = new_parser(), -1

    def start(name: str, _: object) -> None:
        nonlocal at
        if at < 0 and name.removeprefix(prefix_of(name)) == "sheetData":
            at = parser.CurrentByteIndex

    parser.StartElementHandler = start
    head = b""
    with package.open(part) as stream:
        while at < 0 and (block := stream.read(_BLOCK)):
            head += block
            parser.Parse(block, False)
    return head[:at] if at >= 0 and is_utf8(head) else package.read(part)
