"""Imports the libraries of the extra `magiceraser` on first use."""

from __future__ import annotations

from typing import Any

from olrd.models.checkpoints import require

EXTRA = "magiceraser"


def need(module: str, what: str) -> Any:
    """Import a module (torch, diffusers, peft, ...).

    Raises `MissingExtraError`, which names the extra that `what` needs.
    """
    return require(module, what, EXTRA)
