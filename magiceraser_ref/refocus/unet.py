"""Refocusing of a diffusers UNet: chosen self-attention layers in the early steps (section 5).

Example:
    with refocused(unet, [regions], Refocus(), timesteps=timesteps):
        pipeline(...)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from magiceraser_ref.refocus.processor import RefocusedProcessor, Refocusing
from magiceraser_ref.refocus.regions import Regions
from magiceraser_ref.refocus.settings import PARTS, Refocus
from olrd.errors import MissingExtraError, UsageError, did_you_mean
from olrd.progress import say_once
from olrd.trust import counted

__all__ = ["Refocus", "RefocusedProcessor", "Refocusing", "refocused"]

_REPLACEABLE = (
    "AttnProcessor",
    "AttnProcessor2_0",
    "FusedAttnProcessor2_0",
    "SlicedAttnProcessor",
    "XFormersAttnProcessor",
)
"""Processors that compute ordinary attention and may be replaced."""


@contextmanager
def refocused(
    unet: Any,
    regions: Sequence[Regions | None],
    settings: Refocus | None = None,
    *,
    timesteps: Sequence[float] | Tensor | None = None,
    train_timesteps: int = 1000,
    guidance: bool | Callable[[], Sequence[bool]] = True,
) -> Iterator[Refocusing]:
    """Refocus the self-attention of a UNet inside a `with` block.

    After the block, also after an exception, the UNet has its own processor objects again. In the block it has them in
    calls outside the window, so that compiled code for these is the same with and without refocusing.

    Args:
        unet: A diffusers `UNet2DConditionModel`, also one that `torch.compile` or `unet.compile()` compiles.
        regions: One entry per sample (per prompt, if a prompt makes several images), of the photo's or the latents'
            size. None leaves a sample as it is.
        settings: How to refocus.
        timesteps: The timesteps that will be run, in their order: the scheduler's, without those that the strength
            skips. The window `steps` needs them unless `Refocusing.step` is called.
        train_timesteps: T of the window `time`.
        guidance: Whether the UNet's batch is an unconditional half followed by a conditional half. Or a function that
            is asked at each call of the UNet: it returns, for each equal part of the batch, whether it is conditional.

    Raises:
        UsageError: If something does not fit; inside the block, the call of the UNet raises it. Also at the end of a
            block that was in the window but reached no layer.
    """
    settings = settings or Refocus()
    if not regions:
        raise UsageError("refocused() needs the regions of at least one sample, got none")
    chosen = _chosen_layers(unet, settings.layers)
    listed = None if timesteps is None else [float(t) for t in timesteps]
    state = Refocusing(regions, settings, listed, train_timesteps, guidance)
    originals = [(layer, layer.processor) for layer in chosen]
    replaced = [(layer, original, RefocusedProcessor(state, settings, original)) for layer, original in originals]

    def begin(called: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        state.begin(called, args, kwargs)
        for layer, original, refocusing in replaced:
            # A layer with another processor by now is left alone: perturbed attention guidance takes some.
            if layer.processor is (original if state.active else refocusing):
                layer.set_processor(refocusing if state.active else original)

    try:
        for layer, _, refocusing in replaced:
            layer.set_processor(refocusing)
        with _told_of_calls(unet, begin):
            yield state
    finally:
        for layer, original in originals:
            layer.set_processor(original)
    if state.calls and not state.refocused_calls and settings.share:
        say_once(
            f"attention refocusing: none of the {counted(state.calls, 'step that was run', 'steps that were run')} lies in its window "
            f"({settings.window}, share {settings.share:g}), so none was refocused; take more steps, or the window steps"
        )
    if state.refocused_calls and not state.reached and any(regions):
        raise UsageError(
            f"refocusing reached no layer: none of {', '.join(settings.layers)} has self-attention at "
            f"the resolutions {settings.resolutions}; choose others"
        )


@contextmanager
def _told_of_calls(unet: Any, begin: Callable[[Any, tuple[Any, ...], dict[str, Any]], None]) -> Iterator[None]:
    """Call `begin` with the UNet and its arguments before every call of the UNet, outside of compiled code.

    A hook inside would be compiled too. It reads the time, so that the UNet would be compiled for every step.
    """
    compiled = unet.__dict__.get("_compiled_call_impl")
    if compiled is None:  # not compiled, or the module that torch.compile() returned, whose hooks are outside
        hook = unet.register_forward_pre_hook(begin, with_kwargs=True)
        try:
            yield
        finally:
            hook.remove()
        return

    def told(*args: Any, **kwargs: Any) -> Any:
        begin(unet, args, kwargs)
        return compiled(*args, **kwargs)

    unet._compiled_call_impl = told
    try:
        yield
    finally:
        unet._compiled_call_impl = compiled


def _chosen_layers(unet: Any, beginnings: Sequence[str]) -> list[Any]:
    """List the self-attention modules whose names begin with one of the beginnings."""
    try:
        from diffusers import UNet2DConditionModel
    except ImportError as error:
        raise MissingExtraError("refocusing", "sd") from error
    unet = getattr(unet, "_orig_mod", unet)  # what torch.compile() was given
    if not isinstance(unet, UNet2DConditionModel):
        raise UsageError(
            f"refocusing works on a diffusers UNet2DConditionModel, got {type(unet).__name__}; LoRA "
            "goes into the UNet itself with unet.add_adapter(...), not around it"
        )
    layers = {
        name: module
        for name, module in unet.named_modules()
        if name.endswith(".attn1") and not module.is_cross_attention
    }
    blocks = sorted({".".join(name.split(".attentions.")[0].split(".")[:2]) for name in layers})
    for beginning in beginnings:
        known = any(_begins(name, beginning) for name in layers)
        if not known and beginning not in PARTS:
            raise did_you_mean("block with self-attention", beginning, [*blocks, *PARTS])
    chosen = {n: m for n, m in layers.items() if any(_begins(n, b) for b in beginnings)}
    if not chosen:
        raise UsageError(
            f"no self-attention in {', '.join(beginnings)}; this UNet has it in: {', '.join(blocks) or 'no block'}"
        )
    for name, layer in chosen.items():
        if (kind := type(layer.processor).__name__) not in _REPLACEABLE:
            raise UsageError(
                f"{name} has the attention processor {kind}, which refocusing would replace; call "
                f"unet.set_default_attn_processor() first. Known: {', '.join(_REPLACEABLE)}"
            )
    return list(chosen.values())


def _begins(name: str, beginning: str) -> bool:
    """Return whether a name begins with whole words: `up_blocks.1` is not the beginning of `up_blocks.10`."""
    return name.startswith((f"{beginning}.", f"{beginning}_"))
