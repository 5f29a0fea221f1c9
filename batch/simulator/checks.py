"""What the API accepts in a request: the fields of a PATCH, the parameters of a listing.

Types, limits and nullability are those of the API reference, "Update a token" and
"Get a list of tokens". They are written here a second time on purpose: a simulated API that
borrowed the product's own validation would share its mistakes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from batch.simulator.answers import ApiError
from batch.simulator.tokens import Column, Page

T = TypeVar("T")

_TEXT_LIMIT = 100
_LARGEST = 2**63 - 1  # what SQLite holds
_SORTABLE = ("id", "createdAt", "updatedAt", "validFrom", "expiresAt")
_KINDS = ("rfid", "virtual", "vehicleId")


def parsed(body: bytes) -> Any:
    """The JSON of a body; ValueError for what is none."""
    try:
        value = json.loads(body)
        # Python reads NaN and halves of characters, which JSON has not and no answer can repeat.
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def token_id(text: str) -> int:
    """The number in the path of a token."""
    return _checked("id", text, _count)


def changes(body: Any) -> dict[str, Column]:
    """The columns that a PATCH's body asks to change, or the API's 400."""
    if not isinstance(body, dict):
        raise ApiError(400, "invalid_body", "The body must be a JSON object.")
    asked: dict[str, Column] = {}
    for name, value in body.items():
        if name == "identifier":
            asked["appUserId"] = _app_user(value)
        elif name in _FIELDS:
            asked[name] = _checked(name, value, _FIELDS[name])
        else:
            raise ApiError(400, "unknown_field", f"{name} is not a known field.", param=name)
    return asked


def listing(query: Mapping[str, str]) -> Page:
    """The page that a listing's parameters ask for, or the API's 400."""
    if unknown := query.keys() - _PARAMETERS.keys():
        name = min(unknown)
        raise ApiError(400, "unknown_parameter", f"{name} is not a known parameter.", param=name)
    given = {
        **_DEFAULTS,
        **{name: _checked(name, query[name], _PARAMETERS[name]) for name in query},
    }
    return Page(
        limit=given["limit"],
        offset=given["offset"],
        sort_by=given["sortBy"],
        descending=given["sortDirection"] == "desc",
        equal={column: given[name] for name, column in _EQUAL.items() if name in given},
        since={column: given[name] for name, column in _SINCE.items() if name in given},
    )


def written(instant: datetime) -> str:
    """The instant as the API tells it: `2025-12-31T23:59:59.999Z`."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _checked(name: str, value: Any, check: Callable[[Any], T]) -> T:
    try:
        return check(value)
    except ValueError as error:
        raise ApiError(400, "invalid_value", f"{name} {error}.", param=name) from error


def _app_user(identifier: Any) -> int:
    if not isinstance(identifier, dict) or identifier.keys() != {"appUserId"}:
        message = 'identifier must be {"appUserId": number}; nothing else of it can be updated.'
        raise ApiError(400, "invalid_value", message, param="identifier")
    return _checked("identifier.appUserId", identifier["appUserId"], _integer)


def _instant(value: Any) -> str:
    try:
        instant = datetime.fromisoformat(value)
        if "T" in value and instant.tzinfo is not None:
            return written(instant)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError("must be an ISO-8601 date-time such as 2025-12-31T23:59:59.999Z")


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 one kind of error per value
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _LARGEST:
        raise ValueError("must be an integer")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004 one kind of error per value
    if len(value) > _TEXT_LIMIT:
        raise ValueError(f"must be at most {_TEXT_LIMIT} characters, not {len(value)}")
    return value


def _nullable(check: Callable[[Any], T]) -> Callable[[Any], T | None]:
    return lambda value: None if value is None else check(value)


def _count(text: str, least: int = 0, most: int = _LARGEST) -> int:
    # The length first: Python refuses to read numbers of thousands of digits.
    if text.isascii() and text.isdecimal() and len(text) < len(str(_LARGEST)):
        number = int(text)
        if least <= number <= most:
            return number
    raise ValueError(f"must be an integer from {least} to {most}")


def _one_of(*words: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return check


def _switch_word(text: str) -> bool:
    return _one_of("true", "false")(text) == "true"


_FIELDS: Mapping[str, Callable[[Any], Column]] = {
    "validFrom": _instant,
    "expiresAt": _nullable(_instant),
    "isActive": _switch,
    "roamingEnabled": _switch,
    "priorityChargingEnabled": _switch,
    "billingReference": _nullable(_text),
    "comment": _nullable(_text),
    "customerId": _integer,
}
_PARAMETERS: Mapping[str, Callable[[str], Any]] = {
    "limit": lambda text: _count(text, 1, 1000),
    "offset": _count,
    "sortBy": _one_of(*_SORTABLE),
    "sortDirection": _one_of("asc", "desc"),
    "customerId": _count,
    "type": _one_of(*_KINDS),
    "isActive": _switch_word,
    "roamingEnabled": _switch_word,
    "priority": _switch_word,
    "validFrom": _instant,
    "expiresFrom": _instant,
}
_DEFAULTS: Mapping[str, Any] = {"limit": 500, "offset": 0, "sortBy": "id", "sortDirection": "desc"}
_EQUAL = {
    "customerId": "customerId",
    "type": "type",
    "isActive": "isActive",
    "roamingEnabled": "roamingEnabled",
    "priority": "priorityChargingEnabled",
}
_SINCE = {"validFrom": "validFrom", "expiresFrom": "expiresAt"}
