"""Diffusers checkpoints on this machine: their folder, a hash of their content, and their licence.

A checkpoint is a folder in diffusers' layout: model_index.json beside one folder per network.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from baselines.eraser import WeightsMissingError
from baselines.weights import hash_of_ends

CHECKPOINT = "stable-diffusion-v1-5/stable-diffusion-inpainting"
"""The default checkpoint: Stable Diffusion 1.5, inpainting."""
REVISION = "8a4288a76071f7280aedbdb3253bdb9e9d5d84bb"
LICENSE = "CreativeML OpenRAIL-M"
UNKNOWN_LICENSE = "see the checkpoint"


def checkpoint_folder(checkpoint: str, revision: str = "") -> Path:
    """Find the folder of a checkpoint. Nothing is downloaded.

    Args:
        checkpoint: A folder, or the id of a model in the hub's cache.
        revision: The hub's commit; if empty, the newest one in the cache, or `REVISION` for the default checkpoint.

    Raises:
        WeightsMissingError: If the checkpoint is not on this machine.
    """
    if (Path(checkpoint) / "model_index.json").is_file():
        return Path(checkpoint)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    pinned = revision or (REVISION if checkpoint == CHECKPOINT else None)
    try:
        return Path(snapshot_download(checkpoint, revision=pinned, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        command = f"hf download {checkpoint}" + (f" --revision {pinned}" if pinned else "")
        raise WeightsMissingError(
            f"sd-inpainting: the checkpoint '{checkpoint}' is neither a folder with a model_index.json nor in the "
            f"hub's cache. Get it with `{command}`, or give --option checkpoint=FOLDER"
        ) from error


def content_hash(folder: Path) -> str:
    """Return 12 hex digits that identify the configurations and weights in a folder, see `hash_of_ends`."""
    kinds = (".json", ".safetensors", ".bin")
    return hash_of_ends(folder, (path for path in folder.rglob("*") if path.suffix in kinds))


def license_of(checkpoint: str, folder: Path) -> str:
    """Return the licence of a checkpoint: the known one of the default checkpoint, or the one in its model card.

    Args:
        checkpoint: The folder or hub id that the user gave.
        folder: The checkpoint's folder; its model card is README.md.

    Returns:
        A licence as the hub names it, e.g. `openrail++`, or `UNKNOWN_LICENSE` if the card does not say.
    """
    if checkpoint == CHECKPOINT:
        return LICENSE
    card = _card_metadata(folder / "README.md")
    name = card.get("license")
    if name == "other":
        name = card.get("license_name", name)
    return name if isinstance(name, str) and name.strip() else UNKNOWN_LICENSE


def _card_metadata(path: Path) -> dict[str, Any]:
    """Read the YAML head of a model card; empty if there is no card or it cannot be read."""
    card: Any = None
    if path.is_file():
        from huggingface_hub import metadata_load

        with suppress(Exception):  # cards are written by hand, and a broken one raises errors of the YAML library
            card = metadata_load(path)
    return card if isinstance(card, dict) else {}
