"""One process at a time, and a sentence where that cannot be held."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from batch.errors import BusyError, RunError
from batch.folders import keep_workbook, working_on_sheet
from batch.state import state_folder


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def begun(digest: str) -> BaseException | None:
    """What another worker meets who begins with the sheet."""

    def work() -> None:
        with working_on_sheet("cards.csv", digest):
            pass

    with ThreadPoolExecutor() as pool:
        return pool.submit(work).exception()


def test_a_second_worker_hears_who_is_at_the_sheet_and_since_when() -> None:
    with working_on_sheet("cards.csv", "d1"):
        met = begun("d1")
        other = begun("d2")
    assert isinstance(met, BusyError)
    assert "cards.csv (process " in str(met)
    assert ", since 20" in str(met)
    assert other is None
    assert begun("d1") is None


def test_a_note_about_the_worker_that_is_no_text_hides_no_worker() -> None:
    with working_on_sheet("cards.csv", "d1"):
        (state_folder() / "sheet-d1.who").write_bytes(b"\xff\xfe\xfd")
        assert isinstance(begun("d1"), BusyError)


def test_a_lock_that_cannot_be_taken_is_said() -> None:
    (state_folder() / "sheet-d1.lock").mkdir()
    with pytest.raises(RunError, match=r"sheet-d1\.lock cannot be written"):
        working_on_sheet("cards.csv", "d1").__enter__()


def test_a_workbook_that_cannot_be_kept_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    (tmp_path / "cards.xlsx").write_bytes(b"PK")
    with pytest.raises(RunError, match=r"sheet\.xlsx cannot be written"):
        keep_workbook(tmp_path / "cards.xlsx", "", tmp_path / "nowhere")


def test_a_workbook_that_is_no_longer_the_one_that_was_read_is_not_kept_for_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "cards.xlsx").write_bytes(b"PK")
    with pytest.raises(RunError, match="was changed while it was read"):
        keep_workbook(tmp_path / "cards.xlsx", "0" * 64, tmp_path)
