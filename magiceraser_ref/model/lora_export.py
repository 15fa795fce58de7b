"""The LoRA and the token of a model as files for other programs.

`kohya` is the form of kohya-ss/sd-scripts, which ComfyUI and A1111 read: per changed module `lora_unet_<module>` with
underscores for dots, the factors `lora_down.weight` and `lora_up.weight`, and `alpha`, so that the change of the weight
is up @ down * alpha / rank. `diffusers` is the form that the model's folder holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from baselines.eraser import WeightsUnusableError
from magiceraser_ref.extras import need
from magiceraser_ref.model import lora
from magiceraser_ref.model.locate import SHIPPED, TOKEN_FILE, is_folder, locate
from magiceraser_ref.model.settings import FILE as SETTINGS_FILE
from magiceraser_ref.model.settings import read_settings
from magiceraser_ref.model.token import load_token, save_token
from olrd.errors import SourceError, UsageError, did_you_mean
from olrd.storage.files import atomic_path, write_atomic

SUFFIX = ".safetensors"
_PREFIX = "lora_unet_"
_EMBEDDING = "emb_params"
"""The name of the vector in an embedding file of A1111. Its word in prompts is the name of the file."""
_VERSIONS = {768: "sd_v1", 1024: "sd_v2", 2048: "sdxl_base_v1-0"}
"""The base's name in kohya's metadata, by the width of its text embeddings. A1111 hides LoRAs of other bases."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        lora: The file of the LoRA.
        token: The file of the token's vector; None if the model has no token.
        word: The token in prompts of the program that reads the files; None without a token.
    """

    lora: Path
    token: Path | None
    word: str | None


def token_file(out: Path) -> Path:
    """Return where the token goes that belongs to the LoRA at `out`: `x.safetensors` has `x-token.safetensors`."""
    return out.with_name(f"{out.stem}-token{SUFFIX}")


def export_lora(model: str | Path, out: Path, form: str = "kohya", revision: str | None = None) -> Exported:
    """Write the LoRA of a model to `out`, and its token beside it. Existing files are replaced.

    The base of a trained model need not be on this machine.

    Args:
        model: `small`, a folder, or the id of a model in the hub's cache.
        out: The file of the LoRA, *.safetensors.
        form: One of `lora.FORMATS`.
        revision: Commit of a model from the hub.

    Raises:
        UsageError: If the form or the suffix is unknown.
        SourceError: If the model has no LoRA.
        WeightsUnusableError: If a file of the model is missing, damaged, or has settings that kohya's form lacks.
    """
    if form not in lora.FORMATS:
        raise did_you_mean("format", form, lora.FORMATS)
    if out.suffix != SUFFIX:
        raise UsageError(f"{out}: a LoRA is written as {SUFFIX}")
    adapters = str(model) != SHIPPED and is_folder(Path(model))  # `locate` would ask for their base
    folder = Path(model) if adapters else locate(model, revision).folder
    settings = read_settings(folder)
    if settings is None or settings.lora is None:
        raise SourceError(
            f"{folder} has no LoRA: expected the model that `magiceraser train` wrote, with {SETTINGS_FILE} and {lora.FILE}"
        )
    if out.resolve().parent == folder.resolve():
        raise UsageError(f"{out} would lie among the files of the model: give another --out")
    weights = lora.read_lora(folder / lora.FILE)
    token = load_token(folder / TOKEN_FILE) if settings.token else None  # before anything is written
    if form == "diffusers":
        write_atomic(out, (folder / lora.FILE).read_bytes())
    else:
        _write_kohya(out, weights, settings.base_unet.get("cross_attention_dim"))
    if token is None:
        return Exported(out, None, None)
    name, vector = token
    beside = token_file(out)
    save_token(beside, _EMBEDDING if form == "kohya" else name, vector)
    return Exported(out, beside, beside.stem if form == "kohya" else name)


def _write_kohya(out: Path, weights: Mapping[str, lora.Factors], width: object) -> None:
    """Write a LoRA in kohya's form. width: the width of the base's text embeddings, as its settings say."""
    need("safetensors", "LoRA")
    from safetensors.torch import save_file

    stored = kohya_weights(weights)
    version = _VERSIONS.get(width) if isinstance(width, int) else None
    # One entry of metadata at most: safetensors writes several in any order.
    with atomic_path(out) as temporary:
        save_file(stored, temporary, metadata={"ss_base_model_version": version} if version else None)


def kohya_weights(weights: Mapping[str, lora.Factors]) -> dict[str, Any]:
    """Return a LoRA under kohya's names. weights: The factors by module, as `read_lora` returns them.

    Raises `WeightsUnusableError` if two modules would have one name.
    """
    torch = need("torch", "LoRA")
    found: dict[str, Any] = {}
    for module, factors in sorted(weights.items()):
        name = f"{_PREFIX}{module.replace('.', '_')}"
        if f"{name}.alpha" in found:
            raise WeightsUnusableError(
                f"the LoRA changes two modules that kohya's form calls {name}: it cannot be exported"
            )
        found[f"{name}.lora_down.weight"] = factors.down.contiguous()
        found[f"{name}.lora_up.weight"] = factors.up.contiguous()
        # Readers divide by the rank.
        found[f"{name}.alpha"] = torch.tensor(factors.scale * factors.down.shape[0], dtype=torch.float32)
    return found
