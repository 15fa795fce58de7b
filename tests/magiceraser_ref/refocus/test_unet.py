"""Refocusing on small real UNets: switched on it equals the plain equation, switched off it changes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from small_encoders import one_thread

torch = pytest.importorskip("torch", reason="pip install '.[magiceraser]'")
diffusers = pytest.importorskip("diffusers", reason="pip install '.[magiceraser]'")

from diffusers.models.attention_processor import Attention, AttnProcessor2_0  # noqa: E402

from magiceraser_ref.refocus.attention import Weights, plain, tokens_of  # noqa: E402
from magiceraser_ref.refocus.regions import Regions  # noqa: E402
from magiceraser_ref.refocus.unet import (  # noqa: E402
    Refocus,
    RefocusedProcessor,
    Refocusing,
    refocused,
)
from olrd.errors import UsageError  # noqa: E402

STRONG = {"lambda_pos": 0.9, "lambda_neg": 0.9, "share": 1.0}
CROSS_DOWN, CROSS_UP = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
KINDS: dict[str, dict[str, Any]] = {
    "sd15": {
        "in_channels": 4,
        "attention_head_dim": 8,
        "down_block_types": (CROSS_DOWN, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", CROSS_UP),
    },
    "sd15-inpainting": {
        "in_channels": 9,
        "attention_head_dim": 8,
        "down_block_types": (CROSS_DOWN, CROSS_DOWN),
        "up_block_types": (CROSS_UP, CROSS_UP),
    },
    "sd2": {
        "in_channels": 4,
        "attention_head_dim": [2, 4],
        "use_linear_projection": True,
        "down_block_types": (CROSS_DOWN, CROSS_DOWN),
        "up_block_types": (CROSS_UP, CROSS_UP),
    },
    "sdxl": {
        "in_channels": 4,
        "attention_head_dim": [2, 4],
        "use_linear_projection": True,
        "down_block_types": ("DownBlock2D", CROSS_DOWN),
        "up_block_types": (CROSS_UP, "UpBlock2D"),
        "transformer_layers_per_block": [1, 2],
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + 16,
    },
}


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    with one_thread(), torch.inference_mode():
        yield


def small_unet(kind: str) -> Any:
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=16,
        out_channels=4,
        layers_per_block=1,
        norm_num_groups=8,
        block_out_channels=(16, 32),
        cross_attention_dim=16,
        **KINDS[kind],
    ).eval()
    for name, module in unet.named_modules():
        if name.endswith(("attn1.to_q", "attn1.to_k")):  # drawn as they are, all attend evenly
            module.weight.mul_(4)
    return unet


@pytest.fixture(scope="module")
def unets() -> dict[str, Any]:
    with torch.inference_mode():
        return {kind: small_unet(kind) for kind in KINDS}


def inputs(unet: Any, batch: int, size: tuple[int, int] = (12, 10)) -> dict[str, Any]:
    torch.manual_seed(1)
    found = {
        "sample": torch.randn(batch, unet.config.in_channels, *size),
        "timestep": 901,
        "encoder_hidden_states": torch.randn(batch, 5, 16),
    }
    if unet.config.addition_embed_type:
        ids = torch.arange(6.0).repeat(batch, 1)
        found["added_cond_kwargs"] = {"text_embeds": torch.randn(batch, 16), "time_ids": ids}
    return found


def regions(seed: int = 0, size: tuple[int, int] = (96, 80)) -> Regions:
    """A hole left of the middle, n at the right, a neutral strip below; moved by the seed."""
    codes = np.ones(size, np.uint8)
    codes[:, -size[1] // 4 :] = 2
    codes[-size[0] // 5 :] = 3
    codes[10 + 8 * seed : 50, 10 : 40 + 8 * seed] = 0
    return Regions(codes == 0, codes == 1, codes == 2)


def forward(unet: Any, given: dict[str, Any]) -> Any:
    return unet(**given).sample


def refocused_forward(unet: Any, given: dict[str, Any], which: Any, **options: Any) -> Any:
    guidance = options.pop("guidance", True)
    settings = Refocus(**(STRONG | options))
    with refocused(unet, which, settings, timesteps=[901], guidance=guidance):
        return forward(unet, given)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(12, 10), (13, 7)])
def test_on_is_the_plain_equation_and_off_is_untouched(unets: dict[str, Any], kind: str, size: tuple[int, int]) -> None:
    unet, given = unets[kind], inputs(unets[kind], 2, size)
    where = [regions(size=(8 * size[0], 8 * size[1]))]
    processors, before = dict(unet.attn_processors), forward(unet, given)
    on = refocused_forward(unet, given, where)
    assert torch.allclose(on, refocused_forward(unet, given, where, implementation="plain"), atol=1e-4)
    assert not torch.allclose(on[1], before[1], atol=1e-3)
    assert torch.allclose(on[0], before[0], atol=1e-5)  # the unconditional half
    assert torch.equal(forward(unet, given), before)
    assert all(unet.attn_processors[name] is p for name, p in processors.items())
    assert not unet._forward_pre_hooks


def test_strength_zero_changes_nothing(unets: dict[str, Any]) -> None:
    for unet in unets.values():
        given = inputs(unet, 2)
        off = refocused_forward(unet, given, [regions()], lambda_pos=0.0, lambda_neg=0.0)
        assert torch.allclose(off, forward(unet, given), atol=1e-5)


def test_lora_layers_are_called(unets: dict[str, Any]) -> None:
    peft = pytest.importorskip("peft", reason="pip install '.[magiceraser]'")
    unet = small_unet("sd15-inpainting")
    given = inputs(unet, 2)
    bare = refocused_forward(unet, given, [regions()])
    unet.add_adapter(peft.LoraConfig(r=4, init_lora_weights=False, target_modules=["to_q", "to_k", "to_v"]))
    on = refocused_forward(unet, given, [regions()])
    assert torch.allclose(on, refocused_forward(unet, given, [regions()], implementation="plain"), atol=1e-4)
    assert not torch.allclose(on, forward(unet, given), atol=1e-3)
    assert not torch.allclose(on, bare, atol=1e-3)


def test_only_the_asked_half(unets: dict[str, Any]) -> None:
    """Seen in the first self-attention layer, before anything else can mix."""
    unet, seen = unets["sd15"], []
    given = inputs(unet, 2)
    layer = unet.down_blocks[0].attentions[0].transformer_blocks[0].attn1
    hook = layer.register_forward_hook(lambda *call: seen.append(call[2]))
    forward(unet, given)
    refocused_forward(unet, given, [regions()])
    refocused_forward(unet, given, [regions()], both_halves=True)
    refocused_forward(unet, given, [regions(), None], guidance=False)
    hook.remove()
    plain_, half, both, first = seen
    changed = [[not torch.allclose(x[i], plain_[i], atol=1e-5) for i in (0, 1)] for x in (half, both, first)]
    assert changed == [[False, True], [True, True], [True, False]]


def test_a_batch_equals_single_runs(unets: dict[str, Any]) -> None:
    """Three prompts with two images each, different masks, one sample without any."""
    unet, where = unets["sd2"], [regions(0), None, regions(2)]
    given = inputs(unet, 12)
    together = refocused_forward(unet, given, where)
    for image in range(6):
        rows = [image, 6 + image]
        alone = {k: v[rows] if hasattr(v, "shape") else v for k, v in given.items()}
        single = refocused_forward(unet, alone, [where[image // 2]])
        assert torch.allclose(together[rows], single, atol=1e-5)
    assert not torch.allclose(together[6:8], refocused_forward(unet, given, [regions(1)] * 3)[6:8])


def test_layers_and_resolutions_choose(unets: dict[str, Any]) -> None:
    unet = unets["sd15-inpainting"]
    given = inputs(unet, 2)

    def count(**options: Any) -> int:
        with refocused(unet, [regions()], Refocus(**options), train_timesteps=1000, timesteps=[901] * 4) as run:
            forward(unet, given)
        return run.refocused_layers

    assert count() == 7
    assert (count(layers=("down",)), count(layers=("mid", "up"))) == (2, 5)
    assert count(layers=("up_blocks.1", "down_blocks.0.attentions.0")) == 3
    assert (count(resolutions=(1,)), count(resolutions=(2,))) == (3, 4)
    with pytest.raises(UsageError, match="reached no layer"):
        count(resolutions=(8,))
    with pytest.raises(UsageError, match=r"is called 'up_blocks\.2'"):
        count(layers=("up_blocks.2",))


def test_an_exception_inside_restores(unets: dict[str, Any]) -> None:
    unet = unets["sdxl"]
    processors = dict(unet.attn_processors)
    with pytest.raises(KeyError), refocused(unet, [regions()], timesteps=[901]):
        assert any(type(p) is RefocusedProcessor for p in unet.attn_processors.values())
        raise KeyError
    assert unet.attn_processors == processors and not unet._forward_pre_hooks
    with (
        refocused(unet, [regions()], timesteps=[901]),
        pytest.raises(UsageError, match="has the attention processor RefocusedProcessor"),
        refocused(unet, [regions()], timesteps=[901]),
    ):
        pass
    assert unet.attn_processors == processors


def counted(settings: Refocus, timesteps: Any, told: bool = True) -> int:
    state = Refocusing([regions()], settings, [float(t) for t in timesteps] if told else None, 1000, True)
    sample = torch.zeros(2, 4, 12, 10)
    for number, t in enumerate(timesteps):
        if not told:
            state.step(number, len(timesteps))
        state.begin(None, (sample, t), {})
    return state.refocused_calls


def test_the_two_readings_of_the_window() -> None:
    """50 DDIM steps at strength 0.9: 45 executed; 13 or 10 of them refocused."""
    scheduler = diffusers.DDIMScheduler(steps_offset=1)
    scheduler.set_timesteps(50)
    executed = scheduler.timesteps[5:]
    assert counted(Refocus(), executed) == counted(Refocus(), executed, told=False) == 13
    assert counted(Refocus(window="time"), executed) == 10
    assert counted(Refocus(share=0), executed) == 0
    assert counted(Refocus(share=1), executed) == 45
    assert Refocus(share=0.29).active_steps(100) == 29


def test_outside_the_window_nothing_changes(unets: dict[str, Any]) -> None:
    unet = unets["sd15"]
    given = inputs(unet, 2)
    before = forward(unet, given)
    late = forward(unet, given | {"timestep": torch.tensor(101)})
    with refocused(unet, [regions()], Refocus(share=0.5), timesteps=[901, 101]) as run:
        assert not torch.equal(unet(given["sample"], 901, given["encoder_hidden_states"]).sample, before)
        assert torch.equal(forward(unet, given | {"timestep": torch.tensor(101)}), late)
    assert (run.calls, run.refocused_calls, run.refocused_layers) == (2, 1, 4)


MODULES: dict[str, dict[str, Any]] = {
    "as in a UNet": {},
    "norms of query and key": {"qk_norm": "layer_norm", "bias": True},
    "group norm, residual, rescaled": {"norm_num_groups": 4, "residual_connection": True, "rescale_output_factor": 2.0},
    "spatial norm": {"spatial_norm_dim": 6, "residual_connection": True},
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", MODULES)
def test_the_processor_does_all_that_the_default_does(kind: str, masked: bool) -> None:
    """At strength 0; and with a mask at full strength, the equation with the mask added."""
    torch.manual_seed(0)
    attn = Attention(query_dim=32, heads=4, dim_head=8, **MODULES[kind]).eval()
    tokens = tokens_of(np.random.default_rng(0).integers(0, 4, 20))

    class State:
        def runs(self, count: int, device: Any) -> Any:
            assert count == 20
            return [(slice(0, 1), tokens), (slice(1, 2), None)]

    x = (
        torch.randn(2, 32, 4, 5)
        if kind in ("group norm, residual, rescaled", "spatial norm")
        else torch.randn(2, 20, 32)
    )
    temb = torch.randn(2, 6, 4, 5) if "spatial" in kind else None
    mask = torch.zeros(2, 1, 20)
    mask[:, :, 3:9] = -10000.0
    given = (x, None, mask if masked else None, temb)
    off = Refocus(lambda_pos=0, lambda_neg=0)
    state: Any = State()
    found = RefocusedProcessor(state, off, None)(attn, *given)
    assert torch.allclose(found, AttnProcessor2_0()(attn, *given), atol=1e-5)
    if kind == "as in a UNet" and masked:
        q, k, v = (f(x).view(2, 20, 4, 8).transpose(1, 2) for f in (attn.to_q, attn.to_k, attn.to_v))
        expected = plain(q, k, v, tokens, Weights(), mask[0]).transpose(1, 2).flatten(2)
        on = RefocusedProcessor(state, Refocus(), None)(attn, *given)
        assert torch.allclose(on[0], attn.to_out[0](expected)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight": "rang"}, "Did you mean 'range'"),
        ({"window": "step"}, "Did you mean 'steps'"),
        ({"implementation": "quick"}, "fast, plain"),
        ({"lambda_pos": 1.5}, "lambda_pos must be at least 0 and at most 1, got 1.5"),
        ({"lambda_neg": math.nan}, "--lambda-neg expects a number, got nan"),
        ({"lambda_neg": math.inf, "weight": "constant"}, "finite"),
        ({"share": -0.1}, "share"),
        ({"layers": ()}, "layers must be a tuple"),
        ({"layers": "down"}, "layers expects a list of texts, got 'down'"),
        ({"resolutions": (1.5,)}, "resolutions expects a list of whole numbers or None"),
        ({"weight": None}, "weight expects a text, got None"),
        ({"resolutions": (3,)}, "1, 2, 4, 8; got 3"),
    ],
)
def test_settings_are_checked(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Refocus(**options)


def test_what_does_not_fit_is_said(unets: dict[str, Any]) -> None:
    unet = unets["sd15"]
    given = inputs(unet, 3)
    with pytest.raises(UsageError, match="batch has 3 entries"):
        refocused_forward(unet, given, [regions()])
    with pytest.raises(UsageError, match="not the same picture"):
        refocused_forward(unet, inputs(unet, 2), [regions(size=(80, 160))])
    with pytest.raises(UsageError, match="must know the step"), refocused(unet, [regions()]):
        forward(unet, given)
    with pytest.raises(UsageError, match="at least one sample"), refocused(unet, []):
        pass
    with pytest.raises(UsageError, match="got Linear"), refocused(torch.nn.Linear(1, 1), [None]):
        pass
    assert Refocus(weight="constant", lambda_pos=5.0).lambda_pos == 5
