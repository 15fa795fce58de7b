"""MAT (Li et al., Mask-Aware Transformer for Large Hole Image Inpainting, CVPR 2022).

The generator has two stages. The first one is a transformer that attends only to known tokens; it draws a whole image.
The second one refines that image with convolutions. Both mix a noise image into their smallest features at random
places (the paper's style manipulation), also at inference.

Names and shapes are those of `G_ema` in the published files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as Table
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.nets.mat_layers import Conv, DecoderBlock, PartialConv, StyleConv, ToRGB
from baselines.nets.mat_transformer import Stage
from baselines.nets.stylegan_ops import Dense, Draws, Mapping

PUBLISHED_CHANNELS = {512: 64, 256: 128, 128: 256, 64: 512, 32: 512, 16: 512, 8: 512, 4: 512}
SMALLEST = 16
"""Side of the smallest feature map and of the noise image that is mixed into it."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a generator. The defaults are those of Places 512.

    Attributes:
        side: Side of the training images in pixels, a power of two. The sides of an input are multiples of it.
        latent: Length of z and w.
        tokens: Channels of the first stage.
        channels: Channels of the second stage, by the side of the feature map.
    """

    side: int = 512
    latent: int = 512
    tokens: int = 180
    channels: Table[int, int] = field(default_factory=lambda: dict(PUBLISHED_CHANNELS))

    @property
    def sides(self) -> list[int]:
        """Sides of the second stage's feature maps, from the largest to 16."""
        return [1 << power for power in range(int(math.log2(self.side)), 3, -1)]


class FirstStage(nn.Module):  # type: ignore[misc]
    """Convolutions down to 64 x 64, five transformer stages (64, 32, 16, 32, 64), and back up."""

    GRID = 64
    HEADS = 6
    # depth, side of the windows, side of the grid, change of resolution
    STAGES = ((2, 8, 64, ""), (3, 16, 32, "down"), (4, 16, 16, "down"), (3, 16, 32, "up"), (2, 8, 64, "up"))

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.tokens
        halvings = int(math.log2(shape.side // self.GRID))
        self.conv_first = PartialConv(4, width)
        self.enc_conv = nn.ModuleList(PartialConv(width, width, down=True) for _ in range(halvings))
        self.tran = nn.ModuleList(
            Stage(width, self.HEADS, depth, side, grid, resize) for depth, side, grid, resize in self.STAGES
        )
        pooling = [Conv(width, width, down=True) for _ in range(4)]
        self.down_conv = nn.Sequential(*pooling, nn.AdaptiveAvgPool2d(1))
        self.to_style = Dense(width, 2 * width, active=True)
        self.ws_style = Dense(shape.latent, width, active=True)
        self.to_square = Dense(width, SMALLEST * SMALLEST, active=True)
        self.dec_conv = nn.ModuleList(DecoderBlock(width, width, 3 * width) for _ in range(halvings))

    def forward(self, images: Tensor, known: Tensor, w: Tensor, draws: Draws) -> Tensor:
        """See `Generator.forward`; w: [B, latent]."""
        skips: list[Tensor] = []
        x, seen = self.conv_first(torch.cat([known - 0.5, images * known], dim=1), known)
        for conv in self.enc_conv:
            skips.append(x)
            x, seen = conv(x, seen)
        down, bottom, up = self.tran[:2], self.tran[2], self.tran[3:]
        for stage in down:
            x, seen = stage(x, seen)
            skips.append(x)
        x, _ = bottom(x, None)  # from here on every token is known
        own = self.ws_style(w)
        x = self._mixed(x, own, draws)
        style = torch.cat([self.to_style(self.down_conv(x).flatten(1)), own], dim=1)
        for stage in up:
            x = stage(x, None)[0] + skips.pop()
        image = None
        for block in self.dec_conv:
            x, image = block(x, image, style, skips.pop(), draws)
        return image * (1 - known) + images * known

    def _mixed(self, x: Tensor, own: Tensor, draws: Draws) -> Tensor:
        """Replace random features by the noise image.

        The random choices have the shape [B, H * W, C], the noise [B, H * W, 1].
        """
        tokens = x.flatten(2).transpose(1, 2)
        noise = self.to_square(own)[:, None]
        noise = functional.interpolate(noise, tokens.shape[1], mode="linear", align_corners=False)
        keep = draws.coins(tokens)
        mixed = tokens * keep + noise.transpose(1, 2) * (1 - keep)
        return mixed.transpose(1, 2).reshape(x.shape)


class Encoder(nn.Module):  # type: ignore[misc]
    """Computes features of the first stage's image for every side from the largest to 16."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.names = [f"EncConv_Block_{side}x{side}" for side in shape.sides]
        before = 7
        for name, side in zip(self.names, shape.sides, strict=True):
            width = shape.channels[side]
            first = Conv(before, width, 1) if before == 7 else Conv(before, width, down=True)
            self.add_module(name, nn.ModuleDict({"conv0": first, "conv1": Conv(width, width)}))
            before = width

    def forward(self, x: Tensor) -> list[Tensor]:
        """Encode x, [B, 7, H, W]. The largest features come first."""
        features = []
        for name in self.names:
            block = getattr(self, name)
            x = block["conv1"](block["conv0"](x))
            features.append(x)
        return features


class ToStyle(nn.Module):  # type: ignore[misc]
    """Computes the style of the whole image, [B, outputs], from its smallest features."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(*(Conv(inputs, inputs, down=True) for _ in range(3)))
        self.fc = Dense(inputs, outputs, active=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean(dim=(2, 3)))


class FirstBlock(nn.Module):  # type: ignore[misc]
    """The decoder's first block, at 16 x 16."""

    def __init__(self, width: int, style: int) -> None:
        super().__init__()
        self.conv0 = Conv(width, width)
        self.conv1 = StyleConv(width, width, style, side=SMALLEST)
        self.toRGB = ToRGB(width, style)

    def forward(self, x: Tensor, style: Tensor, skip: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        x = self.conv1(self.conv0(x) + skip, style, draws)
        return x, self.toRGB(x, style, None)


class Decoder(nn.Module):  # type: ignore[misc]
    """Decodes from 16 x 16 to the full size."""

    def __init__(self, shape: Shape, style: int) -> None:
        super().__init__()
        sides = shape.sides[::-1]
        self.names = [f"Dec_{side}x{side}" for side in sides]
        self.add_module(self.names[0], FirstBlock(shape.channels[sides[0]], style))
        for name, side in zip(self.names[1:], sides[1:], strict=True):
            before, width = shape.channels[side // 2], shape.channels[side]
            self.add_module(name, DecoderBlock(before, width, style, side))

    def forward(self, features: list[Tensor], style: Tensor, draws: Draws) -> Tensor:
        """Decode the encoder's features; the smallest ones come last."""
        first, *blocks = (getattr(self, name) for name in self.names)
        x, image = first(features[-1], style, features[-1], draws)
        for block, skip in zip(blocks, features[-2::-1], strict=True):
            x, image = block(x, image, style, skip, draws)
        return image


class Synthesis(nn.Module):  # type: ignore[misc]
    """Both stages."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        smallest, widest = shape.channels[SMALLEST], shape.channels[4]
        self.first_stage = FirstStage(shape)
        self.enc = Encoder(shape)
        self.to_square = Dense(shape.latent, SMALLEST * SMALLEST, active=True)
        self.to_style = ToStyle(smallest, 2 * widest)
        self.dec = Decoder(shape, shape.latent + 2 * widest)

    def forward(self, images: Tensor, known: Tensor, w: Tensor, draws: Draws) -> Tensor:
        """See `Generator.forward`; w: [B, latent]."""
        draft = self.first_stage(images, known, w, draws)
        seen = images * known
        features = self.enc(torch.cat([known - 0.5, seen + draft * (1 - known), seen], dim=1))
        features[-1] = self._mixed(features[-1], w, draws)
        style = torch.cat([w, self.to_style(features[-1])], dim=1)
        image = self.dec(features, style, draws)
        return image * (1 - known) + seen

    def _mixed(self, x: Tensor, w: Tensor, draws: Draws) -> Tensor:
        noise = self.to_square(w).view(-1, 1, SMALLEST, SMALLEST)
        noise = functional.interpolate(noise, x.shape[2:], mode="bilinear", align_corners=False)
        keep = draws.coins(x)
        return x * keep + noise * (1 - keep)


class Generator(nn.Module):  # type: ignore[misc]
    """MAT's generator for inference."""

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        shape = shape or Shape()
        self.shape = shape
        self.synthesis = Synthesis(shape)
        self.mapping = Mapping(shape.latent, shape.latent)

    def forward(self, images: Tensor, known: Tensor, z: Tensor, draws: Draws, truncation: float = 1.0) -> Tensor:
        """Draw images.

        Args:
            images: float32 [B, 3, H, W] in [-1, 1]. H and W are multiples of `Shape.side`.
            known: [B, 1, H, W], 1 = keep, 0 = erase.
            z: [B, latent].
            draws: The random numbers.
            truncation: See `Mapping.forward`.

        Returns:
            Images of the same shape. Known pixels are those of the input.
        """
        return self.synthesis(images, known, self.mapping(z, truncation), draws)
