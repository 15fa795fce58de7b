"""Diffusers checkpoints on this machine: where they are, a hash of their content, and their licence.

A checkpoint is a folder in diffusers' layout, model_index.json beside one folder per network, or one file with the
weights of all networks, as Stable Diffusion's authors and community sites publish them. A single file has no
configurations and no tokenizer: those come from a folder of the same model.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from baselines.eraser import WeightsMissingError, WeightsUnusableError
from baselines.weights import hash_of_ends
from olrd.errors import UsageError
from olrd.trust import one_line

CHECKPOINT = "stable-diffusion-v1-5/stable-diffusion-inpainting"
"""The default checkpoint: Stable Diffusion 1.5, inpainting."""
REVISION = "8a4288a76071f7280aedbdb3253bdb9e9d5d84bb"
LICENSE = "CreativeML OpenRAIL-M"
UNKNOWN_LICENSE = "see the checkpoint"


class Checkpoint(NamedTuple):
    """A checkpoint on this machine.

    Attributes:
        folder: The folder with model_index.json.
        file: The single file with the weights; None if they are in `folder`.
    """

    folder: Path
    file: Path | None = None

    @property
    def where(self) -> Path:
        """What the user knows it by."""
        return self.file or self.folder

    @property
    def revision(self) -> str:
        """The hub's commit, or a hash of the local files."""
        if self.file:
            return f"local-{hash_of_ends(self.file.parent, [self.file])}"
        name = self.folder.name
        return name[:12] if len(name) == 40 else f"local-{content_hash(self.folder)}"


def find_checkpoint(checkpoint: str, revision: str = "", config: str = "") -> Checkpoint:
    """Find a checkpoint. Nothing is downloaded.

    Args:
        checkpoint: A folder, a .safetensors file, or the id of a model in the hub's cache.
        revision: The hub's commit, see `checkpoint_folder`.
        config: For a file: a folder in diffusers' layout with the configurations and tokenizers of its model, or the
            id of one in the hub's cache. If empty, the original model that diffusers takes the file for.

    Raises:
        WeightsMissingError: If the checkpoint or its configurations are not on this machine.
        WeightsUnusableError: If the file is not in the format of safetensors.
        UsageError: If `config` is given without a file.
    """
    file = Path(checkpoint)
    if not file.is_file():
        if config:
            raise UsageError(
                f"sd-inpainting: config is for a checkpoint that is a file, and '{checkpoint}' is none; leave the option "
                "config out"
            )
        return Checkpoint(checkpoint_folder(checkpoint, revision))
    if file.suffix != ".safetensors":
        raise WeightsUnusableError(
            f"{file}: expected a .safetensors file, found one with the ending '{file.suffix}'. Other formats can contain "
            "code: convert it with a tool that you trust"
        )
    return Checkpoint(_config_folder(file, config or original_of(file)), file)


def original_of(file: Path) -> str:
    """Return the hub id of the original model that diffusers takes a file for. Reads names and shapes only.

    Raises:
        WeightsUnusableError: If the file is not in the format of safetensors.
    """
    from diffusers.loaders.single_file_utils import fetch_diffusers_config

    shapes = {key: SimpleNamespace(shape=shape) for key, shape in _shapes(file).items()}
    try:
        return str(fetch_diffusers_config(shapes)["pretrained_model_name_or_path"])
    except Exception as error:  # shapes of a stranger's file that diffusers did not expect
        raise WeightsUnusableError(
            f"{file}: its tensors are of no model that diffusers knows ({one_line(str(error))}). Give --option "
            "config=FOLDER with a folder of the same model in diffusers' layout"
        ) from error


def holds_vae(file: Path) -> bool:
    """Return whether a single file holds the VAE. Many hold the transformer or the UNet alone."""
    return any(key.startswith(("first_stage_model.", "vae.")) for key in _shapes(file))


def _shapes(file: Path) -> dict[str, list[int]]:
    """Read the names and shapes of the tensors in a file, but no tensor."""
    from safetensors import safe_open

    try:
        with safe_open(file, "pt") as weights:
            return {key: weights.get_slice(key).get_shape() for key in weights.keys()}  # noqa: SIM118
    except Exception as error:  # the format's library raises several kinds of errors
        raise WeightsUnusableError(f"{file} is not in the format of safetensors: {one_line(str(error))}") from error


def _config_folder(file: Path, config: str) -> Path:
    if (Path(config) / "model_index.json").is_file():
        return Path(config)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = Path(snapshot_download(config, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        found = Path()
    if (found / "model_index.json").is_file():
        return found
    raise WeightsMissingError(
        f"sd-inpainting: {file} holds weights only; its configurations and tokenizers are those of {config}, which is "
        "neither a folder with a model_index.json nor in the hub's cache. Get them with "
        f"`hf download {config} --exclude '*.safetensors' '*.bin' '*.ckpt'`, or give --option config=FOLDER with a "
        "folder of the same model in diffusers' layout"
    )


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
            f"hub's cache. Get it with `{command}`, or give --option checkpoint=FOLDER or checkpoint=FILE.safetensors"
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
