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


def dinov2_folder(folder: Path) -> Path:
    """A DINOv2 of one layer with patches of 14 pixels."""
    from transformers import Dinov2Config, Dinov2Model

    config = Dinov2Config(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, mlp_ratio=1, image_size=56)
    draw(Dinov2Model(config)).save_pretrained(folder / "dinov2")
    return folder / "dinov2"


def dreamsim_folder(folder: Path) -> Path:
    """DreamSim's branch `open_clip_vitb32` with drawn weights, as its archive is unpacked. Needs the package.

    It has its real size, 350 MB: the package knows no other.
    """
    import torch
    from dreamsim.config import dreamsim_args
    from dreamsim.feature_extraction.vision_transformer import vit_base
    from dreamsim.model import PerceptualModel
    from peft import LoraConfig, get_peft_model

    folder, branch = folder / "dreamsim", "open_clip_vitb32"
    folder.mkdir()
    torch.manual_seed(0)
    network = vit_base(patch_size=32)
    network.pos_drop = torch.nn.LayerNorm(network.embed_dim)
    tensors = network.state_dict() | {"proj": torch.randn(768, 512) / 768**0.5}
    torch.save({"state_dict": tensors}, folder / f"{branch}_pretrain.pth.tar")
    whole = PerceptualModel(**dreamsim_args["model_config"][branch], load_dir=str(folder), device="cpu")
    tuned = get_peft_model(whole, LoraConfig(r=2, lora_alpha=0.5, target_modules=["qkv"]))
    with torch.no_grad():
        for name, tensor in tuned.named_parameters():
            if "lora_B" in name:  # zero at first: it would have no effect
                tensor.normal_(0, 0.1)
    tuned.save_pretrained(folder / f"{branch}_single_lora")
    return folder


def mask2former_folder(folder: Path) -> Path:
    """A Mask2Former with random weights, sharpened so that photos give several segments."""
    import torch
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    from olrd.models.coco_categories import coco_categories

    torch.manual_seed(0)
    backbone = SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1, 1, 1, 1],
        num_heads=[1, 1, 1, 1],
        window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=30,
        id2label=dict(enumerate(coco_categories())),
        label2id={name: number for number, name in enumerate(coco_categories())},
    )
    model = Mask2FormerForUniversalSegmentation(config)
    with torch.no_grad():
        model.class_predictor.weight *= 200
        model.class_predictor.bias[-1] = -1e4  # never "no object"
    model.save_pretrained(folder)
    Mask2FormerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def put_all(folder: Path) -> dict[str, str]:
    """The environment variables with which every metric opens, `dreamsim` only if its package is installed."""
    from importlib.util import find_spec

    branch = {"DREAMSIM_MODEL": str(dreamsim_folder(folder))} if find_spec("dreamsim") else {}
    return branch | {
        "LPIPS_VGG_MODEL": str(vgg16_file(folder)),
        "FID_INCEPTION": str(inception_file(folder)),
        "IMAGENET_INCEPTION": str(imagenet_inception_file(folder)),
        "CMMD_MODEL": str(clip_folder(folder)),
        "REMOVE_MODEL": str(sam_folder(folder)),
        "REGROWTH_MODEL": str(mask2former_folder(folder / "mask2former")),
        "RCS_MODEL": str(dinov2_folder(folder)),
    }
