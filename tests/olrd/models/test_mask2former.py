"""From a network's queries to segments: the official rule, exact areas, the right categories."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from places import SAMPLES
from property_examples import examples

from olrd.errors import SourceError, UsageError
from olrd.models import mask2former as segmenter
from olrd.models.checkpoints import choose_device, load_model
from olrd.models.coco_categories import coco_categories, label_categories
from olrd.models.mask2former import colour_id, panoptic_inference, to_segmentation
from olrd.panoptic import Category, PanopticMap, check_panoptic

torch = pytest.importorskip("torch", reason="pip install '.[models]'")
transformers = pytest.importorskip("transformers", reason="pip install '.[models]'")

COCO = SAMPLES / "data" / "coco" / "annotations"


def test_coco_categories_are_the_official_ones() -> None:
    ours = list(coco_categories().values())
    assert [sum(c.isthing for c in ours), len(ours)] == [80, 133]
    assert ours[0] == Category(1, "person", "person", True)
    assert ours[-1] == Category(200, "rug-merged", "textile", False)
    path = COCO / "panoptic_train2017.json"
    if not path.exists():
        pytest.skip(f"the sample data is not at {COCO} (OLRD_TEST_DATA names its folder)")
    official = json.loads(path.read_text())["categories"]
    assert [c._asdict() for c in ours] == [c | {"isthing": bool(c["isthing"])} for c in official]


def plain_inference(classes: Any, masks: Any, threshold: float) -> list[tuple[int, Any]]:
    """The official rule with loops over pixels, for a map of the masks' own size."""
    chances = np.exp(classes) / np.exp(classes).sum(1, keepdims=True)
    kept = []
    for query, chance in enumerate(chances):
        label = int(chance.argmax())
        if label != len(chance) - 1 and chance[label] > threshold:
            kept.append((label, chance[label], 1 / (1 + np.exp(-masks[query]))))
    height, width = masks.shape[1:]
    won = np.full((height, width), -1)
    for y in range(height):
        for x in range(width):
            weights = [score * mask[y, x] for _, score, mask in kept]
            won[y, x] = int(np.argmax(weights)) if weights else -1
    found = []
    for query, (label, _, mask) in enumerate(kept):
        inside, mine = mask >= 0.5, won == query
        if (inside & mine).any() and mine.sum() / inside.sum() >= segmenter.OVERLAP:
            found.append((label, inside & mine))
    return found


@examples(80)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([0.0, 0.3, 0.8]))
def test_inference_is_the_official_rule(seed: int, queries: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    # Moderate logits: saturated ones tie in float32 and not in the oracle's float64.
    classes = rng.normal(0, 2, (queries, 4)).astype(np.float32)
    centres = rng.normal(0, 2, (queries, 1, 1))
    masks = (rng.normal(0, 1, (queries, 5, 7)) + centres).astype(np.float32)
    numbered, labels = panoptic_inference(torch.from_numpy(classes), torch.from_numpy(masks), (5, 7), threshold)
    expected = plain_inference(classes, masks, threshold)
    assert list(labels.values()) == [label for label, _ in expected]
    for number, (_, mask) in enumerate(expected, start=1):
        np.testing.assert_array_equal(numbered == number, mask)
    assert set(np.unique(numbered).tolist()) <= {0, *labels}


def blocks(labels: list[int], certain: float = 30.0) -> tuple[Any, Any]:
    """Queries with certain classes and sharp masks: vertical stripes side by side."""
    classes = torch.full((len(labels), 5), -certain)
    masks = torch.full((len(labels), 4 * len(labels), 4 * len(labels)), -certain)
    for number, label in enumerate(labels):
        classes[number, label] = certain
        masks[number, :, 4 * number : 4 * number + 4] = certain
    return classes, masks


@pytest.mark.parametrize("labels", [[0], [0, 1], [3, 2, 0], [0, 0, 1, 3, 3]])
def test_sharp_masks_agree_with_transformers(labels: list[int]) -> None:
    """Where masks are sharp, transformers' own post-processing gives the same segments."""
    classes, masks = blocks(labels)
    outputs = SimpleNamespace(class_queries_logits=classes[None], masks_queries_logits=masks[None])
    processor = transformers.Mask2FormerImageProcessor()
    theirs = processor.post_process_panoptic_segmentation(
        outputs, threshold=0.8, label_ids_to_fuse=set(), target_sizes=[(384, 384)]
    )[0]
    numbered, found = panoptic_inference(classes, masks, (384, 384), 0.8)
    assert [entry["label_id"] for entry in theirs["segments_info"]] == list(found.values())
    np.testing.assert_array_equal(numbered, theirs["segmentation"].numpy())


KINDS = {
    0: Category(10, "cup", "kitchen", True),
    1: Category(11, "hat", "wear", True),
    2: Category(20, "sky", "", False),
    3: Category(21, "sea", "", False),
}


def test_stuff_is_fused_and_things_are_not() -> None:
    """Sky, cup, sky, cup: three segments with three ids (transformers would reuse one)."""
    classes, masks = blocks([2, 0, 2, 0])
    result = to_segmentation(*panoptic_inference(classes, masks, (16, 16), 0.8), KINDS, (16, 16))
    assert [(s.category_id, s.area) for s in result.segments] == [(20, 128), (10, 64), (10, 64)]
    assert len({s.id for s in result.segments}) == 3
    assert result.segments[0].bbox == (0, 0, 12, 16)


def test_pixels_outside_every_mask_are_void() -> None:
    classes, masks = blocks([0, 2])
    masks[:, :, 6:] = -30.0
    result = to_segmentation(*panoptic_inference(classes, masks, (8, 8), 0.8), KINDS, (8, 8))
    assert [s.area for s in result.segments] == [32, 16]
    assert (result.ids[:, 6:] == 0).all()


@examples(80)
@given(
    numbered=arrays_of.arrays(np.int32, st.tuples(st.integers(1, 8), st.integers(1, 8)), elements=st.integers(-1, 6)),
    labels=st.lists(st.sampled_from([0, 1, 2, 3]), min_size=6, max_size=6),
    factor=st.integers(1, 3),
)
def test_segments_describe_their_map(numbered: Any, labels: list[int], factor: int) -> None:
    numbers = dict(enumerate(labels, start=1))
    height, width = numbered.shape[0] * factor, numbered.shape[1] * factor
    result = to_segmentation(numbered, numbers, KINDS, (height, width, 3))
    categories = {category.id: category for category in KINDS.values()}
    # Areas, boxes and ids are exact.
    check_panoptic("a.png", PanopticMap(*result), (width, height), categories)
    large = np.kron(np.maximum(numbered, 0), np.ones((factor, factor), np.int32))
    np.testing.assert_array_equal(result.ids > 0, large > 0)
    kind = {segment.id: segment.category_id for segment in result.segments}
    for number, label in numbers.items():
        for found in np.unique(result.ids[large == number]):
            assert kind[int(found)] == KINDS[label].id
    stuff = [s.category_id for s in result.segments if not categories[s.category_id].isthing]
    things = [s for s in result.segments if categories[s.category_id].isthing]
    assert len(stuff) == len(set(stuff))
    assert len(things) == sum(
        KINDS[label].isthing and bool((numbered == number).any()) for number, label in numbers.items()
    )


def test_colour_ids_are_distinct_and_apart() -> None:
    ids = [colour_id(number) for number in range(1, 5000)]
    assert len(set(ids)) == len(ids)
    assert 0 < min(ids) <= max(ids) < 1 << 24
    colours = np.array([[i & 255, i >> 8 & 255, i >> 16] for i in ids[:50]])
    gaps = np.abs(colours[:, None] - colours[None]).max(-1)
    assert gaps[~np.eye(50, dtype=bool)].min() >= 16


def test_label_categories() -> None:
    names = list(coco_categories())
    shuffled = dict(enumerate(reversed(names)))
    assert label_categories("c", shuffled)[0] == coco_categories()["rug-merged"]
    other = {0: "wall", 1: "bed ", 2: "lamp"}
    found = label_categories("c", other, things=["bed", "lamp"])
    assert [(c.id, c.name, c.isthing) for c in found.values()] == [
        (0, "wall", False),
        (1, "bed", True),
        (2, "lamp", True),
    ]
    assert label_categories("c", other, stuff=[0]) == found
    with pytest.raises(UsageError, match="say which labels are things"):
        label_categories("c", other)
    with pytest.raises(UsageError, match="Did you mean 'lamp'"):
        label_categories("c", other, things=["lamb"])
    with pytest.raises(SourceError, match="knows no background"):
        label_categories("c", {0: "person", 1: "car"})


def test_device_and_checkpoint_errors(tmp_path: Path) -> None:
    assert choose_device("auto", "a test") in ("cpu", "cuda", "mps")
    assert choose_device("cpu", "a test") == "cpu"
    with pytest.raises(UsageError, match="expected auto, cpu, cuda"):
        choose_device("gpu", "a test")
    with pytest.raises(UsageError, match="CUDA devices"):
        choose_device("cuda:99", "a test")
    # A checkpoint of another architecture must not be filled up with random weights.
    small = transformers.SwinConfig(embed_dim=8, depths=[1], num_heads=[1], image_size=32)
    transformers.SwinModel(small).save_pretrained(tmp_path)
    with pytest.raises(SourceError, match="does not hold"):
        load_model(transformers.SwinForImageClassification, str(tmp_path), None)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(SourceError, match=r"model\.safetensors"):
        load_model(transformers.SwinModel, str(tmp_path), None)
