"""Batches of examples with their noise and timesteps, each keyed by (seed, step, place)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from magiceraser_ref.training.denoiser import Batch
from magiceraser_ref.training.examples import Examples
from olrd.draws import digest, draw_integer

Key = tuple[int, int]
"""(step, place in the step's batch)."""


def keyed_normal(shape: tuple[int, ...], *key: object) -> Tensor:
    """Draw normal noise, float32, that depends on the key alone.

    It is drawn on the CPU, so it is the same on every device.
    """
    generator = torch.Generator("cpu").manual_seed(digest(*key) % (1 << 63))
    return torch.randn(shape, generator=generator)


class Stream:
    """A map-style torch dataset over keys.

    timesteps: Number of timesteps of the noise schedule. channels: Number of channels of a latent.
    """

    def __init__(self, examples: Examples, timesteps: int, channels: int) -> None:
        self.examples, self.timesteps, self.channels = examples, timesteps, channels

    def __getitem__(self, key: Key) -> dict[str, Any]:
        """Make one sample: an example, its noise and its timestep (uniform, an ordinary choice)."""
        example, seed = self.examples.sample_at(*key), self.examples.rules.seed
        shape = (self.channels, *example.hole.shape)
        return {
            "target": torch.from_numpy(example.target),
            "masked": torch.from_numpy(example.masked),
            "hole": torch.from_numpy(example.hole).float()[None],
            "noise": keyed_normal(shape, seed, *key, "noise"),
            "posterior": keyed_normal((2, *shape), seed, *key, "posterior"),
            "timesteps": torch.tensor(draw_integer(self.timesteps, seed, *key, "timestep")),
            "prompts": example.prompt,
        }

    def batch(self, keys: list[Key]) -> Batch:
        """Make several samples in this process."""
        return collated([self[key] for key in keys])


def collated(samples: list[dict[str, Any]]) -> Batch:
    """Join samples to a batch. The first axis of the posterior's noise is its pair of draws."""
    parts = {name: torch.stack([sample[name] for sample in samples]) for name in Batch._fields if name != "prompts"}
    parts["posterior"] = parts["posterior"].transpose(0, 1)
    return Batch(**parts, prompts=[sample["prompts"] for sample in samples])


class KeyBatches:
    """The keys of one device's forward passes, in order: steps `start` to `stop`, `size` samples each.

    Pass p of device d has the places from (p * devices + d) * size on, so the batch of a step does not depend on the
    number of devices.
    """

    def __init__(self, start: int, stop: int, *, size: int, passes: int, rank: int, devices: int) -> None:
        self.steps, self.size, self.passes = range(start, stop), size, passes
        self.rank, self.devices = rank, devices

    def __iter__(self) -> Iterator[list[Key]]:
        for step in self.steps:
            for part in range(self.passes):
                first = (part * self.devices + self.rank) * self.size
                yield [(step, place) for place in range(first, first + self.size)]

    def __len__(self) -> int:
        return len(self.steps) * self.passes


def loader(stream: Stream, batches: KeyBatches, workers: int) -> Any:
    """Return a `DataLoader` over the keys. Its own generator keeps it from drawing from torch's global one."""
    return torch.utils.data.DataLoader(
        stream,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=collated,
        generator=torch.Generator(),
        pin_memory=torch.cuda.is_available(),
    )
