"""Photos and masks in the forms that users of diffusers have, as arrays, and results in those forms.

Accepted are pictures of Pillow, arrays of NumPy and tensors of torch, alone, in lists and stacked. Sizes never change.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from magiceraser_ref.extras import need
from olrd.arrays import Image, Mask, decode_photo
from olrd.errors import Rejected, UsageError, did_you_mean
from olrd.mask_files import read_mask
from olrd.trust import shown

OUTPUT_TYPES = ("pil", "np", "pt")
HALF = 128
"""Grey levels from here on mean erase, as in diffusers."""


class Given(NamedTuple):
    """Photos and masks of one call.

    Attributes:
        photos: uint8 [H, W, 3], RGB, of any sizes.
        masks: bool [H, W], True = erase, one per photo.
        single: Whether the call was about one photo, not about a list or a stack.
    """

    photos: list[Image]
    masks: list[Mask]
    single: bool


def pictures_of(image: object, mask_image: object) -> Given:
    """Read photos and masks.

    Args:
        image: One photo: a picture of Pillow, an array [H, W, 3] or [H, W], or a tensor [3, H, W]. Or several: a list
            of these, an array [B, H, W, 3], or a tensor [B, 3, H, W]. Integers are from 0 to 255, floats from 0 to 1.
        mask_image: One mask per photo, likewise; arrays and tensors have one channel or no axis for it. Bool, integers
            from 0 to 255 or from 0 to 1, or floats from 0 to 1; half and more means erase.

    Raises:
        UsageError: If something is no picture, or if photos and masks are not of one number.
    """
    singles, photos = _listed(image, "image", stacked=4)
    if singles:
        return Given([_photo(image, "image")], [_mask(mask_image, "mask_image")], True)
    alone, masks = _listed(mask_image, "mask_image", stacked=3)
    if alone or len(masks) != len(photos):
        found = "one" if alone else str(len(masks))
        raise UsageError(f"mask_image: expected one mask per photo, {len(photos)}, found {found}: give a list of masks")
    return Given(
        [_photo(one, f"image {k}") for k, one in enumerate(photos)],
        [_mask(one, f"mask_image {k}") for k, one in enumerate(masks)],
        False,
    )


def results_of(photos: Sequence[Image], output_type: str) -> Any:
    """Return results in a form of diffusers.

    Args:
        photos: uint8 [H, W, 3], RGB.
        output_type: `pil`, `np` or `pt`.

    Returns:
        `pil`: a list of pictures of Pillow. `np`: float32 [B, H, W, 3] from 0 to 1. `pt`: a tensor, float32
        [B, 3, H, W] from 0 to 1. Photos of different sizes cannot be stacked; they make a list.
    """
    if output_type == "pil":
        return [Pillow.fromarray(photo) for photo in photos]
    arrays = [photo.astype(np.float32) / 255 for photo in photos]
    stack = len({array.shape for array in arrays}) == 1
    if output_type == "np":
        return np.stack(arrays) if stack else arrays
    torch = need("torch", "MagicEraser")
    tensors = [torch.from_numpy(array.transpose(2, 0, 1).copy()) for array in arrays]
    return torch.stack(tensors) if stack else tensors


def check_output_type(output_type: object) -> None:
    """Raise `UsageError` for a form that does not exist."""
    if output_type not in OUTPUT_TYPES:
        raise did_you_mean("output_type", output_type, OUTPUT_TYPES)


def _listed(value: object, name: str, stacked: int) -> tuple[bool, list[Any]]:
    """Return whether a value is one picture, and its pictures. stacked: the number of axes from which it is several."""
    if isinstance(value, Pillow.Image):
        return True, [value]
    if isinstance(value, list | tuple):
        return False, list(value)
    if not isinstance(value, np.ndarray) and not _is_tensor(value):
        raise UsageError(
            f"{name}: expected a picture of Pillow, an array, a tensor, or a list of these, found {shown(value)}"
        )
    several = value.ndim >= stacked  # type: ignore[attr-defined]
    return not several, list(value) if several else [value]  # type: ignore[call-overload]


def _is_tensor(value: object) -> bool:
    """Whether it is a tensor. torch is imported when somebody has one."""
    return type(value).__module__.split(".")[0] == "torch" and hasattr(value, "detach")


def _photo(value: Any, name: str) -> Image:
    """Return a photo as uint8 [H, W, 3]."""
    if isinstance(value, Pillow.Image):
        return _photo_of_pillow(value, name)
    pixels = _array(value, name, channels=(1, 3))
    if pixels.dtype == np.bool_:
        raise UsageError(f"{name}: expected a photo, found an array of bool: are image and mask_image exchanged?")
    if pixels.dtype.kind == "f":
        _check_range(pixels, 1, name)
        pixels = np.rint(pixels.astype(np.float64) * 255)
    _check_range(pixels, 255, name)
    pixels = pixels.astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _photo_of_pillow(picture: Pillow.Image, name: str) -> Image:
    if picture.mode == "RGB":
        return np.array(picture)
    if picture.mode in ("CMYK", "YCbCr", "LAB", "HSV"):  # PNG does not know them
        return np.array(picture.convert("RGB"))
    try:
        return np.array(decode_photo(_png(picture, name), name).pixels)
    except Rejected as error:
        raise UsageError(str(error)) from error


def _mask(value: Any, name: str) -> Mask:
    """Return a mask as bool [H, W]."""
    if isinstance(value, Pillow.Image):
        return _mask_of_pillow(value, name)
    levels = _array(value, name, channels=(1,))[..., 0]
    if levels.dtype == np.bool_:
        return np.array(levels)
    if levels.dtype.kind == "f":
        _check_range(levels, 1, name)
        return np.array(levels >= 0.5)
    _check_range(levels, 255, name)
    return np.array(levels > 0 if levels.max(initial=0) <= 1 else levels >= HALF)


def _mask_of_pillow(picture: Pillow.Image, name: str) -> Mask:
    if picture.mode in ("1", "L", "RGB") and not picture.has_transparency_data:
        return np.asarray(picture.convert("L")) >= HALF
    try:  # strokes on a transparent ground, palettes, 16 bits
        return read_mask(_png(picture, name), name).mask
    except Rejected as error:
        raise UsageError(f"{error} (from Python: save it as grey, white = erase)") from error


def _png(picture: Pillow.Image, name: str) -> bytes:
    data = io.BytesIO()
    try:
        picture.save(data, "PNG", compress_level=0)
    except OSError as error:
        raise UsageError(f"{name}: expected a picture of mode RGB or L, found mode {picture.mode}") from error
    return data.getvalue()


def _array(value: object, name: str, channels: tuple[int, ...]) -> npt.NDArray[Any]:
    """Return an array or a tensor as [H, W, C] with C among `channels`."""
    if not isinstance(value, np.ndarray) and not _is_tensor(value):
        raise UsageError(f"{name}: expected a picture of Pillow, an array or a tensor, found {shown(value)}")
    first = _is_tensor(value)
    array = _of_tensor(value) if first else np.asarray(value)
    shape = list(array.shape)
    if array.ndim == 4 and shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[..., None]
    elif array.ndim == 3 and array.shape[0] in channels and (first or array.shape[2] not in channels):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in channels or not array.size or array.dtype.kind not in "buif":
        wanted = " or ".join(str(c) for c in channels)
        raise UsageError(
            f"{name}: expected numbers [H, W] or [H, W, C] (an array) or [C, H, W] (a tensor) with {wanted} channels, "
            f"found {array.dtype} {shape}"
        )
    return array


def _of_tensor(tensor: Any) -> npt.NDArray[Any]:
    tensor = tensor.detach().cpu()
    found: npt.NDArray[Any] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return found


def _check_range(values: npt.NDArray[Any], top: int, name: str) -> None:
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= top):
        raise UsageError(
            f"{name}: expected integers from 0 to 255 or floats from 0 to 1, found {values.dtype} from {low:g} to {high:g}"
        )
