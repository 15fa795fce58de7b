"""MAT's transformer: attention in windows, among the tokens that are known (the paper's MCA).

Tokens are float32 [B, H * W, C], row by row. A token is known once any pixel under it is; attention
to unknown ones is switched off, and a window with one known token is known throughout afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.nets.mat_layers import PartialConv
from baselines.nets.stylegan_ops import Dense

OFF = -100.0
"""Added to the logits of pairs that may not attend to each other."""
Size = tuple[int, int]


def to_tokens(features: Tensor) -> Tensor:
    """[B, C, H, W] to [B, H * W, C]."""
    return features.flatten(2).transpose(1, 2)


def to_features(tokens: Tensor, size: Size) -> Tensor:
    """[B, H * W, C] to [B, C, H, W]."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *size)


def to_windows(grid: Tensor, side: int) -> Tensor:
    """[B, H, W, C] to [B * windows, side * side, C]."""
    batch, height, width, channels = grid.shape
    cut = grid.reshape(batch, height // side, side, width // side, side, channels)
    return cut.transpose(2, 3).reshape(-1, side * side, channels)


def from_windows(windows: Tensor, side: int, size: Size) -> Tensor:
    """The inverse of `to_windows`: [B, H, W, C]."""
    height, width = size
    cut = windows.reshape(-1, height // side, width // side, side, side, windows.shape[-1])
    return cut.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])


def seams(size: Size, side: int, shift: int) -> Tensor:
    """After a cyclic shift a window at the edge holds tokens from opposite sides of the image: 0
    where two tokens are neighbours in truth, else `OFF`; [windows, side * side, side * side]."""

    def part(length: int) -> Tensor:
        place = torch.arange(length)
        return (place >= length - side).long() + (place >= length - shift).long()

    parts = part(size[0])[:, None] * 3 + part(size[1])[None, :]
    each = to_windows(parts[None, :, :, None], side)[..., 0]
    return (each[:, None, :] != each[:, :, None]).float() * OFF


class Attention(nn.Module):  # type: ignore[misc]
    """Multi-head attention within windows; queries and keys come from tokens of unit length."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = Dense(width, width), Dense(width, width), Dense(width, width)
        self.proj = Dense(width, width)

    def forward(self, x: Tensor, known: Tensor | None, apart: Tensor | None) -> Tensor:
        """x: [B * windows, N, C]. known: 0 or 1, [B * windows, N, 1], or None. apart: `seams`."""
        count, length, width = x.shape

        def split(tokens: Tensor) -> Tensor:
            return tokens.reshape(count, length, self.heads, -1).transpose(1, 2)

        unit = functional.normalize(x, dim=-1)
        query, key, value = split(self.q(unit)), split(self.k(unit)), split(self.v(x))
        logits = query @ key.transpose(2, 3) * (width // self.heads) ** -0.5
        if apart is not None:
            logits = logits.view(-1, len(apart), *logits.shape[1:]) + apart[None, :, None]
            logits = logits.view(count, self.heads, length, length)
        if known is not None:
            logits = logits + (1 - known[:, None, None, :, 0]) * OFF
        mixed = (logits.softmax(dim=-1) @ value).transpose(1, 2).reshape(x.shape)
        return self.proj(mixed)


class MLP(nn.Module):  # type: ignore[misc]
    """Two layers, the hidden one twice as wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = Dense(width, 2 * width, active=True), Dense(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x))


class Block(nn.Module):  # type: ignore[misc]
    """Attention, fused with its input by one layer in place of a sum and normalisation, and an MLP.

    side: of the windows. shift: how far the windows are moved against the block before. trained: the
    side of the token grid in training; the checkpoints hold the `seams` of that grid.
    """

    def __init__(self, width: int, heads: int, side: int, shift: int, trained: int) -> None:
        super().__init__()
        self.side, self.shift = side, shift
        self.attn = Attention(width, heads)
        self.fuse = Dense(2 * width, width, active=True)
        self.mlp = MLP(width)
        stored = seams((trained, trained), side, shift) if shift else None
        self.register_buffer("attn_mask", stored)

    def forward(self, x: Tensor, size: Size, known: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """known: 0 or 1, [B, H * W, 1], or None where all is known by now."""
        there, back = (-self.shift, -self.shift), (self.shift, self.shift)

        def cut(tokens: Tensor) -> Tensor:
            grid = tokens.reshape(len(tokens), *size, tokens.shape[-1])
            return to_windows(grid.roll(there, dims=(1, 2)), self.side)

        def join(windows: Tensor) -> Tensor:
            grid = from_windows(windows, self.side, size).roll(back, dims=(1, 2))
            return grid.flatten(1, 2)

        known_windows = None if known is None else cut(known)
        # Of the grid at hand, which need not be the trained one, for which a copy is stored.
        apart = seams(size, self.side, self.shift).to(x) if self.shift else None
        attended = join(self.attn(cut(x), known_windows, apart))
        if known_windows is not None:
            anywhere = known_windows.sum(dim=1, keepdim=True).clamp(0, 1)
            known = join(anywhere.expand_as(known_windows))
        return self.mlp(self.fuse(torch.cat([x, attended], dim=-1))), known


class Resize(nn.Module):  # type: ignore[misc]
    """Halves or doubles the grid by a partial convolution."""

    def __init__(self, width: int, up: bool) -> None:
        super().__init__()
        self.conv = PartialConv(width, width, up=up, down=not up)

    def forward(self, features: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """features: [B, C, H, W]."""
        return self.conv(features, known)


class Stage(nn.Module):  # type: ignore[misc]
    """Perhaps a change of resolution, then blocks with alternating shifts and a convolution around
    them. resize: `up`, `down` or empty. trained: the side of its token grid in training."""

    def __init__(self, width: int, heads: int, depth: int, side: int, trained: int, resize: str) -> None:
        super().__init__()
        # A window as large as the grid is not shifted: there is nothing beyond it.
        step = side // 2 if side < trained else 0
        side = min(side, trained)
        self.downsample = Resize(width, up=resize == "up") if resize else None
        self.blocks = nn.ModuleList(Block(width, heads, side, step * (index % 2), trained) for index in range(depth))
        self.conv = PartialConv(width, width)

    def forward(self, features: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """features: [B, C, H, W]; known: [B, 1, H, W] or None; both come back in the new size."""
        if self.downsample is not None:
            features, known = self.downsample(features, known)
        size = (features.shape[2], features.shape[3])
        tokens = to_tokens(features)
        seen = None if known is None else to_tokens(known)
        for block in self.blocks:
            tokens, seen = block(tokens, size, seen)
        known = None if seen is None else to_features(seen, size)
        result, known = self.conv(to_features(tokens, size), known)
        return result + features, known
