"""The libraries of the extra `magiceraser`, imported on first use."""

from __future__ import annotations

from typing import Any

from olrd.models.checkpoints import require

EXTRA = "magiceraser"


def need(module: str, what: str) -> Any:
    """Import `module` (torch, diffusers, peft...), or say which extra `what` needs."""
    return require(module, what, EXTRA)
