"""Pictures as text: elements of inline SVG, escaped by the standard library."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from batch.report.words import plain

LETTER = 6.6  # width of a letter of a plot's text, at most on average


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture's size, and the margins around what it plots."""

    width: float
    height: float
    left: float
    top: float
    right: float
    bottom: float

    @property
    def inner_right(self) -> float:
        """Where the plot ends."""
        return self.width - self.right

    @property
    def base(self) -> float:
        """Where its time axis is."""
        return self.height - self.bottom


class Picture:
    """An SVG element of one size, told to those who cannot see it by its title and description."""

    def __init__(self, name: str, frame: Frame, *, title: str, description: str) -> None:
        self._root = ET.Element(
            "svg",
            {
                "class": f"plot {name.rpartition('-')[2]}",
                "viewBox": f"0 0 {frame.width:g} {frame.height:g}",
                "role": "img",
                "aria-labelledby": f"{name}-title {name}-told",
            },
        )
        self.name = name
        self.frame = frame
        self.add("title", title, id=f"{name}-title")
        self.add("desc", description, id=f"{name}-told")

    def add(self, tag: str, text: str = "", **attributes: object) -> ET.Element:
        """An element; `class_` and `text_anchor` are its attributes `class` and `text-anchor`."""
        named = {name.strip("_").replace("_", "-"): _said(attributes[name]) for name in attributes}
        element = ET.SubElement(self._root, tag, named)
        element.text = str(plain(text)) or None
        return element

    def text(self, x: float, y: float, text: str, anchor: str = "middle", class_: str = "") -> None:
        """Words, kept inside the picture."""
        half = len(text) * LETTER / 2
        if anchor == "middle":
            x = min(max(x, half), self.frame.width - half)
        extra = {"class_": class_} if class_ else {}
        self.add("text", text, x=x, y=y, text_anchor=anchor, **extra)

    def line(self, x1: float, y1: float, x2: float, y2: float, class_: str) -> None:
        """A straight one."""
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)

    def box(self, left: float, top: float, right: float, bottom: float, class_: str) -> None:
        """A filled rectangle."""
        width, height = max(right - left, 0.0), max(bottom - top, 0.0)
        self.add("rect", x=left, y=top, width=width, height=height, class_=class_)

    def path(self, points: Iterable[tuple[float, float]], class_: str, *, closed: bool) -> None:
        """Straight lines from point to point."""
        told = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        self.add("path", d=f"M{told}{'Z' if closed else ''}", class_=class_)

    def __str__(self) -> str:
        return ET.tostring(self._root, encoding="unicode")


class Labels:
    """A line of labels of which none covers another: one without room is left out."""

    def __init__(self, picture: Picture, y: float) -> None:
        self._picture, self._y = picture, y
        self._taken: list[tuple[float, float]] = []

    def say(self, x: float, text: str, class_: str = "") -> None:
        """The words around x, if there is room."""
        half = len(text) * LETTER / 2
        x = min(max(x, half), self._picture.frame.width - half)
        if all(
            x + half + LETTER < left or right + LETTER < x - half for left, right in self._taken
        ):
            self._taken.append((x - half, x + half))
            self._picture.text(x, self._y, text, class_=class_)


def _said(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
