"""LoRA on the UNet's attention (sections 3 and 6). With the token's vector v*, these are the only trained weights.

Q, K and V are the paper's (figure). The output projection, rank and alpha 8, and the use of both self-attention and
cross-attention are inferred.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from baselines.eraser import WeightsUnusableError
from magiceraser_ref.extras import need
from olrd.errors import UsageError
from olrd.storage.files import ordinary_mode
from olrd.trust import one_line, parse_json, shown

ADAPTER = "magiceraser"
FILE = "pytorch_lora_weights.safetensors"
FORMATS = ("kohya", "diffusers")
"""The forms that `lora_export` writes."""
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
LARGEST_RANK = 1024
LARGEST_ALPHA = 1e6
_PREFIX = "unet."
_METADATA = "lora_adapter_metadata"
_MODULE = re.compile(r"[\w.]{1,200}")


def add_lora(unet: Any, rank: int = 8, alpha: float = 8, targets: Sequence[str] = TARGETS, seed: int = 0) -> None:
    """Add an untrained LoRA to a UNet. It does not change the UNet's output until it is trained.

    Args:
        unet: A `UNet2DConditionModel`, which is changed in place; its own weights are frozen.
        rank: Rank of the LoRA.
        alpha: Scale of the LoRA, relative to its rank.
        targets: Ends of the names of the modules that get a LoRA.
        seed: Seed of the first factors' values. The state of torch's generator has no influence.

    Raises:
        UsageError: If the rank is below 1, the UNet has a LoRA already, or no module has such a name.
    """
    peft, torch = need("peft", "LoRA"), need("torch", "LoRA")
    if rank < 1:
        raise UsageError(f"the rank of a LoRA is at least 1, got {rank}")
    if has_lora(unet):
        raise UsageError("this UNet already has a LoRA: start from the base model without it")
    if not any(name.endswith(tuple(targets)) for name, _ in unet.named_modules()):
        raise UsageError(f"no module of this UNet is named {', '.join(targets)}")
    unet.requires_grad_(False)
    config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(targets), init_lora_weights="gaussian")
    unet.add_adapter(config, adapter_name=ADAPTER)
    # An own generator and a fixed order give the same values on every device and with every version of peft.
    generator = torch.Generator("cpu").manual_seed(seed)
    for name, values in sorted(unet.named_parameters()):
        if "lora_A" in name:
            drawn = torch.randn(values.shape, generator=generator) / rank
            values.data.copy_(drawn)


def has_lora(unet: Any) -> bool:
    """Return whether the UNet has a LoRA."""
    return bool(getattr(unet, "peft_config", None))


def lora_parameters(unet: Any) -> list[Any]:
    """List the LoRA's parameters in the order of their names."""
    return [values for name, values in sorted(unet.named_parameters()) if "lora_" in name]


def save_lora(folder: Path | str, unet: Any, pipeline_class: Any = None) -> None:
    """Write the LoRA as `pytorch_lora_weights.safetensors`, which `load_lora_weights` of diffusers reads.

    pipeline_class: The class whose `save_lora_weights` is used; by default that of Stable Diffusion Inpainting.
    """
    peft, diffusers = need("peft", "LoRA"), need("diffusers", "LoRA")
    if not has_lora(unet):
        raise UsageError("this UNet has no LoRA to save")
    adapter = next(iter(unet.peft_config))
    from diffusers.utils import convert_state_dict_to_diffusers

    layers = convert_state_dict_to_diffusers(peft.get_peft_model_state_dict(unet, adapter_name=adapter))
    writer = pipeline_class or diffusers.StableDiffusionInpaintPipeline
    writer.save_lora_weights(
        str(folder),
        unet_lora_layers={k: v.contiguous() for k, v in layers.items()},
        save_function=_writer(unet.peft_config[adapter]),
    )


def _writer(config: Any) -> Callable[[dict[str, Any], str], None]:
    """Return a function that writes a LoRA's weights together with its rank, alpha and targets.

    diffusers' writer adds a second entry to the file's metadata, and safetensors writes the two in any order: the bytes
    of the same LoRA would differ from time to time.
    """
    from safetensors.torch import save_file

    known = {"r": config.r, "lora_alpha": config.lora_alpha}
    record = known | {"target_modules": sorted(config.target_modules)}
    named = {f"{_PREFIX}{key}": value for key, value in record.items()}

    def write(weights: dict[str, Any], path: str) -> None:
        ordered = dict(sorted(weights.items()))
        save_file(ordered, path, metadata={_METADATA: json.dumps(named, sort_keys=True)})
        ordinary_mode(Path(path))

    return write


def load_lora(pipeline: Any, folder: Path | str) -> None:
    """Load the LoRA of `folder` into the pipeline's UNet.

    Raises `WeightsUnusableError` if it is for another base, or is no LoRA of finite numbers.
    """
    need("peft", "LoRA")
    path = Path(folder) / FILE
    check_lora(pipeline.unet, path)
    try:
        # The pipeline's load_lora_weights does the same, but warns that there is no LoRA for the text encoder.
        pipeline.unet.load_lora_adapter(
            str(folder),
            prefix="unet",
            weight_name=FILE,
            adapter_name=ADAPTER,
            use_safetensors=True,
            local_files_only=True,
        )
    except Exception as error:  # diffusers and peft raise many kinds of errors
        raise WeightsUnusableError(f"{path} cannot be loaded as a LoRA: {one_line(str(error))}") from error
    pipeline.unet.eval()  # the new layers may have dropout
    if not all(bool(values.isfinite().all()) for values in lora_parameters(pipeline.unet)):
        raise WeightsUnusableError(f"{path} contains NaN or infinity: expected the finite weights of a LoRA")


def check_lora(unet: Any, path: Path) -> None:
    """Raise `WeightsUnusableError` if the UNet lacks a module of the file or has it in another width.

    Only the file's header is read.
    """
    known = {
        name.removesuffix(".base_layer"): tuple(module.weight.shape)
        for name, module in unet.named_modules()
        if getattr(module, "weight", None) is not None
    }
    for module, (inputs, outputs) in sorted(_shapes(path).items()):
        if module not in known:
            raise WeightsUnusableError(
                f"{path} is a LoRA for another base: it changes the module {module}, which this UNet "
                "does not have; load it on the model that it was trained on"
            )
        if known[module][:2] != (outputs, inputs):
            raise WeightsUnusableError(
                f"{path} is a LoRA for another base: {module} is {inputs} -> {outputs} there and "
                f"{known[module][1]} -> {known[module][0]} in this UNet; load it on the model that it "
                "was trained on"
            )


class Factors(NamedTuple):
    """The LoRA of one module: the weight changes by up @ down * scale.

    Attributes:
        down: Tensor [rank, inputs, ...].
        up: Tensor [outputs, rank, ...].
        scale: Alpha by rank, or by the root of the rank (`use_rslora`).
    """

    down: Any
    up: Any
    scale: float


def read_lora(path: Path) -> dict[str, Factors]:
    """Read the LoRA of a file without a UNet: its factors by module, such as `mid_block...attn1.to_q`.

    Raises `WeightsUnusableError` if the file is no LoRA of finite numbers, or has alphas by module (`alpha_pattern`).
    """
    modules = _shapes(path)
    from safetensors import safe_open

    parts: dict[tuple[str, str], Any] = {}
    with safe_open(str(path), framework="pt") as file:
        record = json.loads((file.metadata() or {}).get(_METADATA, "{}"))
        for key in file.keys():  # noqa: SIM118  (a file handle, not a mapping)
            parts[_part_of(key)] = values = file.get_tensor(key)
            if not bool(values.isfinite().all()):
                raise WeightsUnusableError(f"{path} contains NaN or infinity: expected the finite weights of a LoRA")
    settings = {name.removeprefix(_PREFIX): value for name, value in record.items()}
    if settings.get("alpha_pattern"):
        raise WeightsUnusableError(f"{path} has one alpha per module (alpha_pattern), which is not supported here")
    found = {}
    for module in modules:
        down, up = parts[module, "down"], parts[module, "up"]
        rank = int(down.shape[0])
        alpha = float(settings.get("lora_alpha") or rank)  # as diffusers reads a file that does not say it
        found[module] = Factors(down, up, alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank))
    return found


def _part_of(key: str) -> tuple[str, str]:
    """Return the module of a file's key, and which factor it is: `down`, `up`, or an empty text for another."""
    module, _, factor = key.removesuffix(".weight").rpartition(".lora")
    known = {"_A": "down", ".down": "down", "_down": "down", "_B": "up", ".up": "up", "_up": "up"}
    return module.removeprefix(_PREFIX), known.get(factor, "")


def _shapes(path: Path) -> Mapping[str, tuple[int, int]]:
    """Read (inputs, outputs) of each changed module from the header of a LoRA file, and check the header."""
    need("safetensors", "LoRA")
    from safetensors import SafetensorError, safe_open

    down: dict[str, tuple[int, ...]] = {}
    up: dict[str, tuple[int, ...]] = {}
    try:
        with safe_open(str(path), framework="pt") as file:
            _check_metadata(path, file.metadata() or {})
            for key in file.keys():  # noqa: SIM118  (a file handle, not a mapping)
                module, factor = _part_of(key)
                shape = tuple(file.get_slice(key).get_shape())
                if factor:
                    (down if factor == "down" else up)[module] = shape
    except (OSError, SafetensorError) as error:
        raise WeightsUnusableError(f"{path} is not a safetensors file with a LoRA: {error}") from error
    if not down or down.keys() != up.keys():
        raise WeightsUnusableError(f"{path} contains no LoRA: expected pairs of lora_A and lora_B weights")
    for module, one in down.items():
        other = up[module]
        if min(len(one), len(other)) < 2 or one[0] != other[1] or not 1 <= one[0] <= LARGEST_RANK:
            raise WeightsUnusableError(
                f"{path}: the factors of {shown(module)} are {list(one)} and {list(other)}, expected [rank, inputs] and "
                f"[outputs, rank] with a rank from 1 to {LARGEST_RANK}"
            )
    return {module: (down[module][1], up[module][0]) for module in down}


def _check_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Raise `WeightsUnusableError` unless a file's settings are plain: peft can import any module that they name."""
    if _METADATA not in metadata:
        return
    record = parse_json(metadata[_METADATA], path, WeightsUnusableError)
    if not isinstance(record, dict):
        raise WeightsUnusableError(f"{path}: its settings ({_METADATA}) are {shown(record)}, expected an object")
    usual = need("peft", "LoRA").LoraConfig().to_dict()
    for name, value in record.items():
        key = name.removeprefix(_PREFIX)
        check = _SETTINGS.get(key)
        unused = value is None or value is False or value in ([], {}, "") or value == usual.get(key)
        if not unused and (check is None or not check(value)):
            raise WeightsUnusableError(
                f"{path}: its setting {shown(name)} is {shown(value)}, which an ordinary LoRA does not have. Load the "
                "LoRA with the tool that made it, and save it again without the setting"
            )


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST_RANK


def _is_scale(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LARGEST_ALPHA


def _are_names(value: object) -> bool:
    # A string would be used as a regular expression, and matching some of these takes exponential time.
    return isinstance(value, list) and all(isinstance(one, str) and _MODULE.fullmatch(one) for one in value)


def _by_module(check: Callable[[object], bool]) -> Callable[[object], bool]:
    def checked(value: object) -> bool:
        return isinstance(value, dict) and _are_names(list(value)) and all(check(one) for one in value.values())

    return checked


_SETTINGS: Mapping[str, Callable[[object], bool]] = {
    "r": _is_rank,
    "lora_alpha": _is_scale,
    "target_modules": _are_names,
    "rank_pattern": _by_module(_is_rank),
    "alpha_pattern": _by_module(_is_scale),
    "lora_dropout": lambda value: isinstance(value, int | float) and 0 <= value <= 1,
    "use_rslora": lambda value: value is True,
    "init_lora_weights": lambda value: value is True or value == "gaussian",
    "inference_mode": lambda value: value is True,
    "bias": lambda value: value == "none",
    "peft_type": lambda value: value == "LORA",
    "peft_version": lambda value: isinstance(value, str),
    "base_model_name_or_path": lambda value: isinstance(value, str),
}
"""The settings that a LoRA may have, and what their values must be. Those that are off or peft's own do no harm."""
