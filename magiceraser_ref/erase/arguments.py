"""Checks of what callers of `MagicEraser` give: helpers, data types, generators and choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from baselines import ERASERS
from magiceraser_ref.erase.choices import Choices
from magiceraser_ref.erase.initialization import OWN
from magiceraser_ref.erase.segmentation import KINDS
from magiceraser_ref.extras import need
from magiceraser_ref.model.checkpoint import DTYPES
from olrd.errors import UsageError, did_you_mean
from olrd.options import fitted
from olrd.trust import shown


def check_helpers(initializer: object, segmenter: object, choices: object) -> None:
    """Refuse what cannot be an initialiser, a segmenter or choices, before any network is loaded."""
    if isinstance(initializer, str):
        if initializer == "magiceraser":
            raise UsageError(OWN)
        if initializer not in ERASERS.builtin and initializer not in (known := ERASERS.targets()):
            raise did_you_mean("initializer", initializer, known)
    elif initializer is not None and not callable(getattr(initializer, "erase", None)):
        raise UsageError(f"initializer: expected an eraser or its name, got {shown(initializer)}")
    if isinstance(segmenter, str):
        if segmenter not in KINDS:
            raise did_you_mean("segmenter", segmenter, KINDS)
    elif not callable(getattr(segmenter, "maps", None)):
        raise UsageError(f"segmenter: expected a `Segmenter` or one of {', '.join(KINDS)}, got {shown(segmenter)}")
    fitted(Choices | None, choices, "choices")


def dtype_name(dtype: object) -> str:
    """Return the name of a dtype of torch, or the name itself. Raises `UsageError` if it is none of `DTYPES`."""
    name = str(dtype).removeprefix("torch.") if type(dtype).__module__ == "torch" else dtype
    if not isinstance(name, str) or name not in DTYPES:
        raise did_you_mean("dtype", name, DTYPES)
    return name


def seeds_of(generator: Any, count: int) -> list[int]:
    """Draw the seed of every photo's noise. generator: one of torch, or a list with one per photo, or None."""
    torch = need("torch", "MagicEraser")
    generators = list(generator) if isinstance(generator, list | tuple) else [generator] * count
    if len(generators) != count:
        raise UsageError(f"generator: expected one per photo, {count}, got {len(generators)}")
    for one in generators:
        if one is not None and not isinstance(one, torch.Generator):
            raise UsageError(f"generator: expected a torch.Generator or a list of them, got {shown(one)}")
    devices = ["cpu" if one is None else one.device for one in generators]
    drawn = [
        torch.randint((1 << 63) - 1, (), generator=one, device=device)
        for one, device in zip(generators, devices, strict=True)
    ]
    return [int(one) for one in drawn]


def changed(choices: Choices, changes: Mapping[str, Any]) -> Choices:
    """Return the choices with some fields replaced. Raises `UsageError` for an unknown field."""
    known = [field.name for field in fields(Choices)]
    for name in changes:
        if name not in known:
            raise did_you_mean("choice", name, known)
    return replace(choices, **changes)
