"""Builds with optional columns: the same bytes by every way of building."""

from __future__ import annotations

from pathlib import Path

import pytest
from built_folders import digest
from drawn_sets import DrawnSets

from olrd.builder.build import build
from olrd.builder.merge import merge
from olrd.builder.units import Share
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.dataset.record import BUILD_FILE
from olrd.engines import EngineSpec
from olrd.sources import SourceSpec
from olrd.tools.rebuild import rebuild, strip_pixels
from olrd.tools.verify import verify
from olrd.triplets.maker import TripletMaker

SHARED = {"per_object": 2, "shard_bytes": 400_000}
KINDS = {
    "objects": {"objects": (1, 3), "flip": True, "mask_style": ("exact", "grown", "box")},
    "shadows": {"shadow": "cast", "objects": (1, 2), "mask_style": ("exact", "grown")},
}


@pytest.fixture(scope="module")
def root(drawn: DrawnSets) -> Path:
    return drawn.photos(7, 9)


@pytest.fixture(scope="module", params=KINDS)
def config(request: pytest.FixtureRequest, root: Path) -> BuildConfig:
    return BuildConfig(SourceSpec("coco", str(root)), **SHARED, **KINDS[request.param])


@pytest.mark.slow
def test_verify_finds_nothing(full: Path, recipes: Path) -> None:
    assert verify(full)["problems"] == verify(recipes)["problems"] == []


@pytest.mark.slow
def test_two_workers_give_the_same_bytes(config: BuildConfig, full: Path, tmp_path: Path) -> None:
    build(config, tmp_path / "out", engine=EngineSpec(workers=2))
    assert digest(tmp_path / "out") == digest(full)


@pytest.mark.slow
def test_a_stopped_build_goes_on(
    config: BuildConfig, full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, real = [], TripletMaker.photo

    def stops(self: TripletMaker, index: int, tally: object) -> object:
        made.append(index)
        if len(made) == 5:
            raise KeyboardInterrupt
        return real(self, index, tally)  # type: ignore[arg-type]

    monkeypatch.setattr(TripletMaker, "photo", stops)
    with pytest.raises(KeyboardInterrupt):
        build(config, tmp_path / "out")
    monkeypatch.undo()
    assert not (tmp_path / "out" / BUILD_FILE).exists()
    build(config, tmp_path / "out")
    assert digest(tmp_path / "out") == digest(full)


@pytest.mark.slow
def test_merged_shares_are_the_build(config: BuildConfig, full: Path, tmp_path: Path) -> None:
    shares = [tmp_path / "0", tmp_path / "1"]
    for part, folder in enumerate(shares):
        build(config, folder, share=Share(part, 2))
    merge(shares, tmp_path / "out")
    assert digest(tmp_path / "out") == digest(full)


@pytest.mark.slow
def test_recipes_are_rebuilt_and_stripped(full: Path, recipes: Path, root: Path, tmp_path: Path) -> None:
    rebuild(recipes, root, tmp_path / "out")
    assert digest(tmp_path / "out") == digest(full)
    (tmp_path / "stripped").mkdir()
    strip_pixels(Dataset(full), tmp_path / "stripped")
    assert digest(tmp_path / "stripped") == digest(recipes)
