"""A small inpainting network of fast Fourier convolutions, similar to LaMa (WACV 2022).

Fast Fourier convolution: Chi, Jiang, Mu, NeurIPS 2020. Some channels see their surroundings through 3 x 3 convolutions.
The others see the whole picture through its spectrum, so that even a shallow network uses the whole picture to fill a hole.

The layout is LaMa's (section 2) with these differences: the network is narrower and shallower; squares of 2 x 2 pixels
become channels first, because otherwise two thirds of the computation would be at full size; group norms replace batch norms, because
they need no statistics of a training run and therefore work with averaged weights.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 8
FACTOR = 8
"""The middle of the network works at the picture's size divided by this."""
FOLD = 2
"""Side of the squares of pixels that become channels before the first convolution."""


@dataclass(frozen=True)
class FfcSizes:
    """Sizes of the network.

    Attributes:
        widths: Channels at half, quarter and eighth size.
        blocks: Number of residual blocks in the middle.
        share: Share of the middle's channels that see the spectrum (0.75 in LaMa).
    """

    widths: tuple[int, int, int] = (48, 96, 192)
    blocks: int = 6
    share: float = 0.75


class FourierUnit(nn.Module):  # type: ignore[misc]
    """A 1 x 1 convolution of the spectrum, whose real and imaginary parts are channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(2 * channels, 2 * channels, 1), nn.GroupNorm(GROUPS, 2 * channels), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Transform [b, c, h, w], in float32, because Fourier transforms do not support bfloat16."""
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.fft.rfft2(x.float(), norm="ortho")
            mixed = self.mix(torch.cat([spectrum.real, spectrum.imag], 1))
            real, imaginary = mixed.chunk(2, 1)
            back = torch.fft.irfft2(torch.complex(real, imaginary), s=x.shape[-2:], norm="ortho")
        return back.to(x.dtype)


class SpectralTransform(nn.Module):  # type: ignore[misc]
    """The global branch: it halves the channels, transforms the spectrum with a skip connection, and doubles them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // 2
        self.enter = nn.Sequential(nn.Conv2d(channels, narrow, 1), nn.GroupNorm(GROUPS, narrow), nn.ReLU())
        self.fourier = FourierUnit(narrow)
        self.leave = nn.Conv2d(narrow, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        found: Tensor = self.leave(x + self.fourier(x))
        return found


class Ffc(nn.Module):  # type: ignore[misc]
    """One fast Fourier convolution of [b, local + wide, h, w], with norm and ReLU."""

    def __init__(self, local: int, wide: int) -> None:
        super().__init__()
        self.local, self.wide = local, wide
        self.to_local = _conv(local + wide, local)
        self.local_to_wide = _conv(local, wide)
        self.wide_to_wide = SpectralTransform(wide)
        self.norms = nn.ModuleList([nn.GroupNorm(GROUPS, n) for n in (local, wide)])

    def forward(self, x: Tensor) -> Tensor:
        local, wide = x.split([self.local, self.wide], 1)
        near = self.norms[0](self.to_local(x))
        far = self.norms[1](self.local_to_wide(local) + self.wide_to_wide(wide))
        return F.relu(torch.cat([near, far], 1))


class FfcBlock(nn.Module):  # type: ignore[misc]
    """Two fast Fourier convolutions and a skip connection."""

    def __init__(self, local: int, wide: int) -> None:
        super().__init__()
        self.body = nn.Sequential(Ffc(local, wide), Ffc(local, wide))

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.body(x)
        return found


class FfcGenerator(nn.Module):  # type: ignore[misc]
    """Fills holes of photos.

    The inputs are the photo, float [b, 3, h, w] in -1..1, and the hole, float [b, 1, h, w], 1 = hole. h and w are
    multiples of `FACTOR`. The output is float [b, 3, h, w] in -1..1. The photo's pixels inside the hole have no
    influence.
    """

    def __init__(self, sizes: FfcSizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes = sizes or FfcSizes()
        first, *_, last = sizes.widths
        wide = int(last * sizes.share) // (2 * GROUPS) * (2 * GROUPS)
        layers: list[nn.Module] = [nn.PixelUnshuffle(FOLD), _conv(4 * FOLD**2, first), *_after(first)]
        for above, below in zip(sizes.widths, sizes.widths[1:], strict=False):
            layers += [_conv(above, below, stride=2), *_after(below)]
        layers += [FfcBlock(last - wide, wide) for _ in range(sizes.blocks)]
        for below, above in zip(sizes.widths[::-1], sizes.widths[-2::-1], strict=False):
            layers += [nn.Upsample(scale_factor=2), _conv(below, above), *_after(above)]
        self.layers = nn.Sequential(*layers, _conv(first, 3 * FOLD**2), nn.PixelShuffle(FOLD))

    def forward(self, photo: Tensor, hole: Tensor) -> Tensor:
        seen = torch.cat([photo * (1 - hole), hole], 1)
        found: Tensor = torch.tanh(self.layers(seen))
        return found

    def config(self) -> dict[str, Any]:
        """Return the sizes as plain JSON values."""
        return asdict(self.sizes)


def _conv(before: int, after: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, size, stride, size // 2, padding_mode="reflect")


def _after(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.GroupNorm(GROUPS, channels), nn.ReLU()
