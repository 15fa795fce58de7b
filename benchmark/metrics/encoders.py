"""The networks behind the metrics: what must be installed, where a checkpoint is, how it is loaded and run.

A metric calls `check_installed`, and `find_checkpoint` for a network of transformers, when it is opened. Both are
cheap and import no torch. It loads the network when it is first used and runs it inside `exact`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from baselines.eraser import WeightsMissingError
from baselines.weights import hash_of_ends
from olrd.errors import UsageError
from olrd.models import checkpoints
from olrd.models.checkpoints import choose_device, load_model, require


def check_installed(metric: str, *modules: str) -> None:
    """Raise `MissingExtraError` unless what a metric uses is installed. Imports none of it."""
    checkpoints.check_installed(modules, f"the metric {metric}")


def find_checkpoint(metric: str, variable: str, default: str, model_class: str) -> Path:
    """Find the folder of an encoder's checkpoint. Downloads nothing.

    Args:
        metric: name of the metric, for messages.
        variable: environment variable that names a folder, or a hub name that is in the cache.
        default: hub name that is used if the variable is not set.
        model_class: class of transformers that reads the checkpoint, for messages.

    Raises:
        WeightsMissingError: the checkpoint is not on this machine; the message says how to get it.
        UsageError: the variable names neither a folder nor a valid hub name.
    """
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
    """The snapshot of a hub repository in the local cache, if it has both config and weights."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json")
    except HFValidationError as error:
        raise UsageError(f"'{name}' is neither a folder nor a name on the hub: {error}") from error
    folder = Path(config).parent if isinstance(config, str) else None
    return folder if folder and _weights(folder) else None


def fingerprint(folder: Path) -> str:
    """A short revision of a checkpoint: the hash of the ends of its weights files. The head of a safetensors
    file holds all names and shapes."""
    return hash_of_ends(folder, _weights(folder))


def load_encoder(metric: str, folder: Path, model_class: str, device: str) -> tuple[str, Any]:
    """Load a checkpoint of transformers as float32; returns the resolved device and the model.

    A checkpoint of a larger model works too: transformers' list of the parts that are not used is suppressed.
    Missing parts are an error.
    """
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


def load_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a weights file by name."""
    from baselines.nets.checkpoint import read_weights  # imports torch

    return read_weights(path)


@contextmanager
def exact() -> Iterator[None]:
    """Run networks without gradients and without TF32 on GPUs: its 10 bits would change the third digit of a score."""
    import torch

    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)
