"""The settings of attention refocusing (section 5). Importing this module does not import torch.

The paper gives the equation, "self-attention only" and "t from 1 to 0.7". The strengths, the layers, the half of the
batch, and the meaning of t at strength 0.9 are inferred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from olrd.errors import UsageError, did_you_mean
from olrd.options import check, option

WEIGHTS = ("range", "constant")
WINDOWS = ("steps", "time")
IMPLEMENTATIONS = ("fast", "plain")
PARTS = ("down", "mid", "up")
VOIDS = ("neutral", "n")
"""What becomes of unlabelled pixels: they belong to no region, or to n."""


@dataclass(frozen=True)
class Refocus:
    """How to refocus. Raises `UsageError` for a value that is out of its range.

    Attributes:
        lambda_pos: Strength with which attention to the background p is raised (0.3 is inferred); from 0 to 1 with
            the weight `range`.
        lambda_neg: Strength with which attention to like objects n is lowered; as `lambda_pos`.
        weight: Kind of the factor W, `range` or `constant`, see `attention`.
        share: Share of the denoising that is refocused.
        window: How `share` is counted. `steps` (inferred): the first steps that are run, rounded down, at least one. `time`, the
            literal reading: the steps with t / T > 1 - share.
        layers: Beginnings of the names of blocks: `down`, `mid`, `up`, or longer ones such as `up_blocks.1`.
        resolutions: How many times smaller than the latents a layer may be (1, 2, 4, 8); None for all.
        both_halves: Under guidance, refocus the unconditional half of the batch as well.
        implementation: `fast` or `plain`; both compute the same.
    """

    lambda_pos: float = option(
        0.3, "strength of refocusing towards the background", metavar="STRENGTH", shown_default="the model's"
    )
    lambda_neg: float = option(
        0.3, "strength of refocusing away from similar objects", metavar="STRENGTH", shown_default="the model's"
    )
    weight: str = "range"
    share: float = 0.3
    window: str = "steps"
    layers: tuple[str, ...] = PARTS
    resolutions: tuple[int, ...] | None = None
    both_halves: bool = False
    implementation: str = "fast"

    def __post_init__(self) -> None:
        check(self)
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
        if not self.layers:
            raise UsageError(f"layers must be a tuple of beginnings of block names, e.g. {PARTS}; got {self.layers!r}")
        for factor in self.resolutions or ():
            if factor < 1 or factor & (factor - 1):
                raise UsageError(
                    f"resolutions says how many times a layer is smaller than the latents: 1, 2, 4, 8; got {factor}"
                )

    def active_steps(self, total: int) -> int:
        """Return how many of `total` steps are refocused in the window `steps`: at least one, unless the share is 0.

        Few-step samplers (LCM, TCD) run so few that a share rounds down to none.
        """
        if not self.share or not total:
            return 0
        return max(1, math.floor(self.share * total + 1e-9))  # so that 0.29 * 100 gives 29
