"""The embedded demo set: small, real, free, and as valid as COCO itself."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from places import REPOSITORY

from olrd.cli.build import main as olrd_build
from olrd.dataset.folder import Dataset
from olrd.licenses import is_permissive
from olrd.models.coco_categories import coco_categories
from olrd.panoptic import check_panoptic
from olrd.sources import SourceSpec, open_source
from olrd.sources.panoptic.coco import DEMO_ROOT
from olrd.tools.verify import verify
from olrd.triplets.scene import open_scene


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    path = DEMO_ROOT / "annotations" / "panoptic_demo.json"
    value: dict[str, Any] = json.loads(path.read_text())
    return value


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `olrd-build --source coco --out OUT` gives a new user."""
    out = tmp_path_factory.mktemp("demo") / "out"
    assert olrd_build(["--source", "coco", "--out", str(out), "--workers", "2"]) == 0
    return out


def test_all_of_it_is_under_3_mb() -> None:
    assert sum(p.stat().st_size for p in DEMO_ROOT.rglob("*") if p.is_file()) < 3_000_000


def test_it_travels_in_the_package() -> None:
    """Every file matches the pattern of package data and lies inside the package."""
    import tomllib

    project = REPOSITORY / "pyproject.toml"
    data = tomllib.loads(project.read_text())["tool"]["setuptools"]["package-data"]["olrd"]
    assert "sources/demo_photos/**/*" in data
    assert DEMO_ROOT.parts[-3:] == ("olrd", "sources", "demo_photos")
    suffixes = {p.suffix for p in DEMO_ROOT.rglob("*") if p.is_file()}
    assert suffixes == {".jpg", ".png", ".json", ".md"}


def test_there_are_enough_photos_with_several_stuff_regions(document: dict[str, Any]) -> None:
    kinds = {kind["id"]: kind for kind in document["categories"]}
    several = 0
    for note in document["annotations"]:
        stuff = [s for s in note["segments_info"] if not kinds[s["category_id"]]["isthing"]]
        several += len(stuff) >= 2
    assert len(document["images"]) >= 12
    assert several >= 12


@pytest.mark.slow
def test_there_are_enough_movable_objects(built: Path) -> None:
    """Objects that pass every candidate rule, and among them those that the default build moves."""
    totals = Dataset(built).record.to_json()["totals"]
    movable = totals["objects_used"] + sum(
        totals["objects_rejected"].get(code, 0) for code in ("no_position", "no_surface", "over_limit")
    )
    assert movable >= 12
    rows = list(Dataset(built).rows(["image_id", "segment_id"]))
    assert len({(row["image_id"], row["segment_id"]) for row in rows}) >= 8


def test_every_record_passes_every_check() -> None:
    source = open_source(SourceSpec("coco"))
    for number in range(len(source)):
        record = source.record(number)
        panoptic = source.panoptic(record, record.width, record.height)
        checked = check_panoptic(record.file_name, panoptic, (record.width, record.height), source.categories)
        assert len(checked.segments) >= 2
        scene = open_scene(source, record, None, 64_000_000)
        assert scene.background.mean() > 0.1
        assert (checked.index == 0).mean() < 0.25  # void: real COCO has 10 % on average


def test_the_categories_are_the_official_list(document: dict[str, Any]) -> None:
    official = [c._asdict() | {"isthing": int(c.isthing)} for c in coco_categories().values()]
    key = "id"
    assert sorted(document["categories"], key=lambda c: c[key]) == sorted(official, key=lambda c: c[key])
    assert len(official) == 133


def test_every_photo_has_its_attribution(document: dict[str, Any]) -> None:
    lines = (DEMO_ROOT / "ATTRIBUTION.md").read_text().splitlines()
    licenses = {entry["id"]: entry for entry in document["licenses"]}
    files = sorted(path.name for path in (DEMO_ROOT / "demo").iterdir())
    assert files == sorted(image["file_name"] for image in document["images"])
    for image in document["images"]:
        (line,) = [line for line in lines if line.startswith(f"| {image['file_name']} |")]
        assert licenses[image["license"]]["url"] in line
        assert image["author"] and image["author"] in line
        assert image["source_url"].startswith("https://")
        assert re.search(r"https://\S+", line)


def test_every_licence_is_permissive_and_without_share_alike(document: dict[str, Any]) -> None:
    source = open_source(SourceSpec("demo"))
    codes = Counter(source.record(number).license for number in range(len(source)))
    assert all(is_permissive(code) for code in codes), codes
    assert not [code for code in codes if "-SA-" in code or "-NC" in code or "-ND" in code]
    used = {image["license"] for image in document["images"]}
    assert used <= {entry["id"] for entry in document["licenses"]}


def test_photos_are_jpegs_without_orientation_and_metadata(document: dict[str, Any]) -> None:
    for image in document["images"]:
        with Pillow.open(DEMO_ROOT / "demo" / image["file_name"]) as photo:
            assert (photo.format, photo.mode) == ("JPEG", "RGB")
            assert photo.size == (image["width"], image["height"])
            assert 0x0112 not in photo.getexif()


@pytest.mark.slow
@pytest.mark.slow
def test_the_demo_builds_and_verifies(built: Path) -> None:
    build = Dataset(built).record.to_json()
    assert len(Dataset(built)) >= 12
    assert build["totals"]["photos_rejected"] == {}
    assert build["source"]["name"] == "demo"
    assert build["command"].startswith("olrd-build --source coco")
    assert verify(built, workers=2)["problems"] == []


@pytest.mark.slow
def test_rows_carry_the_attribution(built: Path, document: dict[str, Any]) -> None:
    images = {str(image["id"]): image for image in document["images"]}
    for row in Dataset(built).rows(["image_id", "author", "source_url", "license", "source"]):
        image = images[row["image_id"]]
        assert (row["author"], row["source_url"]) == (image["author"], image["source_url"])
        assert row["source"] == "demo"
