"""MagicEraser called as a pipeline of diffusers: its arguments, forms of pictures, generators, callbacks, moves."""

from __future__ import annotations

import doctest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from micro_model import box_mask, drawn, write_model, write_plain
from PIL import Image, ImageDraw

from baselines.eraser import WeightsMissingError
from magiceraser_ref import MagicEraser
from magiceraser_ref.erase import method
from magiceraser_ref.erase.forms import pictures_of, results_of
from olrd.errors import UsageError

PHOTO, MASK = drawn(40, 48), box_mask(40, 48, (14, 10, 16, 15))
PIL_PHOTO, PIL_MASK = Image.fromarray(PHOTO), Image.fromarray(MASK.astype(np.uint8) * 255)


@pytest.fixture(scope="module")
def eraser(tmp_path_factory: pytest.TempPathFactory) -> MagicEraser:
    folder = write_model(tmp_path_factory.mktemp("call") / "micro")
    return MagicEraser.from_pretrained(folder, device="cpu", segmenter="none")


def seeded(number: int) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(number)


def called(eraser: MagicEraser, image: Any = PIL_PHOTO, mask_image: Any = PIL_MASK, **options: Any) -> Any:
    given = {"generator": seeded(0), "output_type": "np", "num_inference_steps": 2, "refocus": None} | options
    return eraser(image=image, mask_image=mask_image, **given).images


# --- the call --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_docstring_erases_a_photo() -> None:
    parser = doctest.DocTestParser()
    text = MagicEraser.__call__.__doc__ or ""
    example = parser.get_doctest(text, {}, "MagicEraser.__call__", __file__, 0)
    assert len(example.examples) >= 8
    assert doctest.DocTestRunner().run(example).failed == 0


def test_it_does_what_erase_does_under_diffusers_names(eraser: MagicEraser) -> None:
    """The seed is the only thing that the call makes itself: it is the generator's next number."""
    seed = int(torch.randint((1 << 63) - 1, (), generator=seeded(7)))
    wanted = eraser.erase(
        PHOTO, MASK, seed=seed, steps=3, strength=0.7, guidance=3, negative="cow", prompts="sky", refocus=None
    )
    found = eraser(
        image=PIL_PHOTO,
        mask_image=PIL_MASK,
        prompt="sky",
        negative_prompt="cow",
        strength=0.7,
        num_inference_steps=3,
        guidance_scale=3,
        generator=seeded(7),
        refocus=None,
    )
    assert isinstance(found, diffusers.ImagePipelineOutput) and isinstance(found.images[0], Image.Image)
    assert len(found.images) == 1 and np.array_equal(np.asarray(found.images[0]), wanted)
    assert np.array_equal(wanted[~MASK], PHOTO[~MASK]) and not np.array_equal(wanted, PHOTO)


def test_results_come_in_the_forms_of_diffusers(eraser: MagicEraser) -> None:
    (pil,) = called(eraser, output_type="pil")
    array, tensor = called(eraser), called(eraser, output_type="pt")
    assert pil.size == (48, 40) and pil.mode == "RGB"
    assert array.shape == (1, 40, 48, 3) and array.dtype == np.float32
    assert np.array_equal(np.rint(array[0] * 255).astype(np.uint8), np.asarray(pil))
    assert tensor.dtype == torch.float32 and torch.equal(tensor, torch.from_numpy(array).permute(0, 3, 1, 2))
    as_tuple = eraser(PIL_PHOTO, PIL_MASK, num_inference_steps=2, return_dict=False, generator=seeded(0), refocus=None)
    assert type(as_tuple) is tuple and np.array_equal(np.asarray(as_tuple[0][0]), np.asarray(pil))


@pytest.mark.slow
def test_photos_of_a_list_are_those_of_single_calls(eraser: MagicEraser) -> None:
    other, hole = drawn(32, 40, seed=1), box_mask(32, 40, (4, 5, 9, 9))
    pictures, masks = [PIL_PHOTO, Image.fromarray(other)], [PIL_MASK, hole]
    first, second = called(eraser, pictures, masks, generator=[seeded(1), seeded(2)], prompt=["sky", None])
    assert np.array_equal(first, called(eraser, generator=seeded(1), prompt="sky")[0])
    assert np.array_equal(second, called(eraser, other, hole, generator=seeded(2))[0])
    shared, again = seeded(3), seeded(3)
    both = called(eraser, [PHOTO, PHOTO], [MASK, MASK], generator=shared)
    assert both.shape == (2, 40, 48, 3) and not np.array_equal(both[0], both[1])
    assert np.array_equal(both[0], called(eraser, generator=again)[0])
    assert np.array_equal(both[1], called(eraser, generator=again)[0])


def test_without_a_generator_torch_seeds_the_noise(eraser: MagicEraser) -> None:
    torch.manual_seed(4)
    first, second = called(eraser, generator=None), called(eraser, generator=None)
    torch.manual_seed(4)
    assert np.array_equal(called(eraser, generator=None), first) and not np.array_equal(first, second)


@pytest.mark.slow
def test_the_callback_sees_every_step_and_may_change_tensors(eraser: MagicEraser) -> None:
    seen: list[tuple[int, int, list[str]]] = []

    def look(pipe: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        assert pipe is eraser.pipeline
        seen.append((step, int(time), sorted(tensors)))
        return tensors

    def blank(pipe: Any, step: int, time: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        return {"latents": torch.zeros_like(tensors["latents"])}

    plain = called(eraser, num_inference_steps=4, strength=1.0)
    looked = called(
        eraser,
        num_inference_steps=4,
        strength=1.0,
        callback_on_step_end=look,
        callback_on_step_end_tensor_inputs=["prompt_embeds"],
    )
    assert np.array_equal(looked, plain)
    assert seen == [(k, t, ["prompt_embeds"]) for k, t in enumerate((751, 501, 251, 1))]
    assert not np.array_equal(called(eraser, num_inference_steps=4, callback_on_step_end=blank), plain)


def test_an_error_of_the_callback_stays_what_it_is(eraser: MagicEraser) -> None:
    def wrong(*_: Any) -> dict[str, Any]:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        called(eraser, callback_on_step_end=wrong)
    with pytest.raises(UsageError, match="expected it to return a dict of tensors"):
        called(eraser, callback_on_step_end=lambda *_: None)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "output": ({"output_type": "pill"}, "Did you mean 'pil'"),
    "name of erase": ({"steps": 3}, "steps is called num_inference_steps"),
    "no name": ({"strenght": 3}, "Did you mean 'strength'"),
    "nearly": ({"num_inference_step": 2}, "no argument is called .* Did you mean 'num_inference_steps'"),
    "several": ({"num_images_per_prompt": 2}, "one result per photo; for more, give lists"),
    "old callback": ({"callback": print}, "this call has callback_on_step_end"),
    "size": ({"height": 512}, "the result has the photo's size"),
    "generator": ({"generator": 3}, r"expected a torch\.Generator or a list of them, got 3"),
    "generators": ({"generator": [seeded(0)] * 2}, "expected one per photo, 1, got 2"),
    "tensor": ({"callback_on_step_end_tensor_inputs": ["latent"]}, "Did you mean 'latents'"),
    "prompts": ({"prompt": ["a", "b"]}, "prompts: expected one per photo, 1, got 2"),
    "masks": ({"image": [PHOTO, PHOTO]}, "expected one mask per photo, 2, found one"),
    "fewer masks": ({"image": [PHOTO, PHOTO], "mask_image": [MASK]}, "expected one mask per photo, 2, found 1"),
    "size of the mask": ({"mask_image": MASK[:-1]}, r"the mask must be bool \[40, 48\]"),
    "text": ({"image": "photo.jpg"}, "image: expected a picture of Pillow, .*found 'photo.jpg'"),
    "exchanged": ({"image": MASK}, "are image and mask_image exchanged"),
    "normalised": ({"image": torch.full((3, 40, 48), -1.0)}, "floats from 0 to 1, found float32 from -1 to -1"),
    "channels": ({"image": np.zeros((40, 48, 4), np.uint8)}, r"found uint8 \[40, 48, 4\]"),
    "nan": ({"mask_image": np.full((40, 48), np.nan)}, "found float64 from nan to nan"),
    "empty": ({"mask_image": np.zeros((0, 48))}, r"found float64 \[0, 48\]"),
    "transparent": ({"image": Image.new("RGBA", (48, 40))}, "transparent, and what is behind them is unknown"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_said_before_anything_runs(
    eraser: MagicEraser, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method, "paint", None)
    options, message = WRONG[case]
    with pytest.raises(UsageError, match=message):
        called(eraser, **options)


# --- forms -----------------------------------------------------------------------------------------


def _palette() -> Image.Image:
    picture = Image.fromarray(MASK.astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 128, 0, 0])  # darker than half, as in Pascal VOC
    return picture


def _strokes() -> Image.Image:
    picture = Image.new("RGBA", (48, 40), (0, 0, 0, 0))
    ImageDraw.Draw(picture).rectangle((14, 10, 29, 24), fill=(255, 0, 0, 255))
    return picture


MASKS: dict[str, Callable[[], Any]] = {
    "L": lambda: PIL_MASK,
    "1-bit": lambda: PIL_MASK.convert("1"),
    "RGB": lambda: PIL_MASK.convert("RGB"),
    "palette": _palette,
    "strokes": _strokes,
    "soft": lambda: Image.fromarray(np.where(MASK, 128, 127).astype(np.uint8)),
    "bool": lambda: MASK,
    "bool with an axis": lambda: MASK[..., None],
    "0 and 255": lambda: MASK.astype(np.uint8) * 255,
    "0 and 1": lambda: MASK.astype(np.int64),
    "float": lambda: MASK.astype(np.float32) * 0.5,
    "tensor": lambda: torch.from_numpy(MASK)[None].float(),
    "tensor of a batch": lambda: torch.from_numpy(MASK)[None, None].half(),
}
PHOTOS: dict[str, Callable[[], Any]] = {
    "RGB": lambda: PIL_PHOTO,
    "RGBA": lambda: PIL_PHOTO.convert("RGBA"),
    "uint8": lambda: PHOTO,
    "float": lambda: PHOTO.astype(np.float32) / 255,
    "tensor": lambda: torch.from_numpy(PHOTO).permute(2, 0, 1).double() / 255,
}


@pytest.mark.parametrize("form", MASKS)
def test_masks_in_every_form(form: str) -> None:
    given = pictures_of(PHOTO, MASKS[form]())
    assert given.single and given.masks[0].dtype == np.bool_ and np.array_equal(given.masks[0], MASK)


@pytest.mark.parametrize("form", PHOTOS)
def test_photos_in_every_form(form: str) -> None:
    given = pictures_of(PHOTOS[form](), MASK)
    assert given.single and given.photos[0].dtype == np.uint8 and np.array_equal(given.photos[0], PHOTO)


def test_grey_photos_get_three_channels() -> None:
    grey = PHOTO[..., 0]
    for form in (grey, Image.fromarray(grey), torch.from_numpy(grey)[None], grey[..., None]):
        assert np.array_equal(pictures_of(form, MASK).photos[0], np.repeat(grey[..., None], 3, axis=2))


def test_stacks_are_lists() -> None:
    stack = np.stack([PHOTO, PHOTO[::-1]])
    tensors = torch.from_numpy(stack).permute(0, 3, 1, 2)
    masks = np.stack([MASK, MASK[::-1]])
    for photos in (stack, tensors, list(stack), tuple(tensors)):
        for holes in (masks, masks[..., None], torch.from_numpy(masks)[:, None], list(masks)):
            given = pictures_of(photos, holes)
            assert not given.single and len(given.photos) == 2
            assert np.array_equal(np.stack(given.photos), stack) and np.array_equal(np.stack(given.masks), masks)
    assert isinstance(results_of([PHOTO, PHOTO[:-1]], "np"), list)
    assert [t.shape[1] for t in results_of([PHOTO, PHOTO[:-1]], "pt")] == [40, 39]


# --- loading and moving ----------------------------------------------------------------------------


def test_loading_has_diffusers_arguments(tmp_path: Path) -> None:
    folder = write_plain(tmp_path / "plain")
    loaded = MagicEraser.from_pretrained(folder, torch_dtype=torch.bfloat16, device="cpu")
    assert loaded.dtype == torch.bfloat16 and loaded.device == torch.device("cpu")
    with pytest.raises(UsageError, match="dtype and torch_dtype mean the same"):
        MagicEraser.from_pretrained(folder, torch_dtype=torch.bfloat16, dtype="float32")
    with pytest.raises(UsageError, match="no dtype is called 'float64'"):
        MagicEraser.from_pretrained(folder, torch_dtype=torch.float64)
    with pytest.raises(UsageError, match=r"plain: no variant of the weights is called 'fp16'"):
        MagicEraser.from_pretrained(folder, variant="fp16")
    with pytest.raises(UsageError, match="cache_dir: expected a folder, got 3"):
        MagicEraser.from_pretrained(folder, cache_dir=3)  # type: ignore[arg-type]


def test_a_cache_elsewhere_is_searched(tmp_path: Path) -> None:
    commit = "a" * 40
    cached = tmp_path / "models--someone--inpainting"
    write_plain(cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    loaded = MagicEraser.from_pretrained("someone/inpainting", cache_dir=tmp_path, device="cpu")
    assert loaded.parts.located is not None and loaded.parts.located.folder.name == commit
    with pytest.raises(WeightsMissingError, match="hf download someone/inpainting"):
        MagicEraser.from_pretrained("someone/inpainting", cache_dir=tmp_path / "other")


def test_moving_returns_the_eraser(tmp_path: Path) -> None:
    eraser = MagicEraser.from_pretrained(write_plain(tmp_path / "plain"), initializer="mean-fill", device="cpu")
    before = called(eraser)
    assert eraser.to("cpu", torch.bfloat16) is eraser and eraser.dtype == torch.bfloat16
    assert eraser.pipeline.vae.dtype == torch.bfloat16
    assert eraser.to(torch.float32).to(torch.device("cpu")).to(device="cpu", dtype="float32") is eraser
    assert np.abs(called(eraser) - before).max() < 0.1
    for wrong, message in (
        (("gpu",), "device: expected auto, cpu, cuda"),
        (("cpu", "cpu"), "expected one device and one dtype"),
        ((torch.int8,), "no dtype is called 'int8'"),
    ):
        with pytest.raises(UsageError, match=message):
            eraser.to(*wrong)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="torch sees 0 CUDA devices"):
            eraser.to("cuda")
