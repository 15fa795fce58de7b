"""Networks for the tests of metrics: the real weights where they lie beside the repository, else the
real architecture, small or randomly initialised. Random weights give no meaningful score, only a valid one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from places import SAMPLES

VGG = SAMPLES / "weights" / "lpips_v0.1_vgg_full_fp16.safetensors"


@contextmanager
def one_thread() -> Iterator[None]:
    """Networks this small lose time to threads that wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def draw(network: Any, seed: int = 0) -> Any:
    """Draw weights that keep the scale of features from layer to layer."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if tensor.ndim >= 2:
            fan_in = tensor[0].numel()
            tensor.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        elif "bn.bias" in name or "running_mean" in name:
            tensor.normal_(0, 0.1, generator=generator)
    return network.eval()


def vgg16_file(folder: Path) -> Path:
    """VGG16's convolutions: real ones if they are here."""
    if VGG.is_file():
        return VGG
    import torch
    from torchvision.models import vgg16

    path = folder / "vgg16.pth"
    network = draw(vgg16(weights=None, init_weights=False).features)
    torch.save({f"features.{k}": v.half() for k, v in network.state_dict().items()}, path)
    return path


def inception_file(folder: Path) -> Path:
    """FID's Inception, randomly initialised."""
    import torch
    from torchvision.models import Inception3

    path = folder / "inception.pth"
    network = Inception3(1008, aux_logits=False, transform_input=False, init_weights=False)
    torch.save(draw(network).state_dict(), path)
    return path


def imagenet_inception_file(folder: Path) -> Path:
    """torchvision's Inception, randomly initialised."""
    import torch
    from torchvision.models import Inception3

    path = folder / "imagenet_inception.pth"
    network = Inception3(1000, aux_logits=True, transform_input=True, init_weights=False)
    torch.save(draw(network).state_dict(), path)
    return path


def clip_folder(folder: Path) -> Path:
    """A CLIP image encoder of two layers for 32 x 32 pixels."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=16,
    )
    draw(CLIPVisionModelWithProjection(config)).save_pretrained(folder / "clip")
    return folder / "clip"


def sam_folder(folder: Path) -> Path:
    """A SAM image encoder of two layers for 64 x 64 pixels, giving 8 x 8 cells."""
    from transformers import SamVisionConfig, SamVisionModel

    config = SamVisionConfig(
        hidden_size=32,
        output_channels=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=64,
        patch_size=8,
        window_size=4,
        global_attn_indexes=[1],
        num_pos_feats=8,
        mlp_dim=64,
    )
    draw(SamVisionModel(config)).save_pretrained(folder / "sam")
    return folder / "sam"


def put_all(folder: Path) -> dict[str, str]:
    """The environment variables with which every metric opens."""
    return {
        "LPIPS_VGG_MODEL": str(vgg16_file(folder)),
        "FID_INCEPTION": str(inception_file(folder)),
        "IMAGENET_INCEPTION": str(imagenet_inception_file(folder)),
        "CMMD_MODEL": str(clip_folder(folder)),
        "REMOVE_MODEL": str(sam_folder(folder)),
    }
