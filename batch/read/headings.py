"""The headings by which a column is known, in English, Danish and German.

A word that could mean two fields is missing on purpose: "Card number" is the label in one
company and the uid in another.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from difflib import get_close_matches
from zoneinfo import ZoneInfo

from batch.models import Field, Key, Meaning

WORDS: Mapping[Meaning, tuple[str, ...]] = {
    Key.ID: ("id", "Token ID", "Token no", "Token number", "Token nr", "Tokennummer"),
    Key.LABEL: (
        *("label", "Token label", "Identifier label", "Charge key", "Charging key", "Key label"),
        *("Ladebrik", "Ladebrikke", "Ladenøgle", "Etiket", "Tokenetiket"),
        *("Ladeschlüssel", "Ladechip", "Etikett"),
    ),
    Key.UID: (
        *("uid", "Token UID", "Identifier UID", "Card UID", "Chip UID", "Tag UID"),
        *("RFID", "RFID UID", "RFID code", "RFID no", "RFID number", "RFID tag"),
        *("RFID-nr", "RFID-nummer", "RFID-kode", "Brik-UID", "Kort-UID", "Karten-UID"),
    ),
    Field.VALID_FROM: (
        *("validFrom", "Valid from date", "Gyldig fra", "Gyldig fra dato", "Gyldig pr"),
        *("Gültig ab", "Gültig von", "Gültig seit"),
    ),
    Field.EXPIRES_AT: (
        *("expiresAt", "Expires", "Expires on", "Expiry", "Expiry date", "Expiration"),
        *("Expiration date", "Valid to", "Valid until", "Valid till"),
        *("Udløber", "Udløber den", "Udløb", "Udløbsdato", "Gyldig til"),
        *("Läuft ab", "Läuft ab am", "Ablauf", "Ablaufdatum", "Gültig bis"),
    ),
    Field.IS_ACTIVE: (*("isActive", "Active", "Token active", "Aktiv", "Er aktiv", "Ist aktiv"),),
    Field.ROAMING_ENABLED: (
        *("roamingEnabled", "Roaming", "Roaming allowed", "Roaming active", "Roaming aktiv"),
        *("Roaming tilladt", "Roaming aktiveret", "Roaming slået til"),
        *("Roaming erlaubt", "Roaming aktiviert"),
    ),
    Field.PRIORITY_CHARGING_ENABLED: (
        *("priorityChargingEnabled", "Priority charging", "Prioritetsladning"),
        *("Prioriteret ladning", "Prioritetsopladning", "Prioriteret opladning"),
        *("Prioritätsladen", "Priorisiertes Laden", "Bevorzugtes Laden", "Vorrangladen"),
    ),
    Field.BILLING_REFERENCE: (
        *("billingReference", "Billing ref", "Invoice reference"),
        *("Faktureringsreference", "Fakturareference", "Afregningsreference"),
        *("Rechnungsreferenz", "Abrechnungsreferenz"),
    ),
    Field.COMMENT: (
        *("comment", "Comments", "Remark", "Remarks", "Kommentar", "Kommentarer"),
        *("Bemærkning", "Bemærkninger", "Kommentare", "Bemerkung", "Bemerkungen"),
    ),
    Field.APP_USER_ID: (
        *("appUserId", "App user", "App user number", "Identifier appUserId"),
        *("App-bruger", "App-bruger-ID", "App-brugernummer"),
        *("App-Nutzer", "App-Nutzer-ID", "App-Benutzer", "App-Benutzer-ID"),
    ),
    Field.CUSTOMER_ID: (
        *("customerId", "Customer", "Customer no", "Customer number", "Billing customer"),
        *("Kunde", "Kunde-ID", "Kundenr", "Kundenummer"),
        *("Kunden-ID", "Kundennr", "Kundennummer"),
    ),
}
"""What each meaning is called, the API's name first; `plain` covers snake case and the like."""

TOLD = (
    *("type", "Token type", "Identifier type", "createdAt", "updatedAt", "tokenGroupIds"),
    *("batch_status", "batch_message"),
)
"""Headings of columns that the program and the API only tell: nobody can change what they hold."""

_SHORTEST_MISSPELT = 5  # in shorter words one other letter makes another word: "kid" is no "uid"
_SIMILAR = 0.9  # of difflib's ratio: two slips in some 20 letters; "customer name" stays far off

_ONE_LETTER = str.maketrans({"ø": "o", "æ": "ae", "đ": "d", "ł": "l"})
_TWO_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})


def plain(heading: str) -> str:
    """The heading without what does not matter: case, spaces, punctuation and accents."""
    letters = unicodedata.normalize("NFKD", heading).casefold().translate(_ONE_LETTER)
    return "".join(letter for letter in letters if letter.isalnum()) or heading.strip()


def _spellings(word: str) -> set[str]:
    return {plain(word), plain(word.casefold().translate(_TWO_LETTERS))}


_MEANING = {
    spelling: (meaning, word)
    for meaning, words in WORDS.items()
    for word in words
    for spelling in _spellings(word)
}
_TOLD = frozenset(map(plain, TOLD))
_NONE = (None, "")
_DATES = {Field.VALID_FROM, Field.EXPIRES_AT}
_WITH_ZONE = re.compile(r"(.*\S)\s*\(\s*([^()]+?)\s*\)\s*")
_IN_BRACKETS = re.compile(r"\s*[(\[{][^()\[\]{}]*[)\]}]\s*$")


def meaning_of(heading: str) -> Meaning | None:
    """What a column so headed means; None if it is not known."""
    dates = _WITH_ZONE.fullmatch(heading) if zone_of(heading) else None
    found = _MEANING.get(plain(dates[1] if dates else heading))
    return found and found[0]


def zone_of(heading: str) -> str | None:
    """The time zone that the heading of a column of dates names, "validFrom (Europe/Oslo)"."""
    found = _WITH_ZONE.fullmatch(heading)
    if not found or _MEANING.get(plain(found[1]), _NONE)[0] not in _DATES:
        return None
    try:
        zone = ZoneInfo(found[2]).key
    except (KeyError, ValueError, OSError):
        return None
    # Others, such as "localtime", are not the same on every machine.
    return zone if "/" in zone or zone == "UTC" else None


def is_told(heading: str) -> bool:
    """Whether a column so headed is one that only tells."""
    return plain(heading) in _TOLD


def nearly(heading: str) -> tuple[str, Meaning] | None:
    """The known heading that this unknown one was probably meant to be, and its meaning.

    One with a remark in brackets was: whether that is a time zone that is misspelt, or a date's
    form, does not matter.
    """
    written = plain(_IN_BRACKETS.sub("", heading))
    if written in _MEANING:
        meaning, word = _MEANING[written]
        return word, meaning
    for spelling, (meaning, word) in _MEANING.items():
        if len(spelling) >= _SHORTEST_MISSPELT and _one_slip_apart(written, spelling):
            return word, meaning
    similar = get_close_matches(written, _MEANING, n=1, cutoff=_SIMILAR)
    if not similar:
        return None
    meaning, word = _MEANING[similar[0]]
    return word, meaning


def _one_slip_apart(one: str, other: str) -> bool:
    """Whether one letter too many, too few or wrong, or two exchanged, make the difference."""
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    exchanged = len(one) == 2 and one == other[::-1]  # noqa: PLR2004
    return exchanged or max(len(one), len(other)) == 1
