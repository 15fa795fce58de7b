"""Inpainting pipelines of diffusers: which class opens a checkpoint, how it is set by default, what it is called with.

A checkpoint names a class in model_index.json, often that of a text-to-image pipeline. diffusers has an inpainting
class with the same networks for many of them. Their calls differ, so each is given the arguments that it takes.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from baselines.eraser import WeightsUnusableError
from olrd.errors import UsageError
from olrd.trust import parse_json, shown


class Family(NamedTuple):
    """What pipelines of one class need.

    Attributes:
        multiple: Sides are multiples of this: the VAE's factor times the side of the transformer's patches, in pixels.
        size: Short side in pixels at which the networks were trained.
        steps: Sampling steps.
        guidance: Weight of guidance; None if the networks take none.
        true_cfg: Weight of classifier-free guidance where it is apart from `guidance`; 1 is none.
        wide: True if the networks need the range of bfloat16, because float16 overflows.
        area: Largest area in pixels that the pipeline keeps; it makes larger photos smaller. 0 if there is none.
    """

    multiple: int
    size: int
    steps: int
    guidance: float | None
    true_cfg: float = 1.0
    wide: bool = True
    area: int = 0


FAMILIES = {
    "StableDiffusionInpaintPipeline": Family(8, 512, 50, 7.5, wide=False),
    "StableDiffusionXLInpaintPipeline": Family(8, 1024, 50, 7.5, wide=False),
    "StableDiffusion3InpaintPipeline": Family(16, 1024, 50, 7.0),
    "FluxFillPipeline": Family(16, 1024, 50, 30.0),
    "FluxInpaintPipeline": Family(16, 1024, 28, 7.0),
    "Flux2KleinInpaintPipeline": Family(16, 1024, 50, 4.0, area=1024 * 1024),
    "QwenImageInpaintPipeline": Family(16, 1024, 50, None, true_cfg=4.0),
}
"""The classes that are tested, by name. Others that diffusers has are opened as `OTHER`."""
OTHER = Family(16, 1024, 50, 7.0)
INDEX = "model_index.json"


def pipeline_class(folder: Path) -> str:
    """Return the name of the class of diffusers that inpaints with the networks of a folder. Imports no network.

    Raises:
        WeightsUnusableError: If model_index.json names no class, or one that diffusers cannot inpaint with.
    """
    import diffusers

    name = _index(folder).get("_class_name")
    if not isinstance(name, str):
        raise WeightsUnusableError(
            f"{folder} is not a diffusers inpainting pipeline: expected the name of a class as _class_name in "
            f"{folder / INDEX}, found {shown(name)}"
        )
    known = set(dir(diffusers))  # names that are imported on first use
    candidates = [name] if "Inpaint" in name or name in FAMILIES else []
    candidates.append(f"{name.removesuffix('Pipeline').removesuffix('Img2Img')}InpaintPipeline")
    for candidate in candidates:
        if candidate in known and "Control" not in candidate:
            return candidate
    raise WeightsUnusableError(
        f"{folder / INDEX}: diffusers {diffusers.__version__} has no pipeline that inpaints with a photo, a mask and a "
        f"prompt for the class {shown(name)}; expected a checkpoint of one of {', '.join(sorted(FAMILIES))}, of their "
        "text-to-image classes, or a newer diffusers"
    )


def part_class(folder: Path, part: str) -> str:
    """Return the name of the class of a part of a pipeline, such as `vae`. Raises `WeightsUnusableError`."""
    entry = _index(folder).get(part)
    if isinstance(entry, list) and len(entry) == 2 and entry[0] == "diffusers" and isinstance(entry[1], str):
        return entry[1]
    raise WeightsUnusableError(f"{folder / INDEX}: expected {part} as a class of diffusers, found {shown(entry)}")


def family_of(name: str, folder: Path) -> Family:
    """Return what pipelines of a class need. A distilled FLUX.2 klein says so in model_index.json."""
    family = FAMILIES.get(name, OTHER)
    if "Klein" in name and _index(folder).get("is_distilled") is True:
        return family._replace(steps=4, guidance=1.0)  # it takes no guidance
    return family


def _index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        index = parse_json(path.read_bytes(), path, WeightsUnusableError)
    except OSError as error:
        raise WeightsUnusableError(f"{path} cannot be read: {error}") from error
    if not isinstance(index, dict):
        raise WeightsUnusableError(f"{path}: expected an object of JSON, found {shown(index)}")
    return index


def left_out(folder: Path, kind: Any) -> set[str]:
    """Return the parts that a pipeline is loaded without: those that the folder lacks, and the safety checker.

    Args:
        folder: A folder with model_index.json. For example, many leave out the T5 encoder of Stable Diffusion 3.
        kind: The pipeline's class.
    """
    lacking = {name for name, entry in _index(folder).items() if entry == [None, None]}
    return (lacking | {"safety_checker"}) & set(inspect.signature(kind.__init__).parameters)


def parameters_of(kind: Any) -> set[str]:
    """Return the names of the arguments that a pipeline's call takes.

    Args:
        kind: The pipeline's class.

    Raises:
        WeightsUnusableError: If it takes no photo and mask, or needs more than that.
    """
    found = dict(inspect.signature(kind.__call__).parameters)
    found.pop("self", None)
    needed = {key for key, one in found.items() if one.default is one.empty and one.kind == one.POSITIONAL_OR_KEYWORD}
    extra = sorted((needed - {"prompt", "image", "mask_image"}) | ({"control_image"} & set(found)))
    lacking = sorted({"prompt", "image", "mask_image", "generator"} - set(found))
    if extra or lacking:
        said = f"needs also {', '.join(extra)}" if extra else f"takes no {', '.join(lacking)}"
        raise WeightsUnusableError(
            f"{kind.__name__} {said}: expected a pipeline that inpaints with a photo, a mask and a prompt alone; give "
            f"a checkpoint of one of {', '.join(sorted(FAMILIES))}"
        )
    return set(found)


def accepted(parameters: set[str], wishes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call that a pipeline takes; the others are left out."""
    return {key: value for key, value in wishes.items() if key in parameters}


def check_settings(name: str, parameters: set[str], given: Mapping[str, str]) -> None:
    """Refuse settings that a pipeline would ignore.

    Args:
        name: The pipeline's class.
        parameters: The arguments that its call takes.
        given: The options that the user gave: option -> the argument that carries it.

    Raises:
        UsageError: The message names the option and the class.
    """
    for option, argument in given.items():
        if argument not in parameters:
            raise UsageError(f"sd-inpainting: {name} takes no {argument}; leave the option {option} out")


def working_size(width: int, height: int, short: int, multiple: int = 8, area: int = 0) -> tuple[int, int]:
    """Return the size at which a pipeline works.

    Args:
        width: The photo's width in pixels.
        height: The photo's height in pixels.
        short: The short side to come near to, in pixels.
        multiple: Both sides are multiples of this.
        area: If not 0, the largest area in pixels.

    Returns:
        (width, height) in about the photo's proportions.
    """
    scale = short / min(width, height)
    if area and width * height * scale**2 > area:
        scale = (area / (width * height)) ** 0.5
    sides = [max(multiple, round(side * scale / multiple) * multiple) for side in (width, height)]
    while area and sides[0] * sides[1] > area and max(sides) > multiple:  # rounding up can pass the limit
        sides[sides.index(max(sides))] -= multiple
    return sides[0], sides[1]
