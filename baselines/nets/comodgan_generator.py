"""Co-Mod-GAN (Zhao et al., Large Scale Image Completion via Co-Modulated GANs, ICLR 2021).

A StyleGAN2 generator whose styles combine w with a code of the visible part of the image. Parameters have the names and
shapes of the PyTorch checkpoints that were published with MI-GAN (Sargsyan et al., ICCV 2023). These differ from the
TensorFlow original: demodulation is that of StyleGAN3, and 1 is not added to the styles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from baselines.nets.stylegan_ops import (
    Dense,
    Draws,
    Mapping,
    activated,
    convolved,
    doubled,
    equalised,
    low_pass,
    per_sample,
)

CLAMP = 256.0
"""Activations are clamped to this range, as in training with half precision."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a generator. The defaults are the published ones.

    Attributes:
        side: Side of the images in pixels, a power of two. Inputs have exactly this size.
        latent: Length of z and w.
        code: Length of the visible part's code.
        base: A feature map of side s has min(base / s, widest) channels.
        widest: See `base`.
    """

    side: int = 512
    latent: int = 512
    code: int = 1024
    base: int = 32768
    widest: int = 512

    @property
    def sides(self) -> list[int]:
        """Sides of all feature maps, from 4 to the largest."""
        return [1 << power for power in range(2, int(math.log2(self.side)) + 1)]

    def channels(self, side: int) -> int:
        """Return the number of channels of the feature maps of a side."""
        return min(self.base // side, self.widest)


class Conv(nn.Module):  # type: ignore[misc]
    """Convolution and activation; `down` halves the size."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, down: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.down = down
        self.register_buffer("resample_filter", low_pass() if down else None)

    def forward(self, x: Tensor) -> Tensor:
        y = convolved(x, equalised(self.weight), self.resample_filter, down=self.down)
        return activated(y + self.bias.view(1, -1, 1, 1), CLAMP)


class EncoderBlock(nn.Module):  # type: ignore[misc]
    """Computes the features of one side and those of half the side. images: Whether its input is images."""

    def __init__(self, width: int, outputs: int, images: bool) -> None:
        super().__init__()
        self.register_buffer("resample_filter", low_pass())  # unused, but part of the checkpoints
        if images:
            self.fromrgb = Conv(4, width, 1)
        self.images = images
        self.conv0 = Conv(width, width)
        self.conv1 = Conv(width, outputs, down=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.conv0(self.fromrgb(x) if self.images else x)
        return self.conv1(features), features


class EncoderEnd(nn.Module):  # type: ignore[misc]
    """Computes the code from the features at 4 x 4."""

    def __init__(self, width: int, code: int) -> None:
        super().__init__()
        self.conv = Conv(width, width)
        self.fc = Dense(width * 16, code, active=True, clamp=CLAMP)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.conv(x)
        return self.fc(features.flatten(1)), features


class Encoder(nn.Module):  # type: ignore[misc]
    """Computes the visible part's code, [B, code], and its features by their side."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.sides = shape.sides[:0:-1]
        for side in self.sides:
            width, outputs = shape.channels(side), shape.channels(side // 2)
            self.add_module(f"b{side}", EncoderBlock(width, outputs, side == shape.side))
        self.b4 = EncoderEnd(shape.channels(4), shape.code)

    def forward(self, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Encode x, [B, 4, side, side]: known - 0.5, and the colours of the known pixels."""
        features = {}
        for side in self.sides:
            x, features[side] = getattr(self, f"b{side}")(x)
        code, features[4] = self.b4(x)
        return code, features


class StyleConv(nn.Module):  # type: ignore[misc]
    """Modulated convolution, noise, bias and activation.

    side: Side of the result and of the stored noise. filtered: Whether the checkpoints have a low-pass filter for it.
    """

    def __init__(
        self, inputs: int, outputs: int, style: int, side: int, up: bool = False, filtered: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = Dense(style, inputs)
        self.register_buffer("resample_filter", low_pass() if filtered else None)
        self.register_buffer("noise_const", torch.randn(side, side))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.up = up

    def forward(self, x: Tensor, style: Tensor, draws: Draws) -> Tensor:
        # Both factors are normalised to unit power before demodulation (StyleGAN3). The styles are normalised for each
        # sample; the published code takes the mean over the batch, but it runs with batches of one.
        weight = self.weight * self.weight.square().mean(dim=(1, 2, 3), keepdim=True).rsqrt()
        scales = self.affine(style)
        scales = scales * scales.square().mean(dim=1, keepdim=True).rsqrt()
        weights = weight * scales[:, None, :, None, None]  # [B, O, I, 3, 3]
        power = weights.square().sum(dim=(2, 3, 4), keepdim=True)
        weights = weights * (power + 1e-8).rsqrt()
        y = per_sample(x, weights, self.resample_filter, up=self.up, mirrored=False)
        y = y + draws.noise_for(y, self.noise_const) * self.noise_strength
        return activated(y + self.bias.view(1, -1, 1, 1), CLAMP)


class ToRGB(nn.Module):  # type: ignore[misc]
    """Converts features to colours."""

    def __init__(self, inputs: int, style: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.affine = Dense(style, inputs)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        scales = self.affine(style)[:, None, :, None, None]
        return per_sample(x, equalised(self.weight) * scales) + self.bias.view(1, -1, 1, 1)


class FirstBlock(nn.Module):  # type: ignore[misc]
    """The first block, at 4 x 4: it makes a feature map of the code and adds the encoder's features."""

    def __init__(self, code: int, width: int, style: int) -> None:
        super().__init__()
        self.fc = Dense(code, width * 16, active=True, clamp=CLAMP)
        self.conv = StyleConv(width, width, style, 4, filtered=True)
        self.torgb = ToRGB(width, style)

    def forward(self, code: Tensor, skip: Tensor, style: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        x = self.fc(code).view(skip.shape) + skip
        x = self.conv(x, style, draws)
        return x, self.torgb(x, style)


class Block(nn.Module):  # type: ignore[misc]
    """Doubles the size, adds the encoder's features of that size, and adds its colours to the image."""

    def __init__(self, inputs: int, outputs: int, style: int, side: int) -> None:
        super().__init__()
        self.register_buffer("resample_filter", low_pass())
        self.conv0 = StyleConv(inputs, outputs, style, side, up=True, filtered=True)
        self.conv1 = StyleConv(outputs, outputs, style, side)
        self.torgb = ToRGB(outputs, style)

    def forward(self, x: Tensor, image: Tensor, skip: Tensor, style: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
        x = self.conv0(x, style, draws) + skip
        x = self.conv1(x, style, draws)
        return x, doubled(image, self.resample_filter) + self.torgb(x, style)


class Synthesis(nn.Module):  # type: ignore[misc]
    """Makes the image from the code and the styles."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.sides = shape.sides[1:]
        style = shape.latent + shape.code
        self.b4 = FirstBlock(shape.code, shape.channels(4), style)
        for side in self.sides:
            block = Block(shape.channels(side // 2), shape.channels(side), style, side)
            self.add_module(f"b{side}", block)

    def forward(self, code: Tensor, features: dict[int, Tensor], w: Tensor, draws: Draws) -> Tensor:
        style = torch.cat([w, code], dim=1)  # the co-modulation
        x, image = self.b4(code, features[4], style, draws)
        for side in self.sides:
            x, image = getattr(self, f"b{side}")(x, image, features[side], style, draws)
        return image


class Generator(nn.Module):  # type: ignore[misc]
    """Co-Mod-GAN's generator for inference, without the encoder's dropout."""

    def __init__(self, shape: Shape | None = None) -> None:
        super().__init__()
        shape = shape or Shape()
        self.shape = shape
        self.mapping = Mapping(shape.latent, shape.latent, clamp=CLAMP)
        self.encoder = Encoder(shape)
        self.synthesis = Synthesis(shape)

    def forward(self, images: Tensor, known: Tensor, z: Tensor, draws: Draws, truncation: float = 1.0) -> Tensor:
        """Draw images.

        Args:
            images: float32 [B, 3, side, side] in [-1, 1].
            known: [B, 1, side, side], 1 = keep, 0 = erase.
            z: [B, latent].
            draws: The random numbers.
            truncation: See `Mapping.forward`.

        Returns:
            Images of the same shape, drawn everywhere and not clipped.
        """
        w = self.mapping(z, truncation)
        code, features = self.encoder(torch.cat([known - 0.5, images * known], dim=1))
        return self.synthesis(code, features, w, draws)
