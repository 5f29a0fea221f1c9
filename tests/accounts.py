"""Accounts whose tokens hold what sheets get wrong, and what becomes of them in one."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from batch import export, plan
from batch.models import Identifier, Patch, Problem, Token
from batch.read import open_sheet
from batch.validate import Validator

UTC_ZONE = ZoneInfo("UTC")
MARKER = "NULL"

TEXTS = (
    *("", " ", "  leading and trailing  ", "two  blanks", "a\nline", "a\r\nline", "a\ttab", "\n"),
    *("=1+1", "'=1+1", "''=1+1", "+45 12 34 56 78", "-", "@home", "'", "'a", "''", "=cmd|' /C'!A0"),
    *("NULL", "null", "'NULL", " NULL ", "'' null", "nil", "None", "nan", "N/A", "#N/A", "#REF!"),
    *("0123", "00000000000000000001", "1e5", "6.79E+04", "1,5", "12345678901234567890", "1.0"),
    *(
        "2026-12-31",
        "31.12.2026",
        "03/04/2026",
        "12:30",
        "TRUE",
        "SAND",
        "yes",
        "ja",
        "1-2",
        "####",
    ),
    *("æøå ÆØÅ äöüß", "Łódź", "日本語", "🔌 charger", "e\u0301", "\u00a0", "\u200b", "\ufeffmark"),
    *(
        'say "hi"',
        ";,|\t",
        "a,b;c",
        "<b>&amp;</b>",
        "_x0041_",
        "_x000D_",
        "\x00",
        "\x1b[0m",
        "\x7f",
    ),
    *("\ufffe", "x" * 100, "x" * 101, "é" * 100, "%20", "\\n", "C:\\", "Total", "id", "label"),
)
WHOLE_DAY = timedelta(days=1)
MILLISECOND = timedelta(milliseconds=1)
DAY = datetime(2026, 6, 1, tzinfo=UTC)
INSTANTS = (
    *(DAY, DAY - MILLISECOND, DAY + MILLISECOND, DAY + timedelta(seconds=1)),
    *(DAY + timedelta(milliseconds=ms) for ms in (1, 9, 10, 99, 100, 280, 999)),
    *(DAY + timedelta(hours=2, milliseconds=ms) for ms in (0, 1, 500, 999)),
    *(DAY - timedelta(hours=2), DAY - timedelta(hours=2) - MILLISECOND),
    datetime(2026, 10, 25, 0, 30, tzinfo=UTC),  # twice 02:30 in Copenhagen
    datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
    *(datetime(1970, 1, 1, tzinfo=UTC), datetime(1969, 12, 31, tzinfo=UTC)),
    *(datetime(2000, 2, 29, 23, 59, 59, 999_000, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)),
    *(datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC),),
)
NUMBERS = (1, 67890, 10**15 - 1, 10**15, 2**53 - 1, 2**53, 2**63 - 1)
_LARGE_IDS = {1: 10**15 - 1, 2: 10**15, 3: 2**53 + 1, 4: 2**63 - 1}


def difficult(count: int, seed: int = 0) -> list[Token]:
    """So many tokens, of every type, among which every value above is found in every field."""
    draw = random.Random(seed)
    return [_token(number, draw) for number in range(count)]


def _token(number: int, draw: random.Random) -> Token:
    def text() -> str | None:
        return TEXTS[(number + draw.randrange(3)) % len(TEXTS)] if draw.random() < 0.9 else None

    return Token(
        id=_LARGE_IDS.get(number, number + 1),
        identifier=Identifier(
            type=draw.choice(("rfid", "virtual", "vehicleId")),
            uid=text(),
            label=text(),
            app_user_id=draw.choice((None, *NUMBERS)),
        ),
        valid_from=draw.choice((None, *INSTANTS)),
        expires_at=draw.choice((None, *INSTANTS)),
        is_active=draw.random() < 0.5,
        roaming_enabled=draw.random() < 0.5,
        priority_charging_enabled=draw.choice((None, True, False)),
        customer_id=draw.choice((None, *NUMBERS)),
        billing_reference=text(),
        comment=text(),
        created_at=draw.choice((None, "2025-01-01T00:00:00.123Z", "long ago", 17, "2025-01-01")),
        updated_at="2025-02-30T25:00:00Z",
    )


def exported(
    tokens: Sequence[Token], path: Path, zone: ZoneInfo = UTC_ZONE, marker: str = MARKER
) -> Sequence[export.LeftEmpty]:
    """The tokens as a sheet; what it leaves out."""
    says = Validator((), timezone=zone, clear_marker=marker).says
    return export.write(tokens, path, zone=zone, marker=marker, says=says)


def handed_back(
    path: Path, tokens: Iterable[Token], zone: ZoneInfo = UTC_ZONE, marker: str = MARKER
) -> tuple[int, plan.Plan, list[Problem]]:
    """How many rows the sheet has, and what applying it to these tokens would do."""
    sheet = open_sheet(path)
    validator = Validator(sheet.columns, timezone=zone, clear_marker=marker)
    results = [validator.check(row) for row in sheet.rows()]
    patches = [result for result in results if isinstance(result, Patch)]
    named = plan.Named(patches)
    for token in tokens:
        named.offer(token)
    problems = [
        problem for result in results if not isinstance(result, Patch) for problem in result
    ]
    return len(results), plan.make(patches, named), problems


def unlike(path: Path, tokens: Sequence[Token], zone: ZoneInfo = UTC_ZONE) -> list[str]:
    """What is not as it was in a sheet that nobody touched: nothing, if all is well."""
    rows, made, problems = handed_back(path, tokens, zone)
    told = [f"{operation.token.id}: {operation.difference}" for operation in made.operations]
    told += [f"{row.row}: {row.outcome.message}" for row in made.settled if row.outcome.message]
    told += [str(problem) for problem in problems]
    if rows != len(tokens):
        told.append(f"{rows} rows for {len(tokens)} tokens")
    return told
