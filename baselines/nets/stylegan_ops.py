"""The operations of StyleGAN2 (Karras et al., CVPR 2020) that MAT and Co-Mod-GAN use, in plain PyTorch.

Equalised learning rates (weights are stored with unit variance and scaled when used), low-pass
filtering around every change of resolution, modulated convolutions, and the mapping from z to w.
Feature maps are float32 [B, C, H, W].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

TAPS = (1.0, 3.0, 3.0, 1.0)
"""The binomial low-pass filter of these networks along one axis."""
SLOPE = 0.2
"""Slope of the leaky ReLU below zero."""


class Draws:
    """All random numbers of one sample. They depend only on the seed and on the order of the calls.

    Numbers are drawn on the CPU, so they are the same on every device.

    Attributes:
        noise: `const` uses the noise that is stored in the checkpoint, or new noise for a feature map of another size;
            `random` draws new noise; `none` adds no noise.
    """

    def __init__(self, seed: int, noise: str = "const") -> None:
        self.noise = noise
        self._generator = torch.Generator().manual_seed(seed % (1 << 63))

    def normal(self, *shape: int) -> Tensor:
        """Draw standard normal numbers, float32 of the given shape."""
        return torch.randn(shape, generator=self._generator)

    def coins(self, like: Tensor) -> Tensor:
        """Draw 0 or 1 with equal probability, with the shape and device of `like`."""
        return (torch.rand(like.shape, generator=self._generator) < 0.5).to(like)

    def noise_for(self, features: Tensor, stored: Tensor) -> Tensor | float:
        """Return the noise to add to `features`: stored [H, W], new [B, 1, H, W], or 0."""
        batch, _, height, width = features.shape
        if self.noise == "none":
            return 0.0
        if self.noise == "const" and stored.shape == (height, width):
            return stored
        return self.normal(batch, 1, height, width).to(features)


def low_pass() -> Tensor:
    """Return the filter in two dimensions, float32 [4, 4], whose sum is 1."""
    taps = torch.tensor(TAPS)
    kernel = torch.outer(taps, taps)
    return kernel / kernel.sum()


def filtered(x: Tensor, kernel: Tensor, before: int, after: int, gain: float = 1.0) -> Tensor:
    """Pad every channel with zeros and filter it. before: zeros at the left and top. after: at the right and bottom."""
    channels = x.shape[1]
    x = functional.pad(x, (before, after, before, after))
    weights = (kernel.flip(0, 1) * gain).expand(channels, 1, *kernel.shape)
    return functional.conv2d(x, weights, groups=channels)


def doubled(x: Tensor, kernel: Tensor) -> Tensor:
    """Double the size: insert a zero after every pixel, then filter. The gain of 4 compensates for the zeros."""
    batch, channels, height, width = x.shape
    spread = x.new_zeros(batch, channels, 2 * height, 2 * width)
    spread[:, :, ::2, ::2] = x
    return filtered(spread, kernel, 2, 1, gain=4)


def convolved(
    x: Tensor,
    weight: Tensor,
    kernel: Tensor | None = None,
    up: bool = False,
    down: bool = False,
    groups: int = 1,
    mirrored: bool = True,
) -> Tensor:
    """Convolve without aliasing.

    Args:
        x: Feature maps, [B, groups * I, H, W].
        weight: [groups * O, I, k, k] with odd k.
        kernel: Low-pass filter, needed by `up` and `down`.
        up: Double the size.
        down: Halve the size.
        groups: Number of groups of channels.
        mirrored: Whether the transposed convolution of `up` rotates its weights by 180 degrees. MAT was trained with
            the rotation, Co-Mod-GAN without.
    """
    edge = weight.shape[-1] // 2
    if down:
        assert kernel is not None
        x = filtered(x, kernel, edge + 1, edge + 1)
        return functional.conv2d(x, weight, stride=2, groups=groups)
    if not up:
        return functional.conv2d(x, weight, padding=edge, groups=groups)
    assert kernel is not None
    if mirrored:
        weight = weight.flip(2, 3)
    stacked, inputs, *sides = weight.shape
    weight = weight.reshape(groups, stacked // groups, inputs, *sides).transpose(1, 2)
    weight = weight.reshape(groups * inputs, stacked // groups, *sides)
    x = functional.conv_transpose2d(x, weight, stride=2, groups=groups)
    return filtered(x, kernel, 2 - edge, 2 - edge, gain=4)


def per_sample(
    x: Tensor, weights: Tensor, kernel: Tensor | None = None, up: bool = False, mirrored: bool = True
) -> Tensor:
    """Apply `convolved` with different weights for each sample, [B, O, I, k, k], as one grouped convolution."""
    batch, outputs, inputs, *sides = weights.shape
    stacked = x.reshape(1, batch * inputs, *x.shape[2:])
    kernels = weights.reshape(batch * outputs, inputs, *sides)
    y = convolved(stacked, kernels, kernel, up=up, groups=batch, mirrored=mirrored)
    return y.reshape(batch, outputs, *y.shape[2:])


def activated(x: Tensor, clamp: float | None = None) -> Tensor:
    """Apply a leaky ReLU, scale to keep the variance, and clamp to [-clamp, clamp]."""
    x = functional.leaky_relu(x, SLOPE) * math.sqrt(2)
    return x if clamp is None else x.clamp(-clamp, clamp)


def equalised(weight: Tensor) -> Tensor:
    """Scale stored weights [O, I, k, k] by 1 / sqrt(fan-in)."""
    return weight / math.sqrt(math.prod(weight.shape[1:]))


class Dense(nn.Module):  # type: ignore[misc]
    """A fully connected layer on the last axis.

    rate: Learning rate multiplier with which the weights were stored. active: Whether the activation follows.
    """

    def __init__(
        self, inputs: int, outputs: int, active: bool = False, rate: float = 1.0, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.active, self.rate, self.clamp = active, rate, clamp

    def forward(self, x: Tensor) -> Tensor:
        """float32 [..., inputs] to [..., outputs]."""
        y = functional.linear(x, equalised(self.weight) * self.rate, self.bias * self.rate)
        return activated(y, self.clamp) if self.active else y


class Mapping(nn.Module):  # type: ignore[misc]
    """Maps z to w with eight layers on the normalised z.

    All layers of a generator get the same w, so it is returned once, as [B, w].
    """

    LAYERS = 8

    def __init__(self, z: int, w: int, clamp: float | None = None) -> None:
        super().__init__()
        self.z = z
        for index in range(self.LAYERS):
            inputs = z if index == 0 else w
            setattr(self, f"fc{index}", Dense(inputs, w, active=True, rate=0.01, clamp=clamp))
        self.register_buffer("w_avg", torch.zeros(w))

    def forward(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """Map z, float32 [B, z]. truncation: psi; values below 1 move w towards its mean in training."""
        x = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        for index in range(self.LAYERS):
            x = getattr(self, f"fc{index}")(x)
        return x if truncation == 1 else self.w_avg.lerp(x, truncation)
