"""The table of erasers, and whether each can run on this machine. Importing this module imports no eraser.

To add an eraser, write one file and add one line to `ERASERS`. In another distribution, write one file and one entry
point in the group `baselines.erasers`. `baselines.eraser` describes what the file contains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from baselines.checked import CheckedEraser
from baselines.eraser import EraserInfo, EraserSpec, WeightsMissingError, WeightsUnknownError
from olrd.errors import MissingExtraError, OlrdError, PluginError
from olrd.registry import Registry, check_named, check_opened

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
        "lama-onnx": "baselines.lama_onnx:open_lama_onnx",
        "mat": "baselines.mat:open_mat",
        "mean-fill": "baselines.controls:open_mean_fill",
        "migan": "baselines.migan:open_migan",
        "opencv-ns": "baselines.classic:open_opencv_ns",
        "opencv-telea": "baselines.classic:open_opencv_telea",
        "patchmatch": "baselines.patchmatch:open_patchmatch",
        "sd-inpainting": "baselines.sd_inpainting:open_sd_inpainting",
        # `magiceraser` and `ffc-small` are entry points in pyproject.toml: their code is in magiceraser_ref.
    },
)


def open_eraser(
    name: str, options: Mapping[str, str] | None = None, device: str = "auto", seed: int = 0
) -> CheckedEraser:
    """Open an eraser by its name.

    Opening is cheap: the first call of `erase` loads the network, and nothing is downloaded.

    Args:
        name: One of `ERASERS.names()`.
        options: The eraser's own settings, as `--option KEY=VALUE` of the command `benchmark run`.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        seed: Seed of the random draws, for erasers that draw.

    Raises:
        UsageError: If there is no such eraser, option or device, or a value is of another type. The message names the nearest one.
        MissingExtraError: If a library is missing. The message says what to install.
        WeightsMissingError: If the weights are missing. The message says how to get them.
    """
    eraser = ERASERS.get(name)(EraserSpec(name, {} if options is None else options, device, seed))
    check_opened("eraser", name, eraser, info=EraserInfo)
    info = eraser.info
    if info.name != (info.options or {}).get("name"):  # `folder` has results of many erasers, named by an option
        check_named("eraser", name, info.name, "its EraserInfo is called")
    return CheckedEraser(eraser)


class State(NamedTuple):
    """Whether an eraser can run on this machine.

    word: `ready`, `weights missing`, `unknown file`, `extra not installed`, `needs an option` or `broken`.
    advice: what to do about it; empty if `ready`.
    """

    word: str
    advice: str


def state_of(name: str, open_it: Callable[[str], object] = open_eraser) -> State:
    """Try to open an eraser with its default options.

    open_it: opens it by its name; another function makes this work for other kinds, such as datasets.
    """
    try:
        open_it(name)
    except WeightsMissingError as error:
        return State("weights missing", str(error))
    except WeightsUnknownError as error:
        return State("unknown file", str(error))
    except MissingExtraError as error:
        return State("extra not installed", str(error))
    except PluginError as error:
        return State("broken", str(error))
    except OlrdError as error:
        return State("needs an option", str(error))
    return State("ready", "")
