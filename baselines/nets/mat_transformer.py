"""MAT's transformer: attention within windows, only to known tokens (the paper's MCA).

Tokens are float32 [B, H * W, C], row by row. A token is known if any pixel under it is known. Attention to unknown
tokens is off. After a block, all tokens of a window with at least one known token are known.
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
    """Convert [B, C, H, W] to [B, H * W, C]."""
    return features.flatten(2).transpose(1, 2)


def to_features(tokens: Tensor, size: Size) -> Tensor:
    """Convert [B, H * W, C] to [B, C, H, W]."""
    return tokens.transpose(1, 2).reshape(len(tokens), -1, *size)


def to_windows(grid: Tensor, side: int) -> Tensor:
    """Convert [B, H, W, C] to [B * windows, side * side, C]."""
    batch, height, width, channels = grid.shape
    cut = grid.reshape(batch, height // side, side, width // side, side, channels)
    return cut.transpose(2, 3).reshape(-1, side * side, channels)


def from_windows(windows: Tensor, side: int, size: Size) -> Tensor:
    """Invert `to_windows` and return [B, H, W, C]."""
    height, width = size
    cut = windows.reshape(-1, height // side, width // side, side, side, windows.shape[-1])
    return cut.transpose(2, 3).reshape(-1, height, width, windows.shape[-1])


def seams(size: Size, side: int, shift: int) -> Tensor:
    """Return which tokens of a window may attend to each other: [windows, side * side, side * side], 0 or `OFF`.

    After a cyclic shift, a window at the edge has tokens from opposite sides of the image. Those may not attend to
    each other.
    """

    def part(length: int) -> Tensor:
        place = torch.arange(length)
        return (place >= length - side).long() + (place >= length - shift).long()

    parts = part(size[0])[:, None] * 3 + part(size[1])[None, :]
    each = to_windows(parts[None, :, :, None], side)[..., 0]
    return (each[:, None, :] != each[:, :, None]).float() * OFF


class Attention(nn.Module):  # type: ignore[misc]
    """Multi-head attention within windows. Queries and keys are made of tokens that are normalised to unit length."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v = Dense(width, width), Dense(width, width), Dense(width, width)
        self.proj = Dense(width, width)

    def forward(self, x: Tensor, known: Tensor | None, apart: Tensor | None) -> Tensor:
        """Attend. x: [B * windows, N, C]. known: [B * windows, N, 1], 0 or 1, or None. apart: see `seams`."""
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
    """Two layers; the hidden one is twice as wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = Dense(width, 2 * width, active=True), Dense(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.fc1(x))


class Block(nn.Module):  # type: ignore[misc]
    """Attention and an MLP. One layer fuses the attention with its input, in place of a sum and a normalisation.

    Attributes:
        side: Side of the windows in tokens.
        shift: Distance by which the windows are shifted against those of the block before.

    trained: Side of the token grid in training; the checkpoints contain the `seams` of that grid.
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
        """Apply the block. known: [B, H * W, 1], 0 or 1, or None if every token is known."""
        there, back = (-self.shift, -self.shift), (self.shift, self.shift)

        def cut(tokens: Tensor) -> Tensor:
            grid = tokens.reshape(len(tokens), *size, tokens.shape[-1])
            return to_windows(grid.roll(there, dims=(1, 2)), self.side)

        def join(windows: Tensor) -> Tensor:
            grid = from_windows(windows, self.side, size).roll(back, dims=(1, 2))
            return grid.flatten(1, 2)

        known_windows = None if known is None else cut(known)
        # Computed for the present grid; the stored copy is for the grid of training, which may have another size.
        apart = seams(size, self.side, self.shift).to(x) if self.shift else None
        attended = join(self.attn(cut(x), known_windows, apart))
        if known_windows is not None:
            anywhere = known_windows.sum(dim=1, keepdim=True).clamp(0, 1)
            known = join(anywhere.expand_as(known_windows))
        return self.mlp(self.fuse(torch.cat([x, attended], dim=-1))), known


class Resize(nn.Module):  # type: ignore[misc]
    """Halves or doubles the grid with a partial convolution."""

    def __init__(self, width: int, up: bool) -> None:
        super().__init__()
        self.conv = PartialConv(width, width, up=up, down=not up)

    def forward(self, features: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """features: [B, C, H, W]."""
        return self.conv(features, known)


class Stage(nn.Module):  # type: ignore[misc]
    """An optional change of resolution, then blocks with alternating shifts and a convolution around them.

    resize: `up`, `down` or empty. trained: Side of its token grid in training.
    """

    def __init__(self, width: int, heads: int, depth: int, side: int, trained: int, resize: str) -> None:
        super().__init__()
        # A window as large as the grid is not shifted, because it contains all tokens.
        step = side // 2 if side < trained else 0
        side = min(side, trained)
        self.downsample = Resize(width, up=resize == "up") if resize else None
        self.blocks = nn.ModuleList(Block(width, heads, side, step * (index % 2), trained) for index in range(depth))
        self.conv = PartialConv(width, width)

    def forward(self, features: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Apply the stage to features [B, C, H, W] and known [B, 1, H, W] or None.

        Both are returned in the new size.
        """
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
