"""What no sheet holds is refused soon, in little memory and with a way out."""

from __future__ import annotations

import gzip
import io
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest
import xlsxwriter
from openpyxl import Workbook

from batch.errors import SheetError
from batch.models import USUAL_LIMITS, Limits
from batch.read import open_sheet

SHEETS = Path(__file__).parent / "sheets"
SHEET = "xl/worksheets/sheet1.xml"
STRINGS = "xl/sharedStrings.xml"
MB = 1 << 20
BLANK = b" " * MB
MEMORY = 1536 * MB

_ODF = "urn:oasis:names:tc:opendocument:xmlns"
_ODS_START = (
    f'<office:document-content xmlns:office="{_ODF}:office:1.0" xmlns:table="{_ODF}:table:1.0"'
    f' xmlns:text="{_ODF}:text:1.0"><office:body><office:spreadsheet>'
    '<table:table table:name="Fleet">'
)
_ODS_END = "</table:table></office:spreadsheet></office:body></office:document-content>"


def numbers(path: Path, limits: Limits = USUAL_LIMITS) -> list[int]:
    return [row.number for row in open_sheet(path, limits=limits).rows()]


def refusal(path: Path, limits: Limits = USUAL_LIMITS) -> str:
    with pytest.raises(SheetError) as refused:
        numbers(path, limits)
    return str(refused.value)


def xlsx(folder: Path, *rows: Sequence[object]) -> Path:
    path = folder / "fleet.xlsx"
    with xlsxwriter.Workbook(str(path)) as book:
        sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    return path


def csv(folder: Path, *rows: Sequence[object]) -> Path:
    path = folder / "fleet.csv"
    path.write_text("".join(f"{','.join(map(str, row))}\n" for row in rows), encoding="utf-8")
    return path


def ods(folder: Path, *rows: Sequence[object]) -> Path:
    return ods_of(folder, [_ods_row(row) for row in rows])


def _ods_row(row: Sequence[object]) -> str:
    cells = "".join(
        f'<table:table-cell office:value-type="string"><text:p>{cell}</text:p></table:table-cell>'
        for cell in row
    )
    return f"<table:table-row>{cells}</table:table-row>"


def ods_of(folder: Path, xml: Iterable[str]) -> Path:
    path = folder / "fleet.ods"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("content.xml", "w", force_zip64=True) as part,
    ):
        for text in (_ODS_START, *xml, _ODS_END):
            part.write(text.encode())
    return path


def longer(path: Path, part: str, more: Iterable[bytes], before: bytes = b"") -> Path:
    """The archive with more in one of its parts: before the text named, or at its end."""
    altered = path.with_name(f"longer{path.suffix}")
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(altered, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new,
    ):
        for name in old.namelist():
            content = old.read(name)
            if name == part:
                start = content.index(before) if before else len(content)
                with new.open(name, "w", force_zip64=True) as member:
                    member.write(content[:start])
                    for block in more:
                        member.write(block)
                    member.write(content[start:])
            else:
                new.writestr(name, content)
    return altered


def declared_short(path: Path, part: str, size: int = 1000) -> Path:
    """The archive that gives out the part to be so short, in both places where it says so."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        struct.pack_into("<I", content, archive.getinfo(part).header_offset + 22, size)
    place = content.rindex(part.encode()) - 46
    assert content[place : place + 4] == b"PK\1\2"
    struct.pack_into("<I", content, place + 24, size)
    path.write_bytes(content)
    return path


Writer = Callable[..., Path]
WRITERS: list[Writer] = [csv, xlsx, ods]

FIXTURES = {
    "xlsb": (SHEETS / "xlsb_excel.xlsb", "xl/worksheets/sheet1.bin"),
    "ods": (SHEETS / "other_table.ods", "content.xml"),
}


def test_a_workbook_of_two_gigabytes_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = longer(xlsx(tmp_path, ["id"], [1]), SHEET, (BLANK for _ in range(2048)), b"<sheetData>")
    assert bomb.stat().st_size < 10 * MB

    told = refusal(bomb)

    assert told.startswith("longer.xlsx: unpacked it is 2,147,")
    assert "at most 1,073,741,824 are allowed" in told
    assert "--max-unpacked" in told


@pytest.mark.parametrize("kind", FIXTURES)
def test_a_bomb_is_refused_in_every_kind_of_archive(tmp_path: Path, kind: str) -> None:
    fixture, part = FIXTURES[kind]
    path = tmp_path / fixture.name
    path.write_bytes(fixture.read_bytes())
    bomb = longer(path, part, [BLANK] * 30)
    told = refusal(bomb, Limits(unpacked=30 * MB))
    assert "at most 31,457,280 are allowed" in told
    assert "--max-unpacked" in told


@pytest.mark.parametrize("part", [SHEET, STRINGS, "xl/styles.xml", "xl/workbook.xml"])
def test_a_part_of_a_workbook_that_lies_about_its_length_is_damage(
    tmp_path: Path, part: str
) -> None:
    path = longer(xlsx(tmp_path, ["id", "comment"], [1, "x"]), part, [BLANK] * 30)
    assert "it is no Excel workbook, or a damaged one" in refusal(declared_short(path, part))


@pytest.mark.parametrize("kind", FIXTURES)
def test_a_part_that_lies_about_its_length_is_damage_in_other_workbooks(
    tmp_path: Path, kind: str
) -> None:
    fixture, part = FIXTURES[kind]
    path = tmp_path / fixture.name
    path.write_bytes(fixture.read_bytes())
    lie = declared_short(longer(path, part, [BLANK] * 30), part)
    assert "it is a damaged workbook" in refusal(lie)


def test_a_packed_text_that_lies_about_its_length_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "fleet.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fleet.csv", b"id,comment\n" + b"1,x\n" * 100_000)
    assert "it is damaged" in refusal(declared_short(path, "fleet.csv"), Limits(unpacked=2000))


def test_a_cell_or_a_gap_of_many_megabytes_is_refused(tmp_path: Path) -> None:
    path = xlsx(tmp_path, ["id", "comment"], [1, "x"])
    gap = longer(path, SHEET, [BLANK] * 40, b"</sheetData>")
    assert "longer than any that a spreadsheet keeps" in refusal(gap)
    cell = [b'<row r="3"><c r="A3" t="inlineStr"><is><t>', *[b"x" * MB] * 40]
    text = longer(path, SHEET, [*cell, b"</t></is></c></row>"], b"</sheetData>")
    assert "longer than any that a spreadsheet keeps" in refusal(text)


def test_a_million_formatted_empty_rows_cost_no_row_of_a_workbook(tmp_path: Path) -> None:
    def empty() -> Iterable[bytes]:
        for start in range(3, 1_000_003, 1000):
            yield "".join(
                f'<row r="{row}"><c r="A{row}" s="0"/><c r="B{row}" s="0"/></row>'
                for row in range(start, start + 1000)
            ).encode()
        yield b'<row r="1000003"><c r="A1000003"><v>2</v></c></row>'

    path = longer(xlsx(tmp_path, ["id", "comment"], [1, "x"]), SHEET, empty(), b"</sheetData>")
    assert numbers(path) == [2, 1_000_003]


@pytest.mark.parametrize("repeated", [1, 1000])
def test_formatted_empty_rows_cost_no_row_of_an_opendocument(tmp_path: Path, repeated: int) -> None:
    cell = '<table:table-cell table:style-name="ce1"/>'
    row = f'<table:table-row table:number-rows-repeated="{repeated}">{cell}</table:table-row>'
    rows = [_ods_row(["id"]), *[row * 1000] * (50 if repeated == 1 else 1), _ods_row([1])]
    count = 50_000 if repeated == 1 else 1_000_000
    assert numbers(ods_of(tmp_path, rows)) == [count + 2]


def test_a_row_and_a_cell_repeated_to_the_sheets_end_cost_nothing(tmp_path: Path) -> None:
    end = (
        '<table:table-row table:number-rows-repeated="1048574">'
        '<table:table-cell table:number-columns-repeated="16384"/></table:table-row>'
    )
    path = ods_of(tmp_path, [_ods_row(["id", "comment"]), _ods_row([1, "x"]), end])
    assert len(open_sheet(path).columns) == 2
    assert numbers(path) == [2]


@pytest.mark.parametrize("write", WRITERS)
def test_a_header_over_every_column_there_is_is_refused(tmp_path: Path, write: Writer) -> None:
    told = refusal(write(tmp_path, ["id", *range(16_383)], [1]))
    assert "16,384" in told
    assert "at most 1,000 are allowed" in told
    assert "--max-columns" in told


@pytest.mark.parametrize("write", WRITERS)
def test_as_many_columns_as_are_allowed_are_read_and_not_one_more(
    tmp_path: Path, write: Writer
) -> None:
    path = write(tmp_path, ["id", "comment", "note"], [1, "x", "y"])
    assert numbers(path, Limits(columns=3)) == [2]
    assert "at most 2 are allowed" in refusal(path, Limits(columns=2))


@pytest.mark.parametrize("write", WRITERS)
def test_as_many_rows_as_are_allowed_are_read_and_not_one_more(
    tmp_path: Path, write: Writer
) -> None:
    path = write(tmp_path, ["Our fleet"], ["id", "comment"], *([place, "x"] for place in range(4)))
    assert numbers(path, Limits(rows=4)) == [3, 4, 5, 6]
    told = refusal(path, Limits(rows=3))
    assert told.startswith(f"{path.name}: it has more than 3 rows")
    assert "--max-rows" in told


def blocks_of(path: Path, start: bytes, block: bytes, count: int) -> Path:
    with path.open("wb") as file:
        file.write(start)
        for _ in range(count):
            file.write(block)
    return path


def check_in_little_memory(path: Path) -> tuple[int, str]:
    """The exit code and what is said by the program itself, if memory is short."""
    program = (
        "import resource, runpy, sys\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({MEMORY}, {MEMORY}))\n"
        "sys.argv = ['token-batch', 'check', sys.argv[1]]\n"
        "runpy.run_module('batch', run_name='__main__')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=30,
        cwd=Path(__file__).parent.parent,
    )
    return ended.returncode, ended.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="its memory is not limited in this way")
@pytest.mark.parametrize(
    ("start", "block"),
    [
        (b"id,comment\n1,", b"x" * MB),
        (b"id,comment\n1,", b"x," * (MB // 2)),
    ],
    ids=["cell", "cells"],
)
def test_a_line_without_end_is_refused_in_little_memory(
    tmp_path: Path, start: bytes, block: bytes
) -> None:
    code, told = check_in_little_memory(blocks_of(tmp_path / "fleet.csv", start, block, 40))
    assert code == 2
    assert "fleet.csv: one of its lines is longer than 16,777,216 characters" in told


@pytest.mark.skipif(sys.platform == "win32", reason="its memory is not limited in this way")
def test_a_large_workbook_without_cells_is_refused_in_little_memory(tmp_path: Path) -> None:
    path = longer(xlsx(tmp_path, ["id"], [1]), SHEET, [BLANK] * 300, b"</sheetData>")
    code, told = check_in_little_memory(path)
    assert code == 2
    assert "longer than any that a spreadsheet keeps" in told


def test_a_cell_of_two_hundred_thousand_characters_is_refused_by_its_row(tmp_path: Path) -> None:
    told = refusal(csv(tmp_path, ["id", "comment"], [1, "x"], [2, "y" * 200_000], [3, "x"]))
    assert told.startswith("fleet.csv: row 3: a cell is longer than 131,072 characters")


def test_a_cell_as_long_as_is_allowed_is_read(tmp_path: Path) -> None:
    path = csv(tmp_path, ["id", "comment"], [1, "y" * 131_072], [2, "x"])
    assert [len(str(row.cells[1])) for row in open_sheet(path).rows()] == [131_072, 1]


def test_a_quote_open_over_a_large_file_is_refused_by_its_row(tmp_path: Path) -> None:
    path = blocks_of(tmp_path / "fleet.csv", b'id,comment\n1,"', b"2,x\n" * (MB // 4), 40)
    told = refusal(path)
    assert told.startswith("fleet.csv: row 2: a cell is longer than")
    assert "a quote that is opened and never closed" in told


@pytest.mark.parametrize("name", ["password.xlsx", "password.xls", "ods_password.ods"])
def test_an_encrypted_workbook_is_refused_with_a_way_out(name: str) -> None:
    told = f"{name}: it is protected with a password: save it without one"
    assert refusal(SHEETS / name) == told


def _xlsx() -> bytes:
    content = io.BytesIO()
    book = Workbook()
    book.worksheets[0].append(["id", "comment"])
    book.worksheets[0].append([1, "x"])
    book.save(content)
    return content.getvalue()


def _zip(**members: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(f"{name}.csv", text)
    return content.getvalue()


TEXT = "id,comment\n1,Søren på værkstedet\n"
CONTENTS: dict[str, bytes] = {
    "csv": TEXT.encode(),
    "csv in UTF-16": TEXT.encode("utf-16"),
    "csv in big-endian UTF-16": b"\xfe\xff" + TEXT.encode("utf-16-be"),
    "csv in UTF-16 without a mark": TEXT.encode("utf-16-le"),
    "csv in Windows-1252": TEXT.encode("cp1252"),
    "xlsx": _xlsx(),
    "xls": (SHEETS / "other_table.xls").read_bytes(),
    "xls of Excel 2": (SHEETS / "xls_sheetjs_biff2.xls").read_bytes(),
    "xlsb": (SHEETS / "other_table.xlsb").read_bytes(),
    "ods": (SHEETS / "other_table.ods").read_bytes(),
    "gz": gzip.compress(TEXT.encode()),
    "zip": _zip(fleet=TEXT),
    "zip of two": _zip(north=TEXT, south=TEXT),
    "html": b"\xef\xbb\xbf\r\n<HTML><table><tr><td>id</td></tr></table></HTML>",
    "html of a table alone": b"<table><tr><td>id</td></tr></table>",
    "xml": b'<?xml version="1.0"?><Workbook/>',
    "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
    "rtf": b"{\\rtf1\\ansi id}",
    "noise": random.Random(1).randbytes(5000),
    "short noise": random.Random(2).randbytes(20),
    "zeros": bytes(5000),
    "empty": b"",
    "blank": b" \n",
    "cut archive": _xlsx()[:1500],
    "cut xls": (SHEETS / "other_table.xls").read_bytes()[:700],
    "cut gz": gzip.compress(TEXT.encode())[:25],
    "picture": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1",
    "word document": (SHEETS / "other_word.doc").read_bytes(),
}
SUFFIXES = ("csv", "tsv", "xlsx", "xlsm", "xlsb", "xls", "ods", "gz", "zip")
TEXTS = ("csv", "csv in UTF-16", "csv in big-endian UTF-16", "csv in Windows-1252")
READ_AS = {
    **{text: {"csv", "tsv"} for text in TEXTS},
    "xlsx": {"xlsx", "xlsm"},
    "xls": {"xls"},
    "xls of Excel 2": {"xls"},
    "xlsb": {"xlsb"},
    "ods": {"ods"},
    "gz": {"gz"},
    "zip": {"zip"},
}
WAYS_OUT = (
    *("let its name end with .", "open it in", "save it", "fetch or save it again", "pack it"),
    *("pack one sheet alone", "is empty", "name the token in a column", "--encoding"),
)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_that_is_not_what_its_name_says_is_refused_in_one_sentence_with_a_way_out(
    tmp_path: Path, content: str, suffix: str
) -> None:
    path = tmp_path / f"fleet.{suffix}"
    path.write_bytes(CONTENTS[content])
    if suffix in READ_AS.get(content, ()):
        assert numbers(path)
    else:
        told = refusal(path)
        assert told.startswith(f"{path.name}: ")
        assert "\n" not in told
        assert any(way in told for way in WAYS_OUT)


@pytest.mark.parametrize("content", [name for name in READ_AS if name not in TEXTS])
def test_a_workbook_or_archive_under_a_wrong_name_is_read_under_the_one_that_is_told(
    tmp_path: Path, content: str
) -> None:
    wrong = tmp_path / "fleet.csv"
    wrong.write_bytes(CONTENTS[content])
    suffix = refusal(wrong).rpartition("let its name end with ")[2]
    assert numbers(wrong.rename(tmp_path / f"fleet{suffix}"))


@pytest.mark.parametrize("content", TEXTS)
def test_a_text_under_a_workbooks_name_is_read_under_the_one_that_is_told(
    tmp_path: Path, content: str
) -> None:
    wrong = tmp_path / "fleet.xlsx"
    wrong.write_bytes(CONTENTS[content])
    suffix = refusal(wrong).rpartition("let its name end with ")[2]
    right = wrong.rename(tmp_path / f"fleet{suffix}")
    assert [row.cells for row in open_sheet(right).rows()] == [("1", "Søren på værkstedet")]


@pytest.mark.timeout(30)
@pytest.mark.parametrize("part", ["xl/workbook.xml", "_rels/.rels"])
def test_an_attribute_of_many_megabytes_is_refused_at_once(tmp_path: Path, part: str) -> None:
    book = Workbook()
    book.worksheets[0].append(["id"])
    book.save(tmp_path / "whole.xlsx")
    with (
        zipfile.ZipFile(tmp_path / "whole.xlsx") as old,
        zipfile.ZipFile(tmp_path / "long.xlsx", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            content = old.read(name)
            if name == part:
                head, end = content.rsplit(b"</", 1)
                content = head + b'<x y="' + b"x" * 20_000_000 + b'"/></' + end
            new.writestr(name, content)
    assert "long.xlsx" in refusal(tmp_path / "long.xlsx")


@pytest.mark.timeout(30)
def test_a_shared_text_of_many_megabytes_is_refused_in_little_memory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "shared.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open("xl/sharedStrings.xml", "w", force_zip64=True) as part:
            part.write(b"<sst><si><t>")
            for _ in range(300):
                part.write(b"x" * (1 << 20))
            part.write(b"</t></si></sst>")
    assert "longer than any that a spreadsheet keeps" in refusal(tmp_path / "shared.xlsx")
