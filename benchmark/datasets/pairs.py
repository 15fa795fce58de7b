"""`pairs`: photos, masks and, if there are any, truths: in folders, in Parquet files, or on the hub."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark.datasets import DataSpec, Sample, table_name
from benchmark.datasets.pair_doubts import doubts_of, taken_fact
from benchmark.datasets.pair_tables import PairTable, is_table
from olrd.arrays import Image, Mask, decode_photo
from olrd.errors import Rejected, UsageError
from olrd.mask_files import MaskChoice, options_named, read_mask
from olrd.registry import checked_options
from olrd.sources.pairs.columns import OBER
from olrd.sources.pairs.folders import PairFiles, Picture, find_pairs
from olrd.sources.pairs.layouts import layout_of

HALF = "127"
"""The threshold that is half of the range, as masks are read without one."""
DEFAULTS = {
    "layout": "plain",
    "threshold": HALF,
    "cluster": "stem",
    "photos": "",
    "masks": "",
    "truth": "",
    "effects": "",
    "results": "",
    "subfolders": "no",
    "invert": "",
    "mask_from": "",
    "columns": "",
    "split": "all",
    "name": "pairs",
}


def open_pairs(spec: DataSpec) -> Pairs:
    """Open `pairs`.

    Options:
        layout: a key of `LAYOUTS`, or `ober`, a table with the columns of `OBER`.
        photos, masks, truth: folders in place of those of the layout; `truth=none` for a set without truth.
        effects: folder of masks of shadow and reflection (see `Sample.effect`), or `none`.
        columns: `image:NAME,mask:NAME,truth:NAME,id:NAME,cluster:NAME,effect:NAME`: the root is a Parquet file, a folder
            of them, or a hub id.
        split: of a table; by default `all`.
        results: the folder of finished results; `--method folder` reads it (see `benchmark.runner.inputs`).
        subfolders: `yes` to read them too. They are read anyway where a folder itself holds no picture.
        threshold: grey level above which a mask pixel counts, by default 127, because many masks are JPEG files.
        mask_from: `alpha`, `luminance` or `index:N`, for masks with more than one meaning (see `olrd.mask_files`).
        invert: `yes` if black means erase; by default as in the layout.
        cluster: `stem` if every photo is a different scene, `prefix` if the name up to the last `_` or `-` names the
            scene, `folder` if every folder is one scene or clip.
        name: the name in tables, of letters, digits, `.`, `_` and `-`.
    """
    options = checked_options(spec, DEFAULTS)
    table = options["columns"] or OBER * (options["layout"] == "ober")
    layout = layout_of("plain" if options["layout"] == "ober" else options["layout"])
    if options["cluster"] not in ("stem", "prefix", "folder"):
        raise UsageError(f"pairs: cluster must be stem, prefix or folder, got '{options['cluster']}'")
    invert = yes_or_no("invert", options["invert"]) if options["invert"] else layout.invert
    threshold = threshold_of(options["threshold"])
    choice = MaskChoice(options["mask_from"] or None, invert, None if options["threshold"] == HALF else threshold)
    deep = yes_or_no("subfolders", options["subfolders"])
    name = table_name(options["name"])
    if spec.root is None and (table or not (options["photos"] and options["masks"])):
        folders = [folder for folder in (layout.photos, layout.masks, layout.truth) if folder]
        raise UsageError(f"pairs: name the folder with --root; it should hold {', '.join(folders)}/, or Parquet files")
    root = spec.root or "."
    pictures: PairFiles | PairTable
    if table or is_table(root, options["photos"] or layout.photos):
        pictures = PairTable(root, table, options["split"], options["truth"] != "none")
    else:
        pictures = find_pairs(Path(root), layout, options, options["cluster"], deep)
    chosen = f" {options['mask_from']}" * bool(options["mask_from"]) + " inverted" * invert
    return Pairs(name, pictures, choice, f"{threshold} {options['cluster']}{chosen}")


def yes_or_no(option: str, text: str) -> bool:
    """Whether an option is on. Raises `UsageError` unless it is `yes` or `no`."""
    if text not in ("yes", "no"):
        raise UsageError(f"pairs: {option} must be yes or no, got '{text}'")
    return text == "yes"


def threshold_of(text: str) -> int:
    """A grey level from 0 to 254. Raises `UsageError` otherwise."""
    if not text.isdigit() or not 0 <= int(text) <= 254:
        raise UsageError(f"the mask threshold must be a grey level from 0 to 254, got '{text}'")
    return int(text)


class Pairs:
    """Samples of pictures that belong together.

    Args:
        name: in tables.
        pictures: where they are.
        choice: how masks are read.
        settings: the options that change the samples, as a text; part of the fingerprint.
    """

    def __init__(self, name: str, pictures: PairFiles | PairTable, choice: MaskChoice, settings: str) -> None:
        self.name, self._pictures, self._choice = name, pictures, choice
        self._ids, self._clusters = pictures.ids, pictures.clusters
        self.effects = pictures.effects
        self.fingerprint, self.warnings = pictures.hash(settings), tuple(pictures.warnings)

    def ids(self) -> list[str]:
        """The names of the photos, or of the masks where a photo has several, sorted; the ids of a table's rows."""
        return self._ids

    def sample(self, index: int) -> Sample:
        """The photo, its mask and its truth. Raises `Rejected` if their sizes differ."""
        photo, drawn, known = self._pictures.pictures(index)
        image = decode_photo(photo.data, photo.name).pixels
        mask, facts = self._mask(drawn, image)
        truth = None
        if known is not None:
            truth = decode_photo(known.data, known.name).pixels
            same_size(truth, image, known.name)
        facts |= doubts_of(image, mask, truth)
        effect = self._effect(index, image) if self.effects else None
        return Sample(self._ids[index], self._clusters[index], image, mask, truth, effect=effect, facts=facts)

    def _effect(self, index: int, image: Image) -> Mask:
        """The mask of shadow and reflection, empty if the sample has none."""
        drawn = self._pictures.effect(index)
        return self._mask(drawn, image)[0] if drawn else np.zeros(image.shape[:2], bool)

    def _mask(self, drawn: Picture, image: Image) -> tuple[Mask, dict[str, float]]:
        """The mask in the photo's size, and the fact of how it is read, if that is not as grey levels."""
        with options_named("--data-option"):
            found = read_mask(drawn.data, drawn.name, image.shape[1::-1], self._choice)
        return found.mask, taken_fact(found.kind)


def same_size(truth: Image, image: Image, name: str | Path) -> None:
    """Raise `Rejected` unless truth and photo have one size."""
    if truth.shape != image.shape:
        raise Rejected(
            "photo_size",
            f"{name}: the truth is {truth.shape[1]} x {truth.shape[0]}, the photo {image.shape[1]} x {image.shape[0]}",
        )
