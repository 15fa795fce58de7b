"""The eraser that `open_eraser` returns: it takes one photo or a list of photos, and checks inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import numpy as np

from baselines.eraser import Eraser, EraserInfo, Hints, WrongOutputError
from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.trust import counted, printable


class CheckedEraser:
    """Adds to an eraser what all of them have in common.

    Attributes:
        eraser: The eraser itself, as its `open_<name>` function returned it.
    """

    def __init__(self, eraser: Eraser) -> None:
        self.eraser = eraser

    def __repr__(self) -> str:
        return f"<CheckedEraser {printable(self.info.name)}>"

    @property
    def info(self) -> EraserInfo:
        """See `Eraser.info`."""
        return self.eraser.info

    @overload
    def erase(self, images: Image, masks: Mask, hints: Hints | None = None) -> Image: ...

    @overload
    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]: ...

    def erase(
        self,
        images: Image | Sequence[Image],
        masks: Mask | Sequence[Mask],
        hints: Hints | Sequence[Hints] | None = None,
    ) -> Image | list[Image]:
        """Return the photo, or the photos, without the masked objects.

        Args:
            images: One photo, uint8 [H, W, 3] RGB, or a list of photos of any sizes.
            masks: One mask, bool [H, W], True = erase, or a list with one mask per photo.
            hints: What else is known of the photo, or a list with one entry per photo. Optional.

        Returns:
            For one photo, one array of its shape and dtype. For a list, a list of such arrays.

        Raises:
            UsageError: If an input has another form, or if photos, masks and hints do not fit each other.
            WrongOutputError: If the eraser returns something else than one picture per photo, of its size.
        """
        if is_single(images, masks):
            if not (hints is None or isinstance(hints, Hints)):
                raise UsageError(f"erase: expected one `Hints` for one photo, got {_form(hints)}")
            return self._erase([images], [masks], None if hints is None else [hints])[0]  # type: ignore[list-item]
        if not (hints is None or _is_list(hints)):
            raise UsageError(f"erase: expected a list of hints for a list of photos, got {_form(hints)}")
        return self._erase(images, masks, hints)  # type: ignore[arg-type]

    def _erase(self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None) -> list[Image]:
        _check_inputs(images, masks, hints)
        outputs = self.eraser.erase(images, masks, hints)
        _check_outputs(self.info.name, images, outputs)
        return outputs


def is_single(images: object, masks: object) -> bool:
    """Whether they are one photo and one mask, not lists of them. Raises `UsageError` if they are neither."""
    if isinstance(images, np.ndarray):
        if isinstance(masks, np.ndarray):
            return True
        raise UsageError(f"erase: expected one mask (an array) for one photo, got {_form(masks)}")
    if not _is_list(images):
        raise UsageError(
            f"erase: expected a photo (an array, uint8 [H, W, 3]) or a list of photos, got {_form(images)}"
        )
    if not _is_list(masks):
        raise UsageError(f"erase: expected a list of masks for a list of photos, got {_form(masks)}")
    return False


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _check_inputs(images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None) -> None:
    if len(masks) != len(images):
        raise UsageError(
            f"erase: expected one mask per photo, got {counted(len(images), 'photo')} and {counted(len(masks), 'mask')}"
        )
    if hints is not None and len(hints) != len(images):
        got = f"{counted(len(images), 'photo')} and {counted(len(hints), 'hint')}"
        raise UsageError(f"erase: expected one `Hints` per photo, got {got}")
    for hint in hints or ():
        if not isinstance(hint, Hints):
            raise UsageError(f"erase: expected a list of `Hints`, found {_form(hint)} in it")
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        check_pair(image, mask, "" if len(images) == 1 else f"photo {number}")


def check_pair(image: Image, mask: Mask, name: str = "") -> None:
    """Raise `UsageError` unless `image` is uint8 [H, W, 3] and `mask` is bool [H, W].

    name: names the sample in the message.
    """
    what = f"{name}: " if name else ""
    if not _is_picture(image) or not image.size:
        raise UsageError(f"{what}the photo must be uint8 [H, W, 3], RGB, and not empty; got {_form(image)}")
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != image.shape[:2]:
        raise UsageError(
            f"{what}the mask must be bool [{image.shape[0]}, {image.shape[1]}] (True = erase) as the photo of "
            f"{image.shape[1]} x {image.shape[0]} pixels; got {_form(mask)}"
        )


def _check_outputs(name: str, images: Sequence[Image], outputs: Sequence[Image]) -> None:
    if not isinstance(outputs, list) or len(outputs) != len(images):
        got = counted(len(outputs), "picture") if isinstance(outputs, list) else f"a {type(outputs).__name__}"
        expected = counted(len(images), "picture")
        raise WrongOutputError(f"the eraser {name} must return a list of {expected}; it returned {got}")
    for image, output in zip(images, outputs, strict=True):
        if not _is_picture(output) or output.shape != image.shape:
            raise WrongOutputError(
                f"the eraser {name} must return uint8 {list(image.shape)}, the size of the photo; it returned "
                f"{_form(output)}"
            )


def _is_picture(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3


def _form(value: object) -> str:
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
