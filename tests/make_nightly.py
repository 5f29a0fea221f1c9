"""Builds the nightly sheet of sample_csvs/, `nightly_fleet.csv`: run this file to write it again.

It is what a fleet system hands over every night: all its cards as they should be. For the
simulated account (seed 0) that is how they are already, but for 30 rows.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from batch.simulator import sample

NIGHTLY = Path(__file__).parent.parent / "sample_csvs" / "nightly_fleet.csv"

_HEADER = (
    "id",
    "label",
    "comment",
    "billingReference",
    "isActive",
    "roamingEnabled",
    "expiresAt",
)
_CARDS = 3000
_EVERY, _FROM = 100, 37
_DRIVERS = ("Mette Sørensen", "Jens Bøgh", "Ida Nørgaard", "Thomas Åkjær", "Pia Holm")


def write_nightly(path: Path) -> None:
    """All cards of the account, and what changed since yesterday in one of every hundred."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows(_rows())


def _rows() -> Iterator[list[str]]:
    for place, token in enumerate(sample.tokens(_CARDS, seed=0), start=1):
        wanted = token | (_news(place) if place % _EVERY == _FROM else {})
        yield [_cell(wanted[name]) for name in _HEADER]


def _news(place: int) -> dict[str, str]:
    """A new driver, or a new cost centre; no token of the account has either."""
    turn = place // _EVERY
    if turn % 2:
        return {"billingReference": f"KST-{5200 + turn}"}
    return {"comment": f"Udleveret til {_DRIVERS[turn // 2 % len(_DRIVERS)]}"}


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


if __name__ == "__main__":
    write_nightly(NIGHTLY)
