"""Both forms of the build that a test module configures, built once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from drawn_sets import DrawnSets

from olrd.config import BuildConfig


@pytest.fixture(scope="module")
def full(config: BuildConfig, drawn: DrawnSets) -> Path:
    return drawn.built(config)


@pytest.fixture(scope="module")
def recipes(config: BuildConfig, drawn: DrawnSets) -> Path:
    return drawn.built(replace(config, form="recipes"))
