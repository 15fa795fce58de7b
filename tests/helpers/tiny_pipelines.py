"""Pipelines of diffusers' real classes with random weights, too small to paint anything: one for each family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

KINDS = ("sdxl", "sd3", "sd3-no-t5", "flux", "flux-fill", "klein", "klein-distilled", "qwen")
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_pipeline(folder: Path, kind: str, **saving: Any) -> Path:
    """Write a pipeline.

    folder: Where; it is created.
    kind: One of `KINDS`.
    saving: Arguments of `save_pretrained`, such as a variant.
    """
    torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    pytest.importorskip("diffusers", reason="pip install '.[magiceraser]'")
    pytest.importorskip("transformers", reason="pip install '.[models]'")
    torch.manual_seed(0)
    pipeline = _MAKERS[kind.partition("-")[0]](kind)
    pipeline.save_pretrained(folder, **saving)
    return folder


def _vae(latents: int, cls: str = "AutoencoderKL", **more: Any) -> Any:
    import diffusers

    return getattr(diffusers, cls)(
        block_out_channels=(8, 8, 8, 8),
        latent_channels=latents,
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        **more,
    )


def _clip_words() -> list[str]:
    letters = [chr(code) for code in range(33, 127)]
    return [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]


def _clip(projected: bool) -> tuple[Any, Any]:
    import transformers

    words = _clip_words()
    config = transformers.CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        projection_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=len(words) - 2,
        eos_token_id=len(words) - 1,
        pad_token_id=len(words) - 1,
    )
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    vocabulary = {word: k for k, word in enumerate(words)}
    return kind(config), transformers.CLIPTokenizer(vocabulary, [], model_max_length=77)


def _t5() -> tuple[Any, Any]:
    import transformers

    words = ["<pad>", "</s>", "<unk>", "▁", *(chr(code) for code in range(33, 127))]
    config = transformers.T5Config(
        vocab_size=len(words) + 100,
        d_model=32,
        d_kv=8,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    tokenizer = transformers.T5Tokenizer([(word, -float(k)) for k, word in enumerate(words)], model_max_length=512)
    return transformers.T5EncoderModel(config), tokenizer


def _qwen_tokenizer() -> Any:
    import transformers
    from tokenizers.pre_tokenizers import ByteLevel

    words = ["<|endoftext|>", *sorted(ByteLevel.alphabet())]
    tokenizer = transformers.Qwen2Tokenizer({word: k for k, word in enumerate(words)}, [], model_max_length=2048)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHAT
    return tokenizer


def _flow(**options: Any) -> Any:
    import diffusers

    return diffusers.FlowMatchEulerDiscreteScheduler(**options)


def _sdxl(kind: str) -> Any:
    """The text-to-image pipeline: its UNet sees no mask."""
    import diffusers

    text, tokenizer = _clip(False)
    text_2, tokenizer_2 = _clip(True)
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        block_out_channels=(32, 64),
        cross_attention_dim=32,
        attention_head_dim=(2, 4),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=64,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    return diffusers.StableDiffusionXLPipeline(
        vae=_vae(4, force_upcast=True),
        text_encoder=text,
        text_encoder_2=text_2,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(steps_offset=1),
        add_watermarker=False,
    )


def _sd3(kind: str) -> Any:
    import diffusers

    transformer = diffusers.SD3Transformer2DModel(
        sample_size=32,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=32,
        qk_norm="rms_norm",
    )
    (text, tokenizer), (text_2, tokenizer_2) = _clip(True), _clip(True)
    text_3, tokenizer_3 = (None, None) if kind.endswith("no-t5") else _t5()
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=_flow(shift=3.0),
        vae=_vae(16, shift_factor=0.06, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=text,
        tokenizer=tokenizer,
        text_encoder_2=text_2,
        tokenizer_2=tokenizer_2,
        text_encoder_3=text_3,
        tokenizer_3=tokenizer_3,
    )


def _flux(kind: str) -> Any:
    import diffusers

    fill = kind == "flux-fill"
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=16 + 16 + 256 if fill else 16,  # latents, those of the masked photo, and 8 x 8 x 4 bits of the mask
        out_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        axes_dims_rope=(4, 4, 8),
        guidance_embeds=True,
    )
    (text, tokenizer), (text_2, tokenizer_2) = _clip(False), _t5()
    return (diffusers.FluxFillPipeline if fill else diffusers.FluxPipeline)(
        scheduler=_flow(use_dynamic_shifting=True),
        vae=_vae(4, shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=text,
        tokenizer=tokenizer,
        text_encoder_2=text_2,
        tokenizer_2=tokenizer_2,
        transformer=transformer,
    )


def _klein(kind: str) -> Any:
    import diffusers
    import transformers

    tokenizer = _qwen_tokenizer()
    text = transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=28,  # the pipeline reads the layers 9, 18 and 27
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=8,
        )
    )
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    return diffusers.Flux2KleinPipeline(
        scheduler=_flow(use_dynamic_shifting=True),
        vae=_vae(4, "AutoencoderKLFlux2"),
        text_encoder=text,
        tokenizer=tokenizer,
        transformer=transformer,
        is_distilled=kind == "klein-distilled",
    )


def _qwen(kind: str) -> Any:
    import diffusers
    import transformers

    tokenizer = _qwen_tokenizer()
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    config = transformers.Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_parameters": rope,
        },
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16},
    )
    transformer = diffusers.QwenImageTransformer2DModel(
        in_channels=64,
        out_channels=16,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16,
        axes_dims_rope=(8, 4, 4),
    )
    return diffusers.QwenImagePipeline(
        scheduler=_flow(use_dynamic_shifting=True),
        vae=diffusers.AutoencoderKLQwenImage(base_dim=4, z_dim=16, num_res_blocks=1, dim_mult=[1, 1, 1, 1]),
        text_encoder=transformers.Qwen2_5_VLForConditionalGeneration(config),
        tokenizer=tokenizer,
        transformer=transformer,
    )


_MAKERS = {"sdxl": _sdxl, "sd3": _sd3, "flux": _flux, "klein": _klein, "qwen": _qwen}


def write_single_file(folder: Path, file: Path) -> Path:
    """Write the networks of a folder of Stable Diffusion 1 as one file, under the names that its authors gave them.

    folder: As `drawn_networks.write_sd` writes it: one residual block a level, and two levels of the UNet.
    """
    from safetensors.torch import load_file, save_file

    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    vae = load_file(folder / "vae" / "diffusion_pytorch_model.safetensors")
    text = load_file(folder / "text_encoder" / "model.safetensors")
    tensors = {f"model.diffusion_model.{_unet_name(key)}": value for key, value in unet.items()}
    for key, value in vae.items():
        name = f"first_stage_model.{_vae_name(key)}"
        tensors[name] = value[..., None, None] if "attn_1" in name and value.ndim == 2 else value  # 1 x 1 convolutions
    for key, value in text.items():
        tensors[f"cond_stage_model.transformer.text_model.{key.removeprefix('text_model.')}"] = value
    save_file({key: value.contiguous() for key, value in tensors.items()}, file)
    return file


def _replaced(key: str, names: dict[str, str]) -> str:
    for ours, theirs in names.items():
        key = key.replace(ours, theirs)
    return key


def _unet_name(key: str) -> str:
    whole = {
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "down_blocks.0.resnets.0": "input_blocks.1.0",
        "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
        "down_blocks.1.resnets.0": "input_blocks.3.0",
        "down_blocks.1.attentions.0": "input_blocks.3.1",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
        "up_blocks.0.upsamplers.0.conv": "output_blocks.1.2.conv",
    }
    for block in (0, 1):
        for layer in (0, 1):
            whole[f"up_blocks.{block}.resnets.{layer}"] = f"output_blocks.{2 * block + layer}.0"
            whole[f"up_blocks.{block}.attentions.{layer}"] = f"output_blocks.{2 * block + layer}.1"
    resnet = {
        "norm1": "in_layers.0",
        "conv1": "in_layers.2",
        "time_emb_proj": "emb_layers.1",
        "norm2": "out_layers.0",
        "conv2": "out_layers.3",
        "conv_shortcut": "skip_connection",
    }
    return _replaced(_replaced(key, resnet) if "resnets" in key else key, whole)


def _vae_name(key: str) -> str:
    names = {
        "mid_block.resnets.0": "mid.block_1",
        "mid_block.resnets.1": "mid.block_2",
        "mid_block.attentions.0": "mid.attn_1",
        "group_norm": "norm",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
        "to_out.0": "proj_out",
        "down_blocks": "down",
        "downsamplers.0": "downsample",
        "upsamplers.0": "upsample",
        "resnets": "block",
        "conv_shortcut": "nin_shortcut",
        "conv_norm_out": "norm_out",
    }
    names |= {f"up_blocks.{level}": f"up.{3 - level}" for level in range(4)}
    return _replaced(key, names)
