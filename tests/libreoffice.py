"""A real LibreOffice that opens a file and saves it in another format."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOFFICE = shutil.which("soffice")
WHY_SKIPPED = "LibreOffice (Debian's libreoffice-calc) is not installed"

_SETTINGS = """<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Setup/L10N">
<prop oor:name="ooSetupSystemLocale" oor:op="fuse"><value>{locale}</value></prop>
</item>
</oor:items>
"""
# Separator, quote, UTF-8, first line; then: all as shown, and texts alone in quotes.
_CSV = "csv:Text - txt - csv (StarCalc):{separator},34,76,1,,0,false,true,false"
FORMATS = {
    "xlsx": "xlsx",
    "xls": "xls",
    "ods": "ods",
    "comma": _CSV.format(separator=ord(",")),
    "semicolon": _CSV.format(separator=ord(";")),
}


class LibreOffice:
    """With the settings of one country, in a profile of its own."""

    def __init__(self, profile: Path, locale: str) -> None:
        self._profile = profile
        settings = profile / "user" / "registrymodifications.xcu"
        settings.parent.mkdir(parents=True)
        settings.write_text(_SETTINGS.format(locale=locale), encoding="utf-8")

    def saved_as(self, name: str, source: Path, folder: Path) -> Path:
        """The file as LibreOffice saves it under one of the names in FORMATS."""
        assert SOFFICE
        command = [
            *(SOFFICE, f"-env:UserInstallation={self._profile.as_uri()}", "--headless"),
            *("--convert-to", FORMATS[name], "--outdir", str(folder / name), str(source)),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        (saved,) = (folder / name).iterdir()
        return saved
