"""A packed sheet is read like the one in it, and a bad archive is told from a bad sheet."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl import Workbook

from batch.errors import SheetError
from batch.models import Limits
from batch.read import open_sheet

SHEET = b"id;comment\r\n1;x\r\n2;\xc3\xb8\r\n"
ROWS = [("1", "x"), ("2", "ø")]


def zipped(path: Path, members: Mapping[str, bytes]) -> Path:
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def gzipped(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


def workbook() -> bytes:
    content = io.BytesIO()
    book = Workbook()
    book.worksheets[0].append(["id", "comment"])
    book.save(content)
    return content.getvalue()


def cells(path: Path) -> list[tuple[object, ...]]:
    return [row.cells for row in open_sheet(path).rows()]


def refusal(path: Path, max_unpacked: int = 1 << 20) -> str:
    with pytest.raises(SheetError) as refused:
        open_sheet(path, limits=Limits(unpacked=max_unpacked))
    return str(refused.value)


@pytest.mark.parametrize("name", ["fleet.csv.gz", "fleet.gz", "FLEET.CSV.GZ"])
def test_a_gzipped_sheet_is_read_like_the_one_in_it(tmp_path: Path, name: str) -> None:
    assert cells(gzipped(tmp_path / name, SHEET)) == ROWS


def test_a_zipped_sheet_is_read_like_the_one_in_it(tmp_path: Path) -> None:
    assert cells(zipped(tmp_path / "fleet.zip", {"export/fleet.csv": SHEET})) == ROWS


def test_what_macos_adds_to_an_archive_is_no_sheet(tmp_path: Path) -> None:
    members = {"fleet.csv": SHEET, "__MACOSX/._fleet.csv": b"\0\5", ".DS_Store": b"\0"}
    assert cells(zipped(tmp_path / "fleet.zip", members)) == ROWS


def test_a_packed_sheet_is_known_by_the_bytes_that_were_handed_in(tmp_path: Path) -> None:
    path = gzipped(tmp_path / "fleet.csv.gz", SHEET)
    sheet = open_sheet(path)
    assert (sheet.name, sheet.kind) == ("fleet.csv.gz", "csv")
    assert sheet.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("packing", ["gz", "zip"])
def test_standard_input_may_be_packed(
    packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"fleet.{packing}"
    made = gzipped(path, SHEET) if packing == "gz" else zipped(path, {"fleet.csv": SHEET})
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(made.read_bytes())))
    assert [row.cells for row in open_sheet("-").rows()] == ROWS


@pytest.mark.parametrize("packing", ["gz", "zip"])
def test_a_bomb_is_refused_before_it_fills_the_disk(
    packing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = b"id,comment\n" + b"1,x\n" * 2_000_000
    path = tmp_path / f"bomb.{packing}"
    made = gzipped(path, bomb) if packing == "gz" else zipped(path, {"bomb.csv": bomb})
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(copies))

    assert "longer than 3,000,000 bytes" in refusal(made, max_unpacked=3_000_000)

    assert sum(copy.stat().st_size for copy in copies.iterdir()) <= 3_000_000


def test_a_sheet_exactly_as_long_as_allowed_is_read(tmp_path: Path) -> None:
    path = gzipped(tmp_path / "fleet.gz", SHEET)
    assert open_sheet(path, limits=Limits(unpacked=len(SHEET))).rows()
    assert "--max-unpacked" in refusal(path, max_unpacked=len(SHEET) - 1)


def test_an_archive_of_several_sheets_is_refused_with_their_names(tmp_path: Path) -> None:
    path = zipped(tmp_path / "both.zip", {"a.csv": SHEET, "b.csv": SHEET})
    assert 'both.zip: it holds 2 files ("a.csv", "b.csv"): pack one sheet alone' in refusal(path)


def test_an_archive_without_a_sheet_is_refused(tmp_path: Path) -> None:
    assert "it holds no file" in refusal(zipped(tmp_path / "none.zip", {"folder/": b""}))


@pytest.mark.parametrize("packing", ["gz", "zip"])
def test_a_packed_workbook_is_to_be_handed_in_itself(packing: str, tmp_path: Path) -> None:
    path = tmp_path / f"fleet.xlsx.{packing}"
    made = gzipped(path, workbook()) if packing == "gz" else zipped(path, {"a.xlsx": workbook()})
    assert "unpack it and hand in what it holds" in refusal(made)


def test_a_protected_archive_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "locked.zip", {"fleet.csv": SHEET})
    locked = bytearray(path.read_bytes())
    locked[6] |= 1  # the flag in the member's own header, and in the list of members
    locked[locked.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(locked)
    assert "protected with a password" in refusal(path)


@given(packing=st.sampled_from(["gz", "zip"]), cut=st.integers(min_value=1), data=st.data())
def test_a_damaged_archive_never_ends_in_a_traceback(
    packing: str, cut: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"fleet.{packing}"
        made = gzipped(path, SHEET) if packing == "gz" else zipped(path, {"fleet.csv": SHEET})
        content = bytearray(made.read_bytes())
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= cut % 255 + 1
        made.write_bytes(content[: len(content) - cut % 3])
        with contextlib.suppress(SheetError):  # anything else would end in a traceback
            list(open_sheet(made).rows())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("fleet.csv", gzip.compress(SHEET), "it is packed by gzip by its content: .gz"),
        ("fleet.gz", SHEET, "it is a text file by its content: .csv"),
        ("fleet.zip", SHEET, "it is a text file by its content: .csv"),
        ("fleet.gz", b"", "it is empty"),
        ("fleet.zip", b"", "it is empty"),
        ("empty.gz", gzip.compress(b""), "it is empty"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    told = refusal(tmp_path / name).replace("let its name end with ", "")
    assert said in told
