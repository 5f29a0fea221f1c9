"""Where the processes of one user meet, whatever folder they work in."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from batch.errors import RunError


def state_folder() -> Path:
    """A folder that they all share: in XDG_STATE_HOME, in the home folder, else in the temporary
    one. RunError if none can be written.
    """
    named = Path(os.environ.get("XDG_STATE_HOME", ""))
    # The XDG specification: a relative path is to be ignored.
    home = named if named.is_absolute() else Path("~/.local/state").expanduser()
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folders = (home / "token-batch", Path(tempfile.gettempdir()) / f"token-batch-{user}")
    for folder in folders:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise RunError(f"{folders[0]} cannot be written: make it, or set XDG_STATE_HOME to a folder")
