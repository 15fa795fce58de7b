"""Three runs with saved pictures, and their report."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_runs import World, make_world

from benchmark.page.report import report


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Shared: do not write into it."""
    return make_world(tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="session")
def page(world: World) -> Path:
    """The report's page. Shared: do not write into its folder."""
    return report(world.runs, world.data, world.root / "out")
