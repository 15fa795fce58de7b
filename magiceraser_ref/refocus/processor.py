"""The state of one refocused run, and the attention processor that uses it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from magiceraser_ref.refocus.attention import Tokens, Weights, fast, plain, tokens_of
from magiceraser_ref.refocus.regions import Regions, at_resolution, halved
from magiceraser_ref.refocus.settings import Refocus
from olrd.errors import UsageError
from olrd.trust import counted

_LARGEST_STRETCH = 1.5
"""Rounding the sides to multiples of a latent cell changes the proportions of a small picture by less than this."""

Runs = list[tuple[slice, Tokens | None]]
"""Slices of the batch whose entries have the same tokens. None stands for ordinary attention."""


class Refocusing:
    """The state of one run, which `refocused` yields.

    Attributes:
        calls: Number of UNet calls so far.
        refocused_calls: Number of those calls inside the window.
        refocused_layers: Number of attention calls that were refocused. Calls inside compiled code are not counted: a
            number that changes would make it compile again.
        reached: Whether a layer was refocused, in compiled code too.
    """

    def __init__(
        self,
        regions: Sequence[Regions | None],
        settings: Refocus,
        timesteps: Sequence[float] | None,
        train_timesteps: int,
        guidance: bool | Callable[[], Sequence[bool]],
    ) -> None:
        self.calls = self.refocused_calls = self.refocused_layers = 0
        self.reached = False
        self._regions, self._settings = list(regions), settings
        self._parts = guidance if callable(guidance) else lambda: (False, True) if guidance else (True,)
        self._timesteps, self._train_timesteps = timesteps, train_timesteps
        self._step: tuple[int, int] | None = None
        self._latents, self._batch = (0, 0), 0
        self._runs: dict[int, Runs | None] | None = None
        self._device: torch.device | None = None
        self._tables: dict[Any, dict[int, Runs | None]] = {}
        self._levels: dict[tuple[int, tuple[int, int]], list[Regions]] = {}
        self._tokens: dict[tuple[int, tuple[int, int], int, torch.device], Tokens] = {}

    @property
    def active(self) -> bool:
        """Whether the UNet call in progress, or else the last one, is in the window."""
        return self._runs is not None

    def step(self, index: int, total: int) -> None:
        """Announce that the next UNet calls belong to step `index` (from 0) of `total`.

        The window `steps` needs this if no `timesteps` were given. It takes precedence over them.
        """
        self._step = index, total

    def turn_to(self, regions: Sequence[Regions | None]) -> None:
        """Announce that the next UNet calls are of other samples. The regions must live as long as the run."""
        self._regions = list(regions)

    def begin(self, unet: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Record the time, the batch and the size of the latents. This is the UNet's forward pre-hook."""
        sample: Tensor = args[0] if args else kwargs["sample"]
        timestep = args[1] if len(args) > 1 else kwargs["timestep"]
        self.calls += 1
        self._runs = None
        if not self._in_window(timestep):
            return
        self.refocused_calls += 1
        self._latents, self._batch = (int(sample.shape[-2]), int(sample.shape[-1])), len(sample)
        # Made here and not in the layers, because these may be compiled: there, only the same objects as in the step
        # before fit the same code.
        self._device = sample.device
        self._runs = self._table(sample.device)

    def _in_window(self, timestep: Tensor | float) -> bool:
        settings = self._settings
        time = float(torch.as_tensor(timestep).flatten()[0])
        if settings.window == "time":
            return time > self._train_timesteps * (1 - settings.share) + 1e-6
        if self._step is not None:
            return self._step[0] < settings.active_steps(self._step[1])
        if self._timesteps is None:
            raise UsageError(
                "refocusing in the window 'steps' must know the step: give refocused() the executed "
                "timesteps, call step(index, total) before each UNet call, or use the window 'time'"
            )
        # The time decides, not a count of calls: a run may start again, and a solver may call the UNet twice per step
        # (the last such pair is then inside as a whole).
        active = settings.active_steps(len(self._timesteps))
        return active > 0 and time >= float(self._timesteps[active - 1]) - 1e-3

    def runs(self, count: int, device: torch.device) -> Runs | None:
        """Divide the batch into slices with the same tokens, for a layer of `count` tokens.

        None stands for ordinary attention, of a slice or of the whole batch.
        """
        if self._runs is None:
            return None
        if count not in self._runs:
            raise UsageError(
                f"a self-attention layer has {count} tokens, which no halving of the latents' "
                f"{self._latents[0]} x {self._latents[1]} gives: this UNet cannot be refocused"
            )
        # The layers of a UNet may lie on several devices.
        found = self._runs[count] if device == self._device else self._table(device)[count]
        if found is not None and any(tokens is not None for _, tokens in found):
            self.reached = True
            if not torch.compiler.is_compiling():
                self.refocused_layers += 1
        return found

    def _table(self, device: torch.device) -> dict[int, Runs | None]:
        """Return what `runs` returns, for every number of tokens that halving the latents, rounding up, gives."""
        rows = self._per_row()
        key = self._latents, device, tuple(map(id, rows))
        if key not in self._tables:
            (height, width), level = self._latents, 0
            table = {height * width: self._runs_of(rows, level, device)}
            while height * width > 1:
                height, width, level = -(-height // 2), -(-width // 2), level + 1
                table[height * width] = self._runs_of(rows, level, device)
            self._tables[key] = table
        return self._tables[key]

    def _runs_of(self, rows: Sequence[Regions | None], level: int, device: torch.device) -> Runs | None:
        """Return the slices of the batch that have the same tokens, for layers `level` halvings below the latents."""
        allowed = self._settings.resolutions
        if allowed is not None and 2**level not in allowed:
            return None
        found: Runs = []
        for row, regions in enumerate(rows):
            tokens = None if regions is None else self._tokens_of(regions, level, device)
            if found and found[-1][1] is tokens:
                found[-1] = slice(found[-1][0].start, row + 1), tokens
            else:
                found.append((slice(row, row + 1), tokens))
        return found

    def _per_row(self) -> list[Regions | None]:
        """Return the regions of each entry of the batch.

        In diffusers the unconditional part comes first, and the images of one prompt follow each other.
        """
        parts = list(self._parts())
        images, rest = divmod(self._batch, len(parts) * len(self._regions))
        if rest or not images:
            raise UsageError(
                f"the UNet's batch has {counted(self._batch, 'entry', 'entries')}, the regions are of "
                f"{counted(len(self._regions), 'sample')} in {counted(len(parts), 'part')} (conditional: {parts}): "
                "expected a multiple of "
                f"{len(parts) * len(self._regions)}. Give one Regions (or None) per sample, and "
                "guidance=False where there is no unconditional half"
            )
        rows = [regions for regions in self._regions for _ in range(images)]
        refocused = [conditional or self._settings.both_halves for conditional in parts]
        return [regions if chosen else None for chosen in refocused for regions in rows]

    def _tokens_of(self, regions: Regions, level: int, device: torch.device) -> Tokens:
        key = id(regions), self._latents, level, device
        if key not in self._tokens:
            levels = self._levels.setdefault(key[:2], [])
            if not levels:
                self._check_size(regions)
                levels.append(at_resolution(regions, self._latents))
            while len(levels) <= level:
                levels.append(halved(levels[-1]))
            self._tokens[key] = _of_any_size(tokens_of(levels[level].classes, device))
        return self._tokens[key]

    def _check_size(self, regions: Regions) -> None:
        (height, width), (rows, columns) = regions.m.shape, self._latents
        stretch = (height * columns) / (width * rows)
        if not 1 / _LARGEST_STRETCH < stretch < _LARGEST_STRETCH:
            raise UsageError(
                f"the regions are {height} x {width} (height x width), the latents {rows} x {columns}: "
                "these are not the same picture; give regions of the photo that the UNet works on"
            )


def _of_any_size(tokens: Tokens) -> Tokens:
    """Tell torch's compiler, if it is in use, that other photos have other numbers of tokens of each class.

    Without this the UNet would be compiled for each photo.
    """
    if (compiler := sys.modules.get("torch._dynamo")) is not None:
        for rows in tokens.rows:
            if len(rows.index) > 1:
                compiler.maybe_mark_dynamic(rows.index, 0)
    return tokens


class RefocusedProcessor:
    """Replaces the processor of a self-attention layer.

    Outside the window it calls the original processor, `ordinary`. Inside, it does the same steps as diffusers'
    AttnProcessor2_0 with refocused attention.
    """

    def __init__(self, state: Refocusing, settings: Refocus, ordinary: Any) -> None:
        self.state, self.ordinary, self.implementation = state, ordinary, settings.implementation
        self.weights = Weights(settings.lambda_pos, settings.lambda_neg, settings.weight)

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """Attend. The parameters have diffusers' names and order, because diffusers inspects the signature."""
        flat = hidden_states.ndim == 3
        count = hidden_states.shape[1] if flat else hidden_states.shape[2] * hidden_states.shape[3]
        runs = None
        if encoder_hidden_states is None:
            runs = self.state.runs(int(count), hidden_states.device)
        if runs is None:
            given = kwargs if temb is None else {"temb": temb, **kwargs}
            ordinary: Tensor = self.ordinary(attn, hidden_states, encoder_hidden_states, attention_mask, *args, **given)
            return ordinary
        x = hidden_states
        if attn.spatial_norm is not None:
            x = attn.spatial_norm(x, temb)
        if not flat:
            x = x.flatten(2).transpose(1, 2)
        if attention_mask is not None:
            attention_mask = attn.prepare_attention_mask(attention_mask, count, len(x))
            attention_mask = attention_mask.view(len(x), attn.heads, -1, attention_mask.shape[-1])
        if attn.group_norm is not None:
            x = attn.group_norm(x.transpose(1, 2)).transpose(1, 2)
        query, key, value = (
            layer(x).unflatten(-1, (attn.heads, -1)).transpose(1, 2) for layer in (attn.to_q, attn.to_k, attn.to_v)
        )
        if attn.norm_q is not None:
            query = attn.norm_q(query)
        if attn.norm_k is not None:
            key = attn.norm_k(key)
        x = self._attend(query, key, value, attention_mask, runs)
        x = x.transpose(1, 2).flatten(2).to(query.dtype)
        x = attn.to_out[1](attn.to_out[0](x))
        if not flat:
            x = x.transpose(-1, -2).reshape(hidden_states.shape)
        if attn.residual_connection:
            x = x + hidden_states
        return x / attn.rescale_output_factor

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, runs: Runs) -> Tensor:
        """Attend. query, key, value and result: [B, heads, N, d]. mask: [B, heads, 1 or N, N], which is added."""
        parts = []
        for where, tokens in runs:
            q, k, v = query[where], key[where], value[where]
            part = None if mask is None else mask[where]
            if tokens is None:
                parts.append(functional.scaled_dot_product_attention(q, k, v, attn_mask=part))
            elif self.implementation == "plain" or part is not None:
                parts.append(plain(q, k, v, tokens, self.weights, part))
            else:
                parts.append(fast(q, k, v, tokens, self.weights))
        return torch.cat(parts)
