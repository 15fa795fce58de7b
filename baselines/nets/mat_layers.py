"""The convolutions of MAT (Li et al., CVPR 2022): plain, partial and modulated."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.nets.stylegan_ops import Dense, Draws, activated, convolved, doubled, equalised, low_pass, per_sample


class Conv(nn.Module):  # type: ignore[misc]
    """Convolution and activation; `down` halves the size, `up` doubles it."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, up: bool = False, down: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", low_pass())
        self.up, self.down = up, down

    def forward(self, x: Tensor) -> Tensor:
        weight = equalised(self.weight)
        y = convolved(x, weight, self.resample_filter, up=self.up, down=self.down)
        return activated(y + self.bias.view(1, -1, 1, 1))


class PartialConv(nn.Module):  # type: ignore[misc]
    """A partial convolution, which uses only known pixels (Liu et al., ECCV 2018)."""

    def __init__(self, inputs: int, outputs: int, up: bool = False, down: bool = False) -> None:
        super().__init__()
        self.conv = Conv(inputs, outputs, up=up, down=down)

    def forward(self, x: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Convolve x and return the result with its own `known`.

        A result is known if its window has at least one known pixel. It is scaled by the window's share of known
        pixels. known: [B, 1, H, W], 0 or 1; None if every pixel is known.
        """
        y = self.conv(x)
        if known is None:
            return y, None
        window = known.new_ones(1, 1, 3, 3)
        count = functional.conv2d(known, window, stride=2 if self.conv.down else 1, padding=1)
        now_known = count.clamp(0, 1)
        return y * (9 / (count + 1e-8) * now_known), now_known


class ModulatedConv(nn.Module):  # type: ignore[misc]
    """A convolution whose input channels are scaled by a style."""

    def __init__(
        self, inputs: int, outputs: int, size: int, style: int, up: bool = False, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, size, size))
        self.register_buffer("resample_filter", low_pass())
        self.affine = Dense(style, inputs)
        self.up, self.demodulate = up, demodulate

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Convolve x. style: [B, style]."""
        scales = self.affine(style)[:, None, :, None, None]
        weights = equalised(self.weight[0]) * scales  # [B, O, I, k, k]
        if self.demodulate:
            power = weights.square().sum(dim=(2, 3, 4), keepdim=True)
            weights = weights * (power + 1e-8).rsqrt()
        return per_sample(x, weights, self.resample_filter, up=self.up)


class StyleConv(nn.Module):  # type: ignore[misc]
    """Modulated convolution, noise, bias and activation. side: Side of the stored noise; 0 for no noise."""

    def __init__(self, inputs: int, outputs: int, style: int, up: bool = False, side: int = 0) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, style, up=up)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noisy = side > 0
        if self.noisy:
            self.register_buffer("noise_const", torch.randn(side, side))
            self.noise_strength = nn.Parameter(torch.zeros([]))

    def forward(self, x: Tensor, style: Tensor, draws: Draws) -> Tensor:
        y = self.conv(x, style)
        if self.noisy:
            y = y + draws.noise_for(y, self.noise_const) * self.noise_strength
        return activated(y + self.bias.view(1, -1, 1, 1))


class ToRGB(nn.Module):  # type: ignore[misc]
    """Converts features to colours and adds the smaller image of the block before."""

    def __init__(self, inputs: int, style: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, 3, 1, style, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))
        self.register_buffer("resample_filter", low_pass())

    def forward(self, x: Tensor, style: Tensor, smaller: Tensor | None) -> Tensor:
        image = self.conv(x, style) + self.bias.view(1, -1, 1, 1)
        return image if smaller is None else image + doubled(smaller, self.resample_filter)


class DecoderBlock(nn.Module):  # type: ignore[misc]
    """Doubles the size, adds the encoder's features of that size, and adds its colours to the image."""

    def __init__(self, inputs: int, outputs: int, style: int, side: int = 0) -> None:
        super().__init__()
        self.conv0 = StyleConv(inputs, outputs, style, up=True, side=side)
        self.conv1 = StyleConv(outputs, outputs, style, side=side)
        self.toRGB = ToRGB(outputs, style)

    def forward(
        self, x: Tensor, image: Tensor | None, style: Tensor, skip: Tensor, draws: Draws
    ) -> tuple[Tensor, Tensor]:
        x = self.conv0(x, style, draws) + skip
        x = self.conv1(x, style, draws)
        return x, self.toRGB(x, style, image)
