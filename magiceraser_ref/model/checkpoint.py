"""A model as one folder: a diffusers pipeline, its LoRA, its token and its settings, all as safetensors.

The pipeline is stored *without* LoRA and token, so that every user of diffusers can load it, then add the LoRA with
`load_lora_weights` and the token with `load_textual_inversion`.
"""

from __future__ import annotations

import copy
import json
import shutil
import uuid
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from baselines.decoder import UNCLIPPED
from baselines.eraser import WeightsUnusableError
from magiceraser_ref.extras import need
from magiceraser_ref.model import settings as records
from magiceraser_ref.model.locate import INDEX, NETWORKS, TOKEN_FILE, Located, locate, native_side, variant_of
from magiceraser_ref.model.lora import FILE as LORA_FILE
from magiceraser_ref.model.lora import check_lora, has_lora, load_lora, save_lora
from magiceraser_ref.model.settings import Settings, unet_shape
from magiceraser_ref.model.token import add_token, load_token, save_token, set_token_vector, token_vector
from olrd.errors import OutputError, UsageError, did_you_mean
from olrd.models.checkpoints import choose_device
from olrd.storage.files import disk_errors, ordinary_mode, write_atomic
from olrd.trust import parse_json

DTYPES = ("auto", "bfloat16", "float16", "float32")
_TOP = (records.FILE, INDEX, LORA_FILE, TOKEN_FILE)
_FOLDERS = frozenset({"unet", "vae", "scheduler", "safety_checker", "feature_extractor", "image_encoder"}) | {
    f"{name}{number}" for name in ("tokenizer", "text_encoder") for number in ("", "_2")
}
_FILES = (
    *("config.json", "*.safetensors", "*.safetensors.index.json", "generation_config.json"),
    *("scheduler_config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt"),
)
"""The files of a saved model: in its folder, the folders in it, and the files in these."""
INPAINTING = ("StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline")


@dataclass
class Parts:
    """A loaded model.

    Attributes:
        pipeline: The diffusers pipeline with LoRA and token.
        settings: The model's settings.
        token: The learned token, or None.
        located: Where the model was loaded from, or None for one that was built in code.
    """

    pipeline: Any
    settings: Settings
    token: str | None
    located: Located | None = None


def load(
    model: str | Path,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    lora: bool = True,
    *,
    variant: str | None = None,
    cache_dir: str | Path | None = None,
) -> Parts:
    """Load a model. Nothing is downloaded. The sampler becomes DDIM (inferred).

    Args:
        model: `small`, a folder, or the id of a model in the hub's cache. A plain inpainting checkpoint has no token
            and no LoRA.
        revision: Commit of a model from the hub.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
        dtype: One of `DTYPES`; `auto` is float32 on the CPU and float16 elsewhere.
        lora: False leaves the model's LoRA out, for comparisons.
        variant: Variant of the weights' files, such as `fp16`, see `variant_of`.
        cache_dir: Folder of the hub's cache, if it is not the usual one.

    Raises:
        WeightsMissingError: If the model is not on this machine.
        WeightsUnusableError: If a file is missing, damaged or of another kind.
    """
    located = locate(model, revision, variant=variant, cache_dir=cache_dir)
    device = choose_device(device, "MagicEraser")
    pipeline = load_base(located.base, device, dtype, variant)
    found = located.settings
    if found is None:
        found = Settings(token=None, lora=None, resolution=native_side(located.base))
        return Parts(pipeline, found, None, located)
    _check_shape(pipeline.unet, found, located.folder)
    if not lora:
        found = replace(found, lora=None)
    if found.lora:
        load_lora(pipeline, located.folder)
    token = _load_token(pipeline, located.folder) if found.token else None
    return Parts(pipeline.to(device), found, token, located)


def load_base(base: Path, device: str = "cpu", dtype: str = "auto", variant: str | None = None) -> Any:
    """Load the pipeline of a checked folder to a device, with DDIM as its sampler."""
    torch, diffusers = need("torch", "MagicEraser"), need("diffusers", "MagicEraser")
    if dtype not in DTYPES:
        raise did_you_mean("dtype", dtype, DTYPES)
    name = ("float32" if device == "cpu" else "float16") if dtype == "auto" else dtype
    index = parse_json((base / INDEX).read_bytes(), base / INDEX, WeightsUnusableError)
    # The automatic choice imports every pipeline of diffusers, which takes seconds.
    named = str(index.get("_class_name"))
    chosen = named if named in INPAINTING else "AutoPipelineForInpainting"
    # Without the safety checker, which would return a black picture for some harmless photos.
    without = {k: None for k in ("safety_checker", "feature_extractor") if k in index}
    try:
        with quiet():
            pipeline = getattr(diffusers, chosen).from_pretrained(
                str(base),
                torch_dtype=getattr(torch, name),
                variant=variant_of(base, variant),
                use_safetensors=True,
                local_files_only=True,
                **without,
            )
        pipeline.scheduler = diffusers.DDIMScheduler.from_config(pipeline.scheduler.config, **UNCLIPPED)
    except ImportError as error:
        raise WeightsUnusableError(f"{base} needs a library that is not installed: {error}") from error
    except Exception as error:  # diffusers, transformers and safetensors raise many kinds of errors
        raise WeightsUnusableError(f"{base} cannot be loaded as an inpainting pipeline: {error}") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _check_shape(unet: Any, found: Settings, folder: Path) -> None:
    shape = unet_shape(unet.config)
    if found.lora:
        check_lora(unet, folder / LORA_FILE)  # comes first, because its error names the module
    for key, value in found.base_unet.items():
        if shape.get(key, value) != value:
            raise WeightsUnusableError(
                f"{folder} was made for another base: its {key} is {value}, this UNet's {shape[key]}; "
                "load it on the model that it was trained on"
            )


def _load_token(pipeline: Any, folder: Path) -> str:
    _one_text_encoder(pipeline)
    token, vector = load_token(folder / TOKEN_FILE)
    width = pipeline.text_encoder.get_input_embeddings().weight.shape[1]
    if tuple(vector.shape) != (width,):
        raise WeightsUnusableError(
            f"{folder / TOKEN_FILE}: the token's vector has {vector.shape[0]} numbers, the text encoder's "
            f"have {width}: it was learned for another base model"
        )
    number = add_token(pipeline.tokenizer, pipeline.text_encoder, token)
    set_token_vector(pipeline.text_encoder, number, vector)
    return token


def _one_text_encoder(pipeline: Any) -> None:
    if getattr(pipeline, "text_encoder_2", None) is not None:
        raise UsageError(
            "a learned token needs a model with one text encoder; Stable Diffusion XL has two. It runs "
            "without a token (settings: token null)"
        )


def save(folder: Path | str, pipeline: Any, settings: Settings, *, adapters_only: bool = False) -> Settings:
    """Write a model to a folder. An earlier model in that folder is replaced.

    The model is written under a temporary name, which is changed when it is complete.

    Args:
        folder: Folder of the model.
        pipeline: The diffusers pipeline with LoRA and token.
        settings: The model's settings; `token` and `lora` must be set exactly if the pipeline has them.
        adapters_only: Write only LoRA, token and settings; then `settings.base` must name the base.

    Returns:
        The settings as they are stored.

    Raises:
        UsageError: If the settings do not fit the pipeline.
        OutputError: If the folder contains something that is not part of a model, or cannot be written.
    """
    folder, unet = Path(folder), uncompiled(pipeline.unet)
    if has_lora(unet) != bool(settings.lora):
        raise UsageError(
            f"settings.lora must be set exactly if the UNet has a LoRA: it {'has one' if has_lora(unet) else 'has none'}"
        )
    for name in NETWORKS:
        if any(values.is_meta for values in getattr(pipeline, name).parameters()):
            raise UsageError(
                f"the weights of the {name} are not in memory (sequential offloading to the CPU): expected a loaded "
                "model; load it again and save it before it is offloaded"
            )
    if settings.token and settings.token not in pipeline.tokenizer.get_vocab():
        raise UsageError(f"the tokenizer does not have the token '{settings.token}': add_token first")
    if adapters_only and settings.base == ".":
        raise UsageError("adapters alone must name their base: set settings.base to its id or folder")
    stored = replace(settings, base_unet=unet_shape(unet.config))
    if not adapters_only:
        stored = replace(stored, base=".", revision=None)
    with _replaced(folder) as target, disk_errors(folder):
        if not adapters_only:
            save_base(target, pipeline, stored.token)
        if stored.lora:
            save_lora(target, unet, type(pipeline))
        if stored.token:
            number = pipeline.tokenizer.convert_tokens_to_ids(stored.token)
            save_token(target / TOKEN_FILE, stored.token, token_vector(pipeline.text_encoder, number))
        for written in target.rglob("*.safetensors"):
            ordinary_mode(written)
        write_atomic(target / records.FILE, stored.to_json())
    return stored


@contextmanager
def _replaced(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `folder` when everything is written.

    If it cannot be given its name, the earlier model gets its own back.
    """
    folder = folder.resolve()  # the target of a link, so that the link stays
    if folder.exists():
        _check_only_ours(folder)
    mark = uuid.uuid4().hex
    temporary, old = (folder.with_name(f".{folder.name}.{mark}.{x}") for x in ("tmp", "old"))
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if folder.exists():
            _check_only_ours(folder)  # again, because writing takes a while
            folder.rename(old)
        try:
            temporary.rename(folder)
        except BaseException:
            if old.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{folder}: the model cannot be written there: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_only_ours(folder: Path) -> None:
    """Raise `OutputError` unless a folder is empty, or contains a model and nothing else."""
    if not folder.is_dir():
        raise OutputError(f"{folder} is a file: give the name of a folder")
    entries = list(folder.iterdir())
    if entries and not (folder / records.FILE).is_file():
        raise OutputError(f"{folder} is not empty and contains no model of magiceraser_ref: give another folder")
    for path in entries:
        kinds = _FILES if path.name in _FOLDERS and path.is_dir() and not path.is_symlink() else None
        strange = [path] if kinds is None and not _named(path, _TOP) else []
        if kinds is not None:
            strange = [inner for inner in path.iterdir() if not _named(inner, kinds)]
        if strange:
            raise OutputError(
                f"{strange[0]} is not part of a model, and saving would replace its folder: move it, or give another "
                "folder"
            )


def _named(path: Path, patterns: Sequence[str]) -> bool:
    return path.is_file() and any(fnmatch(path.name, pattern) for pattern in patterns)


def save_base(target: Path, pipeline: Any, token: str | None) -> None:
    """Write the pipeline in diffusers' layout, without LoRA and token."""
    parts = {name: uncompiled(part) for name, part in pipeline.components.items()}
    parts["unet"] = _without_lora(parts["unet"])
    if token:
        number = pipeline.tokenizer.convert_tokens_to_ids(token)
        parts["text_encoder"] = _without_rows(parts["text_encoder"], number)
    extra = {"requires_safety_checker": False} if "safety_checker" in parts else {}
    plain = type(pipeline)(**parts, **extra)
    with quiet():
        plain.save_pretrained(str(target), safe_serialization=True)
    _forget_places(target)
    if token:
        _forget_token(target / "tokenizer", token)


def _forget_places(target: Path) -> None:
    """Remove from the stored configurations the folder that each network was loaded from.

    The folder is not part of the model, differs between machines, and is private.
    """
    for path in target.glob("*/config.json"):
        found = json.loads(path.read_text("utf-8"))
        if found.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n", "utf-8")


def uncompiled(part: Any) -> Any:
    """Return the network that `torch.compile` was given, or the part itself. The weights are the same tensors."""
    return getattr(part, "_orig_mod", part)


def _without_lora(unet: Any) -> Any:
    """Return a UNet with the same weights and without LoRA. The tensors are shared, not copied."""
    if not has_lora(unet):
        return unet
    torch = need("torch", "saving a model")
    state = {k.replace(".base_layer.", "."): v for k, v in unet.state_dict().items() if "lora_" not in k}
    with torch.device("meta"):
        plain = type(unet).from_config(unet.config)
    plain.load_state_dict(state, assign=True)
    return plain


def _without_rows(text_encoder: Any, count: int) -> Any:
    """Return a text encoder with only the first `count` embeddings."""
    if text_encoder.get_input_embeddings().weight.shape[0] <= count:
        return text_encoder
    plain = copy.deepcopy(text_encoder)
    plain.resize_token_embeddings(count)
    return plain


def _forget_token(folder: Path, token: str) -> None:
    """Remove the token from a stored tokenizer, because transformers cannot remove one."""
    for name in ("tokenizer.json", "tokenizer_config.json", "added_tokens.json"):
        path = folder / name
        if not path.is_file():
            continue
        found = json.loads(path.read_text("utf-8"))
        if name == "added_tokens.json":
            found.pop(token, None)
        if "added_tokens" in found:
            found["added_tokens"] = [t for t in found["added_tokens"] if t["content"] != token]
        if "added_tokens_decoder" in found:
            kept = found["added_tokens_decoder"].items()
            found["added_tokens_decoder"] = {k: v for k, v in kept if v["content"] != token}
        path.write_text(json.dumps(found, ensure_ascii=False, indent=2), "utf-8")


@contextmanager
def quiet() -> Iterator[None]:
    """Switch off progress bars of diffusers and transformers, and warnings about options that older releases need."""
    import diffusers
    import transformers

    loggings = diffusers.utils.logging, transformers.utils.logging
    shown = [logging.is_progress_bar_enabled() for logging in loggings]
    for logging in loggings:
        logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for logging, was in zip(loggings, shown, strict=True):
            if was:
                logging.enable_progress_bar()
