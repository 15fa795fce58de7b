"""A model for the conformance suite of erasers."""

from __future__ import annotations

from pathlib import Path

import pytest


def write_magiceraser(folder: Path) -> Path:
    """Write a micro inpainting model with a LoRA and the token."""
    for library in ("torch", "diffusers", "peft"):
        pytest.importorskip(library, reason="pip install '.[magiceraser]'")
    from magiceraser_ref.model.checkpoint import save
    from magiceraser_ref.model.lora import add_lora
    from magiceraser_ref.model.settings import Settings
    from magiceraser_ref.model.token import add_token
    from magiceraser_ref.small.architecture import build_pipeline

    pipeline = build_pipeline()
    add_token(pipeline.tokenizer, pipeline.text_encoder)
    add_lora(pipeline.unet)
    save(folder, pipeline, Settings(resolution=32))
    return folder
