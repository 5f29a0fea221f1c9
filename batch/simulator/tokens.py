"""The account's tokens in SQLite, in memory or in a file that outlives the process."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Column = str | int | bool | None
"""What is stored of a token under one name. Instants are text as the API writes them."""

COLUMNS = {
    "id": "INTEGER PRIMARY KEY",
    "customerId": "INTEGER NOT NULL",
    "type": "TEXT NOT NULL",
    "uid": "TEXT",
    "label": "TEXT",
    "appUserId": "INTEGER",
    "createdAt": "TEXT NOT NULL",
    "updatedAt": "TEXT NOT NULL",
    "validFrom": "TEXT NOT NULL",
    "expiresAt": "TEXT",
    "isActive": "INTEGER NOT NULL",
    "roamingEnabled": "INTEGER NOT NULL",
    "priorityChargingEnabled": "INTEGER NOT NULL",
    "billingReference": "TEXT",
    "comment": "TEXT",
}
_IDENTIFIER = ("type", "uid", "label", "appUserId")
_SWITCHES = ("isActive", "roamingEnabled", "priorityChargingEnabled")
_OUTSIDE = tuple(name for name in COLUMNS if name not in _IDENTIFIER)
_CREATE = "CREATE TABLE IF NOT EXISTS tokens ({})".format(
    ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
)
_VALUES = ", ".join(f":{name}" for name in COLUMNS)
_INSERT = f"INSERT INTO tokens VALUES ({_VALUES})"  # noqa: S608 our names


@dataclass(frozen=True, slots=True)
class Page:
    """Which tokens a listing is about: `equal` and `since` are filters by column."""

    limit: int
    offset: int
    sort_by: str
    descending: bool
    equal: Mapping[str, Column]
    since: Mapping[str, str]


class TokenStore:
    """Tokens as the API tells them, in one table. Any thread may call."""

    def __init__(self, path: str | Path) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        # A power cut may cost the simulated account its last changes; nothing depends on them.
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(_CREATE)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def fill(self, tokens: Iterable[Mapping[str, Column]]) -> None:
        """Put the tokens into an account that has none; one that has some stays as it is."""
        with self._lock, closing(self._db.cursor()) as cursor:
            # Immediate, so that of two processes that start together only one fills.
            cursor.execute("BEGIN IMMEDIATE")
            if not cursor.execute("SELECT EXISTS (SELECT 1 FROM tokens)").fetchone()[0]:
                cursor.executemany(_INSERT, tokens)
            cursor.execute("COMMIT")

    def get(self, token_id: int) -> dict[str, Any] | None:
        """The token, or None."""
        return self._one("SELECT * FROM tokens WHERE id = ?", token_id)

    def all(self) -> dict[int, dict[str, Any]]:
        """Every token by its id."""
        return {row["id"]: _told(row) for row in self._rows("SELECT * FROM tokens ORDER BY id")}

    def page(self, page: Page) -> tuple[list[dict[str, Any]], int]:
        """The tokens of a page, and how many there are on all pages."""
        tests = [f"{name} = ?" for name in page.equal] + [f"{name} >= ?" for name in page.since]
        where = f"WHERE {' AND '.join(tests)}" if tests else ""
        order = "DESC" if page.descending else "ASC"
        values = (*page.equal.values(), *page.since.values())
        count = self._rows(f"SELECT count(*) FROM tokens {where}", *values)[0][0]  # noqa: S608 our names
        rows = self._rows(
            f"SELECT * FROM tokens {where} ORDER BY {page.sort_by} {order}, id {order}"  # noqa: S608 our names
            " LIMIT ? OFFSET ?",
            *values,
            page.limit,
            page.offset,
        )
        return [_told(row) for row in rows], count

    def change(self, token_id: int, changes: Mapping[str, Column]) -> dict[str, Any] | None:
        """Change a token, in one transaction; the token as it then is, or None."""
        if unknown := changes.keys() - COLUMNS.keys():
            raise ValueError(f"a token has no {', '.join(sorted(unknown))}")
        sets = ", ".join(f"{name} = ?" for name in changes)
        statement = f"UPDATE tokens SET {sets} WHERE id = ? RETURNING *"  # noqa: S608 our names
        return self._one(statement, *changes.values(), token_id)

    def delete(self, token_id: int) -> bool:
        """Take a token out of the account; whether it was there."""
        return self._one("DELETE FROM tokens WHERE id = ? RETURNING *", token_id) is not None

    def _one(self, statement: str, *values: Column) -> dict[str, Any] | None:
        rows = self._rows(statement, *values)
        return _told(rows[0]) if rows else None

    def _rows(self, statement: str, *values: Column) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(statement, values).fetchall()


def _told(row: sqlite3.Row) -> dict[str, Any]:
    token: dict[str, Any] = {name: row[name] for name in _OUTSIDE}
    token |= {name: bool(token[name]) for name in _SWITCHES}
    token["identifier"] = {name: row[name] for name in _IDENTIFIER}
    return token
