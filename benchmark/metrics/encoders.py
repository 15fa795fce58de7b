"""Running networks: libraries checked when a metric opens, float32 kept exact when it runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from baselines.eraser import WeightsMissingError
from baselines.weights import hash_of_ends
from olrd.errors import MissingExtraError, UsageError
from olrd.models.checkpoints import EXTRA, choose_device, load_model, require


def check_installed(metric: str, *modules: str) -> None:
    """`MissingExtraError` unless every module can be imported. Imports none of them."""
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(f"the metric {metric} (it uses {module})", EXTRA)


@contextmanager
def exact() -> Iterator[None]:
    """No gradients, and no TF32 on GPUs: its 10 bits would show in the third digit of a score."""
    import torch

    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


def load_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a file by name, read as the erasers read theirs; here, as that imports torch."""
    from baselines.nets.checkpoint import read_weights

    return read_weights(path)


def find_checkpoint(metric: str, variable: str, default: str, model_class: str) -> Path:
    """The folder of an encoder: that which `variable` names (a folder, or a hub name that is in the
    cache), else `default` from the cache. Raises `WeightsMissingError` with the line that gets it."""
    chosen = os.environ.get(variable) or default
    if Path(chosen).is_dir():
        folder = Path(chosen)
        if not _weights(folder) or not (folder / "config.json").is_file():
            raise WeightsMissingError(
                f"{metric}: {variable} names {chosen}, which holds no config.json with "
                f"model.safetensors; expected a folder written by {model_class}.save_pretrained"
            )
        return folder
    if cached := _cached(chosen):
        return cached
    raise WeightsMissingError(
        f"{metric}: the encoder {chosen} is not on this machine. To get it:\n"
        f"  python -c \"from transformers import {model_class} as M; M.from_pretrained('{chosen}')"
        f".save_pretrained('FOLDER')\"\nand set {variable}=FOLDER"
    )


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def _cached(name: str) -> Path | None:
    """The snapshot of a hub repository in the cache, if config and weights are both there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json")
    except HFValidationError as error:
        raise UsageError(f"'{name}' is neither a folder nor a name on the hub: {error}") from error
    folder = Path(config).parent if isinstance(config, str) else None
    return folder if folder and _weights(folder) else None


def load_encoder(metric: str, folder: Path, model_class: str, device: str) -> tuple[str, Any]:
    """The device, and the encoder on it, float32. A checkpoint of the whole model will do: the list of
    its other parts, which transformers would print, is kept back; missing parts are an error."""
    device = choose_device(device, metric)
    transformers = require("transformers", f"the metric {metric}")
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        wanted = getattr(transformers, model_class)
        model = load_model(wanted, str(folder), None, local_files_only=True)
    finally:
        transformers.logging.set_verbosity(verbosity)
    return device, model.float().to(device)


def fingerprint(folder: Path) -> str:
    """A short revision of an encoder: its weights files by `hash_of_ends` (the head of a safetensors
    file holds names and shapes)."""
    return hash_of_ends(folder, _weights(folder))
