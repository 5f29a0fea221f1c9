"""The columns of an export, and what its reader is told of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from batch.models import TEXT_LIMIT, Field, Key, Meaning


class Kind(StrEnum):
    """How a column's cells are written and formatted."""

    NUMBER = "number"
    TEXT = "text"
    DATE = "date"
    SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class ExportColumn:
    """`meaning` is None for what the API only tells."""

    name: str
    meaning: Meaning | None
    kind: Kind
    about: str
    accepted: str = ""

    @property
    def is_editable(self) -> bool:
        """Whether a change in it is one to the token."""
        return isinstance(self.meaning, Field)


_DATE = "a date, with a time if needed"
_SWITCH = "yes or no"
_TEXT = f"a text of at most {TEXT_LIMIT} characters"
_NUMBER = "a whole number"
_OR_EMPTIED = ", or the clear marker to empty it"


def _field(name: Field, kind: Kind, about: str, accepted: str) -> ExportColumn:
    return ExportColumn(name, name, kind, about, accepted)


COLUMNS = (
    ExportColumn("id", Key.ID, Kind.NUMBER, "The token's number. It says which token a row is."),
    ExportColumn("label", Key.LABEL, Kind.TEXT, "What is printed on the card. Checked, if kept."),
    ExportColumn("uid", Key.UID, Kind.TEXT, "What the chip answers. Checked, if kept."),
    ExportColumn("type", None, Kind.TEXT, "An RFID card, an app identity (virtual) or a vehicle."),
    _field(
        Field.CUSTOMER_ID,
        Kind.NUMBER,
        "The customer who is billed: another number, another company's invoice.",
        _NUMBER,
    ),
    _field(
        Field.APP_USER_ID, Kind.NUMBER, "The user of the app to whom the token belongs.", _NUMBER
    ),
    _field(
        Field.VALID_FROM,
        Kind.DATE,
        "When the token begins to work. A date alone is the start of that day.",
        _DATE,
    ),
    _field(
        Field.EXPIRES_AT,
        Kind.DATE,
        "When it stops working; empty: never. A date alone is the end of that day.",
        _DATE + _OR_EMPTIED,
    ),
    _field(
        Field.IS_ACTIVE, Kind.SWITCH, "Whether the token works at all. A lost card: no.", _SWITCH
    ),
    _field(
        Field.ROAMING_ENABLED,
        Kind.SWITCH,
        "Whether it works at other operators' chargers.",
        _SWITCH,
    ),
    _field(
        Field.PRIORITY_CHARGING_ENABLED,
        Kind.SWITCH,
        "Whether it is served before others where power is short.",
        _SWITCH,
    ),
    _field(
        Field.BILLING_REFERENCE,
        Kind.TEXT,
        "What the invoice says beside the token.",
        _TEXT + _OR_EMPTIED,
    ),
    _field(Field.COMMENT, Kind.TEXT, "A note of your own.", _TEXT + _OR_EMPTIED),
    ExportColumn("createdAt", None, Kind.DATE, "When the token was made."),
    ExportColumn("updatedAt", None, Kind.DATE, "When it was last changed, before this export."),
)
"""From left to right. Only those with a field are editable."""
