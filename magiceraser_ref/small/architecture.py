"""The small model's networks: the classes of Stable Diffusion Inpainting, narrower and shallower.

Nothing here is special to the small model but its sizes: a 9-channel UNet with cross-attention
(4 latent + 1 mask + 4 masked-photo channels), a KL autoencoder, a CLIP text encoder, DDIM.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from magiceraser_ref.extras import need
from magiceraser_ref.small.vocabulary import known_words, small_tokenizer


@dataclass(frozen=True)
class Sizes:
    """What decides size and speed.

    resolution: side in pixels at which the model was trained. vae, unet: channels per level, from
    fine to coarse; the autoencoder halves its input len(vae) - 1 times. layers: residual blocks per
    level of the UNet. attention: on which levels of the UNet. heads: channels per attention head.
    text: width, layers and heads of the text encoder, and prompt length in tokens.
    """

    resolution: int = 128
    vae: tuple[int, ...] = (32, 64, 96)
    vae_layers: int = 1
    latents: int = 4
    unet: tuple[int, ...] = (64, 128, 192)
    layers: int = 1
    attention: tuple[bool, ...] = (False, True, True)
    heads: int = 32
    text: tuple[int, int, int, int] = (96, 2, 4, 32)


TINY = Sizes()
"""What two CPU cores can train in an hour or two."""
SMALL = Sizes(unet=(96, 160, 224), layers=2, text=(128, 4, 4, 32))
"""What one GPU trains in half an hour; under 60 MB in half precision."""
MICRO = Sizes(resolution=32, vae=(8, 16, 16), unet=(16, 32), attention=(True, True), heads=8, text=(16, 1, 2, 32))
"""For tests: every part there, nothing learned, a few milliseconds a step."""
SIZES = {"tiny": TINY, "small": SMALL, "micro": MICRO}


def build_vae(sizes: Sizes) -> Any:
    """An `AutoencoderKL` with random weights. Its middle has no attention: crops of any size fit."""
    diffusers = need("diffusers", "the small model")
    levels = len(sizes.vae)
    return diffusers.AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=sizes.latents,
        block_out_channels=sizes.vae,
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        layers_per_block=sizes.vae_layers,
        norm_num_groups=8,
        sample_size=sizes.resolution,
        mid_block_add_attention=False,
    )


def build_unet(sizes: Sizes) -> Any:
    """A 9-channel (for 4 latent channels) `UNet2DConditionModel` with random weights."""
    diffusers = need("diffusers", "the small model")
    down = ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in sizes.attention]
    up = ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(sizes.attention)]
    factor = 2 ** (len(sizes.vae) - 1)
    return diffusers.UNet2DConditionModel(
        sample_size=sizes.resolution // factor,
        in_channels=2 * sizes.latents + 1,
        out_channels=sizes.latents,
        down_block_types=down,
        up_block_types=up,
        block_out_channels=sizes.unet,
        layers_per_block=sizes.layers,
        norm_num_groups=8,
        cross_attention_dim=sizes.text[0],
        attention_head_dim=_head_counts(sizes),
    )


def _head_counts(sizes: Sizes) -> list[int]:
    """diffusers' `attention_head_dim` is the number of heads, for the sake of old checkpoints."""
    return [channels // sizes.heads for channels in sizes.unet]


def build_text(sizes: Sizes, words: Iterable[str]) -> tuple[Any, Any]:
    """(tokenizer, text encoder with random weights)."""
    transformers = need("transformers", "the small model")
    width, layers, heads, length = sizes.text
    tokenizer = small_tokenizer(words, length)
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return tokenizer, transformers.CLIPTextModel(config)


def build_pipeline(sizes: Sizes = MICRO, words: Iterable[str] | None = None, seed: int = 0) -> Any:
    """A `StableDiffusionInpaintPipeline` of these sizes with random weights drawn from `seed`."""
    diffusers, torch = need("diffusers", "the small model"), need("torch", "the small model")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer, text = build_text(sizes, known_words() if words is None else words)
        vae, unet = build_vae(sizes), build_unet(sizes)
    return assemble(vae.eval(), unet.eval(), text.eval(), tokenizer, diffusers)


def assemble(vae: Any, unet: Any, text: Any, tokenizer: Any, diffusers: Any) -> Any:
    """The parts as a pipeline, with SD 1.5's noise schedule and the method's default sampler, DDIM."""
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return diffusers.StableDiffusionInpaintPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def size_of(pipeline: Any) -> dict[str, int]:
    """Parameters of each part."""
    parts = {"vae": pipeline.vae, "unet": pipeline.unet, "text_encoder": pipeline.text_encoder}
    return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
