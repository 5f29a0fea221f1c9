"""Write docs/summary.schema.json as the program has it: python tests/write_schema.py."""

from __future__ import annotations

import json
from pathlib import Path

from batch.report import Summary

SCHEMA = Path(__file__).parent.parent / "docs" / "summary.schema.json"


def schema() -> str:
    """The schema as text."""
    found = Summary.model_json_schema(mode="serialization")
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema(), encoding="utf-8")
