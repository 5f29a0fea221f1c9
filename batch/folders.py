"""Where runs live: one folder each, with its journal, worked on by one process at a time."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from batch.errors import BusyError, RunError
from batch.journal import FILE_NAME, Journal
from batch.state import state_folder

WORKBOOK = "sheet.xlsx"  # a copy of the one handed in
_REMEMBERED = 30 * 86_400  # seconds that the lock of a sheet is kept


@contextmanager
def new_run(reports: Path, sheet: str, started_at: datetime) -> Iterator[Journal]:
    """A new run's journal; its folder is gone again if the run was never confirmed."""
    folder = _new_folder(reports, f"{started_at:%Y%m%d-%H%M%S}-{_as_name(sheet)}")
    needed = False
    try:
        with _working_on(folder), Journal.create(folder) as journal:
            needed = True  # and stays so if the journal cannot be asked
            try:
                yield journal
            finally:
                needed = journal.is_confirmed
    finally:
        if not needed:
            shutil.rmtree(folder)


def keep_workbook(sheet: Path, sha256: str, folder: Path) -> str:
    """Put a copy of the workbook into the run's folder, and say under which name. RunError if it
    cannot be written, or is no longer the one with that digest.
    """
    kept = folder / WORKBOOK
    try:
        shutil.copyfile(sheet, kept)
        with kept.open("rb") as file:
            is_the_one = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except OSError as error:
        raise RunError(f"{kept} cannot be written ({error.strerror})") from error
    if not is_the_one:
        raise RunError(f"{sheet.name} was changed while it was read: hand it in again")
    return WORKBOOK


@contextmanager
def working_on_sheet(name: str, digest: str) -> Iterator[None]:
    """Alone on this machine with a sheet and the account that it goes to, of which `digest` is
    made. BusyError while another process of this user is at the same.
    """
    folder = state_folder()
    with _alone(folder / f"sheet-{digest}.lock", name):
        _forget_old_sheets(folder)
        yield


def _forget_old_sheets(folder: Path) -> None:
    """Nightly sheets differ each night, and each leaves a file behind."""
    oldest = time.time() - _REMEMBERED
    for lock in folder.glob("sheet-*.lock"):
        with suppress(OSError, Timeout):
            if lock.stat().st_mtime < oldest:
                with FileLock(lock, timeout=0):
                    lock.with_suffix(".who").unlink(missing_ok=True)
                    lock.unlink()


@contextmanager
def existing_run(folder: Path) -> Iterator[Journal]:
    """A confirmed run's journal, to go on with it. BusyError while another process does."""
    with Journal.open(folder) as journal, _working_on(folder):
        journal.refuse_damaged()
        if not journal.is_confirmed:
            raise RunError(
                f"{folder.name} ended before its plan was confirmed, and nothing was sent: "
                "apply the sheet again"
            )
        yield journal


@contextmanager
def read_run(folder: Path) -> Iterator[Journal]:
    """A run's journal, to read it, whoever works on it."""
    with Journal.open(folder) as journal:
        yield journal


def all_runs(reports: Path) -> list[Path]:
    """The folders of all runs, the latest last: their names begin with the time. Not every one
    need be readable.
    """
    return sorted(path.parent for path in reports.glob(f"*/{FILE_NAME}"))


def _new_folder(reports: Path, name: str) -> Path:
    """A folder that did not exist before: two runs may begin in one second."""
    for number in range(1, 1000):
        folder = reports / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not reports.is_dir():
                raise RunError(f"{reports} is not a folder: name another with --reports") from None
        except OSError as error:
            raise RunError(
                f"{folder} cannot be made ({error.strerror}): name another folder with --reports"
            ) from error
        else:
            return folder
    raise RunError(f"{reports} has a thousand runs of this second already")


@contextmanager
def _working_on(folder: Path) -> Iterator[None]:
    with _alone(folder / ".lock", f"run {folder.name}"):
        yield


@contextmanager
def _alone(lock: Path, work: str) -> Iterator[None]:
    """BusyError, with who and since when, while another process does this work.

    The system frees the lock of a process that died.
    """
    told = lock.with_suffix(".who")
    held = FileLock(lock, timeout=0)
    try:
        held.acquire()
        since = datetime.now(UTC).isoformat(" ", timespec="seconds")
        lock.touch()
        told.write_text(f"process {os.getpid()}, since {since}", encoding="utf-8")
    except Timeout as error:
        raise BusyError(f"another process is working on {work} ({_who(told)})") from error
    except OSError as error:
        held.release()
        raise RunError(f"{lock} cannot be written ({error.strerror})") from error
    try:
        yield
    finally:
        held.release()


def _who(told: Path) -> str:
    try:
        return told.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return "which has just begun"


def _as_name(sheet: str) -> str:
    stem = Path(sheet).stem
    return "".join(letter if letter.isalnum() else "-" for letter in stem)[:40]
