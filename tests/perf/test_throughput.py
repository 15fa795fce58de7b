"""The photos that the benchmarks of builds list several times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from drawn_sets import DrawnSets

from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.sources import SourceSpec, open_source
from perf.throughput import beside_codecs, codec_jobs, repeated


@pytest.mark.parametrize("photos", [True, False])
def test_repeated_photos_are_a_source(drawn: DrawnSets, tmp_path: Path, photos: bool) -> None:
    root = drawn.photos(12)
    source = open_source(SourceSpec("coco", str(repeated(root, 3, tmp_path / "photos", photos))))
    assert len(source) == 36 and len({source.image_id(index) for index in range(36)}) == 36
    listed = json.loads((root / "annotations" / "panoptic_train2017.json").read_text())["images"]
    stored = sum(1 for path in (tmp_path / "photos" / "train2017").iterdir())
    assert stored == (3 * len(listed) if photos else 0)


@pytest.mark.usefixtures("no_sample_sheet")
@pytest.mark.slow
def test_the_codecs_alone_are_part_of_the_build(drawn: DrawnSets, tmp_path: Path) -> None:
    config = BuildConfig(SourceSpec("coco", str(repeated(drawn.photos(12), 2, tmp_path / "photos"))))
    rows = build(config, tmp_path / "out")["totals"]["triplets"]
    jobs = codec_jobs(config, tmp_path / "out")
    assert len(jobs) > 2 * rows  # image and mask of every triplet, and the photos
    rest, alone = beside_codecs(config, tmp_path / "again", jobs)
    assert rest > 0 and alone > 0
