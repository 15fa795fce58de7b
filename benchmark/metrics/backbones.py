"""AlexNet and VGG16 as lists of steps, with their features layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from olrd.errors import SourceError


class Conv(NamedTuple):
    """The convolution `features.<number>` of torchvision's network and the ReLU after it."""

    number: int
    stride: int = 1
    padding: int = 1


class Pool(NamedTuple):
    """A pooling step."""


class Tap(NamedTuple):
    """The features at this point are returned."""


class Layout(NamedTuple):
    """A network.

    Attributes:
        name: for messages.
        steps: its layers.
        window: side of the max pooling in pixels; the stride is 2.
        smallest: smallest side of a picture in pixels; below it max pooling leaves nothing.
    """

    name: str
    steps: tuple[Conv | Pool | Tap, ...]
    window: int
    smallest: int


ALEX = Layout(
    "AlexNet",
    (
        *(Conv(0, 4, 2), Tap(), Pool()),
        *(Conv(3, 1, 2), Tap(), Pool()),
        *(Conv(6), Tap()),
        *(Conv(8), Tap()),
        *(Conv(10), Tap()),
    ),
    window=3,
    smallest=31,
)
VGG = Layout(
    "VGG16",
    (
        *(Conv(0), Conv(2), Tap(), Pool()),
        *(Conv(5), Conv(7), Tap(), Pool()),
        *(Conv(10), Conv(12), Conv(14), Tap(), Pool()),
        *(Conv(17), Conv(19), Conv(21), Tap(), Pool()),
        *(Conv(24), Conv(26), Conv(28), Tap()),
    ),
    window=2,
    smallest=16,
)


class Backbone:
    """A network with its weights, as float32 whatever the file holds."""

    def __init__(self, layout: Layout, tensors: Mapping[str, Any], device: str, source: str) -> None:
        """tensors: `features.<i>.weight` [out, in, k, k] and `.bias` [out]. source: their file, for messages."""
        self.layout = layout
        self.weights: dict[int, list[Any]] = {}
        """Weight and bias of each convolution, by number."""
        for step in layout.steps:
            if isinstance(step, Conv):
                name = f"features.{step.number}"
                if f"{name}.weight" not in tensors or f"{name}.bias" not in tensors:
                    raise SourceError(
                        f"{source} holds no {name}: expected the convolutions of torchvision's {layout.name}"
                    )
                self.weights[step.number] = [
                    tensors[f"{name}.{part}"].float().to(device) for part in ("weight", "bias")
                ]

    def taps(self, x: Any) -> Iterator[Any]:
        """Yield the features [n, c, h, w] at each tap. Only one layer is in memory at a time.

        x: normalised pictures, [n, 3, H, W].
        """
        from torch.nn import functional

        for step in self.layout.steps:
            if isinstance(step, Conv):
                weight, bias = self.weights[step.number]
                x = functional.conv2d(x, weight, bias, step.stride, step.padding).relu_()
            elif isinstance(step, Tap):
                yield x
            else:
                x = functional.max_pool2d(x, self.layout.window, 2)
