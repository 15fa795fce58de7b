"""A complete model that is too small to paint anything, as a folder: real classes, random weights, LoRA, token."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from magiceraser_ref.model.checkpoint import save
from magiceraser_ref.model.lora import add_lora, lora_parameters
from magiceraser_ref.model.settings import LoraSettings, Settings
from magiceraser_ref.model.token import add_token, set_token_vector
from magiceraser_ref.small.architecture import MICRO, build_pipeline
from olrd.arrays import Ids, Image, Mask
from olrd.masks import mask_box
from olrd.models.coco_categories import coco_categories
from olrd.panoptic import PanopticMap, Segment

CATEGORIES = {category.id: category for category in coco_categories().values()}
SKY, GRASS, SHEEP, COW, PERSON = 187, 193, 20, 21, 1
SETTINGS = Settings(
    resolution=32, initializer="opencv-telea", steps=4, lora=LoraSettings(rank=4, alpha=8), license="MIT"
)
PLAIN = Settings(resolution=32, initializer="opencv-telea", steps=4, lora=None, token=None)


def trained_pipeline(seed: int = 0) -> Any:
    """Build a micro pipeline whose LoRA and token differ from their initial values."""
    pipeline = build_pipeline(MICRO)
    number = add_token(pipeline.tokenizer, pipeline.text_encoder)
    generator = torch.Generator().manual_seed(seed)
    set_token_vector(pipeline.text_encoder, number, torch.randn(16, generator=generator))
    add_lora(pipeline.unet, rank=4, alpha=8, seed=seed)
    for values in lora_parameters(pipeline.unet):
        values.data += 0.1 * torch.randn(values.shape, generator=generator)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def write_model(folder: Path) -> Path:
    """Write the trained pipeline as a folder."""
    save(folder, trained_pipeline(), SETTINGS)
    return folder


def write_plain(folder: Path) -> Path:
    """Write an inpainting checkpoint of diffusers without LoRA, token and settings."""
    build_pipeline(MICRO).save_pretrained(folder)
    return folder


def unet_output(pipeline: Any, prompt: str) -> Any:
    """Return the UNet's output for fixed noise and a prompt, [1, 4, 8, 8]."""
    generator = torch.Generator().manual_seed(5)
    noisy = torch.randn(1, 9, 8, 8, generator=generator)
    ids = pipeline.tokenizer(
        prompt, padding="max_length", max_length=pipeline.tokenizer.model_max_length, return_tensors="pt"
    ).input_ids
    with torch.inference_mode():
        states = pipeline.text_encoder(ids)[0]
        return pipeline.unet(noisy, 500, encoder_hidden_states=states).sample


def drawn(height: int, width: int, seed: int = 0) -> Image:
    """Draw smooth colours with some noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    ramp = np.stack([x * 200 / width, y * 200 / height, (x + y) * 100 / (width + height)], axis=-1)
    return (ramp + random.integers(0, 40, (height, width, 3))).astype(np.uint8)


def box_mask(height: int, width: int, *boxes: tuple[int, int, int, int]) -> Mask:
    """True in each (left, top, width, height)."""
    mask = np.zeros((height, width), bool)
    for x, y, w, h in boxes:
        mask[y : y + h, x : x + w] = True
    return mask


def panoptic_map(ids: Ids, kinds: dict[int, int]) -> PanopticMap:
    """ids: integers [H, W], 0 = void. kinds: segment id to category id."""
    segments = []
    for number, category in kinds.items():
        where = ids == number
        segments.append(Segment(number, category, int(where.sum()), mask_box(where)))
    return PanopticMap(ids.astype(np.uint32), tuple(segments))


def meadow(height: int, width: int) -> PanopticMap:
    """Sky above grass, a sheep on the left, a cow on the right, a person between them, a void strip."""
    ids = np.where(np.arange(height)[:, None] < height // 3, 1, 2) * np.ones((1, width), int)
    ids[height // 2 : height * 3 // 4, width // 8 : width // 4] = 3
    ids[height // 2 : height * 3 // 4, width * 5 // 8 : width * 7 // 8] = 4
    ids[height // 2 : height * 3 // 4, width * 3 // 8 : width // 2] = 5
    ids[-max(1, height // 20) :] = 0
    return panoptic_map(ids, {1: SKY, 2: GRASS, 3: SHEEP, 4: COW, 5: PERSON})
