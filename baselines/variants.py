"""Variants of the weights in a folder of diffusers, such as `fp16` and `non_ema`.

A variant is a second file of a network's weights: `model.fp16.safetensors` beside or instead of `model.safetensors`.
Folders are often mixed: only some networks have the variant, and others have nothing else.
"""

from __future__ import annotations

import re
from pathlib import Path

from baselines.eraser import WeightsUnusableError
from olrd.errors import UsageError, did_you_mean

PLAIN = ""
"""The variant of a file that names none."""
SUFFIXES = (".safetensors", ".bin")
"""The kinds of weights' files that diffusers reads."""
_SHARD = r"-\d{5}-of-\d{5}"
_WEIGHTS = re.compile(
    rf"(?:diffusion_pytorch_model|pytorch_model|model)(?:{_SHARD})?"
    rf"(?:\.(?P<variant>[A-Za-z0-9_-]+?)(?:{_SHARD})?)?\.(?:safetensors|bin)"
)


def variants_in(folder: Path, suffixes: tuple[str, ...] = SUFFIXES) -> dict[str, set[str]]:
    """Return the variants of each network in a folder; `PLAIN` stands for files that name none.

    Args:
        folder: A folder with model_index.json. Networks without weights are left out, and the safety checker, which is
            not loaded.
        suffixes: The kinds of files that count.
    """
    found: dict[str, set[str]] = {}
    for part in sorted(folder.iterdir()):
        if part.is_dir() and part.name != "safety_checker":
            names = [_WEIGHTS.fullmatch(path.name) for path in part.iterdir() if path.suffix in suffixes]
            if kinds := {name["variant"] or PLAIN for name in names if name}:
                found[part.name] = kinds
    return found


def choose_variant(folder: Path, wanted: str, suffixes: tuple[str, ...] = SUFFIXES) -> str | None:
    """Return the variant to load, or None for files that name none.

    Networks that lack the variant are loaded from the files that name none.

    Args:
        folder: A folder with model_index.json.
        wanted: A variant, or `auto`: none where every network has files that name none, otherwise the one that all
            other networks have, `fp16` first.
        suffixes: The kinds of files that count.

    Raises:
        UsageError: If no network has the wanted variant.
        WeightsUnusableError: If a network has neither the variant nor files that name none.
    """
    found = variants_in(folder, suffixes)
    named = sorted(set().union(*found.values()) - {PLAIN})
    only = {name: kinds for name, kinds in found.items() if PLAIN not in kinds}
    if wanted == "auto":
        if not only:
            return None
        shared = set.intersection(*only.values())
        if not shared:
            raise WeightsUnusableError(
                f"{folder}: no variant covers all networks: {_listed(only)}. Expected files that name none, or one "
                "variant for all: fetch the missing files"
            )
        return "fp16" if "fp16" in shared else min(shared)
    if wanted not in named:
        raise UsageError(f"{folder}: {did_you_mean('variant of the weights', wanted, named)}")
    if lacking := {name: kinds for name, kinds in only.items() if wanted not in kinds}:
        raise WeightsUnusableError(
            f"{folder}: expected weights of the variant '{wanted}', or that name none, for each network; found "
            f"{_listed(lacking)}. Fetch the missing files, or choose another variant"
        )
    return wanted


def _listed(found: dict[str, set[str]]) -> str:
    return ", ".join(f"{name}: {' and '.join(sorted(kinds))}" for name, kinds in sorted(found.items()))
