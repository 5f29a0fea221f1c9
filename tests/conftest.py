from __future__ import annotations

import os
import tempfile

from hypothesis import settings

# The same examples on every machine: a test that fails here fails everywhere.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# What processes share is shared by those of one test run only.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="token-batch-tests-")
