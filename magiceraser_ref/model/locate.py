"""Finds a model's folder and checks its files. Nothing is loaded or downloaded.

There are two kinds of folder: a whole model in diffusers' layout (model_index.json, unet/, vae/, text_encoder/,
tokenizer/, scheduler/), and adapters alone (LoRA and token, with a magiceraser.json that names their base). A whole
model may be a plain inpainting checkpoint without LoRA and token.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from baselines.checkpoints import content_hash
from baselines.eraser import WeightsMissingError, WeightsUnusableError
from baselines.variants import choose_variant
from magiceraser_ref.extras import need
from magiceraser_ref.model import lora, settings
from magiceraser_ref.model.settings import Settings, read_settings
from olrd.models.checkpoints import check_model_folder
from olrd.trust import parse_json, shown

INDEX = "model_index.json"
TOKEN_FILE = "learned_embeds.safetensors"
NETWORKS = ("unet", "vae", "text_encoder")
SHIPPED = "small"
"""Name of the model that comes with the package."""
SHIPPED_FOLDER = Path(__file__).parents[1] / "weights" / SHIPPED
LARGEST_SIDE = 1024
"""Largest side of a model's latents that is believed. Stable Diffusion XL has 128."""
LARGEST_LEVELS = 8
"""Largest number of levels of an autoencoder that is believed. Stable Diffusion's has 4."""
INPAINTING_CHANNELS = 9
"""Channels of the UNet's input: 4 of the noisy latent, 1 of the mask, 4 of the masked photo (section 6, inferred)."""


class Located(NamedTuple):
    """A checked model on this machine.

    Attributes:
        folder: Folder of the model.
        base: Folder of its networks; the same for a whole model.
        settings: The model's settings, or None for a plain inpainting checkpoint.
    """

    folder: Path
    base: Path
    settings: Settings | None

    @property
    def revision(self) -> str:
        """12 hex digits that identify the configurations and weights of adapters and base together."""
        parts = dict.fromkeys((self.folder, self.base))
        hashes = [content_hash(part) for part in parts]
        if len(hashes) == 1:
            return hashes[0]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()[:12]


def locate(
    model: str | Path, revision: str | None = None, *, variant: str | None = None, cache_dir: str | Path | None = None
) -> Located:
    """Find and check a model.

    Args:
        model: `small`, a folder, or the id of a model in the hub's cache.
        revision: Commit of a model from the hub.
        variant: Variant of the weights' files, such as `fp16`. By default the plain files, or else the only variant.
        cache_dir: Folder of the hub's cache, if it is not the usual one.

    Raises:
        WeightsMissingError: If the model is not on this machine.
        WeightsUnusableError: If a file is missing, damaged or of another kind. The message names the file.
    """
    folder = _folder(model, revision, cache_dir)
    found = read_settings(folder)
    base = folder
    if found is not None and found.base != ".":
        base = _base_folder(folder, found, cache_dir)
    elif not (folder / INDEX).is_file():
        raise WeightsUnusableError(
            f"{folder} is not a model: it has neither {INDEX} (a diffusers pipeline) nor a "
            f"{settings.FILE} that names a base; expected what `magiceraser train` or save_pretrained "
            "wrote, or a diffusers inpainting checkpoint"
        )
    check_base(base, variant)
    for part in dict.fromkeys((folder, base)):
        check_model_folder(part, WeightsUnusableError)
    if found is not None:
        _check_adapters(folder, found)
    return Located(folder, base, found)


def _folder(model: str | Path, revision: str | None, cache_dir: str | Path | None) -> Path:
    if str(model) == SHIPPED:
        return _shipped()
    path = Path(model)
    if is_folder(path):
        return path
    if _is_file(path):
        raise WeightsUnusableError(
            f"{path} is one file: expected a folder in diffusers' layout ({INDEX}, unet/, vae/, ...), because the file "
            "has no tokenizer and no configurations. Convert it where its original model is in the hub's cache: "
            f"diffusers.StableDiffusionInpaintPipeline.from_single_file('{path.name}').save_pretrained('FOLDER'). The "
            f"eraser sd-inpainting opens it as it is: --option checkpoint={path.name} --option config=FOLDER"
        )
    missing = (
        f"'{model}' is neither a folder nor a model in the hub's cache: give the folder of a model, or "
        f"get it with `hf download {model}" + (f" --revision {revision}`" if revision else "`")
    )
    if path.is_absolute() or str(model).startswith(".") or str(model).count("/") != 1:
        raise WeightsMissingError(
            f"there is no folder {path}; expected {SHIPPED}, the folder of a model, or the id OWNER/NAME of one in the hub's cache"
        )
    hub = need("huggingface_hub", "a model from the hub")
    try:
        return Path(hub.snapshot_download(str(model), revision=revision, cache_dir=cache_dir, local_files_only=True))
    except (hub.errors.LocalEntryNotFoundError, ValueError, OSError) as error:
        raise WeightsMissingError(missing) from error


def is_folder(path: Path) -> bool:
    """Whether a path is a folder. A name that no file can have is none."""
    try:
        return path.is_dir()
    except OSError:  # too long
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long
        return False


def _shipped() -> Path:
    if (SHIPPED_FOLDER / INDEX).is_file():
        return SHIPPED_FOLDER
    raise WeightsMissingError(
        f"the small model is not in this installation ({SHIPPED_FOLDER}): install the package again, or "
        "give another model, such as stable-diffusion-v1-5/stable-diffusion-inpainting"
    )


def native_side(base: Path) -> int:
    """Return the side in pixels that the networks of a checked folder were made for, by their configuration."""
    path = base / "unet" / "config.json"
    size = _json(path).get("sample_size", 64)
    sides = size if isinstance(size, list) else [size]
    if not 1 <= len(sides) <= 2 or not all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in sides):
        raise WeightsUnusableError(f"{path}: sample_size is {shown(size)}, expected 1 to {LARGEST_SIDE:,}")
    return int(min(sides)) * cell_pixels(base)


def cell_pixels(base: Path) -> int:
    """Return the side of a latent cell in pixels. The autoencoder has one level more than it halves its input."""
    path = base / "vae" / "config.json"
    channels = _json(path).get("block_out_channels", [0, 0, 0, 0])
    if not isinstance(channels, list) or not 1 <= len(channels) <= LARGEST_LEVELS:
        raise WeightsUnusableError(
            f"{path}: block_out_channels is {shown(channels)}, expected a list of 1 to {LARGEST_LEVELS} numbers"
        )
    return int(2 ** (len(channels) - 1))


def _base_folder(folder: Path, found: Settings, cache_dir: str | Path | None) -> Path:
    """Find the base of adapters: a folder, also one relative to theirs, or a model in the hub's cache."""
    beside = folder / found.base
    try:
        base = beside if is_folder(beside) else _folder(found.base, found.revision, cache_dir)
    except WeightsMissingError as error:
        raise WeightsMissingError(f"{folder} contains adapters for another model: {error}") from error
    if not (base / INDEX).is_file():
        raise WeightsUnusableError(f"{base}, the base of {folder}, is not a diffusers pipeline: it has no {INDEX}")
    return base


def check_base(base: Path, variant: str | None = None) -> None:
    """Raise `WeightsUnusableError` unless the folder is an inpainting pipeline with safetensors for every network.

    variant: see `variant_of`.
    """
    index = _json(base / INDEX)
    if not str(index.get("_class_name", "")).endswith("Pipeline"):
        raise WeightsUnusableError(f"{base / INDEX} names no diffusers pipeline class (_class_name)")
    if "transformer" in index and "unet" not in index:
        raise WeightsUnusableError(
            f"{base} is a {shown(index['_class_name'])}, which has a transformer: expected a model with a UNet, such as "
            "stable-diffusion-v1-5/stable-diffusion-inpainting, whose attention can be refocused. The eraser "
            f"sd-inpainting opens it: benchmark run --method sd-inpainting --option checkpoint={base}"
        )
    for network in (*NETWORKS, "text_encoder_2"):
        entry = index.get(network, [None])
        if not isinstance(entry, list) or not entry:
            raise WeightsUnusableError(f"{base / INDEX}: {network} is {shown(entry)}, expected [library, class]")
        if network in NETWORKS or entry[0] is not None:
            _check_weights(base / network)
    channels = _json(base / "unet" / "config.json").get("in_channels")
    if channels != INPAINTING_CHANNELS:
        kind = "an ordinary text-to-image model" if channels == 4 else "not an inpainting model"
        raise WeightsUnusableError(
            f"{base} is {kind}: its UNet takes {channels} channels, expected {INPAINTING_CHANNELS} "
            "(noisy latent, mask, masked photo). Use an inpainting checkpoint, such as "
            "stable-diffusion-v1-5/stable-diffusion-inpainting"
            + (
                "; the eraser sd-inpainting opens this one, and keeps the photo around the mask"
                if channels == 4
                else ""
            )
        )
    variant_of(base, variant)


def _check_weights(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise WeightsUnusableError(f"{folder / 'config.json'} is missing: the model is incomplete")
    if any(folder.glob("*.safetensors")):
        return
    if pickled := sorted(p.name for p in folder.glob("*.bin")):
        raise WeightsUnusableError(
            f"{folder} has its weights only as {pickled[0]}, which is pickled and could run code; "
            "expected *.safetensors. Convert them on a machine where you trust them: load the pipeline "
            "with diffusers and call save_pretrained(FOLDER, safe_serialization=True)"
        )
    raise WeightsUnusableError(f"{folder} has no weights: expected a *.safetensors file there")


def _check_adapters(folder: Path, found: Settings) -> None:
    for name, wanted in ((lora.FILE, found.lora), (TOKEN_FILE, found.token)):
        if wanted and not (folder / name).is_file():
            raise WeightsUnusableError(f"{folder / name} is missing, but {settings.FILE} says that the model has it")


def variant_of(base: Path, wanted: str | None = None) -> str | None:
    """Return the variant of the weights' files to load from a checked folder, or None for the plain ones.

    wanted: The variant, or None: the plain files, or else the variant that all networks without these have.

    Raises `UsageError` if no network has the wanted variant, and `WeightsUnusableError` if one has neither.
    """
    return choose_variant(base, wanted or "auto", (".safetensors",))


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise WeightsUnusableError(f"{path} is missing: the model is incomplete")
    try:
        found = parse_json(path.read_bytes(), path, WeightsUnusableError)
    except OSError as error:
        raise WeightsUnusableError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise WeightsUnusableError(f"{path}: expected an object of JSON, found {shown(found)}")
    return found
