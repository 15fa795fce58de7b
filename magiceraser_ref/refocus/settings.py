"""The settings of attention refocusing (section 5). Loads no torch.

The paper gives the equation, "self-attention only" and "t from 1 to 0.7"; the strengths, the layers,
the half of the batch and what t means at strength 0.9 are inferred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from olrd.errors import UsageError, did_you_mean

WEIGHTS = ("range", "constant")
WINDOWS = ("steps", "time")
IMPLEMENTATIONS = ("fast", "plain")
PARTS = ("down", "mid", "up")


@dataclass(frozen=True)
class Refocus:
    """How to refocus. Raises `UsageError` for a value that cannot be.

    lambda_pos, lambda_neg: the strengths (0.3 is inferred), in [0, 1] for `range`. weight: the kind of
    W, see `attention`. window: `steps` (inferred default) is the first `share` of the executed steps,
    rounded down; `time` is t / T > 1 - share, the literal reading. layers: the beginnings of the names
    of blocks, `down`, `mid`, `up` or longer ones such as `up_blocks.1`. resolutions: how many times a
    layer may be smaller than the latents (1, 2, 4, 8), None for all. both_halves: refocus under guidance
    the unconditional half of the batch as well. implementation: `fast` or `plain`.
    """

    lambda_pos: float = 0.3
    lambda_neg: float = 0.3
    weight: str = "range"
    share: float = 0.3
    window: str = "steps"
    layers: tuple[str, ...] = PARTS
    resolutions: tuple[int, ...] | None = None
    both_halves: bool = False
    implementation: str = "fast"

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("weight of refocusing", self.weight, WEIGHTS),
            ("window of refocusing", self.window, WINDOWS),
            ("implementation of refocusing", self.implementation, IMPLEMENTATIONS),
        ):
            if name not in known:
                raise did_you_mean(kind, name, known)
        top = 1.0 if self.weight == "range" else math.inf
        for name, value, highest in (
            ("lambda_pos", self.lambda_pos, top),
            ("lambda_neg", self.lambda_neg, top),
            ("share", self.share, 1.0),
        ):
            if not (0 <= value <= highest and math.isfinite(value)):
                limit = f"at most {highest:g}" if math.isfinite(highest) else "finite"
                raise UsageError(f"{name} must be at least 0 and {limit}, got {value}")
        if not self.layers or isinstance(self.layers, str):
            raise UsageError(f"layers must be a tuple of beginnings of block names, e.g. {PARTS}; got {self.layers!r}")
        for factor in self.resolutions or ():
            if factor < 1 or factor & (factor - 1):
                raise UsageError(
                    f"resolutions says how many times a layer is smaller than the latents: 1, 2, 4, 8; got {factor}"
                )

    def active_steps(self, total: int) -> int:
        """How many of `total` executed steps are refocused in the window `steps`."""
        return math.floor(self.share * total + 1e-9)  # 0.29 * 100 shall be 29
