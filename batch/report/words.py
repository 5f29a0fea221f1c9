"""How reports say numbers, times and texts."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_MINUTE, _HOUR = 60, 3600
_ALMOST = 0.9995  # of a unit: from here on the next larger one is said
# What moves or hides text around it: said by its number, or a text could pose as another.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
_LONGEST = 600  # characters of one text


def plain(value: object) -> object:
    """A value as the page may say it: of a text, each character that would be invisible, or would
    move others, is told by its number, and no text is endless.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    text = value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
    return _HIDDEN.sub(_number, text)


def _number(found: re.Match[str]) -> str:
    return " " if found[0] in "\r\v\f" else f"⟨U+{ord(found[0]):04X}⟩"


def counted(number: int, thing: str) -> str:
    """The number with its thing, in the plural where it takes one."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def lasting(seconds: float) -> str:
    """A length of time, in the two units that matter."""
    if seconds < _ALMOST:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "less than 1 ms"  # noqa: PLR2004
    if seconds < _MINUTE * _ALMOST:
        return f"{seconds:.3g} s"
    if seconds < _HOUR - 0.5:
        minutes, rest = divmod(round(seconds), _MINUTE)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(round(seconds / _MINUTE), _MINUTE)
    return f"{hours:,} h {rest} min" if rest else f"{hours:,} h"


def when(instant: datetime | str | None) -> str:
    """An instant to the second, in UTC."""
    if instant is None:
        return "not yet"
    found = datetime.fromisoformat(instant) if isinstance(instant, str) else instant
    return f"{found.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def shortened(value: str) -> str:
    """A field's value as `shown` says it, in fewer signs: yes, no, a day without its midnight."""
    if value in {"true", "false"}:
        return "yes" if value == "true" else "no"
    if not value.startswith('"') and value.endswith("Z"):
        return value.removesuffix(".000Z").removesuffix("T00:00:00").replace("T", " ").rstrip("Z")
    return value
