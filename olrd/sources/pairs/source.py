"""`pairs`: two pictures of one scene, with and without an object: folders of published sets, Parquet files, or a set of the
Hub."""

from __future__ import annotations

from urllib.parse import quote

import numpy as np

from olrd.arrays import Image, Mask, resize_ids
from olrd.errors import Rejected, SourceError, UsageError
from olrd.licenses import license_code, license_url
from olrd.mask_files import MaskChoice, options_named, read_mask
from olrd.panoptic import Box, Record
from olrd.registry import checked_options
from olrd.sources import SEEN, SourceSpec, check_unused
from olrd.sources.pairs.sets import Pair, PairSet, pair_set
from olrd.sources.seen import Layer, PictureRef, Seen, seen_categories
from olrd.sources.seen.alignment import Motion, displacement, large_motion, small_motion, warped
from olrd.sources.seen.changes import MOST_CHANGED, Found, known_object, objects_in
from olrd.sources.seen.hub_pictures import HubPictures, hub_id
from olrd.sources.seen.picture_files import PictureFiles, working_pixels
from olrd.sources.seen.tones import MAX_TONE, Tone, fitted_tone, tone_change, toned
from olrd.storage.remote import location

DEFAULTS = {
    "layout": "plain",
    "photos": "",
    "masks": "",
    "truth": "",
    "effects": "",
    "columns": "",
    "split": "all",
    "cluster": "stem",
    "invert": "",
    "mask_from": "",
    "align": "auto",
    "category": "object",
    "license": "",
    "source_url_prefix": "",
}
ALIGNMENTS = ("auto", "no")
MAX_MOTION = 0.25
"""Largest displacement of a hand-held camera, as a share of the picture's longer side."""
MAX_RESIDUAL = 12.0
"""Largest difference in levels that an alignment may leave (see `_residual`)."""
BETTER = 0.85
"""An alignment counts if it leaves less than this share of the difference."""


class Pairs:
    """See `olrd.sources.seen.SeenSource`. The plate of a pair is its picture without the object."""

    name = "pairs"
    background_kind = SEEN

    def __init__(self, pairs: PairSet, files: PictureFiles | HubPictures, spec: SourceSpec) -> None:
        options = checked_options(spec, DEFAULTS)
        self.fingerprint, self.categories = pairs.fingerprint, seen_categories(options["category"])
        self._pairs, self._files, self._max_pixels = pairs.pairs, files, spec.max_pixels
        inverted = pairs.invert if not options["invert"] else options["invert"] == "yes"
        self._choice = MaskChoice(options["mask_from"] or None, inverted)
        self._align = options["align"] == "auto"
        self._license = license_url(options["license"]) if options["license"] else ""
        self._prefix = options["source_url_prefix"]
        self._numbers = {pair.id: number for number, pair in enumerate(self._pairs)}

    def __len__(self) -> int:
        return len(self._pairs)

    def image_id(self, index: int) -> str:
        return self._pairs[index].id

    def scene_id(self, index: int) -> str:
        return self._pairs[index].scene

    def picture(self, index: int) -> PictureRef:
        return self._pairs[index].image

    def record(self, index: int) -> Record:
        pair = self._pairs[index]
        name = pair.image.file_name
        url = self._prefix + quote(name) if self._prefix else ""
        return Record(pair.id, name, 0, 0, license_code(self._license), self._license, url, "", None, ())

    def photo_bytes(self, record: Record) -> bytes:
        return self._read(self._pairs[self._numbers[record.image_id]].image)

    def skipped(self, index: int) -> str | None:
        return None

    def _read(self, ref: PictureRef) -> bytes:
        return self._files.read(ref.file_name, ref.part)

    def seen(self, index: int, pixels: Image, size: int | None) -> Seen:
        pair = self._pairs[index]
        without = working_pixels(self._read(pair.truth), pair.truth.file_name, size, self._max_pixels)
        if without.shape != pixels.shape and not self._align:
            raise Rejected("photo_size", f"{pair.id}: the pictures with and without the object differ in size")
        motion, tone = self._fit(pair.id, pixels, without)
        whole = Box(0, 0, pixels.shape[1], pixels.shape[0])
        plate, valid = warped(without, motion, whole)
        plate = toned(plate, tone)
        found = self._objects(pair, pixels, plate, valid)
        if found.share > MOST_CHANGED:
            raise Rejected(
                "camera_moved", f"{pair.id}: {100 * found.share:.0f} % of the picture differ after alignment"
            )
        layer = Layer(pair.truth, motion, tone)
        return Seen((layer,), 0, found.changes, found.rejected, lambda box: np.ascontiguousarray(plate[box.crop()]))

    def _fit(self, name: str, pixels: Image, without: Image) -> tuple[Motion | None, Tone | None]:
        """Motion and tone of the picture without the object.

        Raises `Rejected` with the figure if the best alignment leaves too much.
        """
        motion: Motion | None = None
        left, tone = _residual(pixels, without, None) if pixels.shape == without.shape else (np.inf, None)
        if self._align and left > 1.0:
            for estimate in (small_motion, large_motion) if pixels.shape == without.shape else (large_motion,):
                try:
                    found = estimate(pixels, without)
                except ValueError as error:
                    if not np.isfinite(left):
                        raise Rejected("camera_moved", f"{name} cannot be aligned: {error}") from error
                    continue
                if found is None or displacement(found, pixels.shape) > MAX_MOTION * max(pixels.shape):
                    continue
                remains, matched = _residual(pixels, without, found)
                if remains < BETTER * left:
                    motion, left, tone = found, remains, matched
        if not np.isfinite(left):
            raise Rejected(
                "camera_moved", f"{name}: the pictures differ in size, and no alignment of them is plausible"
            )
        if left > MAX_RESIDUAL:
            raise Rejected(
                "camera_moved",
                f"{name}: the mean difference at edges is {left:.1f} levels after alignment, at most {MAX_RESIDUAL:.0f} fit",
            )
        if (change := tone_change(tone)) > MAX_TONE:
            raise Rejected("light_changed", f"{name}: levels differ by up to {change:.0f}, at most {MAX_TONE:.0f} fit")
        return motion, tone

    def _objects(self, pair: Pair, pixels: Image, plate: Image, valid: Mask) -> Found:
        mask = self._mask(pair.mask, pixels)
        effect = self._mask(pair.effect, pixels)
        if mask is None:
            return objects_in(pixels, plate, valid)
        return known_object(pixels, plate, valid, mask, effect)

    def _mask(self, ref: PictureRef | None, pixels: Image) -> Mask | None:
        """A mask at working size, or None."""
        if ref is None:
            return None
        with options_named("--source-option"):
            mask = read_mask(self._read(ref), ref.file_name, None, self._choice, self._max_pixels).mask
        shape = pixels.shape[:2]
        if abs(mask.shape[0] * shape[1] - mask.shape[1] * shape[0]) > 2 * max(shape):
            raise Rejected(
                "panoptic_size",
                f"{ref.file_name}: the mask is {mask.shape[1]} x {mask.shape[0]}, the picture {shape[1]} x {shape[0]}",
            )
        return mask if mask.shape == shape else np.ascontiguousarray(resize_ids(mask, (shape[1], shape[0])))


def _residual(pixels: Image, without: Image, motion: Motion | None) -> tuple[float, Tone | None]:
    """The mean difference in levels that a motion and the best tone leave, and that tone.

    It is measured where the picture has edges, because flat parts fit anywhere. Differences over 40 count as 40.
    """
    plate, valid = warped(without, motion, Box(0, 0, pixels.shape[1], pixels.shape[0]))
    tone = fitted_tone(plate, pixels, valid)
    step = max(1, pixels.shape[0] // 400)
    one, other = pixels[::step, ::step].astype(np.int16), toned(plate, tone)[::step, ::step].astype(np.int16)
    far = np.abs(one - other).max(axis=2)
    edges = np.abs(np.diff(one.sum(axis=2), axis=0, prepend=0)) + np.abs(np.diff(one.sum(axis=2), axis=1, prepend=0))
    usable = valid[::step, ::step]
    if not usable.any():
        return np.inf, tone
    usable = usable & (edges >= np.percentile(edges[usable], 70))
    return float(np.mean(np.minimum(far[usable], 40))), tone


def open_pairs(spec: SourceSpec) -> Pairs:
    """`--source pairs --root ROOT [--source-option KEY=VALUE]`. The root is a folder, its URL, or OWNER/NAME or
    `hf://OWNER/NAME`, a dataset of the Hub, which `datasets` downloads.

    Options: `layout` (see `olrd.sources.pairs.layouts`, or `ober`), `photos`, `masks`, `truth` and `effects` (folders;
    `masks=none` finds objects by difference), `columns` (of Parquet files and datasets of the Hub:
    `image:A,truth:B,mask:C,effect:D,id:E,cluster:F`), `split` (of those, or `all`), `cluster` (`stem`, `prefix` or `folder`: what is one scene), `invert=yes` and `mask_from` (how masks
    are read), `align` (`auto` or `no`), `category`, `license` and `source_url_prefix`.
    """
    check_unused(spec, "subset")
    options = checked_options(spec, DEFAULTS)
    for name, allowed in {
        "cluster": ("stem", "prefix", "folder"),
        "align": ALIGNMENTS,
        "invert": ("", "yes", "no"),
    }.items():
        if options[name] not in allowed:
            raise UsageError(
                f"the source pairs: {name} must be {' or '.join(filter(None, allowed))}, got '{options[name]}'"
            )
    if spec.root is None:
        raise UsageError(
            "--source pairs needs --root: the folder of the pairs or of Parquet files, or OWNER/NAME of a hub set"
        )
    if repository := hub_id(spec.root):
        hub = HubPictures(repository)
        return Pairs(pair_set(repository, options, hub), hub, spec)
    root = location(spec.root)
    if not root.is_dir():
        raise SourceError(f"--root {spec.root} is not a folder")
    files = PictureFiles(root, spec.max_pixels)
    return Pairs(pair_set(root, options, files), files, spec)
