"""`pairs`: a folder of photos, masks and truths with equal file names, in the layouts of published datasets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from benchmark.datasets import DataSpec, Sample, duplicates
from olrd.arrays import Image, Mask, decode_photo, open_picture, resize_ids
from olrd.errors import OlrdError, Rejected, SourceError, UsageError, did_you_mean
from olrd.masks import grown
from olrd.registry import checked_options
from olrd.storage.files import read_regular
from olrd.trust import decoding

LAYOUTS: Mapping[str, tuple[str, str, str]] = {
    "plain": ("image", "mask", "gt"),
    "rord": ("img", "mask", "gt"),
    "removalbench": ("images", "masks", "gt"),
    "rorem": ("source", "mask", "GT"),
    "syn4removal": ("paste", "mask", "gt"),
}
"""The folders of photos, masks and truths, by the name of the dataset that has them."""
SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def open_pairs(spec: DataSpec) -> Pairs:
    """Open `pairs`.

    Options:
        layout: a key of `LAYOUTS`.
        threshold: grey level above which a mask pixel counts, by default 127, because many masks are JPEG files.
        cluster: `stem` if every item is a different photo, `prefix` if the name up to the last `_` or `-` names the
            scene.
    """
    options = checked_options(spec, {"layout": "plain", "threshold": "127", "cluster": "stem"})
    if options["layout"] not in LAYOUTS:
        raise did_you_mean("layout", options["layout"], LAYOUTS)
    if options["cluster"] not in ("stem", "prefix"):
        raise UsageError(f"pairs: cluster must be stem or prefix, got '{options['cluster']}'")
    folders = LAYOUTS[options["layout"]]
    if spec.root is None:
        raise UsageError(f"pairs: name the folder with --root; it should hold {', '.join(folders)}/")
    return Pairs(Path(spec.root), folders, threshold_of(options["threshold"]), options["cluster"])


def threshold_of(text: str) -> int:
    """A grey level from 0 to 254. Raises `UsageError` otherwise."""
    if not text.isdigit() or not 0 <= int(text) <= 254:
        raise UsageError(f"the mask threshold must be a grey level from 0 to 254, got '{text}'")
    return int(text)


class Pairs:
    """Files with equal stems. A photo without a mask or a truth is an error that names it."""

    name = "pairs"
    warnings: tuple[str, ...] = ()

    def __init__(self, root: Path, folders: tuple[str, str, str], threshold: int, cluster: str) -> None:
        self.root, self.threshold, self.cluster = root, threshold, cluster
        self._files = [_by_stem(root / folder) for folder in folders]
        self._stems = sorted(self._files[0])
        for folder, files in zip(folders[1:], self._files[1:], strict=True):
            if lost := [stem for stem in self._stems if stem not in files]:
                raise SourceError(
                    f"{root}/{folder} holds no file for {len(lost)} of {len(self._stems)} photos (first: {lost[0]})"
                )
        if not self._stems:
            raise SourceError(f"{root}/{folders[0]} holds no picture ({', '.join(sorted(SUFFIXES))})")
        digest = hashlib.sha256(f"{threshold} {cluster}".encode())
        for files in self._files:
            for stem in self._stems:
                digest.update(files[stem].name.encode() + bytes_of(files[stem], SourceError))
        self.fingerprint = digest.hexdigest()[:16]

    def ids(self) -> list[str]:
        """The files' stems, sorted."""
        return self._stems

    def sample(self, index: int) -> Sample:
        """The photo, its mask and its truth. Raises `Rejected` if their sizes differ."""
        stem = self._stems[index]
        paths = [files[stem] for files in self._files]
        image, truth = (decode_photo(bytes_of(p), str(p)).pixels for p in (paths[0], paths[2]))
        mask = grey_mask(paths[1], self.threshold, image)
        same_size(truth, image, paths[2])
        cluster = stem.replace("-", "_").rpartition("_")[0] if self.cluster == "prefix" else ""
        return Sample(stem, cluster or stem, image, mask, truth)


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise SourceError(f"the folder {folder} does not exist")
    paths = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES]
    if strange := [p for p in paths if not p.is_file()]:  # to open a pipe would wait for ever
        raise SourceError(f"{strange[0]} is called like a picture, but it is not a file: remove it")
    if again := duplicates(p.stem for p in paths):
        raise SourceError(f"{folder} holds several pictures called {again[0]}; keep one of them")
    return {p.stem: p for p in paths}


def bytes_of(path: Path, kind: type[OlrdError] = Rejected) -> bytes:
    """The bytes of a picture's file. Raises `Rejected`, or `kind`, if it is not a regular file that can be read."""
    try:
        return read_regular(path)
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror or error}"
        raise (Rejected("photo_unreadable", text) if kind is Rejected else kind(text)) from error


def grey_mask(path: Path, threshold: int, image: Image) -> Mask:
    """Read a mask file as bool [H, W] of the photo's size: True where the grey level is above `threshold`.

    A mask of another size is resized (nearest). Raises `Rejected` if its aspect differs or it cannot be read.
    """
    with open_picture(bytes_of(path), str(path), "panoptic") as opened, decoding("panoptic_unreadable", str(path)):
        grey = np.asarray(opened.convert("L"))
    return fitted(grey > threshold, image, path)


def fitted(mask: Mask, image: Image, path: Path) -> Mask:
    """Resize a mask to the photo's size. Its aspect may differ by one pixel of rounding."""
    height, width = image.shape[:2]
    if mask.shape == (height, width):
        return np.ascontiguousarray(mask)
    if abs(mask.shape[0] * width / mask.shape[1] - height) > 1.0:
        raise Rejected(
            "panoptic_size",
            f"{path}: the mask is {mask.shape[1]} x {mask.shape[0]}, the photo {width} x {height}: another aspect",
        )
    return resize_ids(mask, (width, height))


def same_size(truth: Image, image: Image, path: Path) -> None:
    """Raise `Rejected` unless truth and photo have one size."""
    if truth.shape != image.shape:
        raise Rejected(
            "photo_size",
            f"{path}: the truth is {truth.shape[1]} x {truth.shape[0]}, the photo {image.shape[1]} x {image.shape[0]}",
        )


def drift(image: Image, truth: Image, mask: Mask) -> dict[str, float]:
    """The difference of photo and truth farther than 8 pixels from the mask, where they should be equal.

    Returns:
        The mean signed and the mean absolute difference in grey levels; empty if no pixel is that far from the mask.
    """
    far = ~grown(mask, 8, square=True)
    if not far.any():
        return {}
    difference = image[far].astype(np.int16) - truth[far].astype(np.int16)
    return {
        "input_minus_truth_outside": float(difference.mean()),
        "input_truth_distance_outside": float(np.abs(difference).mean()),
    }
