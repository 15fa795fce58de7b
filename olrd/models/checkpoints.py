"""Loading model checkpoints from a hub name or a local folder: complete ones, in safetensors."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from olrd.errors import MissingExtraError, SourceError, UsageError

EXTRA = "models"


def require(module: str, what: str, extra: str = EXTRA) -> Any:
    """Import `module` (torch, transformers). Raises `MissingExtraError` that says which extra `what` needs."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(what, extra) from error


def choose_device(wanted: str, what: str) -> str:
    """The torch device to use; `auto` is the GPU if there is one. Raises `UsageError`."""
    torch = require("torch", what)
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise UsageError(f"device: expected auto, cpu, cuda or cuda:N, got '{wanted}'") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"device: '{wanted}' is asked for, but torch sees {torch.cuda.device_count()} CUDA "
            "devices here; use auto or cpu"
        )
    return wanted


def load_processor(auto_class: Any, checkpoint: str, revision: str | None, **options: Any) -> Any:
    """A processor of transformers. Raises `SourceError` when the checkpoint has none."""
    with_errors = _loading(checkpoint, revision)
    return with_errors(auto_class.from_pretrained, checkpoint, revision=revision, **options)


def load_model(auto_class: Any, checkpoint: str, revision: str | None, **options: Any) -> Any:
    """A model of transformers in evaluation mode, from safetensors only.

    For a checkpoint of another architecture transformers leaves weights at random values and only warns; this
    function raises `SourceError`.
    """
    with_errors = _loading(checkpoint, revision)
    model, report = with_errors(
        auto_class.from_pretrained,
        checkpoint,
        revision=revision,
        use_safetensors=True,
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


def _loading(checkpoint: str, revision: str | None) -> Any:
    """Turn the many errors of a loading call into one `SourceError` with a remedy."""
    from safetensors import SafetensorError

    def call(load: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return load(*arguments, **options)
        except ImportError as error:
            raise MissingExtraError(f"the checkpoint {checkpoint} ({error})", EXTRA) from error
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise SourceError(
                f"the checkpoint '{checkpoint}' (revision {revision or 'default'}) cannot be "
                "loaded: expected the name of a hub repository or a local folder with config.json, "
                f"the processor's files and model.safetensors; {error}"
            ) from error

    return call
