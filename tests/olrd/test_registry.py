"""Registries and plug-ins found through real entry points."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import REPOSITORY

from olrd.config import BLENDS, PLACEMENTS, BuildConfig
from olrd.engines import ENGINES
from olrd.errors import PluginError, UsageError
from olrd.registry import Registry
from olrd.sources import SOURCES, SourceSpec, open_source
from olrd.triplets.maker import TripletMaker
from olrd.triplets.tally import Tally

TOY = """
import numpy as np
from olrd.arrays import encode_image
from olrd.panoptic import Box, Category, PanopticMap, Record, Segment


class Toy:
    name = "toy"
    background_kind = "stuff"
    fingerprint = "toys"
    categories = {
        1: Category(1, "dog", "animal", True),
        2: Category(2, "grass-merged", "plant", False),
    }

    def __len__(self):
        return 3

    def image_id(self, index):
        return str(index)

    def record(self, index):
        segments = (
            Segment(5, 1, 400, Box(20, 40, 20, 20)),
            Segment(6, 2, 100 * 120 - 400, Box(0, 0, 120, 100)),
        )
        return Record(str(index), f"{index}.webp", 120, 100, "CC0-1.0", "", "", "", "x", segments)

    def photo_bytes(self, record):
        rng = np.random.default_rng(int(record.image_id))
        return encode_image(rng.integers(0, 256, (100, 120, 3), dtype=np.uint8))

    def panoptic(self, record, width, height):
        ids = np.full((height, width), 6, np.uint32)
        ids[40:60, 20:40] = 5
        return PanopticMap(ids, record.segments)


def open_toy(spec):
    return Toy()
"""
POINTS = """[olrd.sources]
toy = toy_source:open_toy
broken = broken_source:open_broken
absent = no_such_module_at_all:open_it
nothing = toy_source:no_such_name
coco = toy_source:open_toy

[olrd.blends]
toyblend = toy_source:TOY
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution `olrd-toys`: a module, a broken module, and its entry points."""
    (tmp_path / "toy_source.py").write_text(TOY)
    (tmp_path / "broken_source.py").write_text("def open_broken(:\n")
    info = tmp_path / "olrd_toys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: olrd-toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toy_source", raising=False)
    return tmp_path


def test_an_unknown_name_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(UsageError, match=r"no source is called 'cocoa'\. Did you mean 'coco'\?") as e:
        SOURCES.get("cocoa")
    assert all(name in str(e.value) for name in SOURCES.names())
    with pytest.raises(UsageError, match=r"no blend is called 'xyzzy'\. Known: "):
        BLENDS.get("xyzzy")


@pytest.mark.parametrize("name", [None, 5, ["coco"], {}], ids=repr)
def test_a_name_that_is_no_text_is_refused(name: Any) -> None:
    with pytest.raises(UsageError, match=r"expected a text, the name of a source, got .* Known: clip, coco, "):
        SOURCES.get(name)


@pytest.mark.parametrize("registry", [SOURCES, BLENDS, PLACEMENTS, ENGINES], ids=lambda r: r.kind)
def test_every_built_in_name_can_be_imported(registry: Registry) -> None:
    for name in registry.builtin:
        assert registry.get(name)


@pytest.mark.usefixtures("plugin")
def test_a_plug_in_is_found_and_opened() -> None:
    assert "toy" in SOURCES.names()
    assert "toyblend" in BLENDS.names()
    source = open_source(SourceSpec("toy"))
    assert (source.name, len(source)) == ("toy", 3)


@pytest.mark.usefixtures("plugin")
def test_a_plug_in_source_makes_triplets() -> None:
    tally = Tally()
    maker = TripletMaker(open_source(SourceSpec("toy")), BuildConfig(SourceSpec("toy"), per_object=2))
    rows = [row for index in range(3) for row in maker.photo(index, tally)]
    assert len(rows) == 6
    assert {row["source"] for row in rows} == {"toy"}
    assert tally.balanced()


@pytest.mark.usefixtures("plugin")
def test_a_built_in_name_wins_over_a_plug_in() -> None:
    assert SOURCES.targets()["coco"] == "olrd.sources.panoptic.coco:open_coco"


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize("name", ["absent", "nothing", "broken"])
def test_a_broken_plug_in_fails_only_when_chosen(name: str) -> None:
    """An absent module, an absent name, a module that does not even compile."""
    assert name in SOURCES.names()
    assert SOURCES.get("toy")
    with pytest.raises(PluginError, match=f"'{name}' is registered as .* cannot be imported"):
        SOURCES.get(name)


@pytest.mark.slow
def test_listing_names_imports_nothing(plugin: Path) -> None:
    code = (
        "import sys; from olrd.sources import SOURCES; names = SOURCES.names(); "
        "assert 'toy' in names, names; "
        "print([m for m in ('toy_source', 'olrd.sources.panoptic.coco', 'torch') if m in sys.modules])"
    )
    root = REPOSITORY
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": f"{plugin}:{root}"}
    )
    assert done.stdout.strip() == "[]"
