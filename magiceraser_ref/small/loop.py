"""One training loop for every stage of the small model: bf16, EMA, warm-up and decay, exact resume."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from magiceraser_ref.extras import need
from olrd.errors import IntegrityError, UsageError
from olrd.progress import progress_bar
from olrd.storage.files import atomic_path
from olrd.trust import one_line


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a stage is trained.

    Attributes:
        steps: Optimiser steps in total.
        batch: Samples per step.
        rate: AdamW's learning rate after `warmup` steps. It falls linearly to a tenth over the last quarter.
        warmup: Steps of linear warm-up.
        ema: Decay of the averaged weights, which are the result.
        save_every: Steps between checkpoints.
        decay: AdamW's weight decay.
        clip: Largest norm of the gradient.
    """

    steps: int
    batch: int
    rate: float
    warmup: int = 200
    ema: float = 0.999
    save_every: int = 200
    decay: float = 0.01
    clip: float = 1.0

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        late = max(0.0, (step + 1 - 0.75 * self.steps) / (0.25 * self.steps))
        return self.rate * min(1.0, (step + 1) / self.warmup) * (1 - 0.9 * min(1.0, late))


@dataclass(frozen=True)
class Session:
    """Where a stage is trained.

    Attributes:
        folder: Folder of the checkpoint and of log.jsonl. A run that finds a checkpoint there continues from it.
        device: `cpu`, `cuda`, ...
        seed: Seed of weights, crops, holes and noise.
        workers: Processes that make samples.
        until: The `time.time()` at which training stops with a checkpoint; None trains to the end.
    """

    folder: Path
    device: str
    seed: int = 0
    workers: int = 0
    until: float | None = None


class _Learned(NamedTuple):
    """Everything that changes during the training."""

    modules: dict[str, Any]
    optimiser: Any
    ema: Any


def train(
    modules: dict[str, Any],
    loss_of: Callable[[Any, int], dict[str, Any]],
    samples: Any,
    schedule: Schedule,
    session: Session,
) -> int:
    """Train modules and leave the averaged weights in them.

    Args:
        modules: Torch modules by name.
        loss_of: (batch, step) -> losses by name; the one named "loss" is minimised.
        samples: A torch `Dataset` whose item n depends on n alone. Step s sees the items from s * batch up to
            (s + 1) * batch.
        schedule: How long and how fast.
        session: Where.

    Returns:
        The number of steps done.
    """
    folder, device = session.folder, session.device
    torch = need("torch", "training")
    from diffusers.training_utils import EMAModel

    parameters = [p for m in modules.values() for p in m.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=schedule.rate, weight_decay=schedule.decay, betas=(0.9, 0.99))
    ema = EMAModel(parameters, decay=schedule.ema, use_ema_warmup=True, power=0.75)
    folder.mkdir(parents=True, exist_ok=True)
    learned = _Learned(modules, optimiser, ema)
    step = _resume(folder, schedule, learned, device)
    log = (folder / "log.jsonl").open("a")
    half = torch.autocast(device.partition(":")[0], torch.bfloat16)
    with log, progress_bar(folder.name, schedule.steps, unit=" steps", initial=step) as bar:
        for batch in _batches(samples, schedule, step, session.workers):
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate_at(step)
            with half:
                losses = loss_of(batch, step)
            losses["loss"].backward()
            norm = torch.nn.utils.clip_grad_norm_(parameters, schedule.clip)
            if not math.isfinite(float(norm)):
                raise IntegrityError(
                    f"{folder}: the gradient of step {step + 1} is {float(norm)}: lower --rate; the last checkpoint is "
                    "valid"
                )
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            ema.step(parameters)
            step += 1
            bar.update()
            if step % 20 == 0:
                figures = {name: round(float(value.detach()), 5) for name, value in losses.items()}
                log.write(json.dumps({"step": step, "time": round(time.time(), 1)} | figures) + "\n")
                log.flush()
                bar.set_postfix(figures, refresh=False)
            stop = session.until is not None and time.time() > session.until
            if step % schedule.save_every == 0 or step == schedule.steps or stop:
                _save(folder, schedule, step, learned)
            if stop:
                break
    ema.copy_to(parameters)
    return step


def _batches(samples: Any, schedule: Schedule, step: int, workers: int) -> Iterator[Any]:
    torch = need("torch", "training")
    todo = range(step * schedule.batch, schedule.steps * schedule.batch)
    return iter(
        torch.utils.data.DataLoader(
            samples,
            batch_size=schedule.batch,
            sampler=todo,
            num_workers=workers,
            persistent_workers=False,
            prefetch_factor=4 if workers else None,
        )
    )


def _save(folder: Path, schedule: Schedule, step: int, learned: _Learned) -> None:
    import torch

    state = {
        "step": step,
        "schedule": vars(schedule),
        "modules": {name: module.state_dict() for name, module in learned.modules.items()},
        "optimiser": learned.optimiser.state_dict(),
        "ema": learned.ema.state_dict(),
    }
    with atomic_path(folder / "checkpoint.pt") as temporary:
        torch.save(state, temporary)


def _resume(folder: Path, schedule: Schedule, learned: _Learned, device: str) -> int:
    import torch

    path = folder / "checkpoint.pt"
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds of errors for damaged bytes
        raise IntegrityError(f"{path} is damaged ({one_line(str(error))}): delete it to begin again") from error
    if not isinstance(state, dict) or not state.keys() >= {"step", "schedule", "modules", "optimiser", "ema"}:
        raise IntegrityError(f"{path} is not a checkpoint of this training: give another --out")
    if state["schedule"] != vars(schedule):
        raise UsageError(
            f"{path} was trained with {state['schedule']}, not with {vars(schedule)}: give the same "
            "values, or another folder"
        )
    try:
        for name, module in learned.modules.items():
            module.load_state_dict(state["modules"][name])
        learned.optimiser.load_state_dict(state["optimiser"])
        learned.ema.load_state_dict(state["ema"])
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise IntegrityError(f"{path} is of another network ({one_line(str(error))}): give another --out") from error
    step: int = state["step"]
    return step
