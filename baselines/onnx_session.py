"""Networks in ONNX files, run by onnxruntime: the device, and a session with checked inputs."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from baselines.eraser import WeightsUnusableError
from olrd.errors import MissingExtraError, UsageError
from olrd.trust import one_line

EXTRA = "migan"
"""The extra that installs onnxruntime."""


def runtime(what: str) -> Any:
    """Import onnxruntime. Raises `MissingExtraError` that says what needs it."""
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise MissingExtraError(what, EXTRA) from error


def onnx_device(wanted: str, what: str) -> str:
    """Return the device: `cpu`, `cuda`, `cuda:1`, ...

    Args:
        wanted: A device, or `auto`: CUDA if onnxruntime has it, otherwise the CPU.
        what: What needs it, for messages.

    Raises:
        UsageError: If onnxruntime has no such device here.
    """
    gpu = "CUDAExecutionProvider" in runtime(what).get_available_providers()
    if wanted == "auto":
        return "cuda" if gpu else "cpu"
    kind = wanted.partition(":")[0]
    if kind == "cuda" and not gpu:
        raise UsageError(f"device: '{wanted}' needs onnxruntime-gpu; use auto or cpu")
    if kind not in ("cpu", "cuda"):
        raise UsageError(f"device: {what} runs on cpu and cuda, not on '{wanted}'; use auto or cpu")
    return wanted


def open_session(weights: Path, device: str, what: str) -> Any:
    """Open an ONNX file. Check that its bytes are trusted before.

    Raises:
        WeightsUnusableError: If onnxruntime cannot open it.
    """
    providers: list[Any] = ["CPUExecutionProvider"]
    if device != "cpu":
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": int(device.partition(":")[2] or 0)}))
    try:
        return runtime(what).InferenceSession(str(weights), providers=providers)
    except Exception as error:  # onnxruntime has its own exception types, which differ between versions
        raise WeightsUnusableError(f"{weights} is not an ONNX model: {one_line(str(error))}") from error
