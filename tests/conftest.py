"""What all tests share: the drawn COCO folder, a private cache, the development data."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bad_folder import COUNT, Folder
from drawn_sets import DrawnSets
from hypothesis import HealthCheck, settings
from places import SAMPLES
from synthetic_coco import write_coco

from olrd.arrays import Image

TESTS = Path(__file__).parent
_cache = pytest.StashKey["tempfile.TemporaryDirectory[str]"]()

# A busy machine is no failure: no limit on the time of one example. `make check` draws fewer examples than `make test`.
for _name, _examples in (("full", 25), ("quick", 8)):
    settings.register_profile(
        _name, max_examples=_examples, deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )


def pytest_configure(config: pytest.Config) -> None:
    """No test, and no process that a test starts, touches the user's own cache."""
    config.stash[_cache] = tempfile.TemporaryDirectory(prefix="olrd-test-cache-")
    os.environ["OLRD_CACHE"] = config.stash[_cache].name
    # Before torch is loaded: where test processes run beside each other, its threads wait for cores
    # that the others' threads hold, and all of them take several times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    settings.load_profile(config.getoption("--hypothesis-profile") or "full")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Search for garbage neither while modules are imported nor, later, among what they left in memory.

    Large libraries make millions of objects that live until the end. To look at them again and again
    takes a sixth of the time of collecting the tests.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


_file = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The same for what earlier files loaded or left: a tenth of the time of the tests of networks went into that."""
    if item.session.stash.get(_file, None) != item.path:
        item.session.stash[_file] = item.path
        gc.collect()
        gc.freeze()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Where slow tests are left out, a file that has no others is not imported: it may load large libraries."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    text = collection_path.read_text(encoding="utf-8")
    return bool(re.search(r"^pytestmark = \[?\s*pytest\.mark\.slow\b", text, re.MULTILINE)) or None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests without networks come first, those with them last; the files with most slow tests are at both ends.

    Two test processes begin at the two ends (`pytest_xdist_make_scheduler`). So one of them hardly ever loads
    networks, and what they work on when they meet are short files.
    """
    all_of, slow = Counter(item.path for item in items), Counter(i.path for i in items if i.get_closest_marker("slow"))

    def place(item: pytest.Item) -> tuple[bool, bool, int]:
        # Files of slow tests alone are few tests, but servers, clusters and trainings.
        networks = item.path.relative_to(TESTS).parts[0] not in ("olrd", "perf")
        short = slow[item.path] < all_of[item.path]
        return (True, not short, slow[item.path]) if networks else (False, short, -slow[item.path])

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Whole files, as `--dist loadfile` has it; every other process takes them from the end of the list."""
    from xdist.scheduler import LoadFileScheduling

    class FromBothEnds(LoadFileScheduling):
        def _assign_work_unit(self, node: Any) -> None:
            if self.nodes.index(node) % 2:
                self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
            super()._assign_work_unit(node)

    return FromBothEnds(config, log)


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


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """No test pulls the plug, so none waits until its files survive that. Commands in other processes wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: None)
        yield


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
