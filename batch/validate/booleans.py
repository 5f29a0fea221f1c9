"""Yes or no, as people and Excel write it in English, Danish and German."""

from __future__ import annotations

from batch.models import Cell
from batch.validate.cells import BadCell, wrong_kind

# "Active" and the like are missing on purpose: in another yes/no column they mean nothing.
_YES = ("yes", "y", "true", "on", "1", "1.0", "1,0", "ja", "j", "sand", "wahr")
_NO = ("no", "n", "false", "off", "0", "0.0", "0,0", "nej", "nein", "falsk", "falsch")
_MEANING = dict.fromkeys(_YES, True) | dict.fromkeys(_NO, False)

_ACCEPTED = "yes/no, y/n, ja/nej/nein, j/n, true/false, SAND/FALSK, WAHR/FALSCH, on/off or 1/0"


def boolean(cell: Cell) -> bool:
    """The cell as yes or no, in any of the usual words and in any case."""
    if not isinstance(cell, (str, int, float)):
        raise wrong_kind(cell, "yes or no", _ACCEPTED)
    meaning = _MEANING.get(str(cell).strip().casefold())
    if meaning is None:
        raise BadCell("is neither yes nor no", _ACCEPTED)
    return meaning
