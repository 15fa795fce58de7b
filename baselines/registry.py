"""The table of erasers, and whether each can run here. Imports none of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from baselines.eraser import Eraser, EraserSpec, WeightsMissingError
from olrd.errors import MissingExtraError, OlrdError
from olrd.registry import Registry

ERASERS = Registry(
    "eraser",
    "baselines.erasers",
    {
        "biharmonic": "baselines.classic:open_biharmonic",
        "blur-fill": "baselines.controls:open_blur_fill",
        "comodgan": "baselines.comodgan:open_comodgan",
        "copy-twin": "baselines.controls:open_copy_twin",
        "folder": "baselines.folder:open_folder",
        "ground-truth": "baselines.controls:open_ground_truth",
        "identity": "baselines.controls:open_identity",
        "lama": "baselines.lama:open_lama",
        "mat": "baselines.mat:open_mat",
        "mean-fill": "baselines.controls:open_mean_fill",
        "migan": "baselines.migan:open_migan",
        "opencv-ns": "baselines.classic:open_opencv_ns",
        "opencv-telea": "baselines.classic:open_opencv_telea",
        "sd-inpainting": "baselines.sd_inpainting:open_sd_inpainting",
    },
)


def open_eraser(name: str, options: dict[str, str] | None = None, device: str = "auto", seed: int = 0) -> Eraser:
    """Open an eraser by name. Raises `UsageError` (no such name or option), `MissingExtraError`
    (what to install) or `WeightsMissingError` (how to get them)."""
    eraser: Eraser = ERASERS.get(name)(EraserSpec(name, options or {}, device, seed))
    return eraser


class State(NamedTuple):
    """word: `ready`, `weights missing`, `extra not installed`, `needs an option` or `broken`.
    advice: what to do about it; empty when ready."""

    word: str
    advice: str


def state_of(name: str, open_it: Callable[[str], object] = open_eraser) -> State:
    """Whether an eraser (or what else `open_it` opens) opens here with its default options, and if not,
    what to do."""
    try:
        open_it(name)
    except WeightsMissingError as error:
        return State("weights missing", str(error))
    except MissingExtraError as error:
        return State("extra not installed", str(error))
    except OlrdError as error:
        word = "broken" if "cannot be imported" in str(error) else "needs an option"
        return State(word, str(error))
    return State("ready", "")
