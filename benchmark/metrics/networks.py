"""Running networks: libraries checked when a metric opens, float32 kept exact when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from olrd.checkpoints import EXTRA
from olrd.errors import MissingExtraError


def check_installed(metric: str, *modules: str) -> None:
    """`MissingExtraError` unless every module can be imported. Imports none of them."""
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(f"the metric {metric} (it uses {module})", EXTRA)


@contextmanager
def exact() -> Iterator[None]:
    """No gradients, and no TF32 on GPUs: its 10 bits would show in the third digit of a score."""
    import torch

    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with (
            torch.inference_mode(),
            torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


def load_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a file by name, read as the erasers read theirs; here, as that imports torch."""
    from baselines.nets.checkpoint import read_weights

    return read_weights(path)
