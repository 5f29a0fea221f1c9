"""The tables of a run's journal, and the way to them from each older version."""

from __future__ import annotations

from collections.abc import Mapping

VERSION = 3

_ATTEMPTS = """
CREATE TABLE attempts (             -- that failed; the one that decided stands in operations
    operation INTEGER NOT NULL REFERENCES operations,
    at TEXT NOT NULL,
    http_status INTEGER,            -- NULL: there was no answer
    request_id TEXT NOT NULL,
    failure TEXT NOT NULL
);
"""

_SITTINGS = """
CREATE TABLE sittings (             -- one process at work on the run
    number INTEGER PRIMARY KEY,
    began_at TEXT NOT NULL,
    ended_at TEXT,                  -- NULL: it was killed, or is still at work
    who TEXT NOT NULL,
    version TEXT NOT NULL,
    settings TEXT NOT NULL,         -- JSON
    stopped TEXT                    -- why it ended before every row had its outcome, or empty
);
CREATE TABLE pauses (               -- while the service was away
    began_at TEXT NOT NULL,
    ended_at TEXT,                  -- NULL: the run ended in it
    cause TEXT NOT NULL
);
"""

_LINES = """
-- A run that stopped leaves operations without an outcome: those that may have been sent are
-- unknown until the run goes on, and the others were not sent.
CREATE VIEW lines AS
SELECT r.number AS row, COALESCE(o.token_id, r.token_id) AS token_id,
    COALESCE(r.label, json_extract(o.token, '$.identifier.label'), '') AS label,
    COALESCE(o.status, r.status, CASE o.state WHEN 'sending' THEN 'unknown' ELSE 'not_sent' END)
        AS status,
    COALESCE(o.difference, '') AS changes, o.http_status, COALESCE(o.attempts, 0) AS attempts,
    COALESCE(o.code, r.code, '') AS code, COALESCE(o.message, r.message, '') AS message,
    COALESCE(o.request_id, '') AS request_id,
    COALESCE(o.finished_at, r.finished_at) AS finished_at, r.cells,
    COALESCE(o.bad_cells, r.bad_cells) AS bad_cells
FROM rows AS r LEFT JOIN operations AS o ON o.number = r.operation;
"""

SCHEMA = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE operations (
    number INTEGER PRIMARY KEY,     -- the order of sending
    token_id INTEGER NOT NULL,
    token TEXT NOT NULL,            -- as it was read, JSON
    changes TEXT NOT NULL,          -- the new values, JSON
    difference TEXT NOT NULL,       -- old → new in words, as the reports say it
    state TEXT NOT NULL,            -- planned, sending or settled
    status TEXT, code TEXT, message TEXT, http_status INTEGER,
    attempts INTEGER NOT NULL DEFAULT 0,
    request_id TEXT, finished_at TEXT,
    after TEXT,                     -- the token as the API last told it, JSON
    bad_cells TEXT,                 -- what is wrong by column, JSON; NULL: nothing
    seconds REAL                    -- that the answer took which decided
);
CREATE TABLE rows (
    number INTEGER PRIMARY KEY,     -- as the spreadsheet shows it
    cells TEXT NOT NULL,            -- as handed in, JSON
    operation INTEGER REFERENCES operations,
    token_id INTEGER, label TEXT,
    status TEXT, code TEXT, message TEXT, finished_at TEXT,
    bad_cells TEXT                  -- what is wrong by column, JSON; NULL: nothing
);
"""

SCHEMA += _ATTEMPTS + _SITTINGS + _LINES

_WITH_BAD_CELLS = f"""
ALTER TABLE operations ADD COLUMN bad_cells TEXT;
ALTER TABLE operations ADD COLUMN seconds REAL;
ALTER TABLE rows ADD COLUMN bad_cells TEXT;
DROP VIEW lines;
{_SITTINGS}{_LINES}
"""

MIGRATIONS: Mapping[int, str] = {1: _ATTEMPTS, 2: _WITH_BAD_CELLS}
"""What makes of each older version the next one."""
