"""The eraser that is used if the user names none: the best that can run on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from baselines.registry import State, state_of

PREFERRED = ("lama", "mat", "lama-onnx", "migan", "patchmatch", "opencv-telea")
"""The best first. Diffusion models are not among them: without a GPU one photo takes minutes, and a checkpoint is a
choice. The order of the networks follows published comparisons; the last two are measured (leaderboards/)."""


class Choice(NamedTuple):
    """An eraser and why it was taken, as a sentence."""

    name: str
    why: str


def best_ready(state: Callable[[str], State] = state_of) -> Choice:
    """The first of `PREFERRED` that is ready. state: tells whether an eraser can run."""
    missing: list[str] = []
    for name in PREFERRED[:-1]:
        found = state(name)
        if found.word == "ready":
            lacking = f"; not ready: {', '.join(missing)}" if missing else ""
            return Choice(name, f"method {name}: the best that is ready on this machine{lacking}")
        missing.append(f"{name} ({found.word})")
    return Choice(
        PREFERRED[-1],
        f"method {PREFERRED[-1]}: nothing better is ready on this machine; not ready: {', '.join(missing)}",
    )
