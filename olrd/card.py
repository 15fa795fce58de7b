"""The dataset card: README.md with YAML front matter, statistics, a sample grid, licences, hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def write_card(out: Path, build: dict[str, Any]) -> None:
    pass
