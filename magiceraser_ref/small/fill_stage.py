"""Stage 3 of the small model: the inpainter learns to start from the initialiser's fill, as it does in use.

Stage 2 shows the UNet noisy latents of the truth alone. In use, denoising starts from noisy latents of a fill, which is
never the truth. Here the noisy latent lies between both, and the aim stays the truth. The loss looks at the picture that
the residual paste makes of it (`magiceraser_ref.erase.residual`). All of this is ours and not the paper's.
"""

from __future__ import annotations

from typing import Any

from magiceraser_ref.small.architecture import plain_attention
from magiceraser_ref.small.fill_pool import Filled, FilledHoles
from magiceraser_ref.small.loop import Schedule, Session, train

USED, USED_SHARE = 0.12, 0.75
"""Three of four times lie in the first 12 % of the schedule, at whose strengths the model is used. The others lie anywhere."""
FILL = 0.85
"""Share of the samples whose noisy latent is that of the fill alone. The others lie between the fill and the truth."""
WEIGHTS = {"l1": 3.0, "lpips": 0.6, "latent": 0.2}
"""Weights of the losses. More weight on LPIPS leaves the fill as it is; more on L1 blurs."""


def train_fill(holes: FilledHoles, count: int, schedule: Schedule, session: Session, perceptual: Any) -> Any:
    """Train the UNet and the text encoder of stage 2's pipeline further. The autoencoder stays as it is.

    Args:
        holes: What to train on, and the pipeline.
        count: Number of filled holes that are made once and then reused.
        schedule: How long and how fast.
        session: Where.
        perceptual: LPIPS, see `perceptual_loss`.

    Returns:
        The pipeline of `holes`.
    """
    pipeline, device = holes.pipeline, session.device
    pipeline.vae.to(device).eval().requires_grad_(False)
    unet, text = pipeline.unet.to(device).train(), pipeline.text_encoder.to(device).train()
    samples = Filled(holes, count, session.folder)
    loss = FillLoss(pipeline, perceptual, device, session.seed)
    with plain_attention(unet, device):
        train({"unet": unet, "text": text}, loss, samples, schedule, session)
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
        time, used, pure, share = torch.rand(4, len(clean), generator=draw, device=self.device)
        t = (torch.where(used < USED_SHARE, time * USED, time) * len(self.kept)).long()
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
