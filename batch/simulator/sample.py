"""An account as a Nordic fleet operator's might look, the same for the same seed.

Ids run from 100001, labels from 1; the first 400 tokens are RFID cards, so that sheets made
for a small account fit a large one too.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from batch.simulator.tokens import Column

CUSTOMERS = range(2001, 2013)

_BASE_ID = 100_000
_CARDS_FIRST = 400
# Fixed, so that an account does not depend on the day it was made.
_TODAY = datetime(2026, 1, 1, tzinfo=UTC)
_LABELS = {"rfid": "DK-NRD", "virtual": "APP", "vehicleId": "CAR"}
_COMMENTS = (
    "Varevogn 7, Aarhus",
    "Udleveret til værkstedet",
    "Lånt ud til Søren og husk at få den tilbage",
    "Ny chauffør fra 1. maj",
    "Ersatzkarte, alte Karte verloren",
    "Außendienst Süd, Frau Müller",
    "Pool car, key cabinet 3",
    "Replacement for lost card",
    "Blå Kangoo, Ålborg afd.",
    'Says "reserve" on the card; do not hand out',
)


def tokens(count: int, seed: int = 0) -> Iterator[dict[str, Column]]:
    """The columns of `count` tokens; a larger account begins with the smaller one's."""
    draw = random.Random(seed)  # noqa: S311 repeatable on purpose
    return (_token(number, draw) for number in range(1, count + 1))


def _token(number: int, draw: random.Random) -> dict[str, Column]:
    kind = _kind(number, draw)
    created = _TODAY - timedelta(
        milliseconds=draw.randrange(365 * 86_400_000, 3 * 365 * 86_400_000)
    )
    valid_from = created + timedelta(milliseconds=draw.randrange(14 * 86_400_000))
    updated = valid_from + (_TODAY - valid_from) * draw.random()
    return {
        "id": _BASE_ID + number,
        "customerId": CUSTOMERS[min(int(draw.expovariate(0.4)), len(CUSTOMERS) - 1)],
        "type": kind,
        "uid": _uid(kind, draw),
        "label": f"{_LABELS[kind]}-{number:06d}",
        "appUserId": _app_user(kind, draw),
        "createdAt": _written(created),
        "updatedAt": _written(updated),
        "validFrom": _written(valid_from),
        "expiresAt": _expiry(valid_from, draw),
        "isActive": not _happens(0.06, draw),
        "roamingEnabled": not _happens(0.25, draw),
        "priorityChargingEnabled": _happens(0.1, draw),
        "billingReference": f"KST-{draw.randrange(4400, 4500)}" if _happens(0.6, draw) else None,
        "comment": draw.choice(_COMMENTS) if _happens(0.35, draw) else None,
    }


def _kind(number: int, draw: random.Random) -> str:
    kind = draw.choices(("rfid", "virtual", "vehicleId"), (85, 10, 5))[0]
    return "rfid" if number <= _CARDS_FIRST else kind


def _uid(kind: str, draw: random.Random) -> str | None:
    if kind == "virtual":
        return None
    # Seven bytes that begin with NXP's 04, as on most cards; a vehicle is known by its MAC.
    return (
        f"{draw.getrandbits(48):012X}" if kind == "vehicleId" else f"04{draw.getrandbits(48):012X}"
    )


def _app_user(kind: str, draw: random.Random) -> int | None:
    user = draw.randrange(500_000, 900_000)
    return user if kind == "virtual" or _happens(0.3, draw) else None


def _expiry(valid_from: datetime, draw: random.Random) -> str | None:
    if _happens(0.04, draw):
        return _written(valid_from + (_TODAY - valid_from) * draw.random())
    if _happens(0.12, draw):
        return f"{draw.randrange(2027, 2030)}-12-31T23:59:59.999Z"
    return None


def _happens(share: float, draw: random.Random) -> bool:
    return draw.random() < share


def _written(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
