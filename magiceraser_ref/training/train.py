"""The training loop (sections 4 and 6): the LoRA phi and the embedding v* of R* are trained, all else is frozen.

A step takes a batch of keyed examples, computes `denoiser.denoising_loss` and applies AdamW. The input of a step
depends on (seed, step, place) alone. So a training run that was killed continues from its last checkpoint and ends with the
same weights, with any number of workers.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from baselines.finite import NotFiniteError
from magiceraser_ref.model.checkpoint import save
from magiceraser_ref.model.settings import LoraSettings, Settings
from magiceraser_ref.model.token import TOKEN
from magiceraser_ref.training import state
from magiceraser_ref.training.config import Running, TrainConfig
from magiceraser_ref.training.denoiser import check_base
from magiceraser_ref.training.examples import Rows
from magiceraser_ref.training.log import LossLog, write_strips
from magiceraser_ref.training.trainer import Trainer
from olrd.errors import IntegrityError
from olrd.progress import progress_bar, say
from olrd.storage.locks import locked
from olrd.trust import counted, one_line

LARGEST_SKIPS = 30
"""Steps in a row that may overflow in fp16. The scaler halves its scale after each, so it has tried all by then."""


def train(
    pipeline: Any,
    rows: Rows,
    config: TrainConfig,
    out: Path | str,
    running: Running | None = None,
    *,
    base: str = "",
    data: str = "",
    settings: Settings | None = None,
    shown: Rows | None = None,
) -> dict[str, Any]:
    """Train, or continue a training run.

    Args:
        pipeline: A `StableDiffusionInpaintPipeline`. It is changed and has the trained weights afterwards.
        rows: The triplets to train on.
        config: What decides the trained weights.
        out: Folder of the training run. If it contains another training run, it is refused.
        running: How the training run is executed.
        base: Identifies the model.
        data: Identifies the triplets.
        settings: Settings of the trained model; `settings.base` names its base. Token, LoRA and resolution are those of
            this training.
        shown: Triplets of the validation pictures; by default `rows`.

    Returns:
        The content of done.json, or the step at which it stopped (`Running.stop_at`).

    Raises:
        OutputError: If `out` cannot be used.
        SourceError: If the base model is of another kind.
        IntegrityError: If a checkpoint is damaged, or the loss is not a number.
    """
    from accelerate import Accelerator

    out, running = Path(out), running or Running()
    check_base(pipeline, base or "the base model")
    accelerator = Accelerator(mixed_precision=config.precision, cpu=running.device == "cpu")
    leading = accelerator.is_main_process
    identity = {"config": config.resolved(), "base": base, "data": data}
    if leading:
        state.check_owner(out, identity)  # before the lock, which is a file too
    with locked(out) if leading else nullcontext():
        done = state.begin(out, identity) if leading else None
        accelerator.wait_for_everyone()
        if not leading:
            done = state.finished(out)
        if done is not None:
            say(f"{out} is complete already")
            return done
        prompts = long_prompts(rows, config)
        if leading and prompts["share"] < config.long_share:
            have = "has" if prompts["captioned"] == 1 else "have"
            say(
                f"{prompts['captioned']:,} of {counted(prompts['triplets'], 'triplet')} {have} a caption: "
                f"{prompts['share']:.0%} of the prompts are long, not {config.long_share:.0%}. "
                "`olrd caption FOLDER` writes captions; --long-share 0 trains without them"
            )
        trainer = Trainer(accelerator, pipeline, rows, config, running)
        before, last = _run(trainer, out, running, rows if shown is None else shown)
        if last < config.steps:
            return {"stopped_at": last, "steps": config.steps}
        record = {
            "steps": config.steps,
            "trained_parameters": sum(p.numel() for p in trainer.denoiser.trained()),
            "fixed_loss": {"before": before, "after": trainer.fixed_loss(running.fixed_samples)},
            "long_prompts": prompts,
            "form": running.form,
            "model": "model",
        }
        if leading:
            _write_model(trainer, out, running, settings or Settings())
            state.finish(out, record)
        accelerator.wait_for_everyone()
    return record


def long_prompts(rows: Rows, config: TrainConfig) -> dict[str, Any]:
    """Count what decides how many prompts are long: triplets, captioned triplets, and the share of long prompts.

    A triplet without a caption always has its short prompt. Empty prompts (`prompt_dropout`) are not counted.
    """
    count, captioned = len(rows), rows.captioned
    return {"triplets": count, "captioned": captioned, "share": round(config.long_share * captioned / count, 4)}


def _run(trainer: Trainer, out: Path, running: Running, shown: Rows) -> tuple[float, int]:
    """Run the loop from the last checkpoint on. Returns (loss on the fixed batch before step 1, finished steps)."""
    accelerator, steps = trainer.accelerator, trainer.config.steps
    leading = accelerator.is_main_process
    checkpoints = state.Checkpoints(out, running.max_checkpoints)
    if (stored := checkpoints.latest()) is not None:
        _restore(trainer, stored, checkpoints.folder)
    start = int(stored["step"]) if stored else 0
    before = stored["fixed_before"] if stored else trainer.fixed_loss(running.fixed_samples)
    stop = min(steps, running.stop_at or steps)
    began, skipped = time.perf_counter(), 0
    with (
        LossLog(out, start, running.tensorboard) if leading else nullcontext() as log,
        progress_bar("training", steps, unit=" steps", initial=start) as bar,
    ):
        for number, batches in enumerate(trainer.batches(start, stop, running.workers), start):
            loss, norm = trainer.step(number, batches)
            step = number + 1
            # With fp16 the scaler skips a step that overflows, and lowers its scale.
            skipped = 0 if math.isfinite(loss) and math.isfinite(norm) else skipped + 1
            if skipped > (LARGEST_SKIPS if accelerator.scaler else 0):
                raise _not_finite(step, f"the loss of step {step} is {loss}, the norm of its gradient {norm}")
            values = {"loss": loss, "grad_norm": norm, "seconds": time.perf_counter() - began}
            for name, group in zip(("lora", "token"), trainer.optimizer.param_groups, strict=False):
                values[f"lr_{name}"] = group["lr"]
            saving = step % running.checkpoint_every == 0 or step == stop
            if saving:
                values["fixed_loss"] = fixed = trainer.fixed_loss(running.fixed_samples)
                if not trainer.is_finite() or not math.isfinite(fixed):
                    raise _not_finite(step, f"after step {step} the weights, or their loss of {fixed}, are not numbers")
            if log is not None:
                log.add(step, **values)
                if running.validate_every and (step % running.validate_every == 0 or step == steps):
                    _show(trainer, out, running, shown, step, log)
                if saving:
                    checkpoints.save(step, {**trainer.state(), "fixed_before": before})
            accelerator.wait_for_everyone()
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            bar.update()
    return before, max(start, stop)


def _restore(trainer: Trainer, stored: dict[str, Any], folder: Path) -> None:
    try:
        trainer.restore(stored)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise IntegrityError(
            f"{folder}: the checkpoint of step {stored['step']} is of another training run ({one_line(str(error))}): delete "
            "it to continue from the one before it"
        ) from error


def _not_finite(step: int, what: str) -> IntegrityError:
    return IntegrityError(
        f"{what}: lower --lr-lora and --lr-token, or use --precision no, in another --out; the checkpoints before "
        f"step {step} are valid"
    )


def _show(trainer: Trainer, out: Path, running: Running, shown: Rows, step: int, log: LossLog) -> None:
    """Make validation pictures and write them as files and to TensorBoard.

    Pictures that are not finite are reported and left out: the loss decides whether the training run goes on.
    """
    try:
        strips = trainer.pictures(shown, running.validation_count, running.validation_steps)
    except NotFiniteError as error:
        say(f"step {step}: {error}")
        return
    write_strips(out / "validation" / f"step-{step:08d}", strips)
    for name, pixels in strips.items():
        log.picture(step, name, pixels)


def _write_model(trainer: Trainer, out: Path, running: Running, settings: Settings) -> None:
    """Write the trained model in the form that `checkpoint.load` and diffusers read."""
    config = trainer.config
    trainer.settle()
    stored = replace(
        settings,
        token=TOKEN if config.token else None,
        lora=LoraSettings(config.rank, config.alpha, config.targets),
        resolution=config.resolution,
    )
    save(out / "model", trainer.pipeline, stored, adapters_only=running.form == "adapter")
