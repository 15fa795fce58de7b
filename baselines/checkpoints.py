"""Folders of diffusers checkpoints: where one lies, what it contains, under which licence it is."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from baselines.eraser import WeightsMissingError
from baselines.weights import hash_of_ends

CHECKPOINT = "stable-diffusion-v1-5/stable-diffusion-inpainting"
LICENSE = "CreativeML OpenRAIL-M"
REVISION = "8a4288a76071f7280aedbdb3253bdb9e9d5d84bb"


def checkpoint_folder(checkpoint: str, revision: str) -> Path:
    """The checkpoint's folder: a local one, or that of the hub's cache. Downloads nothing."""
    if (Path(checkpoint) / "model_index.json").is_file():
        return Path(checkpoint)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    pinned = revision or (REVISION if checkpoint == CHECKPOINT else None)
    try:
        return Path(snapshot_download(checkpoint, revision=pinned, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError) as error:
        raise WeightsMissingError(
            f"sd-inpainting: the checkpoint '{checkpoint}' is neither a folder with model_index.json nor in "
            f"the hub's cache. Get it with `hf download {checkpoint}"
            + (f" --revision {pinned}" if pinned else "")
            + "`, or give --option checkpoint=FOLDER"
        ) from error


def content_hash(folder: Path) -> str:
    """See `hash_of_ends`; of configurations and weights."""
    kinds = (".json", ".safetensors", ".bin")
    return hash_of_ends(folder, (path for path in folder.rglob("*") if path.suffix in kinds))


def license_of(checkpoint: str, folder: Path) -> str:
    """Of the default checkpoint the known licence, else what the head of the model card in `folder`
    says (a name of the hub, e.g. `openrail++`), else where to look."""
    if checkpoint == CHECKPOINT:
        return LICENSE
    card: Any = None
    if (path := folder / "README.md").is_file():
        from huggingface_hub import metadata_load

        with suppress(Exception):  # a card is written by hand: yaml raises its own kinds
            card = metadata_load(path)
    card = card if isinstance(card, dict) else {}
    said = card.get("license")
    if said == "other":
        said = card.get("license_name", said)
    return said if isinstance(said, str) and said.strip() else "see the checkpoint"
