"""The whole method on a micro model: what may and what may not change its output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from micro_model import CATEGORIES, box_mask, drawn, meadow, write_model, write_plain

from baselines.eraser import WeightsMissingError
from magiceraser_ref.erase.choices import Choices
from magiceraser_ref.erase.painting import Job, executed_steps
from magiceraser_ref.erase.pipeline import MagicEraser
from magiceraser_ref.refocus.settings import Refocus
from olrd.arrays import Image, Mask
from olrd.errors import UsageError

MASK = box_mask(60, 80, (50, 30, 20, 15))
PHOTO = drawn(60, 80)


@pytest.fixture(scope="module")
def eraser(tmp_path_factory: pytest.TempPathFactory) -> MagicEraser:
    folder = write_model(tmp_path_factory.mktemp("pipeline") / "micro")
    return MagicEraser.from_pretrained(folder, device="cpu")


def erased(eraser: MagicEraser, image: Image = PHOTO, mask: Mask = MASK, **options: Any) -> Image:
    return eraser.erase([image], [mask], **options)[0]


def with_map(eraser: MagicEraser, image: Image = PHOTO, mask: Mask = MASK, **options: Any) -> Image:
    panoptic = [meadow(*mask.shape)]
    return erased(eraser, image, mask, panoptic=panoptic, categories=CATEGORIES, **options)


# --- the object is never seen ----------------------------------------------------------------------


SHAPES = [(60, 80), (20, 24), (300, 260)]
WAYS: list[dict[str, Any]] = [{}, {"content": False}, {"refocus": None, "token": False}, {"composite": False}]


@pytest.mark.parametrize(  # every shape and every way with and without a map, every way with every shape
    ("shape", "options", "mapped"),
    [(shape, way, (k + n) % 2 == 0) for k, shape in enumerate(SHAPES) for n, way in enumerate(WAYS)],
)
@pytest.mark.slow
def test_pixels_under_the_mask_change_nothing(
    eraser: MagicEraser, mapped: bool, options: dict[str, Any], shape: tuple[int, int]
) -> None:
    """Below, at and above the model's resolution; the second hole has a window of its own in the
    largest photo, and lies in the first one's in the others."""
    height, width = shape
    mask = box_mask(*shape, (3, 4, 9, 7), (width - 9, height - 8, 5, 6))
    photo, other = drawn(*shape), drawn(*shape)
    other[mask] = np.random.default_rng(9).integers(0, 256, (mask.sum(), 3), dtype=np.uint8)
    run = with_map if mapped else erased
    first, second = run(eraser, photo, mask, **options), run(eraser, other, mask, **options)
    if options.get("composite", True):
        assert np.array_equal(first, second)
    assert np.array_equal(first[mask], second[mask])


def test_pixels_outside_the_mask_are_the_photos_when_compositing(eraser: MagicEraser) -> None:
    out = erased(eraser)
    assert np.array_equal(out[~MASK], PHOTO[~MASK])
    assert not np.array_equal(out[MASK], PHOTO[MASK])
    soft = erased(eraser, composite=False)
    assert not np.array_equal(soft[~MASK], PHOTO[~MASK])
    assert np.array_equal(soft[:5], PHOTO[:5])


def test_what_is_still_to_be_erased_is_hidden_from_earlier_windows(eraser: MagicEraser) -> None:
    """Two windows that overlap: the second object lies partly in the first window."""
    mask = box_mask(200, 200, (90, 60, 8, 8), (60, 100, 80, 40))
    photo, other = drawn(200, 200), drawn(200, 200)
    other[mask] = 0
    assert np.array_equal(erased(eraser, photo, mask), erased(eraser, other, mask))


# --- randomness --------------------------------------------------------------------------------------


def several() -> tuple[list[Image], list[Mask], list[str]]:
    shapes = [(60, 80), (60, 80), (33, 65), (60, 80), (9, 7)]
    masks = [box_mask(h, w, (k, k, max(2, w // 3), max(2, h // 3))) for k, (h, w) in enumerate(shapes)]
    masks[3][:] = False
    images = [drawn(*shape, seed=k) for k, shape in enumerate(shapes)]
    return images, masks, [f"photo {k}" for k in range(len(shapes))]


@pytest.mark.parametrize(("batch", "levels"), [(1, 0), (4, 1)])
@pytest.mark.slow
def test_a_result_does_not_depend_on_its_batch(eraser: MagicEraser, batch: int, levels: int) -> None:
    """Bit for bit one at a time; one grey level where the network runs on several at once."""
    images, masks, keys = several()
    singles = [erased(eraser, i, m, keys=[k]) for i, m, k in zip(images, masks, keys, strict=True)]
    order = [4, 2, 0, 3, 1]
    found = eraser.erase(
        [images[k] for k in order], [masks[k] for k in order], keys=[keys[k] for k in order], batch_size=batch
    )
    for k, one in zip(order, found, strict=True):
        assert np.abs(one.astype(int) - singles[k]).max() <= levels


def test_one_photo_gives_the_pixels_of_a_list_with_one_photo(eraser: MagicEraser) -> None:
    one = eraser.erase(
        PHOTO,
        MASK,
        panoptic=meadow(60, 80),
        categories=CATEGORIES,
        erased="sheep",
        prompts="A photo of R* grass",
        keys="a",
    )
    listed = with_map(eraser, erased=["sheep"], prompts=["A photo of R* grass"], keys=["a"])
    assert isinstance(one, np.ndarray)
    assert np.array_equal(one, listed)
    assert np.array_equal(eraser.erase(PHOTO, MASK), erased(eraser))
    with pytest.raises(UsageError, match="the mask must be bool"):
        eraser.erase(PHOTO, MASK[1:])


def test_noise_depends_on_seed_and_key(eraser: MagicEraser) -> None:
    first = erased(eraser, keys=["a"])
    assert np.array_equal(erased(eraser, keys=["a"]), first)
    assert not np.array_equal(erased(eraser, keys=["b"]), first)
    assert not np.array_equal(erased(eraser, keys=["a"], seed=1), first)


def test_inputs_are_only_read_and_empty_masks_give_a_copy(eraser: MagicEraser) -> None:
    image, mask = PHOTO.copy(), MASK.copy()
    image.flags.writeable = mask.flags.writeable = False
    erased(eraser, image, mask)
    out = erased(eraser, image, np.zeros_like(mask))
    assert np.array_equal(out, image) and not np.shares_memory(out, image)
    assert eraser.erase([], []) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (5, 7), (65, 33)])
def test_any_size_and_a_full_mask(eraser: MagicEraser, shape: tuple[int, int]) -> None:
    out = erased(eraser, drawn(*shape), np.ones(shape, bool))
    assert out.shape == (*shape, 3) and out.dtype == np.uint8


# --- every part has an effect, and can be switched off -------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"content": False},
        {"refocus": None},
        {"token": False},
        {"negative": "a cow"},
        {"steps": 3},
        {"guidance": 2.0},
        {"guidance": 1.0},
        {"strength": 0.6},
        {"rule": "rest"},
        {"void": "n"},
        {"margin": 1.0},
        {"refocus": Refocus(lambda_pos=0.9, share=1.0)},
    ],
    ids=str,
)
@pytest.mark.slow
def test_each_choice_changes_the_result(eraser: MagicEraser, change: dict[str, Any]) -> None:
    mask = box_mask(60, 80, (12, 32, 4, 10))  # over half the sheep; the cow is its like
    base = {"refocus": Refocus(share=0.8), "margin": 3.0}
    before = with_map(eraser, mask=mask, **base)
    assert not np.array_equal(with_map(eraser, mask=mask, **(base | change)), before)


def test_regions_and_prompt_come_from_the_map(eraser: MagicEraser, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Job] = []

    def paint(pipeline: Any, jobs: Sequence[Job], choices: Choices, tick: Any) -> list[Image]:
        seen.extend(jobs)
        return [job.start for job in jobs]

    monkeypatch.setattr("magiceraser_ref.erase.method.paint", paint)
    mask = box_mask(60, 80, (10, 30, 10, 15))
    with_map(eraser, mask=mask, margin=2.0)
    with_map(eraser, mask=mask, margin=2.0, erased=["truck"])
    with_map(eraser, mask=mask, prompts=["A photo of R* sea"], token=False)
    erased(eraser, mask=mask)
    by_map, named, given, bare = seen
    assert by_map.prompt == "A photo of R* grass" and bare.prompt == "A photo of R* background"
    assert given.prompt == "A photo of sea"
    assert by_map.regions is not None and named.regions is not None and bare.regions is not None
    assert by_map.regions.n.any() and by_map.regions.p.any()  # the cow, of the sheep's family
    assert not named.regions.n.any() and not bare.regions.n.any()
    assert np.array_equal(bare.regions.p, ~bare.hole)
    assert by_map.hole.shape == by_map.start.shape[:2] == by_map.regions.m.shape


def test_the_masked_photo_channels_see_the_hole_and_never_the_fill(eraser: MagicEraser) -> None:
    """What the UNet is given as mask and masked photo does not depend on the initialiser."""
    inputs: list[torch.Tensor] = []
    unet = eraser.pipeline.unet
    hook = unet.register_forward_pre_hook(lambda module, args: inputs.append(args[0].clone()))
    try:
        erased(eraser)
        count = len(inputs)
        assert count == executed_steps(eraser.choices) == 3
        erased(MagicEraser(eraser.parts, initializer="mean-fill", device="cpu"))
    finally:
        hook.remove()
    assert torch.equal(inputs[0][:, 4:], inputs[count][:, 4:])
    assert not torch.equal(inputs[0][:, :4], inputs[count][:, :4])


def test_denoising_starts_from_the_fill(eraser: MagicEraser) -> None:
    other = MagicEraser(eraser.parts, initializer="mean-fill", device="cpu")
    assert not np.array_equal(erased(other), erased(eraser))
    assert np.array_equal(erased(other, content=False), erased(eraser, content=False))


# --- other models ----------------------------------------------------------------------------------------


def test_a_plain_checkpoint_runs_without_training(tmp_path: Path) -> None:
    plain = MagicEraser.from_pretrained(write_plain(tmp_path / "plain"), device="cpu", initializer="opencv-telea")
    out = with_map(plain, steps=5)
    assert np.array_equal(out, with_map(plain, steps=5, token=False))
    assert not np.array_equal(out, with_map(plain, steps=5, refocus=None))


def test_a_saved_model_erases_the_same(eraser: MagicEraser, tmp_path: Path) -> None:
    eraser.save_pretrained(tmp_path / "again")
    again = MagicEraser.from_pretrained(tmp_path / "again", device="cpu")
    assert np.array_equal(erased(again), erased(eraser))


# --- errors --------------------------------------------------------------------------------------------


def test_a_mask_of_another_size_is_named(eraser: MagicEraser) -> None:
    with pytest.raises(UsageError, match=r"wolf: the mask must be bool \[60, 80\]"):
        erased(eraser, mask=MASK[:30], keys=["wolf"])


def test_a_map_of_another_photo_is_named(eraser: MagicEraser) -> None:
    with pytest.raises(UsageError, match="map is 40 x 30 pixels, the photo 80 x 60"):
        erased(eraser, panoptic=[meadow(30, 40)], categories=CATEGORIES)
    mixed = meadow(60, 80)._replace(segments=meadow(60, 80).segments[:2])
    with pytest.raises(UsageError, match="id 3, which is not among its segments"):
        erased(eraser, panoptic=[mixed], categories=CATEGORIES)
    with pytest.raises(UsageError, match="needs categories"):
        erased(eraser, panoptic=[meadow(60, 80)])


def test_what_does_not_fit_is_named(eraser: MagicEraser) -> None:
    with pytest.raises(UsageError, match="keys: expected one per photo, 1, got 2"):
        erased(eraser, keys=["a", "b"])
    with pytest.raises(UsageError, match="masks: expected one per photo, 1, got 0"):
        eraser.erase([PHOTO], [])
    with pytest.raises(UsageError, match=r"no choice is called 'step'\. Did you mean 'steps'"):
        erased(eraser, step=3)
    with pytest.raises(UsageError, match="--guidance must be between 0 and 50"):
        erased(eraser, guidance=-1)
    with pytest.raises(UsageError, match=r"1 step at strength 0\.5 leaves none to run"):
        erased(eraser, steps=1, strength=0.5)
    with pytest.raises(UsageError, match="no category is called 'sheeep'"):
        with_map(eraser, erased=["sheeep"])


def test_an_initialiser_without_weights_is_named_before_any_work(
    eraser: MagicEraser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LAMA_MODEL", raising=False)
    lama = MagicEraser(eraser.parts, initializer="lama", device="cpu")
    with pytest.raises(WeightsMissingError, match="lama"):
        erased(lama)
    assert erased(lama, content=False).shape == PHOTO.shape
    with pytest.raises(UsageError, match="own initializer"):
        erased(MagicEraser(eraser.parts, initializer="magiceraser"))


# --- arguments of another type -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"steps": "a"}, "--steps expects a whole number, got 'a'"),
        ({"steps": None}, "--steps expects a whole number, got None"),
        ({"steps": 2.5}, "--steps expects a whole number, got 2.5"),
        ({"strength": "a"}, "--strength expects a number, got 'a'"),
        ({"guidance": None}, "--guidance expects a number, got None"),
        ({"margin": "a"}, "--margin expects a number, got 'a'"),
        ({"dilate": 1.5}, "--dilate expects a whole number, got 1.5"),
        ({"refocus": True}, "refocus expects a Refocus or None, got True"),
        ({"refocus": "no"}, "refocus expects a Refocus or None, got 'no'"),
        ({"negative": None}, "--negative expects a text, got None"),
        ({"rule": None}, "--rule expects a text, got None"),
        ({"rule": 5}, "--rule expects a text, got 5"),
        ({"void": None}, "void expects a text, got None"),
        ({"content": "no"}, "--no-content expects True or False, got 'no'"),
        ({"token": "x"}, "--no-token expects True or False, got 'x'"),
        ({"composite": None}, "--no-composite expects True or False, got None"),
        ({"prompts": 5}, "prompts expects a text or None, got 5"),
        ({"erased": 5}, "erased expects a text or None, got 5"),
        ({"keys": 5}, "keys expects a text, got 5"),
        ({"panoptic": 5}, "panoptic expects a PanopticMap or None, got 5"),
        ({"categories": 5}, "categories: expected a list with one entry per photo, got 5"),
        ({"seed": "a"}, "seed expects a whole number, got 'a'"),
        ({"seed": math.nan}, "seed expects a whole number, got nan"),
        ({"seed": [1]}, r"seed expects a whole number, got \[1\]"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": math.nan}, "batch_size expects a whole number, got nan"),
        ({"batch_size": None}, "batch_size expects a whole number, got None"),
        ({"images": None}, "expected a photo .* or a list of photos, got a NoneType"),
        ({"images": [PHOTO], "masks": None}, "expected a list of masks for a list of photos, got a NoneType"),
        ({"images": [PHOTO], "masks": [MASK], "prompts": "grass"}, "prompts: expected a list with one entry per photo"),
        ({"images": PHOTO[:0], "masks": MASK[:0]}, r"not empty; got uint8 \[0, 80, 3\]"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_an_argument_of_another_type_is_named(eraser: MagicEraser, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        eraser.erase(**{"images": PHOTO, "masks": MASK} | options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": None}, "model: expected small, a folder or the id of a model, got None"),
        ({"model": 5}, "model: expected small, a folder or the id of a model, got 5"),
        ({"model": []}, "model: expected small, a folder or the id of a model"),
        ({"revision": 5}, "revision expects a text or None, got 5"),
        ({"device": None}, "device: expected auto, cpu, cuda or cuda:N, got None"),
        ({"dtype": None}, "expected a text, the name of a dtype, got None"),
        ({"dtype": torch.int8}, "no dtype is called 'int8'"),
        ({"initializer": 5}, "initializer: expected an eraser or its name, got 5"),
        ({"initializer": "lamaa"}, "no initializer is called 'lamaa'. Did you mean 'lama'"),
        ({"initializer": "magiceraser"}, "cannot be its own initializer"),
        ({"segmenter": 5}, "segmenter: expected a `Segmenter` or one of given, mask2former, none, got 5"),
        ({"segmenter": "givn"}, "no segmenter is called 'givn'. Did you mean 'given'"),
        ({"lora": "no"}, "lora expects True or False, got 'no'"),
        ({"choices": {"steps": 3}}, "choices expects a Choices or None, got {'steps': 3}"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_model_is_not_loaded_for_an_argument_of_another_type(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        MagicEraser.from_pretrained(**{"model": "small", "device": "cpu"} | options)


@pytest.mark.slow
def test_a_dtype_of_torch_is_the_one_of_that_name(tmp_path: Path) -> None:
    opened = MagicEraser.from_pretrained(write_model(tmp_path / "micro"), device="cpu", dtype=torch.float32)
    assert opened.pipeline.unet.dtype == torch.float32
