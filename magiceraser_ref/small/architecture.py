"""The small model's networks: the classes of Stable Diffusion Inpainting, narrower and shallower.

Only the sizes differ: a UNet whose input is a noisy latent, the mask and the masked photo's latent, with cross-attention; a KL
autoencoder; a CLIP text encoder; and DDIM.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from magiceraser_ref.extras import need
from magiceraser_ref.small.vocabulary import known_words, small_tokenizer


@dataclass(frozen=True)
class Sizes:
    """The sizes of a model, which decide its speed.

    Attributes:
        resolution: Side in pixels at which the model is trained.
        vae: Channels per level of the autoencoder, from fine to coarse. It halves its input len(vae) - 1 times.
        vae_layers: Residual blocks per level of the autoencoder.
        latents: Channels of a latent. diffusers' inpainting pipeline runs with 4 only.
        unet: Channels per level of the UNet, from fine to coarse.
        layers: Residual blocks per level of the UNet.
        attention: Which levels of the UNet have attention.
        heads: Channels per attention head.
        text: Width, layers and heads of the text encoder, and length of a prompt in tokens.
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
"""Two CPU cores train it in a few hours."""
SMALL = Sizes(unet=(96, 160, 224), layers=2, text=(128, 4, 4, 32))
"""For one GPU. It takes less than 60 MB in half precision."""
MICRO = Sizes(resolution=32, vae=(8, 16, 16), unet=(16, 32), attention=(True, True), heads=8, text=(16, 1, 2, 32))
"""For tests: it has every part, and a step takes a few milliseconds."""
SIZES = {"tiny": TINY, "small": SMALL, "micro": MICRO}


def build_vae(sizes: Sizes) -> Any:
    """Build an `AutoencoderKL` with random weights. Without attention in its middle, it takes crops of any size."""
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
    """Build a `UNet2DConditionModel` with random weights. Its input is a noisy latent, the mask, and the masked photo's latent."""
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
    """Return the number of heads per level, which diffusers calls `attention_head_dim` for historical reasons."""
    return [channels // sizes.heads for channels in sizes.unet]


def build_text(sizes: Sizes, words: Iterable[str]) -> tuple[Any, Any]:
    """Build (tokenizer, text encoder with random weights)."""
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
    """Build a `StableDiffusionInpaintPipeline` with random weights that are drawn with `seed`."""
    diffusers, torch = need("diffusers", "the small model"), need("torch", "the small model")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tokenizer, text = build_text(sizes, known_words() if words is None else words)
        vae, unet = build_vae(sizes), build_unet(sizes)
    return assemble(vae.eval(), unet.eval(), text.eval(), tokenizer, diffusers)


def assemble(vae: Any, unet: Any, text: Any, tokenizer: Any, diffusers: Any) -> Any:
    """Join the parts to a pipeline with SD 1.5's noise schedule and the method's default sampler, DDIM."""
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


@contextmanager
def plain_attention(unet: Any, device: str) -> Iterator[None]:
    """Inside the block, attention on a CPU is not fused: its fused backward pass is slow, a third of a step."""
    fused = unet.attn_processors
    if device == "cpu":
        diffusers = need("diffusers", "training")
        unet.set_attn_processor(diffusers.models.attention_processor.AttnProcessor())
    yield
    unet.set_attn_processor(fused)


def size_of(pipeline: Any) -> dict[str, int]:
    """Count the parameters of each part."""
    parts = {"vae": pipeline.vae, "unet": pipeline.unet, "text_encoder": pipeline.text_encoder}
    return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
