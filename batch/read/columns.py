"""Header -> columns: which row of a sheet is its header, and what each column means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from batch.errors import SheetError
from batch.models import Cell, Column, Covered, Field, Key, Limits, Meaning, Row, is_empty
from batch.read.headings import WORDS, is_told, meaning_of, nearly, plain, zone_of

SEARCHED_ROWS = 20  # rows with content among which the header is looked for

_ENOUGH_KNOWN = 2  # known headings that make a header even if none of them names the token

_MISREAD_MARK = "\ufeff".encode().decode("cp1252")

_MOST_HINTS = 3
_ASKED_ABOUT = 500  # cells; to find what one was meant to be takes a millisecond
_KEY_HEADINGS = '"id" (or "Token ID"), "label" (or "Charge key") or "uid" (or "RFID")'


def recognise(
    headers: Sequence[str], mapping: Mapping[str, str] | None = None
) -> tuple[Column, ...]:
    """Every column in order, with its meaning or None; `mapping` (heading to field) wins.

    SheetError if `mapping` fits neither the sheet nor the fields, if a heading is nearly a
    known one, if two columns mean the same, or if no column names the token.
    """
    mapped = _targets(mapping)
    _refuse_misread(headers)
    _refuse_absent(mapping or {}, headers)
    columns = tuple(
        Column(
            index,
            header,
            mapped.get(plain(header)) or meaning_of(header),
            told=is_told(header),
            zone=zone_of(header),
        )
        for index, header in enumerate(headers)
    )
    _refuse_near_misses(columns)
    _refuse_doubles(columns)
    if not any(isinstance(column.meaning, Key) for column in columns):
        raise SheetError(f"no column names the token: head one {_KEY_HEADINGS}")
    return columns


def head_of(rows: Iterable[Row]) -> list[Row]:
    """The rows with content among which the header must be."""
    return list(islice(data_rows(rows), SEARCHED_ROWS))


def data_rows(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows that are not blank from end to end."""
    return (row for row in rows if not all(map(is_blank, row.cells)))


def is_blank(cell: Cell) -> bool:
    """Whether nothing is to be seen in the cell."""
    return is_empty(cell) or isinstance(cell, Covered)


def find_header(head: Iterable[Row], mapping: Mapping[str, str] | None = None) -> Row | None:
    """The first row with a heading that names the token, or with two known headings.

    If that may be a title ("RFID" alone) or a line of groups above the headings, then rather the
    next row that names the token and has another known heading, if there is one without numbers.
    """
    mapped = _targets(mapping)
    candidates = [(row, _meanings(row, mapped)) for row in head]
    candidates = [(row, found) for row, found in candidates if _is_header(found)]
    if not candidates:
        return None
    first, meanings = candidates[0]
    if _names_token(meanings) and sum(not is_blank(cell) for cell in first.cells) > 1:
        return first
    better = (
        row
        for row, found in candidates[1:]
        if _names_token(found)
        and len(found) >= _ENOUGH_KNOWN
        and not any(map(_is_value, row.cells))
    )
    return next(better, first)


def known_headings(row: Row, mapping: Mapping[str, str] | None = None) -> int:
    """How many of the row's cells are headings of which the meaning is known."""
    return len(_meanings(row, _targets(mapping)))


def no_header(
    head: Iterable[Row], mapping: Mapping[str, str] | None = None, hidden: Sequence[str] = ()
) -> SheetError:
    """What to say of a sheet without a header that is known; `hidden`: its hidden worksheets."""
    head = list(head)
    _refuse_misread([cell for row in head for cell in row.cells if isinstance(cell, str)])
    mapped = f" (nor one with {_quoted(mapping)})" if mapping else ""
    cells = dict.fromkeys(cell for row in head for cell in row.cells if isinstance(cell, str))
    hints = (
        f' Is "{cell}" meant to be "{near[0]}"?'
        for cell in islice(cells, _ASKED_ABOUT)
        if not meaning_of(cell) and (near := nearly(cell))
    )
    return SheetError(
        f"no header was found in its first rows{mapped}: name the token in a column headed"
        f" {_KEY_HEADINGS}, and head what to change {', '.join(Field)}."
        + "".join(islice(hints, _MOST_HINTS))
        + (f" Hidden worksheets are read by name (--sheet): {_quoted(hidden)}." if hidden else "")
    )


def too_many_columns(how_many: str, limits: Limits) -> SheetError:
    """What to say of a sheet that is too wide, where `how_many` is a clause that says how wide."""
    return SheetError(
        f"{how_many}, and at most {limits.columns:,} are allowed: delete those beyond the table,"
        " look for a lost line end, or allow more (--max-columns)"
    )


def too_many_rows(limits: Limits) -> SheetError:
    """What to say of a sheet that is too long."""
    return SheetError(
        f"it has more than {limits.rows:,} rows: hand it in in parts, or allow more (--max-rows)"
    )


def heading(cell: Cell) -> str:
    """A header's cell as text; a whole number (a year) without the decimals of its storage."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def _is_header(meanings: Sequence[Meaning]) -> bool:
    return _names_token(meanings) or len(meanings) >= _ENOUGH_KNOWN


def _names_token(meanings: Sequence[Meaning]) -> bool:
    return any(isinstance(meaning, Key) for meaning in meanings)


def _is_value(cell: Cell) -> bool:
    """Whether no heading looks like that."""
    return not isinstance(cell, str) or cell.strip().isdecimal()


def _meanings(row: Row, mapped: Mapping[str, Meaning]) -> list[Meaning]:
    texts = [cell for cell in row.cells if isinstance(cell, str)]
    found = (mapped.get(plain(text)) or meaning_of(text) for text in texts)
    return [meaning for meaning in found if meaning]


def _targets(mapping: Mapping[str, str] | None) -> dict[str, Meaning]:
    return {plain(header): _target(name) for header, name in (mapping or {}).items()}


def _target(name: str) -> Meaning:
    meaning = meaning_of(name)
    if meaning is None:
        raise SheetError(f'the mapping\'s "{name}" is no field; known are {", ".join(WORDS)}')
    return meaning


def _refuse_misread(headers: Sequence[str]) -> None:
    for header in headers:
        if header.startswith(_MISREAD_MARK):
            raise SheetError(
                f'the heading "{header}" shows that a UTF-8 file was opened in another encoding,'
                " which spoils letters: open it again as UTF-8, or hand in the file itself"
            )


def _refuse_absent(mapping: Mapping[str, str], headers: Sequence[str]) -> None:
    present = {plain(header) for header in headers}
    absent = [header for header in mapping if plain(header) not in present]
    if absent:
        raise SheetError(
            f"the mapping names {_quoted(absent)}, but the sheet's headings are {_quoted(headers)}"
        )


def _refuse_near_misses(columns: Iterable[Column]) -> None:
    misses = [
        f'column {column.letter} "{column.header}" is nearly "{near[0]}": give it that heading,'
        f' a quite different one, or --map "{column.header}={near[1]}"'
        for column in columns
        if column.is_ignored and (near := nearly(column.header))
    ]
    if misses:
        raise SheetError("; ".join(misses))


def _refuse_doubles(columns: Iterable[Column]) -> None:
    by_meaning = defaultdict(list)
    for column in columns:
        if column.meaning:
            by_meaning[column.meaning].append(f'{column.letter} "{column.header}"')
    doubles = [
        f"columns {' and '.join(same)} both mean {meaning}: keep one, or rename the other"
        for meaning, same in by_meaning.items()
        if len(same) > 1
    ]
    if doubles:
        raise SheetError("; ".join(doubles))


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names if name)
