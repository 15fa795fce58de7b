"""Small network files with random weights, in the formats that the erasers read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def write_lama(path: Path, fill: float = 0.02) -> Path:
    """Write a TorchScript file with LaMa's signature. It fills the hole with the photo's mean and stripes.

    fill: how much each stripe adds; NaN and infinity make a network whose output is no picture.
    """
    torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")

    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.fill = fill

        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
            assert image.shape[2] % 8 == 0 and image.shape[3] % 8 == 0
            assert image.shape[1] == 3 and mask.shape[1] == 1
            stripes = torch.arange(image.shape[3], device=image.device) % 5
            fill = image.mean(dim=(2, 3), keepdim=True) * 0.8 + stripes * self.fill
            return image * (1 - mask) + fill * mask

    torch.jit.script(Net()).save(str(path))
    return path


def write_sd(folder: Path) -> Path:
    """Write a pipeline of the real classes with random weights, too small to paint anything."""
    torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    diffusers = pytest.importorskip("diffusers", reason="pip install '.[magiceraser]'")
    transformers = pytest.importorskip("transformers", reason="pip install '.[models]'")
    torch.manual_seed(0)
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    source = folder.parent / "tokenizer"
    source.mkdir()
    (source / "vocab.json").write_text(json.dumps({word: k for k, word in enumerate(words)}))
    (source / "merges.txt").write_text("#version: 0.2\n")
    blocks = {"down": ("DownBlock2D", "CrossAttnDownBlock2D"), "up": ("CrossAttnUpBlock2D", "UpBlock2D")}
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=9,
        out_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        block_out_channels=(32, 64),
        cross_attention_dim=16,
        attention_head_dim=8,
        down_block_types=blocks["down"],
        up_block_types=blocks["up"],
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=len(words) - 2,
            eos_token_id=len(words) - 1,
            pad_token_id=len(words) - 1,
        )
    )
    diffusers.StableDiffusionInpaintPipeline(
        vae=vae,
        unet=unet,
        text_encoder=text,
        scheduler=diffusers.DDIMScheduler(steps_offset=1),
        tokenizer=transformers.CLIPTokenizer(
            str(source / "vocab.json"), str(source / "merges.txt"), model_max_length=77
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder
