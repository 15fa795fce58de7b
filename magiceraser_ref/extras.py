"""Imports the libraries of the extra `magiceraser` on first use."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from olrd.errors import MissingExtraError
from olrd.models.checkpoints import require

EXTRA = "magiceraser"


def need(module: str, what: str) -> Any:
    """Import a module (torch, diffusers, peft, ...).

    Raises `MissingExtraError`, which names the extra that `what` needs.
    """
    return require(module, what, EXTRA)


def check_installed(modules: tuple[str, ...], what: str) -> None:
    """Raise `MissingExtraError` unless the modules are installed. Imports none of them, which would take seconds."""
    if any(find_spec(module) is None for module in modules):
        raise MissingExtraError(what, EXTRA)
