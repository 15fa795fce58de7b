"""Stable Diffusion XL Inpainting's classes: training-free, two text encoders, no learned token."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
import transformers
from micro_model import CATEGORIES, PLAIN, box_mask, drawn, meadow

from magiceraser_ref.erase.pipeline import MagicEraser
from magiceraser_ref.model.checkpoint import save
from magiceraser_ref.model.locate import TOKEN_FILE
from magiceraser_ref.model.settings import FILE
from magiceraser_ref.model.token import save_token
from magiceraser_ref.small.architecture import MICRO, build_text, build_vae
from magiceraser_ref.small.vocabulary import known_words
from olrd.errors import UsageError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared: do not write into it."""
    torch.manual_seed(0)
    tokenizer, first = build_text(MICRO, known_words())
    second = transformers.CLIPTextModelWithProjection(first.config)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=9,
        out_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        block_out_channels=(16, 32),
        cross_attention_dim=32,
        attention_head_dim=(2, 4),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16 + 6 * 8,
    )
    pipeline = diffusers.StableDiffusionXLInpaintPipeline(
        vae=build_vae(MICRO),
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(steps_offset=1),
    )
    folder = tmp_path_factory.mktemp("sdxl") / "micro"
    pipeline.save_pretrained(folder)
    return folder


def erased(eraser: MagicEraser, **options: Any) -> np.ndarray:
    mask = box_mask(60, 80, (12, 32, 8, 10))
    return eraser.erase(drawn(60, 80), mask, panoptic=meadow(60, 80), categories=CATEGORIES, steps=5, **options)


@pytest.mark.slow
def test_it_runs_training_free_with_refocusing(model: Path) -> None:
    eraser = MagicEraser.from_pretrained(model, device="cpu", initializer="opencv-telea")
    first = erased(eraser)
    assert np.array_equal(erased(eraser), first)
    assert not np.array_equal(erased(eraser, refocus=None), first)
    assert not np.array_equal(erased(eraser, content=False), first)


@pytest.mark.slow
def test_large_holes_are_refined(model: Path) -> None:
    eraser = MagicEraser.from_pretrained(model, device="cpu", initializer="opencv-telea")
    told: list[Any] = []
    hook = eraser.pipeline.unet.register_forward_pre_hook(
        lambda module, args, kwargs: told.append(kwargs["added_cond_kwargs"]["time_ids"]), with_kwargs=True
    )
    photo, mask = drawn(100, 120), box_mask(100, 120, (40, 30, 40, 40))
    on, off = (eraser.erase(photo, mask, steps=5, refine=word, refine_strength=0.4) for word in ("on", "off"))
    hook.remove()
    assert np.array_equal(on[~mask], photo[~mask]) and not np.array_equal(on, off)
    assert {tuple(row) for ids in told for row in ids.int().tolist()} == {(32, 32, 0, 0, 32, 32)}


@pytest.mark.slow
def test_a_token_for_it_is_refused(model: Path, tmp_path: Path) -> None:
    eraser = MagicEraser.from_pretrained(model, device="cpu")
    save(tmp_path / "m", eraser.pipeline, PLAIN)
    save_token(tmp_path / "m" / TOKEN_FILE, "R*", torch.zeros(16))
    (tmp_path / "m" / FILE).write_text(replace(PLAIN, token="R*").to_json())
    with pytest.raises(UsageError, match="one text encoder"):
        MagicEraser.from_pretrained(tmp_path / "m", device="cpu")
