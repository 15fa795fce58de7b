"""The networks, the optimiser and the averaged weights of a training run, and one training step (sections 4 and 6).

The frozen weights stay in float32. With mixed precision they are rounded only for computations (autocast), so saved
weights were never rounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from magiceraser_ref.model.lora import add_lora
from magiceraser_ref.model.token import TOKEN, add_token
from magiceraser_ref.prompts import training_prompt, worded
from magiceraser_ref.training.config import Running, TrainConfig, micro_batches
from magiceraser_ref.training.denoiser import Batch, Denoiser, cell_pixels, denoising_loss
from magiceraser_ref.training.examples import ExampleRules, Examples, Rows, make_example
from magiceraser_ref.training.log import strip
from magiceraser_ref.training.stream import KeyBatches, Stream, keyed_normal, loader
from olrd.draws import draw_share

FIXED_STEP = -1
"""The step in the keys of the fixed batch. It is not a training step."""


@dataclass(frozen=True)
class Prompter:
    """Chooses the prompt of an example: an empty one (for classifier-free guidance; its share is inferred), a short
    prompt or a caption. If R* is not trained, it is removed from the text.
    """

    config: TrainConfig

    def __call__(self, row: dict[str, Any], key: tuple[object, ...]) -> str:
        if draw_share(*key, "dropout") < self.config.prompt_dropout:
            return ""
        return self.text(row, key, self.config.long_share)

    def text(self, row: dict[str, Any], key: tuple[object, ...], long_share: float) -> str:
        """Return the prompt of a row, which is not dropped."""
        token = TOKEN if self.config.token else None
        return worded(training_prompt(row, key, long_share), token)


class Trainer:
    """The networks, the optimiser and the averaged weights of one training run. accelerator: accelerate's `Accelerator`."""

    def __init__(self, accelerator: Any, pipeline: Any, rows: Rows, config: TrainConfig, running: Running) -> None:
        self.accelerator, self.pipeline, self.config = accelerator, pipeline, config
        self.vae, self.tokenizer = pipeline.vae, pipeline.tokenizer
        self.denoiser = trainable(pipeline, config)
        if running.gradient_checkpointing:
            pipeline.unet.enable_gradient_checkpointing()
            pipeline.unet.train()  # diffusers uses gradient checkpointing only in training mode
        pipeline.to(accelerator.device)
        self.rules = ExampleRules(
            resolution=config.resolution,
            factor=cell_pixels(self.vae),
            masks=config.masks,
            region=config.region,
            mirror=config.mirror,
            batch=config.batch,
            seed=config.seed,
        )
        self.prompter = Prompter(config)
        examples = Examples(rows, self.rules, self.prompter)
        self.scheduler = noise_schedule(pipeline)
        self.stream = Stream(examples, self.scheduler.config.num_train_timesteps, self.vae.config.latent_channels)
        self.passes = micro_batches(config.batch, running.micro_batch, accelerator.num_processes)
        groups = [{"params": self.denoiser.lora(), "lr": config.lr_lora}]
        if self.denoiser.vector is not None:
            groups.append({"params": [self.denoiser.vector], "lr": config.lr_token, "weight_decay": 0.0})
        optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        self.rates = [config.lr_lora, config.lr_token][: len(groups)]
        self.model, self.optimizer = accelerator.prepare(self.denoiser, optimizer)
        self.ema = _average(self.denoiser, config)

    def batches(self, start: int, stop: int, workers: int) -> Iterator[list[Batch]]:
        """Yield, for each step, the batches of this device's forward passes."""
        size, passes = self.passes
        devices = self.accelerator.num_processes
        keys = KeyBatches(start, stop, size=size, passes=passes, rank=self.accelerator.process_index, devices=devices)
        stream = iter(loader(self.stream, keys, workers))
        for _ in range(start, stop):
            yield [next(stream) for _ in range(passes)]

    def loss(self, batch: Batch) -> torch.Tensor:
        """Compute the loss of each sample, float32 [B]."""
        batch = batch.to(self.accelerator.device)
        with self.accelerator.autocast():
            return denoising_loss(self.model, self.vae, self.scheduler, batch, self.token_ids(batch.prompts))

    def token_ids(self, prompts: list[str]) -> torch.Tensor:
        """Tokenize prompts, int64 [B, L]. Long prompts are cut at the tokenizer's length."""
        ids = self.tokenizer(
            prompts,
            padding="max_length",
            truncation=True,
            max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        ).input_ids
        return ids.to(self.accelerator.device)

    def step(self, number: int, batches: list[Batch]) -> tuple[float, float]:
        """Do one step of the optimiser. Returns (mean loss over the batch, norm of the gradient before clipping)."""
        warm = min(1.0, (number + 1) / (self.config.warmup + 1))
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * warm
        total = torch.zeros((), device=self.accelerator.device)
        for left, batch in zip(reversed(range(len(batches))), batches, strict=True):
            # Devices exchange gradients once per step, with the last pass.
            with self.accelerator.no_sync(self.model) if left else nullcontext():
                loss = self.loss(batch).mean() / len(batches)
                self.accelerator.backward(loss)
            total += loss.detach()
        norm = self.accelerator.clip_grad_norm_(self.denoiser.trained(), self.config.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.ema is not None:
            self.ema.step(self.denoiser.trained())
        return float(self.accelerator.reduce(total, "mean")), float(norm)

    def fixed_loss(self, count: int) -> float:
        """Compute the mean loss on a fixed batch, with fixed noise and with timesteps spread over the schedule.

        It is the loss of the averaged weights, if an average is kept.
        """
        batch = self.stream.batch([(FIXED_STEP, place) for place in range(count)])
        steps = self.scheduler.config.num_train_timesteps
        spread = torch.tensor([int((place + 0.5) / count * steps) for place in range(count)])
        parts = (part._replace(timesteps=t) for part, t in zip(_ones(batch), spread.split(1), strict=True))
        with torch.no_grad(), self.averaged():
            return sum(float(self.loss(part).mean()) for part in parts) / count

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside the block, the trained weights are their average, if one is kept."""
        if self.ema is None:
            yield
            return
        trained = self.denoiser.trained()
        self.ema.store(trained)
        self.ema.copy_to(trained)
        try:
            yield
        finally:
            self.ema.restore(trained)

    def is_finite(self) -> bool:
        """Whether no trained weight is infinite or NaN."""
        return all(bool(weights.isfinite().all()) for weights in self.denoiser.trained())

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on, except its number."""
        scaler = self.accelerator.scaler
        return {
            "trained": [p.detach().cpu() for p in self.denoiser.trained()],
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
            "ema": self.ema.state_dict() if self.ema else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        with torch.no_grad():
            for parameter, value in zip(self.denoiser.trained(), state["trained"], strict=True):
                parameter.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.ema.load_state_dict(state["ema"])
            self.ema.to(self.accelerator.device)

    def settle(self) -> None:
        """Finish: the average, if one is kept, becomes the weights, and v* is written to the embedding table."""
        if self.ema is not None:
            self.ema.copy_to(self.denoiser.trained())
        self.denoiser.write_vector()

    def pictures(self, rows: Rows, count: int, steps: int) -> dict[str, Any]:
        """Erase the first `count` triplets with the current weights.

        Returns:
            Per triplet, by its id, a picture of the photo with its hole, the result and the truth.
        """
        strips = {}
        rules = ExampleRules(self.config.resolution, self.rules.factor, seed=self.config.seed, mirror=False)
        for number in range(min(count, len(rows))):
            row, triplet = rows[number]
            key = ("validation", number)
            example = make_example(triplet, rules, self.prompter.text(row, key, 0.0), key)
            result = self._sampled(example, number, steps)
            strips[row["id"]] = strip(example.masked, result, example.target)
        return strips

    def _sampled(self, example: Any, number: int, steps: int) -> Any:
        """Sample from noise with the pipeline, float [S, S, 3] in 0..1."""
        size, factor = self.config.resolution, self.rules.factor
        shape = (1, self.vae.config.latent_channels, size // factor, size // factor)
        hole = torch.from_numpy(example.hole).float()[None, None]
        pipeline = self.pipeline
        pipeline.set_progress_bar_config(disable=True)
        with torch.no_grad(), self.averaged(), self.accelerator.autocast():
            return pipeline(
                example.prompt,
                image=torch.from_numpy(example.masked)[None] / 2 + 0.5,
                mask_image=torch.nn.functional.interpolate(hole, scale_factor=factor),
                height=size,
                width=size,
                num_inference_steps=steps,
                output_type="np",
                latents=keyed_normal(shape, self.config.seed, "validation", number),
                generator=torch.Generator("cpu").manual_seed(number),
            ).images[0]


def trainable(pipeline: Any, config: TrainConfig) -> Denoiser:
    """Freeze all weights, then add the trained ones: the LoRA in the UNet and, if configured, R*."""
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        part.requires_grad_(False)
    token = None
    if config.token:
        text = pipeline.text_encoder
        token = add_token(pipeline.tokenizer, text, initial=config.initial_word)
        text.requires_grad_(False)  # an enlarged embedding table is a new parameter
    add_lora(pipeline.unet, config.rank, config.alpha, config.targets, config.seed)
    return Denoiser(pipeline.unet, pipeline.text_encoder, token)


def noise_schedule(pipeline: Any) -> Any:
    """Return the forward process of the base model, which does not depend on its sampler."""
    from diffusers import DDPMScheduler

    return DDPMScheduler.from_config(pipeline.scheduler.config)


def _average(denoiser: Denoiser, config: TrainConfig) -> Any:
    """Return the moving average of the trained weights, or None."""
    if not config.ema:
        return None
    from diffusers.training_utils import EMAModel

    return EMAModel(denoiser.trained(), decay=config.ema)


def _ones(batch: Batch) -> Iterator[Batch]:
    """Yield the samples of a batch as batches of one."""
    for k, prompt in enumerate(batch.prompts):
        one = slice(k, k + 1)
        yield Batch(
            batch.target[one],
            batch.masked[one],
            batch.hole[one],
            batch.noise[one],
            batch.posterior[:, one],
            batch.timesteps[one],
            [prompt],
        )
