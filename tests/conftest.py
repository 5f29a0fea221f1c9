from __future__ import annotations

from hypothesis import settings

# The same examples on every machine: a test that fails here fails everywhere.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
