"""Stage 3 of the small model: the inpainter learns to start from the initialiser's fill, as it does in use.

Stage 2 shows the UNet noisy latents of the truth alone. In use, denoising starts from noisy latents of a fill, which is
never the truth. Here the noisy latent lies between both, and the aim stays the truth. The loss looks at the picture that
the residual paste makes of it (`magiceraser_ref.erase.residual`). All of this is ours and not the paper's.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from baselines import open_eraser
from baselines.eraser import Eraser, Hints
from magiceraser_ref.erase.initialization import content_initialization
from magiceraser_ref.extras import need
from magiceraser_ref.small.base_stage import UNPROMPTED, tokens_of
from magiceraser_ref.small.latents import Encoder
from magiceraser_ref.small.loop import Schedule, Session, train
from magiceraser_ref.small.photos import TrainingPhotos
from magiceraser_ref.small.silhouettes import Silhouettes
from magiceraser_ref.small.vae_stage import to_tensor
from olrd.arrays import Image
from olrd.draws import draw_integer, draw_share
from olrd.progress import progress_bar

AROUND = 256
"""Side in pixels of the square in which the initialiser fills. Smaller photos are taken whole."""
EARLY = 2.0
"""A draw u from 0 to 1 gives the time u ** EARLY of the schedule: low strengths, at which the model is used, come often."""
FILL = 0.85
"""Share of the samples whose noisy latent is that of the fill alone. The others lie between the fill and the truth."""
WEIGHTS = {"l1": 3.0, "lpips": 0.6, "latent": 0.2}
"""Weights of the losses. More weight on LPIPS leaves the fill as it is; more on L1 blurs."""


class Filled:
    """A torch dataset over a pool of filled holes, which is made once. Item n is a dict:

    - truth, fill, again: float32 [3, side, side] in -1..1: the photo, the photo with its hole filled, and what the
      autoencoder makes of the latter;
    - clean, masked, start: latents of the photo, of the photo with a grey hole, and of the filled photo, scaled;
    - hole: float32 [1, side / cell, side / cell], 1 = hole;
    - tokens: int64 [length], the prompt.
    """

    def __init__(self, pool: dict[str, np.ndarray], tokens: list[Any], empty: Any, seed: int) -> None:
        self.pool, self.tokens, self.empty, self.seed = pool, tokens, empty, seed
        self.count = len(pool["truth"])

    def __getitem__(self, n: int) -> dict[str, Any]:
        import torch

        k = draw_integer(self.count, self.seed, "fill", n)
        item: dict[str, Any] = {name: to_tensor(self.pool[name][k]) for name in ("truth", "fill", "again")}
        for name in ("clean", "masked", "start", "hole"):
            item[name] = torch.from_numpy(self.pool[name][k]).float()
        silent = draw_share(self.seed, "fill", n, "prompt") < UNPROMPTED
        return item | {"tokens": self.empty if silent else self.tokens[k]}


def filled_pool(
    photos: TrainingPhotos,
    shapes: Silhouettes,
    filler: Eraser,
    encoder: Encoder,
    side: int,
    count: int,
    folder: Path,
    seed: int,
) -> tuple[dict[str, np.ndarray], list[int]]:
    """Make `count` filled holes, or read them from `folder` if they were made before; return them and their photos' indexes."""
    digest = hashlib.sha256(repr((seed, side, count, len(photos), len(shapes.shapes), repr(filler.info))).encode())
    for tensor in encoder.vae.state_dict().values():
        digest.update(tensor.float().cpu().numpy().tobytes())
    path = folder / f"filled-{digest.hexdigest()[:12]}.npz"
    numbers = [photos.draw(seed, "filled", n) for n in range(count)]
    if path.exists():
        with np.load(path) as known:
            return dict(known), numbers
    rows: dict[str, list[np.ndarray]] = {}
    with progress_bar("fills", count, unit=" photos") as bar:
        for n in range(count):
            for name, value in _filled(photos, numbers[n], shapes, filler, encoder, side, (seed, "filled", n)).items():
                rows.setdefault(name, []).append(value)
            bar.update()
    pool = {name: np.stack(values) for name, values in rows.items()}
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp.npz")
    np.savez(temporary, **pool)  # type: ignore[arg-type]
    os.replace(temporary, path)
    return pool, numbers


def _filled(
    photos: TrainingPhotos,
    index: int,
    shapes: Silhouettes,
    filler: Eraser,
    encoder: Encoder,
    side: int,
    key: tuple[object, ...],
) -> dict[str, np.ndarray]:
    """Fill a hole in a large square, and cut out the smaller one with the hole that is trained on."""
    import torch

    cell = int(2 ** (len(encoder.vae.config.block_out_channels) - 1))
    wide = min(AROUND, *photos.photos[index].shape[:2])
    photo = photos.crop(index, wide, *key)
    small = shapes.hole(side, *key)
    y, x = (draw_integer(wide - side + 1, *key, "cut", axis) for axis in "yx")
    cut = slice(y, y + side), slice(x, x + side)
    cells = side // cell
    holes = np.asarray(small.reshape(cells, cell, cells, cell).any(axis=(1, 3)))
    hole = np.zeros((wide, wide), np.bool_)
    hole[cut] = holes.repeat(cell, 0).repeat(cell, 1)
    (fill,) = content_initialization([photo], [hole], filler, 0, [Hints("/".join(map(str, key)))])
    truth, start = photo[cut], fill[cut]
    there = torch.from_numpy(holes[None, None]).float().expand(2, -1, -1, -1)
    latents, masked = encoder(torch.stack([to_tensor(truth), to_tensor(start)]), there)
    clean, begun, seen = (latent.half().cpu().numpy() for latent in (*latents, masked[0]))
    again = _decoded(encoder, latents[1:])
    return {
        "truth": truth,
        "fill": start,
        "again": again,
        "clean": clean,
        "masked": seen,
        "start": begun,
        "hole": holes[None],
    }


def _decoded(encoder: Encoder, latents: Any) -> Image:
    import torch

    with torch.inference_mode():
        pixels = encoder.vae.decode(latents / encoder.vae.config.scaling_factor).sample
    levels = (pixels.float() / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).cpu().numpy() * 255
    return np.rint(levels).astype(np.uint8)


def train_fill(
    pipeline: Any,
    photos: TrainingPhotos,
    shapes: Silhouettes,
    schedule: Schedule,
    session: Session,
    perceptual: Any,
    *,
    side: int,
    pool: int,
    initializer: str = "patchmatch",
) -> Any:
    """Train the UNet and the text encoder of a pipeline further.

    Args:
        pipeline: Stage 2's pipeline. Its autoencoder is not trained.
        photos: The photos to train on.
        shapes: The holes.
        schedule: How long and how fast.
        session: Where.
        perceptual: LPIPS, see `perceptual_loss`.
        side: Side of the training crops in pixels.
        pool: Number of filled holes that are made once and then reused.
        initializer: Name of the eraser that fills.

    Returns:
        The same pipeline.
    """
    device, diffusers = session.device, need("diffusers", "training")
    pipeline.vae.to(device).eval().requires_grad_(False)
    unet, text = pipeline.unet.to(device).train(), pipeline.text_encoder.to(device).train()
    filler = open_eraser(initializer, device="cpu")
    encoder = Encoder(pipeline.vae, device)
    arrays, numbers = filled_pool(photos, shapes, filler, encoder, side, pool, session.folder, session.seed)
    tokenizer = pipeline.tokenizer
    tokens = [tokens_of(tokenizer, photos.prompt(i)) for i in numbers]
    samples = Filled(arrays, tokens, tokens_of(tokenizer, ""), session.seed)
    fused = unet.attn_processors
    if device == "cpu":  # the fused attention's backward pass is slow there
        unet.set_attn_processor(diffusers.models.attention_processor.AttnProcessor())
    train(
        {"unet": unet, "text": text}, FillLoss(pipeline, perceptual, device, session.seed), samples, schedule, session
    )
    unet.set_attn_processor(fused)
    unet.eval(), text.eval()
    return pipeline


class FillLoss:
    """L1 and LPIPS of the residual paste in the hole, and the error of the latents.

    z_t = sqrt(a_t) (w start + (1 - w) clean) + sqrt(1 - a_t) eps with a drawn w. The UNet's guess gives a clean latent,
    which is decoded. The picture is fill + (decoded - again), as in use. Samples are weighted by min(1, SNR).
    """

    def __init__(self, pipeline: Any, perceptual: Any, device: str, seed: int) -> None:
        import torch

        self.unet, self.text, self.vae = pipeline.unet, pipeline.text_encoder, pipeline.vae
        self.perceptual, self.device, self.seed = perceptual, device, seed
        self.kept = pipeline.scheduler.alphas_cumprod.to(device)
        self.noise = torch.Generator(device)

    def __call__(self, batch: dict[str, Any], step: int) -> dict[str, Any]:
        import torch

        batch = {name: value.to(self.device) for name, value in batch.items()}
        clean, start, hole = batch["clean"], batch["start"], batch["hole"]
        draw = self.noise.manual_seed(self.seed * 1_000_003 + step)
        noise = torch.randn(clean.shape, generator=draw, device=self.device)
        early, pure, share = torch.rand(3, len(clean), generator=draw, device=self.device)
        t = (early**EARLY * len(self.kept)).long()
        share = torch.where(pure < FILL, 1.0, share)
        between = torch.lerp(clean, start, share[:, None, None, None])
        kept = self.kept[t][:, None, None, None]
        noisy = kept.sqrt() * between + (1 - kept).sqrt() * noise
        words = self.text(batch["tokens"])[0]
        guess = self.unet(torch.cat([noisy, hole, batch["masked"]], 1), t, words).sample.float()
        found = (noisy - (1 - kept).sqrt() * guess) / kept.sqrt()
        cell = batch["truth"].shape[-1] // hole.shape[-1]
        wide = hole.repeat_interleave(cell, -1).repeat_interleave(cell, -2)
        decoded = self.vae.decode(found / self.vae.config.scaling_factor).sample.float()
        picture = (batch["fill"] + (decoded - batch["again"]) * wide).clamp(-1.1, 1.1)
        area = wide.mean((1, 2, 3))

        def off(shown: Any) -> Any:
            return ((shown - batch["truth"]).abs().mean(1, keepdim=True) * wide).mean((1, 2, 3)) / area

        one = off(picture)
        seen = self.perceptual(picture, batch["truth"]).float().flatten() / area
        latent = ((found - clean).square().mean(1, keepdim=True) * hole).mean((1, 2, 3)) / area
        # A guess at high noise is amplified by 1 / sqrt(a_t): its error counts less there.
        weight = (kept / (1 - kept)).flatten().clamp(max=1)
        losses = {"l1": one, "lpips": seen, "latent": latent}
        total = sum(WEIGHTS[name] * value for name, value in losses.items())
        with torch.no_grad():
            known = {
                "fill_l1": off(batch["fill"]),
                "fill_lpips": self.perceptual(batch["fill"], batch["truth"]).flatten() / area,
            }
        return {"loss": (weight * total).mean()} | {name: value.mean() for name, value in (losses | known).items()}
