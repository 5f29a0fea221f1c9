"""Where the processes of one user meet, whatever folder they work in."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from batch.errors import RunError


def _local_state() -> Path | None:
    try:
        return Path("~/.local/state").expanduser()
    except RuntimeError:  # a container may run a user whom nothing knows, without a home
        return None


def state_folder() -> Path:
    """A folder that they all share: in XDG_STATE_HOME, in the home folder, else in the temporary
    one. RunError if none can be written.
    """
    named = Path(os.environ.get("XDG_STATE_HOME", ""))
    # The XDG specification: a relative path is to be ignored.
    home = named if named.is_absolute() else _local_state()
    user = os.getuid() if hasattr(os, "getuid") else "user"
    shared = Path(tempfile.gettempdir()) / f"token-batch-{user}"
    folders = [home / "token-batch", shared] if home else [shared]
    for folder in folders:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise RunError(f"{folders[0]} cannot be written: make it, or set XDG_STATE_HOME to a folder")
