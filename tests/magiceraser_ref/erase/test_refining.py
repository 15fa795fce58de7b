"""Large holes: windows that agree, noise that agrees, a bounded amount of work, and only the hole's pixels change."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from micro_model import CATEGORIES, box_mask, drawn, meadow, write_model

from magiceraser_ref.erase import refining, tiling
from magiceraser_ref.erase.canvas import canvas_of
from magiceraser_ref.erase.choices import Choices
from magiceraser_ref.erase.pipeline import MagicEraser
from magiceraser_ref.erase.refining import passes_of, scales
from magiceraser_ref.erase.tiling import Grid, grid_of, starts, tiled_unet, weights_of
from magiceraser_ref.erase.windows import Part, window_of
from magiceraser_ref.refocus.settings import Refocus
from olrd.arrays import Image, Mask
from olrd.errors import UsageError

PHOTO, MASK = drawn(120, 150), box_mask(120, 150, (40, 30, 60, 50))
"""The hole's window is 120 pixels, the model's resolution 32: it is reduced by 3.75."""
SIDE = 8
"""Cells of a window: 32 pixels of 4 each."""


@pytest.fixture(scope="module")
def eraser(tmp_path_factory: pytest.TempPathFactory) -> MagicEraser:
    folder = write_model(tmp_path_factory.mktemp("refining") / "micro")
    return MagicEraser.from_pretrained(folder, device="cpu")


def erased(eraser: MagicEraser, image: Image = PHOTO, mask: Mask = MASK, **options: Any) -> Image:
    found: Image = eraser.erase(image, mask, **{"refine": "on", "refocus": None, "steps": 4} | options)
    return found


# --- windows -----------------------------------------------------------------------------------------


def test_intervals_cover_everything_and_overlap() -> None:
    for side in (1, 2, 3, 8, 32, 64):
        for length in range(1, 200):
            found = starts(length, side)
            assert found[0] == 0 and found[-1] == max(0, length - side)
            gaps = np.diff(found)
            assert (gaps > 0).all() and (gaps <= max(1, 0.75 * side)).all()


def test_a_grid_has_no_more_windows_than_it_needs() -> None:
    assert grid_of(8, 5, 8) == Grid(8, 5, ((0, 0),))
    assert grid_of(14, 8, 8) == Grid(8, 8, ((0, 0), (6, 0)))
    assert len(grid_of(15, 8, 8).corners) == 3
    weights = weights_of(7, 32)
    assert weights.shape == (7, 32) and weights.min() > 0
    assert weights.argmax() // 32 == 3


@pytest.mark.parametrize(
    ("reduced", "expected"),
    [(1.6, [1]), (2, [1]), (3, [2 / 3, 1]), (8, [0.25, 0.5, 1]), (11, [2 / 11, 4 / 11, 8 / 11, 1])],
)
def test_scales_double_up_to_the_photos_own(reduced: float, expected: list[float]) -> None:
    assert scales(reduced) == pytest.approx(expected)


def planned(mask: Mask, resolution: int = 32, **options: Any) -> list[refining.Pass]:
    part = Part(window_of(mask, resolution), mask)
    first = canvas_of(part.window.w, part.window.h, resolution, 4)
    return passes_of(part, first, Choices(**{"refine": "auto"} | options), resolution, 4)


def test_only_reduced_windows_are_refined() -> None:
    small, medium = box_mask(120, 150, (50, 40, 16, 16)), box_mask(120, 150, (50, 40, 22, 22))
    assert planned(small) == [] == planned(small, refine="on")
    assert planned(medium) == [] and len(planned(medium, refine="on")) == 1
    assert planned(MASK, refine="off") == []
    assert [one.canvas.content for one in planned(MASK)] == [(48, 43), (76, 66)]


def test_the_work_is_bounded(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What would need more windows stays at the scale before, which is said."""
    assert [len(one.grid.corners) for one in planned(MASK)] == [4, 9]
    monkeypatch.setattr(refining, "MOST_WINDOWS", 8)
    assert [len(one.grid.corners) for one in planned(MASK)] == [4]
    assert "needs 9 windows of 32 pixels, more than 8" in capsys.readouterr().err


# --- the averaged UNet -------------------------------------------------------------------------------


class Denoiser(torch.nn.Module):
    """Stands for a UNet: a prediction that depends on the whole window, on the time, and on the prompt."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, ...]] = []

    def forward(self, sample: Any, time: Any, encoder_hidden_states: Any, return_dict: bool = True) -> Any:
        self.calls.append(tuple(sample.shape))
        level = sample.mean((1, 2, 3), keepdim=True) + encoder_hidden_states.mean((1, 2))[:, None, None, None]
        return (torch.tanh(sample[:, :4] * 1.5 + level) + time / 1000,)


def naive(model: Denoiser, latents: Any, states: Any, side: int, scheduler: Any) -> Any:
    """MultiDiffusion as its paper has it: each window takes its own step, then the latents are averaged."""
    grid = grid_of(*latents.shape[-2:], side)
    for time in scheduler.timesteps:
        sums, shares = torch.zeros_like(latents), torch.zeros(latents.shape[-2:])
        for top, left in grid.corners:
            here = slice(top, top + grid.height), slice(left, left + grid.width)
            crop = latents[:, :, here[0], here[1]]
            low, high = (model(crop, time, one)[0] for one in states.chunk(2))
            stepped = scheduler.step(low + 7.5 * (high - low), time, crop).prev_sample
            down, across = (np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 for side in (grid.height, grid.width))
            weights = torch.from_numpy(np.outer(down, across)).float()
            sums[:, :, here[0], here[1]] += weights * stepped
            shares[here] += weights
        latents = sums / shares
    return latents


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_averaged_predictions_give_the_latents_of_multidiffusion(batch: int) -> None:
    from diffusers import DDIMScheduler

    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, 13, 19, generator=generator)
    states = torch.randn(2, 3, 5, generator=generator)
    model, scheduler = Denoiser(), DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(5)
    expected = naive(model, latents, states, SIDE, scheduler)
    model.calls.clear()
    grid = grid_of(13, 19, SIDE)
    with tiled_unet(model, grid, batch, 4):
        for time in scheduler.timesteps:
            both = model(torch.cat([latents] * 2), time, encoder_hidden_states=states, return_dict=False)[0]
            low, high = both.chunk(2)
            latents = scheduler.step(low + 7.5 * (high - low), time, latents).prev_sample
    assert torch.allclose(latents, expected, atol=1e-4)
    windows = len(grid.corners)
    assert sum(shape[0] for shape in model.calls) == 5 * 2 * windows
    assert max(shape[0] for shape in model.calls) == 2 * min(batch, windows)
    assert {shape[1:] for shape in model.calls} == {(4, SIDE, SIDE)}
    model.calls.clear()
    model(torch.cat([latents] * 2), 1, states)
    assert model.calls == [(2, 4, 13, 19)]  # after the block the UNet is its own again


@pytest.mark.slow
def test_one_window_is_the_network_itself(eraser: MagicEraser) -> None:
    unet = eraser.pipeline.unet
    sample, states = torch.randn(2, 9, 7, 8), torch.randn(2, 5, 16)
    with torch.no_grad():
        expected = unet(sample, 300, encoder_hidden_states=states, return_dict=False)[0]
        with tiled_unet(unet, grid_of(7, 8, SIDE), 1, 4):
            found = unet(sample, 300, encoder_hidden_states=states, return_dict=False)[0]
    assert torch.equal(found, expected)


def test_windows_agree_where_they_overlap_if_the_network_is_local() -> None:
    """A network that looks at single cells gives the same through any windows."""

    class Local(torch.nn.Module):
        def forward(self, sample: Any, time: Any, return_dict: bool = True) -> Any:
            return (sample.tanh(),)

    model, sample = Local(), torch.randn(1, 4, 21, 30)
    for side in (3, 8, 20, 64):
        with tiled_unet(model, grid_of(21, 30, side), 3, 4):
            assert torch.allclose(model(sample, 1)[0], sample.tanh(), atol=1e-6)


def test_sdxl_is_told_the_windows_size() -> None:
    class Told(torch.nn.Module):
        def forward(self, sample: Any, time: Any, added_cond_kwargs: Any = None, return_dict: bool = True) -> Any:
            self.told = added_cond_kwargs
            return (sample,)

    model = Told()
    added = {"time_ids": torch.tensor([[80.0, 96, 0, 0, 80, 96]] * 2), "text_embeds": torch.arange(6.0).view(2, 3)}
    with tiled_unet(model, grid_of(10, 12, SIDE), 3, 8):
        model(torch.randn(2, 4, 10, 12), 1, added_cond_kwargs=added)
    assert model.told["time_ids"][0].tolist() == [64, 64, 0, 0, 64, 64]
    assert model.told["text_embeds"].tolist() == [[0, 1, 2], [3, 4, 5]]  # the last of four windows
    with tiled_unet(model, grid_of(10, 12, SIDE), 2, 8):
        model(torch.randn(2, 4, 10, 12), 1, added_cond_kwargs=added)
    assert model.told["text_embeds"].tolist() == [[0, 1, 2]] * 2 + [[3, 4, 5]] * 2


# --- the whole ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_refining_changes_the_holes_pixels_and_no_others(eraser: MagicEraser) -> None:
    off, on, auto = (erased(eraser, refine=word) for word in ("off", "on", "auto"))
    assert np.array_equal(on[~MASK], PHOTO[~MASK])
    assert not np.array_equal(on[MASK], off[MASK])
    assert np.array_equal(auto, on)
    small = box_mask(120, 150, (50, 40, 16, 16))
    assert np.array_equal(erased(eraser, mask=small), erased(eraser, mask=small, refine="off"))


@pytest.mark.slow
def test_pixels_under_the_mask_change_nothing(eraser: MagicEraser) -> None:
    """Two holes: the second lies in the region of the first one's passes, and is then erased already."""
    mask = MASK | box_mask(120, 150, (112, 60, 6, 6))
    other = PHOTO.copy()
    other[mask] = 255 - other[mask]
    assert np.array_equal(erased(eraser, mask=mask), erased(eraser, other, mask))


@pytest.mark.slow
def test_the_result_depends_on_the_seed_and_not_on_the_batch(eraser: MagicEraser) -> None:
    one = erased(eraser)
    # Each of the two passes rounds to grey levels, and the second one starts from the first one's.
    assert np.abs(erased(eraser, batch_size=7).astype(int) - one).max() <= 2
    medium = box_mask(120, 150, (40, 30, 30, 28))  # a single pass
    found = [erased(eraser, mask=medium, batch_size=batch).astype(int) for batch in (1, 7)]
    assert np.abs(found[1] - found[0]).max() <= 1
    assert not np.array_equal(erased(eraser, seed=1), one)
    other = np.zeros_like(MASK)
    listed = eraser.erase([PHOTO, PHOTO], [other, MASK], refine="on", refocus=None, steps=4)
    assert np.array_equal(listed[1], one)


@pytest.mark.slow
def test_windows_take_their_crops_from_one_field(eraser: MagicEraser, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the UNet sees in the first step of a pass is equal where two windows overlap: noise, mask and photo."""
    seen: list[Any] = []
    unet = eraser.pipeline.unet
    hook = unet.register_forward_pre_hook(lambda module, args: seen.append((args[1], args[0].clone())))
    grids: list[Grid] = []
    plan = refining.grid_of
    monkeypatch.setattr(refining, "grid_of", lambda *sides: grids.append(plan(*sides)) or grids[-1])
    erased(eraser, guidance=1.0, refine_strength=0.5)
    hook.remove()
    grid = grids[-1]
    assert len(grid.corners) == 9
    windows = [sample[0] for _, sample in seen[-18:-9]]  # two steps of nine windows
    assert len({float(time) for time, _ in seen[-18:-9]}) == 1
    plane: dict[tuple[int, int], Any] = {}
    for (top, left), window in zip(grid.corners, windows, strict=True):
        for y in range(grid.height):
            for x in range(grid.width):
                before = plane.setdefault((top + y, left + x), window[:, y, x])
                assert torch.equal(before, window[:, y, x])
    assert len(plane) < sum(grid.height * grid.width for _ in windows)


@pytest.mark.slow
def test_the_steps_are_counted(eraser: MagicEraser) -> None:
    """One UNet call per window and step: 4 x 0.9 in the first window, then 2 steps of 4 and 9 windows."""
    calls: list[int] = []
    hook = eraser.pipeline.unet.register_forward_pre_hook(lambda module, args: calls.append(len(args[0])))
    erased(eraser, guidance=1.0, refine_strength=0.5)
    hook.remove()
    assert len(calls) == 3 + 2 * (4 + 9)
    choices = Choices(steps=4, refine_strength=0.5)
    assert refining.steps_of(planned(MASK), choices) == 2 * (4 + 9)


@pytest.mark.parametrize("steps", [1, 2, 3, 49, 50, 1000])
def test_a_pass_runs_at_least_one_step(steps: int) -> None:
    own = refining.refining(Choices(steps=steps, strength=1, refine_strength=0.01))
    assert int(own.steps * own.start) == max(1, int(steps * 0.01))


@pytest.mark.slow
@pytest.mark.parametrize("mapped", [True, False])
def test_passes_are_refocused_window_by_window(
    eraser: MagicEraser, monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    given: dict[str, Any] = {"panoptic": meadow(120, 150), "categories": CATEGORIES} if mapped else {}
    refocus = Refocus(share=1.0, lambda_pos=1.0, lambda_neg=1.0)
    same = {"refocus": refocus, "refine_strength": 0.5, **given}
    refocused = erased(eraser, batch_size=4, **same)
    assert np.abs(erased(eraser, **same).astype(int) - refocused).max() <= 2
    monkeypatch.setattr(refining, "refocusing", lambda *arguments: nullcontext())  # in the passes only
    assert np.abs(erased(eraser, **same).astype(int) - refocused).max() > 4


@pytest.mark.slow
@pytest.mark.parametrize("outer", [False, True])
def test_a_compiled_network_sees_the_same_windows(outer: bool) -> None:
    class Network(torch.nn.Module):
        def forward(self, sample: Any, time: Any, return_dict: bool = True) -> Any:
            return (torch.tanh(sample) + sample.mean((1, 2, 3), keepdim=True),)

    torch.compiler.reset()
    model, sample, grid = Network(), torch.randn(2, 4, 13, 19), grid_of(13, 19, SIDE)
    with tiled_unet(model, grid, 1, 4):
        expected = model(sample, 1)[0]
    compiled: Any = torch.compile(model, backend="eager") if outer else model
    if not outer:
        model.compile(backend="eager")
    with tiled_unet(compiled, grid, 1, 4):
        assert torch.allclose(compiled(sample, 1)[0], expected, atol=1e-5)
    assert compiled(sample, 1)[0].shape == sample.shape
    assert not torch.allclose(compiled(sample, 1)[0], expected, atol=1e-2)  # the whole plane at once
    torch.compiler.reset()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "box"), [((90, 100), (0, 0, 100, 90)), ((20, 300), (30, 4, 200, 12)), ((97, 101), (60, 0, 41, 97))]
)
def test_any_shape_is_refined(eraser: MagicEraser, shape: tuple[int, int], box: tuple[int, int, int, int]) -> None:
    """A hole that is the whole photo, a strip, and a hole at the photo's edge."""
    photo, mask = drawn(*shape), box_mask(*shape, box)
    out = erased(eraser, photo, mask, composite=False)
    assert out.shape == photo.shape
    assert not np.array_equal(out[mask], erased(eraser, photo, mask, composite=False, refine="off")[mask])


def test_a_pass_keeps_the_tone_and_adds_its_details() -> None:
    before = drawn(96, 128)
    details = np.random.default_rng(3).integers(-20, 21, before.shape)
    picture = np.clip(before * 0.7 + 50 + details, 0, 255).astype(np.uint8)
    found = refining.toned(picture, before, 4.0)
    rows, columns = slice(20, 76), slice(20, 108)
    apart = (found.astype(float) - before)[rows, columns]
    assert np.abs(apart.reshape(7, 8, 11, 8, 3).mean((1, 3))).max() < 8  # over 8 x 8 pixels the tone is the one before
    assert np.abs((picture.astype(float) - before)[rows, columns].mean()) > 15
    alike = np.corrcoef(apart.ravel(), details[rows, columns].ravel())[0, 1]
    assert alike > 0.8
    assert np.array_equal(refining.toned(before, before, 4.0), before)


def test_the_vae_has_its_settings_back(eraser: MagicEraser) -> None:
    vae = eraser.pipeline.vae
    names = ("use_tiling", "tile_sample_min_size", "tile_latent_min_size")
    before = [getattr(vae, name) for name in names]
    with tiling.tiled_vae(vae, 16, 4):
        assert [getattr(vae, name) for name in names] == [True, 16, 4]
    assert [getattr(vae, name) for name in names] == before
    with tiling.tiled_vae(object(), 16, 4):
        pass  # a class that cannot


@pytest.mark.slow
def test_a_larger_resolution_needs_no_second_pass(eraser: MagicEraser) -> None:
    sharp = erased(eraser, resolution=120)
    assert np.array_equal(sharp, erased(eraser, resolution=120, refine="off"))
    assert not np.array_equal(sharp, erased(eraser, refine="off"))


@pytest.mark.parametrize(
    "wrong",
    [{"refine": "yes"}, {"refine_strength": 0}, {"refine_strength": 1.5}, {"resolution": 8}, {"resolution": 1.5}],
)
def test_wrong_choices_are_refused(eraser: MagicEraser, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong)).replace("_", ".")):
        erased(eraser, **wrong)


def test_the_options_reach_the_command_line() -> None:
    from magiceraser_ref.eraser import BOUNDS

    assert {BOUNDS[name].flag for name in ("refine", "refine_strength", "resolution")} == {
        "--refine",
        "--refine-strength",
        "--resolution",
    }
