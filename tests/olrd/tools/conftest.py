"""Finished datasets to damage, built once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sealed_copy import Copy, built


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory, "full")


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory, "recipes", form="recipes")


@pytest.fixture(scope="session")
def resized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory, "resized", size=96)


@pytest.fixture
def copy(full: Path, tmp_path: Path) -> Copy:
    return Copy(Path(shutil.copytree(full, tmp_path / "out")))
