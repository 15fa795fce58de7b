"""A folder of drawn photos and a real, tiny Mask2Former to segment them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from drawn_instances import DrawnInstances, draw_instances
from photo_folder import Open, picture
from PIL import Image

from olrd.models import mask2former as segmenter
from olrd.sources import SourceSpec, open_source


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Mask2Former with random weights, sharpened so that photos give several segments."""
    pytest.importorskip("torch", reason="pip install '.[models]'")
    pytest.importorskip("transformers", reason="pip install '.[models]'")
    from small_encoders import mask2former_folder

    return mask2former_folder(tmp_path_factory.mktemp("mask2former"))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of four readable photos, with things in it that are no photos."""
    monkeypatch.setenv("OLRD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(segmenter, "OVERLAP", 0.05)  # random masks overlap
    root = tmp_path / "photos"
    for name in ("a", "b/deep", ".hidden"):
        (root / name).mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, shown standing
    picture(1, 90, 120).save(root / "a/one.jpg", exif=exif)
    picture(2, 60, 90).save(root / "a/two.PNG", "PNG")
    picture(3, 90, 60).save(root / "b/deep/one.jpg")
    picture(4, 60, 60).convert("L").save(root / "grey.jpeg")
    picture(5, 60, 60).save(root / ".hidden/no.jpg")
    picture(5, 60, 60).save(root / "a/._one.jpg", "JPEG")
    (root / "notes.txt").write_text("no photo")
    return root


@pytest.fixture
def opened(root: Path, checkpoint: Path) -> Open:
    """Open the source with the tiny network, as a user would."""

    def call(**options: str) -> Any:
        options = {"checkpoint": str(checkpoint), "threshold": "0", "device": "cpu"} | options
        return open_source(SourceSpec("images", str(root), options=options))

    return call


@pytest.fixture
def segmented(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many photos each call of the network got."""
    calls: list[int] = []
    original = segmenter.Mask2FormerSegmenter.segment

    def counted(self: Any, photos: Any) -> Any:
        calls.append(len(photos))
        return original(self, photos)

    monkeypatch.setattr(segmenter.Mask2FormerSegmenter, "segment", counted)
    return calls


@pytest.fixture
def instances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DrawnInstances:
    """A drawn set of COCO instances, and a cache for the test alone."""
    monkeypatch.setenv("OLRD_CACHE", str(tmp_path / "cache"))
    return draw_instances(tmp_path / "set")
