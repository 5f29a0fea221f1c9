"""A binary workbook gives every cell back, whichever program wrote it and in whichever way."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.errors import SheetError
from batch.models import Cell
from batch.read.workbooks.worksheet import Area, Worksheet
from batch.read.workbooks.xlsb import open_xlsb

SHEETS = Path(__file__).parent / "sheets"
DAMAGED = "it is a damaged workbook: open it in Excel and save it again"

RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
BOOK, SHEET = "xl/workbook.bin", "xl/worksheets/sheet1.bin"

Rows = list[tuple[int, tuple[Cell, ...]]]


# The record writer: what Excel writes, as [MS-XLSB] has it.


def record(kind: int, content: bytes = b"") -> bytes:
    head = bytes([kind]) if kind < 0x80 else bytes([kind & 0x7F | 0x80, kind >> 7])
    length = len(content)
    while length > 0x7F:
        head += bytes([length & 0x7F | 0x80])
        length >>= 7
    return head + bytes([length]) + content


def wide(text: str) -> bytes:
    units = text.encode("utf-16-le", "surrogatepass")
    return struct.pack("<I", len(units) // 2) + units


def cell(kind: int, column: int, value: bytes = b"", style: int = 0) -> bytes:
    flags = 1 << 24  # of phonetic text: no part of the style
    return record(kind, struct.pack("<II", column, style | flags) + value)


def short_cell(kind: int, value: bytes = b"", style: int = 0) -> bytes:
    return record(kind, struct.pack("<I", style) + value)


def row(number: int, *cells: bytes, hidden: bool = False) -> bytes:
    flags = 0x10 if hidden else 0x0F  # 0x0F: outlined and collapsed
    head = struct.pack("<IIHBBBI", number - 1, 0, 300, 3, flags, 0, 0)
    return record(0, head) + b"".join(cells)


def merged(first_row: int, last_row: int, first_column: int, last_column: int) -> bytes:
    return record(176, struct.pack("<4I", first_row - 1, last_row - 1, first_column, last_column))


def sheet(*rows: bytes, after: bytes = b"") -> bytes:
    before = record(129) + record(147, bytes(23)) + record(148, bytes(16))
    return before + record(145) + b"".join(rows) + record(146) + after + record(130)


def styles(*patterns: str) -> bytes:
    """Style 0 is General; 1 and so on have the patterns."""
    numbers = range(164, 164 + len(patterns))
    formats = [
        record(44, struct.pack("<H", number) + wide(pattern))
        for number, pattern in zip(numbers, patterns, strict=True)
    ]
    of_styles = record(47, struct.pack("<HH", 0xFFFF, 14) + bytes(12))
    of_cells = [
        record(47, struct.pack("<HH", 0, number) + bytes(12)) for number in (0, *numbers, 14, 58)
    ]
    return b"".join(
        [
            record(278) + record(615, struct.pack("<I", len(formats))),
            *formats,
            record(616) + record(626, struct.pack("<I", 1)) + of_styles + record(627),
            record(617, struct.pack("<I", len(of_cells))),
            *of_cells,
            record(618) + record(279),
        ]
    )


def relations(targets: Iterable[tuple[str, str]]) -> str:
    links = [
        f'<Relationship Id="rId{place}" Type="{RELATIONS}/{kind}" Target="{target}"/>'
        for place, (kind, target) in enumerate(targets, 1)
    ]
    return f"<Relationships>{''.join(links)}</Relationships>"


def parts_of(
    content: bytes, strings: Sequence[bytes], patterns: Sequence[str], flags: int
) -> Mapping[str, str | bytes]:
    properties = record(153, struct.pack("<II", flags, 0) + wide(""))
    bundle = record(156, struct.pack("<II", 0, 1) + wide("rId1") + wide("Fleet"))
    return {
        "_rels/.rels": relations([("officeDocument", BOOK)]),
        BOOK: record(131) + properties + record(143) + bundle + record(144) + record(132),
        "xl/_rels/workbook.bin.rels": relations(
            [
                ("worksheet", "worksheets/sheet1.bin"),
                ("sharedStrings", "sharedStrings.bin"),
                ("styles", "/xl/styles.bin"),
            ]
        ),
        SHEET: content,
        "xl/sharedStrings.bin": record(159, struct.pack("<II", 0, len(strings)))
        + b"".join(strings)
        + record(160),
        "xl/styles.bin": styles(*patterns),
    }


def saved(
    path: Path,
    content: bytes,
    *,
    strings: Sequence[bytes] = (),
    patterns: Sequence[str] = (),
    flags: int = 0,
) -> Path:
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, part in parts_of(content, strings, patterns, flags).items():
            archive.writestr(name, part)
    return path


def shared(text: str, flags: int = 0, rest: bytes = b"") -> bytes:
    return record(19, bytes([flags]) + wide(text) + rest)


# What is read.


def fleet(path: Path, name: str = "Fleet") -> Worksheet:
    return open_xlsb(path).worksheet(name)


def rows_of(worksheet: Worksheet) -> Rows:
    return [(row.number, row.cells) for row in worksheet.rows()]


def read(path: Path, name: str = "Fleet") -> Rows:
    return rows_of(fleet(path, name))


def refusal(path: Path) -> str:
    with pytest.raises(SheetError) as refused:
        read(path)
    assert refused.value.__cause__
    return str(refused.value)


def instant(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC).replace(tzinfo=None)  # type: ignore[arg-type,misc]


def test_every_cell_that_excel_wrote_comes_back_as_it_is() -> None:
    expected = (
        *("String", 1.0, 1.1, True, False),
        *(date(2010, 10, 10), instant(2010, 10, 10, 10, 10, 10), time(10, 10, 10)),
        *(timedelta(hours=10, minutes=10, seconds=10.1), timedelta(hours=255, minutes=10.5)),
    )
    [(number, cells)] = read(SHEETS / "xlsb_excel.xlsb", "Sheet1")
    assert number == 2
    assert cells == (*expected[:-1], timedelta(hours=255, minutes=10, seconds=10))
    assert list(map(type, cells)) == list(map(type, expected))
    assert fleet(SHEETS / "xlsb_excel.xlsb", "Merged Cells").merged == [
        Area(1, 0, 2, 0),
        Area(1, 1, 2, 1),
    ]


def test_only_worksheets_are_named_and_hidden_ones_are_told_from_visible_ones() -> None:
    book = open_xlsb(SHEETS / "xlsb_excel_sheets.xlsb")  # has a chart's sheet besides
    assert list(book.names) == ["Visible", "Hidden", "VeryHidden"]
    assert list(book.visible_names) == ["Visible"]
    assert rows_of(book.worksheet("Hidden")) == []
    book = open_xlsb(SHEETS / "xlsb_sheetjs.xlsb")
    assert list(book.names) == ["Fleet", "Hidden", "Very hidden"]
    assert list(book.visible_names) == ["Fleet"]


@pytest.mark.parametrize("name", ["xlsb_sheetjs.xlsb", "xlsb_sheetjs_shared_strings.xlsb"])
def test_every_cell_that_sheetjs_wrote_comes_back_as_it_is(name: str) -> None:
    worksheet = fleet(SHEETS / name)
    assert worksheet.width == 5
    assert worksheet.hidden_rows == {7}
    assert worksheet.merged == [Area(8, 1, 9, 1)]
    assert rows_of(worksheet) == [
        (1, ("Token ID", "Comment", "Valid from", "Active", "Note")),
        (2, (100001, "two lines\nand a\ttab", instant(2026, 12, 31, 14, 30, 0, 123000), True, 1.5)),
        (3, (100002, "  leading, trailing  ", date(2026, 1, 1), False, "#N/A")),
        (4, (100003, "æøå ß 漢字 😀", time(14, 30), "#DIV/0!", "#REF!")),
        (6, (-7, "_x000D_ 'quoted", timedelta(days=2, hours=3), "", 100001)),
        (7, (100005, "hidden", instant(2026, 12, 31, 23, 59, 59, 999000), "", "after a gap")),
        (8, (100006, "merged", 1e12, "", 0.1)),
        (9, (100007, "", -1, "x", 1e300)),
    ]


def test_rows_are_given_anew_every_time() -> None:
    worksheet = fleet(SHEETS / "xlsb_sheetjs.xlsb")
    begun = worksheet.rows()
    next(begun)
    assert rows_of(worksheet) == rows_of(worksheet)
    assert next(begun).number == 2


ERRORS = {
    0x00: "#NULL!",
    0x07: "#DIV/0!",
    0x0F: "#VALUE!",
    0x17: "#REF!",
    0x1D: "#NAME?",
    0x24: "#NUM!",
    0x2A: "#N/A",
    0x2B: "#GETTING_DATA",
    0x63: "#UNKNOWN!",
}


@pytest.mark.parametrize(("code", "shown"), ERRORS.items())
def test_an_error_is_never_taken_for_an_empty_cell(tmp_path: Path, code: int, shown: str) -> None:
    error = bytes([code])
    content = sheet(row(1, cell(3, 0, error), short_cell(14, error), cell(11, 2, error + b"xx")))
    assert read(saved(tmp_path / "fleet.xlsb", content)) == [(1, (shown, shown, shown))]


def test_a_number_that_is_none_is_an_error(tmp_path: Path) -> None:
    numbers = [float("nan"), float("inf"), -float("inf")]
    cells = [cell(5, place, struct.pack("<d", value)) for place, value in enumerate(numbers)]
    path = saved(tmp_path / "fleet.xlsb", sheet(row(1, *cells)))
    assert read(path) == [(1, ("#NUM!", "#NUM!", "#NUM!"))]


def test_a_formula_is_its_result(tmp_path: Path) -> None:
    formula = b"\x00\x00\x05\x00\x00\x00\x1e\x07\x00\x00\x00"
    content = sheet(
        row(
            1,
            cell(8, 0, wide("ab") + formula),
            cell(9, 1, struct.pack("<d", 46387.5) + formula, style=1),
            cell(10, 2, b"\x01" + formula),
            cell(11, 3, b"\x17" + formula),
            record(427, bytes(20)) + cell(8, 4, wide("") + formula),
            cell(9, 5, struct.pack("<d", 2.5) + formula),
        )
    )
    path = saved(tmp_path / "fleet.xlsb", content, patterns=["yyyy-mm-dd hh:mm"])
    assert read(path) == [(1, ("ab", instant(2026, 12, 31, 12), True, "#REF!", "", 2.5))]


def test_only_the_text_of_a_rich_text_is_read(tmp_path: Path) -> None:
    runs = struct.pack("<IHH", 1, 2, 1)
    spoken = wide("ユ") + struct.pack("<IHHHHI", 1, 0, 0, 1, 0, 0)
    strings = [shared("plain"), shared("rich", 1, runs), shared("spoken", 3, runs + spoken)]
    content = sheet(
        row(
            1,
            *(cell(7, place, struct.pack("<I", place)) for place in range(3)),
            short_cell(18, struct.pack("<I", 1)),
            cell(62, 4, b"\x01" + wide("in the cell") + runs),
        )
    )
    path = saved(tmp_path / "fleet.xlsb", content, strings=strings)
    assert read(path) == [(1, ("plain", "rich", "spoken", "rich", "in the cell"))]


SERIAL = struct.pack("<d", 46387.6041680903)
CLOCK = struct.pack("<d", 0.75)


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("yyyy-mm-dd", SERIAL, instant(2026, 12, 31, 14, 30, 0, 123000)),
        ('[$-406]d. mmmm yyyy "kl." hh:mm;@', SERIAL, instant(2026, 12, 31, 14, 30, 0, 123000)),
        ("dd-mm-yy", struct.pack("<d", 1), date(1900, 1, 1)),
        ("dd-mm-yy", struct.pack("<d", 59), date(1900, 2, 28)),
        ("dd-mm-yy", struct.pack("<d", 61), date(1900, 3, 1)),
        ("dd-mm-yy", struct.pack("<d", 2958465), date(9999, 12, 31)),
        ("dd-mm-yy", struct.pack("<d", 2958466), 2958466),
        ("hh:mm", CLOCK, time(18)),
        ("[h]:mm", CLOCK, timedelta(hours=18)),
        ("[mm]:ss", struct.pack("<d", -0.5), timedelta(hours=-12)),
        ("[h]:mm", struct.pack("<d", 1e300), 1e300),
        ('0.0" days"', CLOCK, 0.75),
        ("[Red]#,##0.00 [$kr.-406]", CLOCK, 0.75),
        ("General", CLOCK, 0.75),
        ("@", CLOCK, 0.75),
    ],
)
def test_a_number_is_the_date_or_time_that_its_format_shows(
    tmp_path: Path, pattern: str, value: bytes, expected: Cell
) -> None:
    content = sheet(row(1, cell(5, 0, value, style=1)))
    [(_, cells)] = read(saved(tmp_path / "fleet.xlsb", content, patterns=[pattern]))
    assert cells == (expected,)
    assert isinstance(cells[0], float) or type(cells[0]) is type(expected)


def test_the_formats_that_excel_keeps_without_a_pattern_are_known(tmp_path: Path) -> None:
    of_excel = cell(5, 0, SERIAL, style=1)
    of_a_language = cell(5, 1, SERIAL, style=2)
    path = saved(tmp_path / "fleet.xlsb", sheet(row(1, of_excel, of_a_language)))
    moment = instant(2026, 12, 31, 14, 30, 0, 123000)
    assert read(path) == [(1, (moment, moment))]


def test_dates_may_count_from_1904(tmp_path: Path) -> None:
    days = (date(2026, 12, 31) - date(1904, 1, 1)).days
    content = sheet(row(1, cell(2, 0, struct.pack("<i", days << 2 | 2), style=1)))
    path = saved(tmp_path / "fleet.xlsb", content, patterns=["yyyy-mm-dd"], flags=0x10021)
    assert read(path) == [(1, (date(2026, 12, 31),))]


def test_rows_and_columns_that_hold_nothing_are_left_out(tmp_path: Path) -> None:
    content = sheet(
        row(2, cell(1, 0), short_cell(12)),
        row(4, cell(1, 1), short_cell(17, wide("x")), short_cell(12), cell(6, 9, wide(""))),
        row(5),
        row(1048576, cell(4, 0, b"\x01"), cell(7, 3, struct.pack("<I", 0))),
    )
    worksheet = fleet(saved(tmp_path / "fleet.xlsb", content, strings=[shared("")]))
    assert worksheet.width == 3
    assert rows_of(worksheet) == [(4, ("", "", "x")), (1048576, (True, "", ""))]


def test_hidden_rows_are_named_whether_or_not_they_hold_anything(tmp_path: Path) -> None:
    content = sheet(row(1, cell(4, 0, b"\x01")), row(2, hidden=True), row(7, hidden=True), row(8))
    assert fleet(saved(tmp_path / "fleet.xlsb", content)).hidden_rows == {2, 7}


def test_merged_areas_are_told(tmp_path: Path) -> None:
    rows = [row(number, *(cell(4, place, b"\x01") for place in range(3))) for number in (1, 2, 3)]
    areas = record(177) + merged(2, 3, 0, 1) + merged(1, 1, 1, 2) + record(178)
    worksheet = fleet(saved(tmp_path / "fleet.xlsb", sheet(*rows, after=areas)))
    assert worksheet.merged == [Area(2, 0, 3, 1), Area(1, 1, 1, 2)]


def test_records_that_are_not_known_are_skipped(tmp_path: Path) -> None:
    future = record(35, bytes(4)) + cell(4, 1, b"\x01") + record(16, bytes(3)) + record(36)
    descent = record(37, bytes(6)) + record(1024, bytes(2)) + record(38)
    content = sheet(descent, row(1, record(49, bytes(4)), cell(4, 0, b"\x01"), future), future)
    assert read(saved(tmp_path / "fleet.xlsb", content)) == [(1, (True,))]


# A cell as Excel may write it, with the value that it shows.

texts = st.text(st.characters(codec="utf-16"), min_size=1, max_size=40)
numbers = st.floats(allow_nan=False, allow_infinity=False)
moments = st.datetimes(instant(1901, 1, 1), instant(9999, 12, 31)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)


def rk(value: int, flags: int) -> tuple[bytes, float]:
    """A packed number: 30 bits, of which two flags say what they are."""
    whole = struct.pack("<i", value << 2 | flags)
    number = float(value)
    if not flags & 2:
        upper = struct.unpack("<I", whole)[0] & ~3
        number = struct.unpack("<d", struct.pack("<II", 0, upper))[0]
    return whole, number / 100 if flags & 1 else number


def serial(moment: datetime) -> bytes:
    return struct.pack("<d", (moment - instant(1899, 12, 30)) / timedelta(days=1))


def stored(value: Cell, variant: int) -> tuple[int, bytes, int]:
    """The kind of record, its value and its style."""
    if isinstance(value, str):
        return [
            (6, wide(value), 0),
            (8, wide(value) + b"\x00\x00", 0),
            (62, b"\0" + wide(value), 0),
        ][variant]
    if isinstance(value, bool):
        return (4 if variant else 10), bytes([value]), 0
    if isinstance(value, datetime):
        return (5 if variant else 9), serial(value), 1
    assert isinstance(value, float)
    return (5 if variant else 9), struct.pack("<d", value), 0


variants = st.tuples(st.one_of(texts, numbers, st.booleans(), moments), st.integers(0, 2)).map(
    lambda drawn: (drawn[0], stored(*drawn))
)
packed = (
    st.tuples(st.integers(-(2**29), 2**29 - 1), st.integers(0, 3))
    .map(lambda drawn: rk(*drawn))
    .filter(lambda drawn: abs(drawn[1]) < float("inf"))
    .map(lambda drawn: (drawn[1], (2, drawn[0], 0)))
)
cells_of_rows = st.dictionaries(
    st.integers(1, 1048576),
    st.dictionaries(st.integers(0, 30), st.one_of(variants, packed), max_size=5),
    max_size=6,
)
SHORT = {2: 13, 4: 15, 5: 16, 6: 17}  # the same without a column


def written(column: int, before: int, how: tuple[int, bytes, int]) -> bytes:
    kind, value, style = how
    if column == before + 1 and kind in SHORT and column % 2:
        return short_cell(SHORT[kind], value, style)
    return cell(kind, column, value, style)


def shown(value: Cell) -> Cell:
    is_midnight = isinstance(value, datetime) and value.time() == time.min
    return value.date() if isinstance(value, datetime) and is_midnight else value


@settings(max_examples=150, deadline=None)
@given(cells_of_rows)
def test_every_value_comes_back_in_its_place(
    drawn: dict[int, dict[int, tuple[Cell, tuple[int, bytes, int]]]],
) -> None:
    expected: list[tuple[int, dict[int, Cell]]] = []
    content = []
    for number, cells in sorted(drawn.items()):
        records, before = [], -2
        for column, (_, how) in sorted(cells.items()):
            records.append(written(column, before, how))
            before = column
        content.append(row(number, *records))
        if cells:
            expected.append((number, {place: shown(value) for place, (value, _) in cells.items()}))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.xlsb"
        worksheet = fleet(saved(path, sheet(*content), patterns=["yyyy-mm-dd hh:mm:ss.000"]))
        found = rows_of(worksheet)
    assert all(len(cells) == worksheet.width for _, cells in found)
    as_places = [
        (number, {place: value for place, value in enumerate(cells) if value != ""})
        for number, cells in found
    ]
    assert as_places == expected
    assert [list(map(type, cells.values())) for _, cells in as_places] == [
        [type(cells[place]) for place in sorted(cells)] for _, cells in expected
    ]


def test_a_sheet_larger_than_a_block_is_read_without_keeping_it(tmp_path: Path) -> None:
    comment = "x" * 2000
    content = sheet(*(row(number, cell(6, 0, wide(comment))) for number in range(1, 2001)))
    worksheet = fleet(saved(tmp_path / "fleet.xlsb", content))
    tracemalloc.start()
    count = sum(row.cells == (comment,) for row in worksheet.rows())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2000
    assert peak < len(content) * 2 / 3


TABLE = sheet(
    row(1, cell(6, 0, wide("Token ID"))),
    row(2, cell(2, 0, struct.pack("<i", 7 << 2 | 2))),
    after=record(177) + merged(1, 2, 3, 3),
)


@pytest.mark.parametrize("length", range(len(TABLE)))
def test_a_part_that_is_cut_off_is_damaged(tmp_path: Path, length: int) -> None:
    assert refusal(saved(tmp_path / "fleet.xlsb", TABLE[:length])) == DAMAGED


@pytest.mark.parametrize(
    "content",
    {
        "a text beyond its record": sheet(row(1, cell(6, 0, struct.pack("<I", 5) + b"ab"))),
        "a shared text that is not there": sheet(row(1, cell(7, 0, struct.pack("<I", 1)))),
        "a style that is not there": sheet(row(1, cell(5, 0, bytes(8), style=9))),
        "half a number": sheet(row(1, cell(5, 0, bytes(4)))),
        "no truth value": sheet(row(1, cell(4, 0))),
        "a row before the one before": sheet(row(2, cell(4, 0, b"\1")), row(1, cell(4, 0, b"\1"))),
        "the same row again": sheet(row(2, cell(4, 0, b"\1")), row(2, cell(4, 0, b"\1"))),
        "a row beyond the last": sheet(row(1048577, cell(4, 0, b"\1"))),
        "a column beyond the last": sheet(row(1, cell(4, 16384, b"\1"))),
        "a column far beyond the last": sheet(row(1, cell(4, 0xFFFFFFFF, b"\1"))),
        "a cell in no row": sheet(cell(4, 0, b"\1"), row(1)),
        "a record of later versions without end": sheet(row(1), record(35)),
        "a merged area beyond the sheet": sheet(row(1), after=merged(1, 2, 0, 0xFFFFFFF0)),
        "nothing but zeros": bytes(1000),
        "a record of 256 MB": sheet(row(1, b"\x06\xff\xff\xff\x7f" + bytes(100))),
        "a length without end": sheet(row(1, b"\x06" + b"\xff" * 100)),
    }.values(),
)
def test_records_that_make_no_sense_are_damage(tmp_path: Path, content: bytes) -> None:
    path = saved(tmp_path / "fleet.xlsb", content, strings=[shared("one")])
    assert refusal(path) == DAMAGED


def test_a_damaged_archive_is_damage(tmp_path: Path) -> None:
    path = saved(tmp_path / "fleet.xlsb", TABLE)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert refusal(path) == DAMAGED
    path.write_bytes(b"")
    assert refusal(path) == DAMAGED


@pytest.mark.parametrize("missing", [BOOK, SHEET, "xl/styles.bin", "_rels/.rels"])
def test_a_missing_part_is_damage(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "fleet.xlsb"
    with ZipFile(path, "w") as archive:
        for name, part in parts_of(TABLE, [], [], 0).items():
            if name != missing:
                archive.writestr(name, part)
    assert refusal(path) == DAMAGED


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_to_a_sheet_is_read_or_told(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(TABLE) - 1))
    garbage = data.draw(st.binary(min_size=1, max_size=4))
    content = TABLE[:place] + garbage + TABLE[place + data.draw(st.integers(0, 4)) :]
    with TemporaryDirectory() as folder:
        path = saved(Path(folder) / "fleet.xlsb", content)
        with suppress(SheetError):
            read(path)
