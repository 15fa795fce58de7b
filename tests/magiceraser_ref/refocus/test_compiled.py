"""Refocusing of UNets that torch compiles: the same numbers, two graphs for all steps and photos; also offloaded ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from micro_model import CATEGORIES, PLAIN, SETTINGS, box_mask, drawn, meadow, trained_pipeline, unet_output
from small_encoders import one_thread

from magiceraser_ref.erase.pipeline import MagicEraser
from magiceraser_ref.model.checkpoint import Parts, load, save
from magiceraser_ref.refocus.processor import RefocusedProcessor
from magiceraser_ref.refocus.regions import Regions
from magiceraser_ref.refocus.settings import Refocus
from magiceraser_ref.refocus.unet import refocused
from magiceraser_ref.small.architecture import MICRO, build_pipeline
from olrd.errors import UsageError

TIMES = [901, 701, 501, 301]
HALF = Refocus(share=0.5)


class Graphs:
    """A compiler that runs what it is given, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.count += 1
        return graph.forward


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    with one_thread():
        yield
    torch._dynamo.reset()


def compiled(unet: Any, how: str, graphs: Graphs) -> Any:
    """fullgraph: a break of the graph would be an error."""
    if how == "torch.compile":
        return torch.compile(unet, backend=graphs, fullgraph=True)
    if how == "compile()":
        unet.compile(backend=graphs, fullgraph=True)
    else:
        unet.compile_repeated_blocks(backend=graphs, fullgraph=True)
    return unet


def regions(seed: int) -> Regions:
    codes = np.ones((96, 80), np.uint8)
    codes[:, -20:] = 2
    codes[-19:] = 3
    codes[10 + 8 * seed : 50, 10 : 40 + 8 * seed] = 0
    return Regions(codes == 0, codes == 1, codes == 2)


def tiny_unet() -> Any:
    """One block with self-attention, one without: compiling takes seconds."""
    torch.manual_seed(0)
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=9,
        out_channels=4,
        layers_per_block=1,
        norm_num_groups=4,
        block_out_channels=(8,),
        cross_attention_dim=16,
        attention_head_dim=8,
        mid_block_type=None,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("UpBlock2D",),
    ).eval()


def run_of(unet: Any, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sample, states = (torch.randn(shape, generator=generator) for shape in ((2, 9, 12, 10), (2, 5, 16)))
    with torch.inference_mode(), refocused(unet, [regions(seed)], HALF, timesteps=TIMES) as run:
        found = [unet(sample, torch.tensor(t), encoder_hidden_states=states).sample for t in TIMES]
    assert (run.calls, run.refocused_calls, run.reached) == (4, 2, True)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", ["torch.compile", "compile()", "compile_repeated_blocks()"])
def test_a_compiled_unet_is_refocused_without_compiling_it_again(how: str) -> None:
    plain = tiny_unet()
    wanted = [run_of(plain, seed) for seed in range(2)]
    graphs = Graphs()
    unet = compiled(plain, how, graphs)
    counts = []
    for seed in range(2):
        found = run_of(unet, seed)
        counts.append(graphs.count)
        for one, other in zip(found, wanted[seed], strict=True):
            assert torch.allclose(one, other, atol=1e-5)
        assert not any(type(p) is RefocusedProcessor for p in plain.attn_processors.values())
    # The one graph is that of ordinary steps, the other that of refocused ones.
    assert counts[0] == counts[1] and (how == "compile_repeated_blocks()" or counts[0] == 2)
    assert not unet._forward_pre_hooks and not plain._forward_pre_hooks


@pytest.mark.slow
@pytest.mark.parametrize("how", ["torch.compile", "compile()"])
def test_an_error_in_the_block_leaves_a_compiled_unet_as_it_was(how: str) -> None:
    unet = tiny_unet()
    graphs = Graphs()
    given = compiled(unet, how, graphs)
    call, processors = unet._compiled_call_impl, dict(unet.attn_processors)
    with pytest.raises(KeyError), refocused(given, [regions(0)], HALF, timesteps=TIMES):
        raise KeyError
    assert unet._compiled_call_impl is call and unet.attn_processors == processors and not given._forward_pre_hooks


def eraser_of(pipeline: Any) -> MagicEraser:
    pipeline.set_progress_bar_config(disable=True)
    return MagicEraser(Parts(pipeline, PLAIN, None), initializer="mean-fill")


def erased(eraser: MagicEraser, **options: Any) -> Any:
    photo, mask = drawn(40, 48), box_mask(40, 48, (14, 10, 16, 15))
    given: dict[str, Any] = {"panoptic": meadow(40, 48), "categories": CATEGORIES, "steps": 4} | options
    return eraser.erase(photo, mask, **given)


@pytest.mark.slow
def test_a_pipeline_with_a_compiled_unet_erases_and_is_saved(tmp_path: Path) -> None:
    pipeline = build_pipeline(MICRO)
    pipeline.unet = tiny_unet()
    wanted = erased(eraser_of(pipeline))
    wanted_output, graphs = unet_output(pipeline, "sky"), Graphs()
    pipeline.unet = torch.compile(pipeline.unet, backend=graphs)
    eraser = eraser_of(pipeline)
    found = erased(eraser)
    assert np.abs(found.astype(int) - wanted).max() <= 1 and graphs.count == 2
    assert eraser.to(torch.float32) is eraser
    eraser.save_pretrained(tmp_path / "saved")
    again = load(tmp_path / "saved", device="cpu").pipeline
    assert torch.allclose(unet_output(again, "sky"), wanted_output, atol=1e-5)


@pytest.mark.slow
def test_a_compiled_unet_with_lora_is_saved(tmp_path: Path) -> None:
    pipeline = trained_pipeline()
    wanted = unet_output(pipeline, "R* sky")
    pipeline.unet = torch.compile(pipeline.unet, backend=Graphs())
    save(tmp_path / "saved", pipeline, SETTINGS)
    found = unet_output(load(tmp_path / "saved", device="cpu").pipeline, "R* sky")
    assert torch.allclose(found, wanted, atol=1e-6)


def offload(pipeline: Any, how: str) -> None:
    accelerate = pytest.importorskip("accelerate", reason="pip install '.[magiceraser]'")
    if how == "model":
        pipeline.enable_model_cpu_offload(device="cpu")
        return
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):  # enable_sequential_cpu_offload takes no CPU
        accelerate.cpu_offload(part, torch.device("cpu"), offload_buffers=len(part._parameters) > 0)
    assert all(values.is_meta for values in pipeline.unet.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("how", ["model", "sequential"])
def test_an_offloaded_vae_that_overflows_in_half_precision_decodes_in_float32(how: str) -> None:
    """Its weights are elsewhere when it is converted."""
    pipeline = build_pipeline(MICRO).to(torch.bfloat16)
    decoder = pipeline.vae.decoder
    forward, kinds = decoder.forward, []

    def overflows(sample: Any, *arguments: Any, **options: Any) -> Any:
        kinds.append(sample.dtype)
        found = forward(sample, *arguments, **options)
        return found * (math.inf if sample.dtype == torch.bfloat16 else 1)

    wanted = erased(eraser_of(pipeline))
    decoder.forward = overflows
    offload(pipeline, how)
    found = erased(eraser_of(pipeline))
    assert kinds == [torch.bfloat16, torch.float32] and pipeline.vae.dtype == torch.bfloat16
    assert np.abs(found.astype(int) - wanted).mean() < 3


@pytest.mark.slow
@pytest.mark.parametrize("how", ["model", "sequential"])
def test_an_offloaded_pipeline_erases(how: str, tmp_path: Path) -> None:
    """The CPU stands for the accelerator: the hooks, and the tensors that they take away, are the same."""
    pipeline = build_pipeline(MICRO)
    wanted = erased(eraser_of(pipeline))
    offload(pipeline, how)
    eraser = eraser_of(pipeline)
    assert np.array_equal(erased(eraser), wanted)
    assert eraser.device.type == "cpu"
    if how == "sequential":
        with pytest.raises(UsageError, match="the model cannot be moved"):
            eraser.to("cpu")
        with pytest.raises(UsageError, match="weights of the unet are not in memory"):
            eraser.save_pretrained(tmp_path / "saved")
