"""`report.html`: one page that needs nothing else, for whoever has to know or to act."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from batch.files import replacing
from batch.report.page.facts import Facts, facts_of
from batch.report.words import counted, lasting, plain, when

__all__ = ["Facts", "facts_of", "render", "write_page"]

FILE_NAME = "report.html"

_HERE = Path(__file__).parent


def write_page(folder: Path, facts: Facts) -> None:
    """`report.html` in the run's folder. OSError if it cannot be written."""
    page = render(facts)
    with replacing(folder / FILE_NAME) as temporary:
        # A line end that the system had changed would not fit the hash of the style.
        temporary.write_text(page, encoding="utf-8", newline="\n")


def render(facts: Facts) -> str:
    """The page. Whatever it is told by sheets and the API is text in it, and nothing else."""
    return _template().render(facts=facts)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"counted": counted, "lasting": lasting, "when": when}
    # What is trusted as it is: our own style, and pictures whose words are escaped in them.
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    environment.globals |= {"style": Markup(style), "style_hash": _hash(style)}  # noqa: S704
    environment.filters["picture"] = Markup
    return environment.get_template("report.html")


def _hash(style: str) -> str:
    digest = hashlib.sha256(style.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
