"""Where the tests find the repository and the optional sample data."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLES = Path(os.environ.get("OLRD_TEST_DATA") or REPOSITORY.parent / "shared")
"""Sample data that is not part of the repository: `data/` and `weights/`. Tests that use it skip without it."""
