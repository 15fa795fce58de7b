"""Drawn photos and the datasets built from them, made once per test run and shared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from synthetic_coco import write_coco

from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.dataset import sheet


class DrawnSets:
    """Folders by what is in them. Tests only read them; a test that damages one copies it first."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._made: dict[str, Path] = {}

    def photos(self, count: int = 12, seed: int = 5) -> Path:
        """`count` drawn photos in the official COCO panoptic layout."""
        key = f"photos {count} {seed}"
        if key not in self._made:
            self._made[key] = write_coco(self._factory.mktemp(f"photos-{count}-{seed}"), count=count, seed=seed)
        return self._made[key]

    def built(self, config: BuildConfig) -> Path:
        """The folder that one worker builds under this configuration."""
        # Some modules replace the card's picture by a blank one (`no_sample_sheets`): those builds are kept apart.
        key = json.dumps([config.resolved(), config.source.root, sheet.contact_sheet.__module__])
        if key not in self._made:
            out = self._factory.mktemp("built") / "out"
            build(config, out)
            self._made[key] = out
        return self._made[key]
