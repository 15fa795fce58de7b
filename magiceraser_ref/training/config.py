"""The settings of a training run: those that decide the trained weights, and those that only decide how it runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from magiceraser_ref.model.lora import TARGETS
from olrd.errors import UsageError
from olrd.options import NAMES, check, option

MASKS = ("olrd", "random")
REGIONS = ("mask", "effect")
PRECISIONS = ("no", "fp16", "bf16")
FORMS = ("adapter", "full")
INPUTS = "model and data"
METHOD = "the method"
RUNNING = "running (does not change what is learned)"


@dataclass(frozen=True)
class TrainingInputs:
    """The model to train and the triplets to train on."""

    triplets: str = option(
        ...,
        "triplets (image, mask, background): a folder, a hub id, or demo for the embedded ones",
        metavar="DIR",
        group=INPUTS,
    )
    base: str = option(
        ...,
        "a diffusers inpainting model: a folder, a hub id in the hub's cache, or small",
        metavar="MODEL",
        group=INPUTS,
    )
    revision: str | None = option(None, "commit of a base from the hub", metavar="COMMIT", group=INPUTS)
    split: str = option("train", "split to train on, or all", metavar="NAME", group=INPUTS)
    validation_split: str | None = option(
        None, "split of the validation pictures", metavar="NAME", group=INPUTS, shown_default="--split"
    )
    photos: str | None = option(None, "folder of the photos, if the triplets are recipes", metavar="DIR", group=INPUTS)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the trained weights. It is stored with them and compared when a training run continues.

    From the paper (second-hand): LoRA on Q, K and V, the token R* trained jointly, half short prompts and half long
    captions (`long_share`), resolution 512. Everything else is inferred or an ordinary value: `to_out.0`, rank and
    alpha 8, AdamW with these rates, weight decay (none on the token) and clipping, batch 16, 10,000 steps, prompt
    dropout for classifier-free guidance, mirroring.
    """

    resolution: int = option(
        512, "side of a training crop", metavar="PX", group=METHOD, least=8, most=8192, shown_default="the base's own"
    )
    masks: str = option(
        "olrd",
        "training masks: olrd (those of the triplets), or random (random masks on the same backgrounds, for the ablation)",
        metavar="NAME",
        group=METHOD,
        choices=MASKS,
        what="kind of training mask",
    )
    region: str = option(
        "mask",
        "what to erase: mask, or effect (the mask plus shadow and reflection, for triplets with the column effect)",
        metavar="NAME",
        group=METHOD,
        choices=REGIONS,
        what="kind of region",
    )
    token: bool = option(True, "train only the LoRA, without R*", group=METHOD)
    initial_word: str = option(
        "background", "word whose embedding R* starts from (inferred)", metavar="WORD", group=METHOD
    )
    rank: int = option(8, "rank of the LoRA (inferred)", metavar="N", group=METHOD, least=1, most=1024)
    alpha: float = option(8.0, "alpha of the LoRA (inferred)", metavar="ALPHA", group=METHOD, least=1e-6, most=1e6)
    targets: tuple[str, ...] = option(
        TARGETS, "layers with LoRA, comma-separated (to_out.0 is inferred)", metavar="LIST", group=METHOD, kind=NAMES
    )
    steps: int = option(10_000, "steps of the optimiser (ordinary value)", metavar="N", group=METHOD, least=1)
    batch: int = option(16, "samples per step, over all devices (ordinary value)", metavar="N", group=METHOD, least=1)
    lr_lora: float = option(
        1e-4, "learning rate of the LoRA (ordinary value)", metavar="RATE", group=METHOD, least=0, most=10
    )
    lr_token: float = option(
        5e-4, "learning rate of R* (ordinary value)", metavar="RATE", group=METHOD, least=0, most=10
    )
    weight_decay: float = option(
        1e-2, "weight decay of the LoRA (ordinary value)", metavar="DECAY", group=METHOD, least=0, most=10
    )
    warmup: int = option(0, "steps of linear warm-up", metavar="N", group=METHOD, least=0)
    clip: float = option(1.0, "largest norm of a gradient (ordinary value)", metavar="NORM", group=METHOD, least=1e-6)
    ema: float = option(
        0.0,
        "decay of a moving average of the trained weights, which is saved in their place; 0 is off",
        metavar="DECAY",
        group=METHOD,
        least=0,
        most=0.999999,
    )
    long_share: float = option(
        0.5, "share of long captions among prompts (half in the paper)", metavar="SHARE", group=METHOD, least=0, most=1
    )
    prompt_dropout: float = option(
        0.1, "share of empty prompts, for guidance (inferred)", metavar="SHARE", group=METHOD, least=0, most=1
    )
    mirror: bool = option(True, "do not mirror half of the crops", group=METHOD)
    precision: str = option(
        "no", f"mixed precision: {', '.join(PRECISIONS)}", metavar="NAME", group=METHOD, choices=PRECISIONS
    )
    seed: int = option(0, "seed of crops, prompts, noise, timesteps and the LoRA's start", metavar="N", group=METHOD)

    def __post_init__(self) -> None:
        check(self)
        if not self.targets:
            raise UsageError("--targets needs at least one kind of layer, e.g. to_q")

    def resolved(self) -> dict[str, Any]:
        """Return the configuration as plain JSON values.

        The region is left out at its default, so that training runs of before it was an option can continue.
        """
        values = asdict(self) | {"targets": list(self.targets)}
        if self.region == "mask":
            del values["region"]
        return values


@dataclass(frozen=True)
class Running:
    """How a training run is executed. None of it changes the stream of examples, noise and timesteps.

    `micro_batch` and the number of devices change the weights by rounding only.

    Attributes:
        fixed_samples: Size of the fixed batch whose loss is measured before and after the training run.
    """

    micro_batch: int = option(
        4,
        "samples per forward pass on one device; gradients are accumulated to a batch",
        metavar="N",
        group=RUNNING,
        least=1,
    )
    workers: int = option(0, "processes that make examples", metavar="N", group=RUNNING, least=0)
    checkpoint_every: int = option(500, "steps between checkpoints", metavar="N", group=RUNNING, least=1)
    max_checkpoints: int = option(2, "number of newest checkpoints to keep", metavar="N", group=RUNNING, least=1)
    validate_every: int = option(
        0, "steps between validation pictures; 0 for none", metavar="N", group=RUNNING, least=0
    )
    validation_count: int = option(
        4, "number of triplets in the validation pictures", metavar="N", group=RUNNING, least=1
    )
    validation_steps: int = option(20, "sampling steps of the validation pictures", metavar="N", group=RUNNING, least=1)
    form: str = option(
        "adapter", f"form of the saved model: {' or '.join(FORMS)}", metavar="NAME", group=RUNNING, choices=FORMS
    )
    stop_at: int | None = option(
        None,
        "write a checkpoint and stop after this step; the same command continues",
        metavar="N",
        group=RUNNING,
        least=1,
    )
    device: str = option(
        "auto", "auto or cpu", metavar="NAME", group=RUNNING, choices=("auto", "cpu"), what="training device"
    )
    gradient_checkpointing: bool = option(False, "use less memory but more time", group=RUNNING)
    tensorboard: bool = option(True, "write no TensorBoard logs even if TensorBoard is installed", group=RUNNING)
    fixed_samples: int = 8

    def __post_init__(self) -> None:
        check(self)
        if self.fixed_samples < 1:
            raise UsageError(f"fixed_samples must be at least 1, got {self.fixed_samples}")


def micro_batches(batch: int, micro_batch: int, devices: int) -> tuple[int, int]:
    """Divide a step's batch among devices and forward passes.

    A micro-batch that does not divide a device's share is lowered to one that does.

    Returns:
        (samples of one forward pass on one device, forward passes of one step on one device).

    Raises:
        UsageError: If the devices cannot share the batch evenly.
    """
    share, left = divmod(batch, devices)
    if left:
        raise UsageError(f"--batch {batch} cannot be shared by {devices} devices: give a multiple of {devices}")
    size = max(n for n in range(1, min(micro_batch, share) + 1) if share % n == 0)
    return size, share // size
