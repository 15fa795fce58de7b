"""Panoptic maps as hints: only for erasers that want them, from the source that a set was built from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_sets import DrawnSets
from synthetic_coco import write_coco

import benchmark.runner.inputs as inputs
from baselines.eraser import EraserInfo, Hints
from benchmark.datasets import Annotated, open_dataset
from benchmark.disturbances import disturbed, parsed
from benchmark.runner.inputs import open_inputs
from benchmark.runner.request import Request
from benchmark.runner.run import run
from olrd.arrays import Image, Mask
from olrd.config import BuildConfig
from olrd.errors import SourceError
from olrd.sources import SourceSpec, open_source


class Curious:
    """An eraser that notes its hints."""

    def __init__(self, *wants: str) -> None:
        self.info = EraserInfo("curious", "1", "none", wants=frozenset(wants))
        self.hints: list[Hints] = []

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        self.hints += hints or []
        return [image.copy() for image in images]


@pytest.fixture(scope="module")
def built(coco_root: Path, drawn: DrawnSets, no_sample_sheets: None) -> tuple[Path, Path]:
    """(the source's folder, triplets of its photos at another size). Shared: do not write into it."""
    return coco_root, drawn.built(BuildConfig(SourceSpec("coco", str(coco_root)), size=64))


def test_a_map_is_the_background_photos_at_the_samples_size(built: tuple[Path, Path]) -> None:
    root, out = built
    data = open_dataset("olrd", str(out), {"maps": str(root)})
    source = open_source(SourceSpec("coco", str(root)))
    sample = data.sample(0)
    assert sample.annotated is not None and sample.twin is not None
    found = sample.annotated()
    assert isinstance(found, Annotated) and found is sample.annotated()
    ids, segments = found.panoptic
    assert ids.shape == sample.mask.shape and min(ids.shape) == 64
    assert set(np.unique(ids)) <= {0, *(segment.id for segment in segments)}
    assert dict(found.categories) == dict(source.categories)
    # Where the object's original stands, the map shows a thing of its category.
    box = sample.twin
    middle = ids[box.y + box.h // 2, box.x + box.w // 2]
    (there,) = [s for s in segments if s.id == middle]
    assert found.categories[there.category_id].name == sample.category


def test_without_its_source_a_set_has_no_maps(built: tuple[Path, Path]) -> None:
    root, out = built
    assert open_dataset("olrd", str(out)).sample(0).annotated is None
    with pytest.raises(SourceError, match="has no build"):
        open_dataset("olrd", str(root), {"maps": str(root)})


@pytest.mark.slow
def test_the_maps_of_another_source_are_refused(built: tuple[Path, Path], tmp_path: Path) -> None:
    other = write_coco(tmp_path / "other", seed=99)
    sample = open_dataset("olrd", str(built[1]), {"maps": str(other)}).sample(0)
    assert sample.annotated is not None
    with pytest.raises(SourceError, match="not those that the dataset was built from"):
        sample.annotated()


@pytest.mark.slow
def test_the_embedded_demo_always_has_maps() -> None:
    sample = open_dataset("olrd").sample(0)
    assert sample.annotated is not None
    found = sample.annotated()
    assert found is not None and found.panoptic.ids.shape == sample.mask.shape


@pytest.mark.parametrize("wants", [(), ("panoptic",)])
def test_a_run_reads_maps_only_for_erasers_that_want_them(
    wants: tuple[str, ...], built: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    curious, read = Curious(*wants), list[str]()
    of = inputs.open_dataset("olrd", str(built[1]), {"maps": str(built[0])})._maps  # type: ignore[attr-defined]
    original = type(of).of

    def noted(self: Any, image_id: str, size: tuple[int, int]) -> Any:
        read.append(image_id)
        return original(self, image_id, size)

    monkeypatch.setattr(type(of), "of", noted)
    monkeypatch.setattr(inputs, "open_eraser", lambda *_: curious)
    request = Request(
        method="curious",
        root=str(built[1]),
        data_options={"maps": str(built[0])},
        protocol="native",
        limit=3,
        device="cpu",
    )
    assert open_inputs(request).identity.hints == (("panoptic",) if wants else None)
    run(request, tmp_path / "out")
    assert len(curious.hints) == 3 and len(read) == (3 if wants else 0)
    for hint in curious.hints:
        assert hint.category
        assert (hint.panoptic is not None) == (hint.categories is not None) == bool(wants)


@pytest.mark.slow
def test_a_run_with_a_disturbed_map_gives_the_eraser_that_map(
    built: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, out = built
    (tmp_path / "p.json").write_text('{"name": "p", "version": 1, "metrics": ["psnr"]}')
    data = {"dataset": "olrd", "root": str(out), "data_options": {"maps": str(root)}}
    common = {**data, "method": "curious", "protocol": str(tmp_path / "p.json"), "limit": 2, "device": "cpu"}
    samples = [open_dataset("olrd", str(out), {"maps": str(root)}).sample(k) for k in range(2)]
    for text in ("map-blocks:8", "map-none"):
        eraser = Curious("panoptic")
        monkeypatch.setattr(inputs, "open_eraser", lambda *_, eraser=eraser: eraser)
        done = run(Request(**common, disturbance=text), tmp_path / text.replace(":", "-"))  # type: ignore[arg-type]
        given = {hint.key: hint.panoptic for hint in eraser.hints}
        assert done.summary.n == 2
        for sample in samples:
            expected = disturbed(sample, parsed(text), 0).given.annotated
            found, made = given[sample.id], expected() if expected else None
            assert (found is None) == (made is None) == (text == "map-none")
            if found and made:
                assert np.array_equal(found.ids, made.panoptic.ids) and found.segments == made.panoptic.segments
        assert ("map_agreement" in done.summary.facts) == (text != "map-none")
