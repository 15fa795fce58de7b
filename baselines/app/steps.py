"""What the app does between its buttons: plain functions on arrays, without a browser and without Gradio."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from baselines.checked import CheckedEraser
from baselines.eraser import Hints
from baselines.photos.effects import Effects, propose_effects
from baselines.photos.erasing import Erased, Wanted, erase_photo, wanted
from baselines.photos.files import PhotoFile, read_photo, write_photo
from baselines.photos.objects import Mapped, mask_of, things_of
from baselines.registry import ERASERS, open_eraser
from olrd.arrays import Image, Mask, encode_mask
from olrd.errors import OlrdError, UsageError
from olrd.masks import outline
from olrd.storage.files import write_atomic

BRUSHED = 1600
"""Longest side of the copy on which the browser draws, in pixels. The result always has the photo's own size."""
MOST_ERASERS = 4
"""Erasers that run for one click."""
KEPT_SECONDS = 3600.0
"""How long results stay on disk for their download."""
OBJECT, SHADOW, REFLECTION = (230, 40, 40), (40, 90, 230), (20, 170, 150)
"""Colours of the proposal's picture."""
_STRENGTH = 0.55


class Proposal(NamedTuple):
    """A shadow and a reflection that were shown, and the digest of the mask that they belong to."""

    effects: Effects
    of: str

    @property
    def found(self) -> bool:
        """Whether there is anything."""
        return bool(self.effects.mask.any())


class Result(NamedTuple):
    """The result of one eraser.

    Attributes:
        name: The eraser.
        erased: Pixels, time and warning.
        path: The result as a PNG of the photo's own size and mode.
    """

    name: str
    erased: Erased
    path: Path


class Shelf:
    """The erasers of this machine. Networks stay loaded for the next click; it holds nothing of any user.

    Args:
        device: Device of the networks.
    """

    def __init__(self, device: str = "auto") -> None:
        self.device = device
        self._open: dict[str, CheckedEraser] = {}

    def ready(self) -> list[str]:
        """The erasers that can run here. Controls are left out: they serve for comparison only."""
        found = []
        for name in ERASERS.names():
            with suppress(OlrdError):
                if not open_eraser(name, device=self.device).info.control:
                    found.append(name)
        return found

    def take(self, name: str) -> CheckedEraser:
        """An opened eraser. Only the last `MOST_ERASERS` stay in memory."""
        eraser = self._open.pop(name, None) or open_eraser(name, device=self.device)
        self._open[name] = eraser
        while len(self._open) > MOST_ERASERS:
            del self._open[next(iter(self._open))]
        return eraser


def opened(path: str | None) -> PhotoFile:
    """Read the photo that was dropped.

    Raises:
        UsageError: If there is none, or it is not there any more.
        Rejected: If it is not a photo, or has over 64 million pixels.
    """
    if not path:
        raise UsageError("there is no photo yet: drop one, or take an example")
    if not Path(path).is_file():
        raise UsageError("the photo is no longer on the server: drop it again")
    return read_photo(Path(path))


def smaller(pixels: npt.NDArray[np.uint8], longest: int = BRUSHED) -> npt.NDArray[np.uint8]:
    """A copy for the browser, uint8 [h, w, C], whose sides are at most `longest`; the same array if it fits."""
    height, width = pixels.shape[:2]
    share = longest / max(height, width)
    if share >= 1:
        return pixels
    size = max(1, round(width * share)), max(1, round(height * share))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8)


def brushed(layers: Sequence[npt.NDArray[np.uint8]] | None, size: tuple[int, int]) -> Mask:
    """The mask that the brush has drawn, bool [H, W]: every pixel that it touched.

    Args:
        layers: What is drawn, uint8 [h, w, 4] each, as large as the photo or as the copy on which the browser draws.
        size: Width and height of the photo.

    Raises:
        UsageError: If a layer has another shape than the photo.
    """
    width, height = size
    mask = np.zeros((height, width), np.bool_)
    for layer in layers or ():
        if layer.ndim != 3 or layer.shape[2] != 4:
            raise UsageError(f"the drawing has the form {list(layer.shape)}, expected [h, w, 4]: draw it again")
        touched = (layer[..., 3] > 0).astype(np.uint8)
        if touched.shape != mask.shape:
            fitting = smaller(np.zeros((height, width), np.uint8)).shape
            if touched.shape != fitting:
                raise UsageError(
                    f"the drawing is {layer.shape[1]} x {layer.shape[0]} pixels and belongs to another photo than the "
                    f"one of {width} x {height}: draw it again"
                )
            touched = cv2.resize(touched, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        mask |= touched > 0
    return mask


def marked(
    photo: PhotoFile, layers: Sequence[npt.NDArray[np.uint8]] | None, mapped: Mapped | None, names: Sequence[str]
) -> Mask:
    """What the brush and the names mark together, bool [H, W].

    Raises:
        UsageError: If nothing is marked, or the names belong to another photo.
    """
    mask = brushed(layers, photo.size)
    if names:
        if mapped is None or mapped.panoptic.ids.shape != mask.shape:
            raise UsageError("the named objects belong to another photo: find its objects again")
        mask |= mask_of(mapped, names)
    if not mask.any():
        raise UsageError("nothing is marked yet: brush over the object, or name it")
    return mask


def listed(mapped: Mapped) -> list[tuple[str, str]]:
    """The photo's things as (label, name), the largest first."""
    return [(f"{one.name} ({100 * one.share:.1f} %)", one.name) for one in things_of(mapped)]


def proposed(photo: PhotoFile, mask: Mask) -> Proposal:
    """Look for the object's shadow and reflection."""
    return Proposal(propose_effects(photo.pixels, mask), digest(mask))


def digest(mask: Mask) -> str:
    """Tells masks apart."""
    return hashlib.sha256(repr(mask.shape).encode() + np.packbits(mask).tobytes()).hexdigest()


def with_proposal(mask: Mask, proposal: Proposal | None, accepted: bool) -> Mask:
    """The mask, with its shadow and reflection if they are accepted.

    Raises:
        UsageError: If the mask is not the one for which they were shown.
    """
    if proposal is None or not accepted or not proposal.found:
        return mask
    if proposal.of != digest(mask):
        raise UsageError(
            "what is marked has changed since the shadow was proposed: press 'Look again', or drop the proposal"
        )
    return mask | proposal.effects.mask


def drawn(photo: PhotoFile, mask: Mask, effects: Effects) -> Image:
    """The object, its shadow and its reflection over the photo, uint8 [h, w, 3], for the browser."""
    picture = photo.pixels.astype(np.float32)
    thick = max(mask.shape) / 300
    for part, colour in ((mask, OBJECT), (effects.shadow, SHADOW), (effects.reflection, REFLECTION)):
        picture[part] += _STRENGTH * (np.array(colour, np.float32) - picture[part])
        picture[outline(part, thick)] = colour
    return smaller(np.rint(picture).astype(np.uint8))


def about(proposal: Proposal) -> str:
    """What was proposed, in words."""
    parts = [
        f"{name} ({100 * float(part.mean()):.1f} % of the photo)"
        for name, part in (
            ("a shadow, blue", proposal.effects.shadow),
            ("a reflection, green", proposal.effects.reflection),
        )
        if part.any()
    ]
    return f"Found {' and '.join(parts)}." if parts else "No shadow and no reflection was found."


def results(
    photo: PhotoFile, what: Wanted, names: Sequence[str], shelf: Shelf, folder: Path, stem: str
) -> Iterator[Result]:
    """Erase with each eraser and write its result.

    Args:
        photo: The photo.
        what: What is erased.
        names: The erasers.
        shelf: Opens them.
        folder: Where the results are written.
        stem: Begins the names of the files.
    """
    hints = Hints(key=stem)
    for name in names:
        erased = erase_photo(photo.pixels, what, shelf.take(name), hints)
        path = folder / f"{stem}-{name}.png"
        write_photo(path, photo.with_fill(erased.pixels, what.hole), photo)
        yield Result(name, erased, path)


def decided(photo: PhotoFile, mask: Mask, growth: int | None, names: Sequence[str]) -> Wanted:
    """Check what was chosen, and grow the mask. growth: pixels, or None for the automatic width.

    Raises:
        UsageError: If no eraser or too many are chosen, or the growth is out of its range.
    """
    if not names:
        raise UsageError("no eraser is chosen: choose at least one")
    if len(names) > MOST_ERASERS:
        raise UsageError(f"{len(names)} erasers are chosen: choose at most {MOST_ERASERS}")
    return wanted(photo.pixels, mask, growth)


def write_mask(what: Wanted, folder: Path, stem: str) -> Path:
    """Write what is erased, white on black, as a PNG of the photo's size."""
    path = folder / f"{stem}-mask.png"
    write_atomic(path, encode_mask(what.hole))
    return path


def stem_of(path: str) -> str:
    """The photo's name without folder and suffix, cut to letters, digits, dashes and underscores."""
    kept = "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in Path(path).stem)
    return kept.strip("-")[:60] or "photo"


def new_folder(parent: Path, now: Callable[[], float] = time.time) -> Path:
    """A folder for one click's results. Folders older than `KEPT_SECONDS` are removed."""
    parent.mkdir(parents=True, exist_ok=True)
    for old in parent.iterdir():
        with suppress(OSError):
            if now() - old.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(old)
    return Path(tempfile.mkdtemp(dir=parent))


def caption(one: Result) -> str:
    """One line about a result: the eraser, its time, and a warning if there is one."""
    warning = f". Warning: {one.erased.warning}" if one.erased.warning else ""
    return f"**{one.name}**, {one.erased.seconds:.1f} s{warning}"
