"""Filled holes to train on: photos whose holes the initialiser filled, made once and then reused."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from baselines.eraser import Eraser, Hints
from magiceraser_ref.erase.canvas import whole_cells
from magiceraser_ref.erase.initialization import content_initialization
from magiceraser_ref.erase.residual import reconstructions
from magiceraser_ref.small.base_stage import UNPROMPTED, tokens_of
from magiceraser_ref.small.latents import Encoder
from magiceraser_ref.small.photos import TrainingPhotos
from magiceraser_ref.small.silhouettes import Silhouettes
from magiceraser_ref.small.vae_stage import to_tensor
from magiceraser_ref.training.denoiser import cell_pixels
from olrd.draws import draw_integer, draw_share
from olrd.progress import progress_bar
from olrd.storage.files import atomic_path

AROUND = 256
"""Side in pixels of the square in which the initialiser fills. Smaller photos are taken whole."""
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class FilledHoles:
    """Makes filled holes. Number n is a function of the fields and n alone.

    Attributes:
        photos: The photos.
        shapes: The holes.
        filler: The initialiser.
        pipeline: The pipeline whose autoencoder encodes.
        side: Side of the squares in pixels.
        device: Where to encode.
        seed: Seed of photos, squares and holes.
    """

    photos: TrainingPhotos
    shapes: Silhouettes
    filler: Eraser
    pipeline: Any
    side: int
    device: str
    seed: int

    def photo(self, n: int) -> int:
        """Return the index of the photo of number n."""
        return self.photos.draw(*self._key(n))

    def make(self, n: int) -> Arrays:
        """Fill a hole in a large square, and cut out the smaller one that is trained on (see `Filled`)."""
        import torch

        key, cell = self._key(n), cell_pixels(self.pipeline.vae)
        wide = min(AROUND, *self.photos.photos[self.photo(n)].shape[:2])
        photo = self.photos.crop(self.photo(n), wide, *key)
        small = whole_cells(self.shapes.hole(self.side, *key), cell)
        y, x = (draw_integer(wide - self.side + 1, *key, "cut", axis) for axis in "yx")
        cut = slice(y, y + self.side), slice(x, x + self.side)
        hole = np.zeros((wide, wide), np.bool_)
        hole[cut] = small
        (fill,) = content_initialization([photo], [hole], self.filler, 0, [Hints("/".join(map(str, key)))])
        truth, start = photo[cut], np.ascontiguousarray(fill[cut])
        cells = torch.from_numpy(small[None, None, ::cell, ::cell].copy()).float().expand(2, -1, -1, -1)
        latents, masked = Encoder(self.pipeline.vae, self.device)(
            torch.stack([to_tensor(truth), to_tensor(start)]), cells
        )
        clean, begun, seen = (latent.half().cpu().numpy() for latent in (*latents, masked[0]))
        (again,) = reconstructions(self.pipeline, [start])
        pixels = {"truth": truth, "fill": start, "again": again}
        return pixels | {"clean": clean, "masked": seen, "start": begun, "hole": small[None, ::cell, ::cell]}

    def name(self, count: int) -> str:
        """Return 12 hex digits that identify the first `count` filled holes."""
        plain = (self.seed, self.side, count, len(self.photos), repr(self.filler.info))
        known = hashlib.sha256(repr(plain).encode())
        for shape in self.shapes.shapes:
            known.update(shape.tobytes())
        for tensor in self.pipeline.vae.state_dict().values():
            known.update(tensor.float().cpu().numpy().tobytes())
        return known.hexdigest()[:12]

    def _key(self, n: int) -> tuple[object, ...]:
        return self.seed, "filled", n


def filled_pool(holes: FilledHoles, count: int, folder: Path) -> Arrays:
    """Make the first `count` filled holes, or read them from `folder` if they were made before."""
    path = folder / f"filled-{holes.name(count)}.npz"
    if path.exists():
        with np.load(path) as known:
            return dict(known)
    rows: dict[str, list[np.ndarray]] = {}
    with progress_bar("fills", count, unit=" photos") as bar:
        for n in range(count):
            for name, value in holes.make(n).items():
                rows.setdefault(name, []).append(value)
            bar.update()
    pool = {name: np.stack(values) for name, values in rows.items()}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **pool)  # type: ignore[arg-type]
    return pool


class Filled:
    """An endless torch dataset over a pool of filled holes. Item n is a dict:

    - truth, fill, again: float32 [3, side, side] in -1..1: the photo, the photo with its hole filled, and what the
      autoencoder makes of the latter;
    - clean, masked, start: latents of the photo, of the photo with a grey hole, and of the filled photo, scaled;
    - hole: float32 [1, side / cell, side / cell], 1 = hole;
    - tokens: int64 [length], the prompt.
    """

    def __init__(self, holes: FilledHoles, count: int, folder: Path) -> None:
        self.pool, self.seed, self.count = filled_pool(holes, count, folder), holes.seed, count
        tokenizer = holes.pipeline.tokenizer
        self.tokens = [tokens_of(tokenizer, holes.photos.prompt(holes.photo(n))) for n in range(count)]
        self.empty = tokens_of(tokenizer, "")

    def __getitem__(self, n: int) -> dict[str, Any]:
        import torch

        k = draw_integer(self.count, self.seed, "fill", n)
        item: dict[str, Any] = {name: to_tensor(self.pool[name][k]) for name in ("truth", "fill", "again")}
        for name in ("clean", "masked", "start", "hole"):
            item[name] = torch.from_numpy(self.pool[name][k]).float()
        silent = draw_share(self.seed, "fill", n, "prompt") < UNPROMPTED
        return item | {"tokens": self.empty if silent else self.tokens[k]}
