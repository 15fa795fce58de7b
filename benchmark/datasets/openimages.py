"""Two datasets of Open Images V5-V7.

- `openimages-shift`: pairs with an exact truth, which `olrd` builds from photos and instance masks. An object is moved
  inside its photo and then erased.
- `openimages-original` (legacy): the original photo, with the object in it, is the reference, as in some papers. An
  eraser that does nothing scores best, and every table warns of this.
"""

from __future__ import annotations

import hashlib

from benchmark.datasets import DataSpec, Sample
from benchmark.datasets.olrd import OlrdTriplets
from olrd.arrays import decode_photo
from olrd.builder.cached import built_once
from olrd.config import BuildConfig
from olrd.draws import digest
from olrd.errors import UsageError
from olrd.registry import checked_options
from olrd.sources import SourceSpec, open_source

SEED = 2410
WHERE = (
    "Open Images: photos from the bucket open-images-dataset ({split}/<ImageID>.jpg), masks and "
    "<split>-annotations-object-segmentation.csv from https://storage.googleapis.com/openimages; give "
    "--root the folder that holds them, e.g. test/, test-masks/ and the CSV"
)
LEGACY = "legacy: the reference is the original photo with the object in it; doing nothing scores best"


def open_shift(spec: DataSpec) -> OlrdTriplets:
    """Open `openimages-shift`. The triplets are built once, in the user's cache.

    Options: `size` (`all`, or the number of triplets, drawn by id with a fixed seed; papers use 1000 and 10000) and
    `subset`.
    """
    options = checked_options(spec, {"size": "all", "subset": ""})
    folder = built_once(BuildConfig(_source(spec, options["subset"]), seed=SEED), "openimages-shift")
    data = OlrdTriplets("openimages-shift", str(folder), "all", "")
    if options["size"] != "all":
        data.draw(_count(options["size"]), SEED)
    return data


def open_original(spec: DataSpec) -> Original:
    """Open `openimages-original`. Options: `size` and `subset`, as for `openimages-shift`."""
    options = checked_options(spec, {"size": "all", "subset": ""})
    return Original(_source(spec, options["subset"]), options["size"])


def _source(spec: DataSpec, subset: str) -> SourceSpec:
    if spec.root is None:
        raise UsageError(f"{spec.name}: name the folder with --root. {WHERE}")
    return SourceSpec("openimages", spec.root, subset or None)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"size must be 'all' or a whole number of at least 1, got '{text}'")
    return int(text)


class Original:
    """One sample per instance mask. Masks of another size than the photo are resized."""

    name = "openimages-original"
    warnings = (LEGACY,)

    def __init__(self, source: SourceSpec, size: str) -> None:
        self._source, self._max_pixels = open_source(source), source.max_pixels
        listed = []
        for index in range(len(self._source)):
            record = self._source.record(index)
            listed += [
                (f"{record.image_id}-{s.id}", index, k)
                for k, s in enumerate(record.segments)
                if self._source.categories[s.category_id].isthing  # leaves out the unlabelled rest
            ]
        if size != "all":
            listed = sorted(listed, key=lambda item: digest(SEED, item[0]))[: _count(size)]
        self._listed = sorted(listed)
        text = "\n".join([self._source.fingerprint, *(i for i, _, _ in self._listed)])
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()[:16]

    def ids(self) -> list[str]:
        """`<ImageID>-<instance>`, sorted."""
        return [item[0] for item in self._listed]

    def sample(self, index: int) -> Sample:
        """The photo, an instance mask, and the photo again as the reference."""
        name, number, segment = self._listed[index]
        record = self._source.record(number)
        data = self._source.photo_bytes(record)
        photo = decode_photo(data, record.file_name, self._max_pixels).pixels
        panoptic = self._source.panoptic(record, photo.shape[1], photo.shape[0])
        chosen = panoptic.segments[segment]
        mask = panoptic.ids == chosen.id
        category = self._source.categories[chosen.category_id].name
        return Sample(name, record.image_id, photo, mask, photo, category)
