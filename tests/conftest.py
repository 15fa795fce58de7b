"""What all tests share: the drawn COCO folder, a private cache, the development data."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bad_folder import COUNT, Folder
from drawn_sets import DrawnSets
from hypothesis import HealthCheck, settings
from places import SAMPLES
from synthetic_coco import write_coco

from olrd.arrays import Image

_cache = pytest.StashKey["tempfile.TemporaryDirectory[str]"]()


def pytest_configure(config: pytest.Config) -> None:
    """No test, and no process that a test starts, touches the user's own cache."""
    config.stash[_cache] = tempfile.TemporaryDirectory(prefix="olrd-test-cache-")
    os.environ["OLRD_CACHE"] = config.stash[_cache].name
    # Before torch is loaded: where test processes run beside each other, its threads wait for cores
    # that the others' threads hold, and all of them take several times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # A busy machine is no failure: no limit on the time of one example.
    settings.register_profile("olrd", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("olrd")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first, so that no test process works on one alone at the end."""
    items.sort(key=lambda item: "perf" not in item.path.parts)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the private cache."""
    config.stash[_cache].cleanup()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> DrawnSets:
    """Drawn photos and built datasets, made once. Shared: do not write into them."""
    return DrawnSets(tmp_path_factory)


@pytest.fixture(scope="session")
def coco_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn photos in the official COCO panoptic layout. Shared: do not write into it."""
    return write_coco(tmp_path_factory.mktemp("coco"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The development data beside the repository."""
    folder = SAMPLES / "data"
    if not folder.is_dir():
        pytest.skip(f"the sample data is not at {folder} (OLRD_TEST_DATA names its folder)")
    return folder


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn photos without damage. Shared: do not write into it."""
    return write_coco(tmp_path_factory.mktemp("pristine"), count=COUNT, seed=5)


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Folder:
    """A private copy of them, to damage."""
    root = shutil.copytree(pristine, tmp_path / "photos")
    text = (root / "annotations" / "panoptic_train2017.json").read_text()
    return Folder(root, json.loads(text))


@pytest.fixture
def no_sample_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The card's picture takes half the time of a small build and is not looked at here."""
    monkeypatch.setattr("olrd.dataset.sheet.contact_sheet", _blank)


@pytest.fixture(scope="module")
def no_sample_sheets() -> Iterator[None]:
    """The same for a whole module, with what its own fixtures build. Other processes draw theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("olrd.dataset.sheet.contact_sheet", _blank)
        yield


def _blank(rows: object, max_pixels: int | None = None) -> Image:
    return np.zeros((8, 8, 3), np.uint8)
