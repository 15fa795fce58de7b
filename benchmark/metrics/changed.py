"""Features of pictures that differ in a part only: a network's layers are computed where they differ, and nowhere else.

An eraser changes a small part of a photo. Everywhere else output and truth have the same pixels, hence the same
features. The truth's features are computed where some output needs them, and an output's features where they differ
from the truth's. Both follow from the windows of the layers, so the result is that of whole pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from benchmark.metrics.backbones import Backbone, Conv, Tap
from olrd.arrays import Image


class Span(NamedTuple):
    """Positions along one axis: start to stop - 1. Empty if they are equal."""

    start: int
    stop: int

    @property
    def cut(self) -> slice:
        """For indexing."""
        return slice(self.start, self.stop)

    def within(self, other: Span) -> slice:
        """For indexing an array that holds the positions of `other` only."""
        return slice(self.start - other.start, self.stop - other.start)


class Area(NamedTuple):
    """A rectangle of pixels or cells."""

    rows: Span
    columns: Span

    @property
    def empty(self) -> bool:
        """Whether it holds nothing."""
        return self.rows.start >= self.rows.stop or self.columns.start >= self.columns.stop

    def of(self, array: Any, held: Area) -> Any:
        """The part of an array [..., h, w]. held: the area that the array covers."""
        return array[..., self.rows.within(held.rows), self.columns.within(held.columns)]


NOWHERE = Area(Span(0, 0), Span(0, 0))


class Window(NamedTuple):
    """What one cell of a layer sees: `kernel` positions, `stride` apart, from `padding` before the first one."""

    kernel: int
    stride: int
    padding: int

    def cells(self, count: int) -> int:
        """The number of cells over `count` positions."""
        return (count + 2 * self.padding - self.kernel) // self.stride + 1

    def touched(self, span: Span, count: int) -> Span:
        """The cells that see some position of a span. count: of all positions."""
        start = max(0, -(-(span.start + self.padding - self.kernel + 1) // self.stride))
        stop = min(self.cells(count), (span.stop - 1 + self.padding) // self.stride + 1)
        return Span(start, max(start, stop))

    def seen(self, span: Span, count: int) -> tuple[Span, tuple[int, int]]:
        """The positions that some cell of a span sees, and the padding before and after them."""
        first = span.start * self.stride - self.padding
        last = (span.stop - 1) * self.stride - self.padding + self.kernel
        return Span(max(0, first), min(count, last)), (max(0, -first), max(0, last - count))


class Pooling(NamedTuple):
    """A pooling layer. of: what it does to its input, which is padded already."""

    window: Window
    of: Callable[[Any], Any]


def max_pooling(side: int) -> Pooling:
    """The maximum over windows of `side` pixels, 2 apart."""
    from torch.nn import functional

    return Pooling(Window(side, 2, 0), lambda x: functional.max_pool2d(x, side, 2))


class Tapped(NamedTuple):
    """A tap of one output, where it differs from the truth.

    Attributes:
        output: its number.
        area: the cells that differ.
        size: the number of all rows and columns of cells.
        truth, values: features of truth and output there, [1, c, h, w] of the area.
    """

    output: int
    area: Area
    size: tuple[int, int]
    truth: Any
    values: Any


def difference(output: Image, truth: Image) -> Area:
    """The smallest rectangle that holds every pixel in which two pictures [H, W, 3] differ."""
    # Channels side by side: the box of the array [H, 3 W] has three times the x and width of the picture's.
    x, y, width, height = cv2.boundingRect(cv2.absdiff(output, truth).reshape(len(truth), -1))
    if not width:
        return NOWHERE
    return Area(Span(y, y + height), Span(x // 3, -(-(x + width) // 3)))


def hull(areas: Sequence[Area]) -> Area:
    """The smallest rectangle that holds all areas."""
    there = [area for area in areas if not area.empty]
    if not there:
        return NOWHERE
    axes = (Span(min(s.start for s in spans), max(s.stop for s in spans)) for spans in zip(*there, strict=True))
    return Area(*axes)


class Plan:
    """Where every layer must be computed.

    Args:
        backbone: the network.
        size: height and width of the pictures.
        areas: per output where it differs from the truth.
        pooling: replaces the backbone's max pooling.
        whole: compute the truth everywhere, for metrics that need statistics of all of it.

    Attributes:
        sizes: [layers + 1] rows and columns of the input of each step, and of the last output.
        changed: [layers + 1] per output the area that differs.
        needed: [layers + 1] the area of the truth that the next layers need.
    """

    def __init__(
        self,
        backbone: Backbone,
        size: tuple[int, int],
        areas: Sequence[Area],
        pooling: Pooling | None = None,
        whole: bool = False,
    ) -> None:
        self.backbone, self._pooling = backbone, pooling or max_pooling(backbone.layout.window)
        self.sizes, self.changed = [size], [list(areas)]
        windows = [self._window(step) for step in backbone.layout.steps]
        for window in windows:
            rows, columns = self.sizes[-1]
            self.changed.append([_touched(window, area, (rows, columns)) for area in self.changed[-1]])
            self.sizes.append((window.cells(rows), window.cells(columns)))
        needed = [hull(self.changed[-1])]
        for window, count, changed in zip(windows[::-1], self.sizes[-2::-1], self.changed[-2::-1], strict=True):
            needed.append(hull([*changed, _seen(window, needed[-1], count)[0]]))
        everywhere = [Area(Span(0, rows), Span(0, columns)) for rows, columns in self.sizes]
        self.needed, self._windows = everywhere if whole else needed[::-1], windows

    def _window(self, step: Any) -> Window:
        if isinstance(step, Tap):
            return Window(1, 1, 0)
        if isinstance(step, Conv):
            return Window(self.backbone.weights[step.number][0].shape[-1], step.stride, step.padding)
        return self._pooling.window

    def taps(self, truth: Any, outputs: Sequence[Any]) -> Iterator[list[Tapped]]:
        """Yield at each tap the outputs that differ from the truth there. The arguments are those of `layers`."""
        return (tapped for _, tapped in self.layers(truth, outputs))

    def layers(self, truth: Any, outputs: Sequence[Any]) -> Iterator[tuple[Any, list[Tapped]]]:
        """Yield at each tap the truth's features [1, c, h, w] of the area that is needed, and the outputs that differ.

        Args:
            truth: the normalised truth [1, 3, h, w] of the area `needed[0]`.
            outputs: each normalised output [1, 3, h, w] of its area in `changed[0]`.
        """
        values = list(outputs)
        for number, (step, window) in enumerate(zip(self.backbone.layout.steps, self._windows, strict=True)):
            held, areas, size = self.needed[number], self.changed[number], self.sizes[number]
            if isinstance(step, Tap):
                differing = [(k, area) for k, area in enumerate(areas) if not area.empty]
                yield truth, [Tapped(k, area, size, area.of(truth, held), values[k]) for k, area in differing]
                continue
            for k, after in enumerate(self.changed[number + 1]):
                if not after.empty:
                    seen, padding = _seen(window, after, size)
                    patch = seen.of(truth, held).clone()
                    shared = Area(*(_common(a, b) for a, b in zip(seen, areas[k], strict=True)))
                    shared.of(patch, seen).copy_(shared.of(values[k], areas[k]))
                    values[k] = self._layer(step, patch, padding)
            after = self.needed[number + 1]
            if after.empty:
                return
            seen, padding = _seen(window, after, size)
            truth = self._layer(step, seen.of(truth, held), padding)

    def _layer(self, step: Any, x: Any, padding: tuple[int, int, int, int]) -> Any:
        """The layer's output over a part of its input. padding: zeros on the left, right, top and bottom."""
        from torch.nn import functional

        if any(padding):
            x = functional.pad(x, padding)
        if not isinstance(step, Conv):
            return self._pooling.of(x)
        weight, bias = self.backbone.weights[step.number]
        return functional.conv2d(x, weight, bias, step.stride).relu_()


def _touched(window: Window, area: Area, size: tuple[int, int]) -> Area:
    if area.empty:
        return NOWHERE
    return Area(*(window.touched(span, count) for span, count in zip(area, size, strict=True)))


def _seen(window: Window, area: Area, size: tuple[int, int]) -> tuple[Area, tuple[int, int, int, int]]:
    """The area that the cells see, and the padding in torch's order: left, right, top, bottom."""
    if area.empty:
        return NOWHERE, (0, 0, 0, 0)
    (rows, above), (columns, beside) = (window.seen(span, count) for span, count in zip(area, size, strict=True))
    return Area(rows, columns), (*beside, *above)


def _common(a: Span, b: Span) -> Span:
    start = max(a.start, b.start)
    return Span(start, max(start, min(a.stop, b.stop)))


def pixels_of(area: Area, cells: tuple[int, int], size: tuple[int, int]) -> Area:
    """The pixels that share some area with the cells of an area, where `cells` rows and columns cover `size` pixels."""
    axes = (
        Span(span.start * pixels // count, -(-span.stop * pixels // count))
        for span, count, pixels in zip(area, cells, size, strict=True)
    )
    return Area(*axes)


def part(image: Image, area: Area) -> np.ndarray:
    """The part of a picture [H, W, 3]."""
    return image[area.rows.cut, area.columns.cut]
