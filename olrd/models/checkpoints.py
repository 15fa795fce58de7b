"""Loading model checkpoints from a hub name or a local folder: complete ones, in safetensors, without their code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from olrd.errors import MissingExtraError, OlrdError, SourceError, UsageError
from olrd.trust import counted, parse_json, plain_name, shown

EXTRA = "models"
INDEX = "model_index.json"
LIBRARIES = ("diffusers", "transformers")
"""The libraries that a model folder may name for its parts. diffusers imports any other as Python."""
CODE_KEYS = ("auto_map", "custom_pipeline", "custom_pipelines")
"""Entries of a configuration that name Python files of the model."""
KERNEL_KEYS = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
"""Entries that may name a repository with compiled code, as `owner/name`."""

_DEVICE = re.compile("auto|(?:cpu|cuda|mps|xpu|npu|hpu)(?::[0-9]{1,4})?")
MAX_LAYERS = 1000
"""Largest number of layers in a configuration. The largest published networks have fewer than 200."""


def require(module: str, what: str, extra: str = EXTRA) -> Any:
    """Import `module` (torch, transformers). Raises `MissingExtraError` that says which extra `what` needs."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(what, extra) from error


def check_installed(modules: Iterable[str], what: str, extra: str = EXTRA) -> None:
    """Raise `MissingExtraError` unless the modules are installed. Imports none of them, which would take seconds."""
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(f"{what} (it uses {module})", extra)


def check_device(wanted: object) -> None:
    """Raise `UsageError` unless it is written as a device of torch, or `auto`. Needs no torch."""
    if not (isinstance(wanted, str) and _DEVICE.fullmatch(wanted)):
        raise UsageError(f"device: expected auto, cpu, cuda or cuda:N, got {shown(wanted)}")


def choose_device(wanted: str, what: str, mps: bool = True) -> str:
    """Return the torch device to use.

    Args:
        wanted: `auto` or a device of torch. `auto` is a CUDA device if there is one, then Apple's GPU, then the CPU.
        what: What needs it, for messages.
        mps: False if the network has operations that Apple's GPU may lack: `auto` is the CPU there.

    Raises:
        UsageError: If this machine has no such device.
    """
    check_device(wanted)
    torch = require("torch", what)
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if mps and torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"device: expected auto, cpu, cuda or cuda:N, got '{wanted}'") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device: '{wanted}' is asked for, but torch sees "
            f"{counted(torch.cuda.device_count(), 'CUDA device')} here; use auto or cpu"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"device: '{wanted}' is asked for, but torch sees no Apple GPU here; use auto or cpu")
    return wanted


def load_processor(auto_class: Any, checkpoint: str, revision: str | None, **options: Any) -> Any:
    """A processor of transformers. Code of the checkpoint is never run, and the user is not asked to allow it.

    Raises `SourceError` if the checkpoint has no processor.
    """
    with_errors = _loading(checkpoint, revision)
    return with_errors(auto_class.from_pretrained, checkpoint, revision=revision, trust_remote_code=False, **options)


def load_model(auto_class: Any, checkpoint: str, revision: str | None, **options: Any) -> Any:
    """A model of transformers in evaluation mode, from safetensors only and without code of the checkpoint.

    For a checkpoint of another architecture transformers leaves weights at random values and only warns; this
    function raises `SourceError`.
    """
    with_errors = _loading(checkpoint, revision)
    model, report = with_errors(
        auto_class.from_pretrained,
        checkpoint,
        revision=revision,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
        **options,
    )
    # Buffers such as index tables are computed, not learned, and are often missing from the file.
    learned = {name for name, _ in model.named_parameters()}
    if missing := sorted(learned & set(report["missing_keys"])):
        raise SourceError(
            f"the checkpoint {checkpoint} does not hold {len(missing)} of the weights of "
            f"{type(model).__name__} (first: {missing[0]}): expected a checkpoint of that model"
        )
    return model.eval()


def local_folder(checkpoint: str, revision: str | None) -> str:
    """The folder of a checkpoint: itself, or its place in the hub's cache. Asks no network.

    Raises:
        SourceError: If the checkpoint is neither a folder nor in the cache.
    """
    if Path(checkpoint).is_dir():
        return checkpoint
    hub = require("huggingface_hub", "a model from the hub")
    try:
        found = hub.try_to_load_from_cache(checkpoint, "config.json", revision=revision)
    except (ValueError, OSError) as error:  # no name of a repository, or a damaged cache
        raise SourceError(f"the checkpoint '{checkpoint}' cannot be found in the hub's cache: {error}") from error
    if not isinstance(found, str):
        raise SourceError(f"the checkpoint '{checkpoint}' is not in the hub's cache on this machine")
    return str(Path(found).parent)


def _loading(checkpoint: str, revision: str | None) -> Any:
    """Turn the many errors of a loading call into one `SourceError` with a remedy."""
    configuration = Path(checkpoint) / "config.json"
    if configuration.is_file():
        _check_layers(configuration, _json_object(configuration, SourceError), SourceError)

    def call(load: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return load(*arguments, **options)
        except ImportError as error:
            raise MissingExtraError(f"the checkpoint {checkpoint} ({error})", EXTRA) from error
        except Exception as error:  # a stranger's configuration can make transformers raise anything
            if "trust_remote_code" in str(error):
                raise SourceError(
                    f"the checkpoint '{checkpoint}' contains Python code, and olrd does not run code from checkpoints: expected a "
                    "checkpoint of a class that transformers contains"
                ) from error
            raise SourceError(
                f"the checkpoint '{checkpoint}' (revision {revision or 'default'}) cannot be "
                "loaded: expected the name of a hub repository or a local folder with config.json, "
                f"the processor's files and model.safetensors; {error}"
            ) from error

    return call


def check_model_folder(folder: Path, kind: type[OlrdError] = SourceError) -> None:
    """Refuse a folder in diffusers' layout that would run its own Python code when it is loaded.

    diffusers imports Python files that a folder names, in some releases without asking. So the folder is checked
    before diffusers sees it: its parts are classes of diffusers or transformers, no configuration names code, and no
    Python file lies where diffusers looks for one.

    Args:
        folder: The folder with model_index.json. Folders of adapters, without one, are checked as far as they go.
        kind: The error to raise.

    Raises:
        SourceError: or `kind`. The message names the file and the entry.
    """
    for place in [folder, *sorted(part for part in folder.iterdir() if part.is_dir())]:
        if scripts := sorted(place.glob("*.py")):
            raise kind(
                f"{scripts[0]}: expected a model of configurations and weights, found Python code. Code of a model "
                "is never run: remove the file if the model needs none, or use another model"
            )
        for path in sorted(place.glob("*config.json")):
            _check_configuration(path, _json_object(path, kind), kind)
        if (place / INDEX).is_file():
            _check_index(place / INDEX, _json_object(place / INDEX, kind), kind)


def _json_object(path: Path, kind: type[OlrdError]) -> dict[str, Any]:
    try:
        found = parse_json(path.read_bytes(), path, kind)
    except OSError as error:
        raise kind(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise kind(f"{path}: expected an object of JSON, found {shown(found)}")
    return found


def _check_index(path: Path, index: dict[str, Any], kind: type[OlrdError]) -> None:
    _check_configuration(path, index, kind)
    for name, entry in index.items():
        if name.startswith("_"):
            continue
        plain_name(name, path, kind)
        if isinstance(entry, list) and entry and not _known_library(entry[0]):
            raise kind(
                f"{path}: {shown(name)} is of the library {shown(entry[0])}; expected one of "
                f"{', '.join(LIBRARIES)}. Other code is never run: use another model"
            )


def _known_library(name: object) -> bool:
    """Whether diffusers takes the class of a part from its own code or from transformers."""
    if name is None or name in LIBRARIES:
        return True
    # Some parts are named by a folder of diffusers, such as stable_diffusion for the safety checker.
    found = find_spec("diffusers")
    if not isinstance(name, str) or not name.isidentifier() or found is None or found.origin is None:
        return False
    return (Path(found.origin).parent / "pipelines" / name / "__init__.py").is_file()


def _check_configuration(path: Path, values: dict[str, Any], kind: type[OlrdError]) -> None:
    _check_layers(path, values, kind)
    for key, value in _entries(values):
        is_code = key in CODE_KEYS and value
        is_class = key == "_class_name" and not (value is None or (isinstance(value, str) and value.isidentifier()))
        is_kernel = key in KERNEL_KEYS and isinstance(value, str) and "/" in value
        if is_code or is_class or is_kernel:
            raise kind(
                f"{path}: the entry '{key}' names code, {shown(value)}; expected the name of a class of "
                f"{' or '.join(LIBRARIES)} at most. Code of a model is never run: use another model"
            )


def _check_layers(path: Path, values: dict[str, Any], kind: type[OlrdError]) -> None:
    """Refuse a configuration whose network would take hours to build. Absurd widths end in an error of torch."""
    for key, value in _entries(values):
        for count in value if isinstance(value, list) else [value]:
            if ("layers" in key or key in ("n_layer", "depths")) and isinstance(count, int) and count > MAX_LAYERS:
                raise kind(f"{path}: {shown(key)} is {count:,}, expected at most {MAX_LAYERS:,} layers")


def _entries(values: Any) -> Iterator[tuple[str, Any]]:
    """Every entry of a configuration, also of the configurations inside it."""
    waiting = [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value.items()
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
