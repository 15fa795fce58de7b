"""What the tests of runs share: seven small pairs, and one finished run over them."""

from __future__ import annotations

from pathlib import Path

import pytest
from seven_pairs import request, write_seven

from benchmark.runner.run import run


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pairs and their protocol. Shared: do not write into it."""
    return write_seven(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="session")
def plain(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run over them. Shared: do not write into it."""
    out = tmp_path_factory.mktemp("plain") / "out"
    run(request(root), out)
    return out
