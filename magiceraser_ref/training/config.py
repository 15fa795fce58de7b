"""What decides a training (hashed, stored, compared on resume), and what only decides how it runs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from magiceraser_ref.model.lora import TARGETS
from olrd.errors import UsageError, did_you_mean

MASKS = ("olrd", "random")
PRECISIONS = ("no", "fp16", "bf16")
FORMS = ("adapter", "full")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the trained weights, with the defaults of the method.

    From the paper (second-hand): LoRA on Q, K, V, the token R* trained jointly, half short prompts and
    half long captions (`long_share`), resolution 512. Everything else is inferred or an ordinary value:
    `to_out.0`, rank and alpha 8, AdamW with these rates, weight decay (none on the token) and clipping,
    batch 16, 10,000 steps, prompt dropout for classifier-free guidance, mirroring.

    masks: `olrd`, or `random` for the ablation's first row. token: train R*; without it prompts go
    without R*. initial_word: where its embedding starts. batch: samples of one step over all devices.
    warmup: steps of linear warm-up. ema: decay of an average of the trained weights, which is then what
    is saved; 0 is off.
    """

    resolution: int = 512
    masks: str = "olrd"
    token: bool = True
    initial_word: str = "background"
    rank: int = 8
    alpha: float = 8.0
    targets: tuple[str, ...] = TARGETS
    steps: int = 10_000
    batch: int = 16
    lr_lora: float = 1e-4
    lr_token: float = 5e-4
    weight_decay: float = 1e-2
    warmup: int = 0
    clip: float = 1.0
    ema: float = 0.0
    long_share: float = 0.5
    prompt_dropout: float = 0.1
    mirror: bool = True
    precision: str = "no"
    seed: int = 0

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("kind of training mask", self.masks, MASKS),
            ("precision", self.precision, PRECISIONS),
        ):
            if name not in known:
                raise did_you_mean(kind, name, known)
        if not self.targets:
            raise UsageError("--targets needs at least one kind of layer, e.g. to_q")
        endless = math.inf
        for option, value, low, high in (
            ("resolution", self.resolution, 8, 8192),
            ("rank", self.rank, 1, 1024),
            ("alpha", self.alpha, 1e-6, 1e6),
            ("steps", self.steps, 1, endless),
            ("batch", self.batch, 1, endless),
            ("lr-lora", self.lr_lora, 0, 10),
            ("lr-token", self.lr_token, 0, 10),
            ("weight-decay", self.weight_decay, 0, 10),
            ("warmup", self.warmup, 0, endless),
            ("clip", self.clip, 1e-6, endless),
            ("ema", self.ema, 0, 0.999999),
            ("long-share", self.long_share, 0, 1),
            ("prompt-dropout", self.prompt_dropout, 0, 1),
        ):
            if not low <= value <= high:
                raise UsageError(f"--{option} must be between {low:g} and {high:g}, got {value}")

    def resolved(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self) | {"targets": list(self.targets)}


@dataclass(frozen=True)
class Running:
    """How a training runs. None of it changes the stream of examples, noise and timesteps; `micro_batch`
    and the number of devices change the weights by rounding only.

    micro_batch: samples of one forward pass on one device; the rest of a step's batch is accumulated.
    workers: processes that make examples. checkpoint_every: steps between checkpoints, of which the
    last `max_checkpoints` are kept. validate_every: steps between validation pictures of the first
    `validation_count` triplets, 0 for none; validation_steps: their sampling steps. form: what is saved
    at the end, an `adapter` folder or the `full` model. stop_at: end there with a checkpoint, to go on
    later. device: `auto` or `cpu`. gradient_checkpointing: less memory for more time. tensorboard:
    write its logs where it is installed. fixed_samples: size of the fixed batch whose loss is followed.
    """

    micro_batch: int = 4
    workers: int = 0
    checkpoint_every: int = 500
    max_checkpoints: int = 2
    validate_every: int = 0
    validation_count: int = 4
    validation_steps: int = 20
    form: str = "adapter"
    stop_at: int | None = None
    device: str = "auto"
    gradient_checkpointing: bool = False
    tensorboard: bool = True
    fixed_samples: int = 8

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise did_you_mean("form", self.form, FORMS)
        if self.device not in ("auto", "cpu"):
            raise did_you_mean("training device", self.device, ("auto", "cpu"))
        for option, value, least in (
            ("micro-batch", self.micro_batch, 1),
            ("workers", self.workers, 0),
            ("checkpoint-every", self.checkpoint_every, 1),
            ("max-checkpoints", self.max_checkpoints, 1),
            ("validate-every", self.validate_every, 0),
            ("validation-count", self.validation_count, 1),
            ("validation-steps", self.validation_steps, 1),
            ("stop-at", 1 if self.stop_at is None else self.stop_at, 1),
            ("fixed-samples", self.fixed_samples, 1),
        ):
            if value < least:
                raise UsageError(f"--{option} must be at least {least}, got {value}")


def micro_batches(batch: int, micro_batch: int, devices: int) -> tuple[int, int]:
    """(samples of one forward pass on one device, forward passes of one step on one device).

    `UsageError` if the devices cannot share a step's batch evenly. A micro-batch that does not divide
    a device's share is lowered to one that does.
    """
    share, left = divmod(batch, devices)
    if left:
        raise UsageError(f"--batch {batch} cannot be shared by {devices} devices: give a multiple of {devices}")
    size = max(n for n in range(1, min(micro_batch, share) + 1) if share % n == 0)
    return size, share // size
