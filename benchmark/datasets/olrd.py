"""OLRD: any folder or hub id that `datasets.load_dataset` opens with our columns.

Without a root it is the embedded demo's triplets, built on first use.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.datasets import Annotated, DataSpec, Sample, duplicates
from benchmark.datasets.panoptic_maps import SourceMaps, source_maps
from olrd.arrays import MAX_PIXELS, decode_mask, decode_photo
from olrd.builder.cached import demo_triplets
from olrd.draws import digest as keyed_draw
from olrd.errors import SourceError, UsageError, did_you_mean
from olrd.panoptic import Box
from olrd.registry import checked_options

PLAIN = (
    "id",
    "image_id",
    "donor_image_id",
    "category",
    "background_labels",
    "prompt",
    "caption",
    "source_bbox",
    "recipe",
)
PICTURES = ("image", "mask", "background")


def open_olrd(spec: DataSpec) -> OlrdTriplets:
    """Options: split (`all` or a split's name), photos (for a folder of recipes: where the photos are),
    maps (the folder that the build's --root named, for erasers that use panoptic maps), name (what tables call it; letters, digits, `.`, `_` and `-`)."""
    defaults = {"split": "all", "photos": "", "maps": "", "name": "olrd" if spec.root else "olrd-demo"}
    options = checked_options(spec, defaults)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", options["name"]):
        raise UsageError(f"a data set's name is letters, digits, '.', '_' and '-', not '{options['name']}'")
    root = spec.root or str(demo_triplets())
    maps = source_maps(root, options["maps"])
    return OlrdTriplets(options["name"], root, options["split"], options["photos"], maps)


class OlrdTriplets:
    """Triplets; the ground truth is exact. fingerprint: of ids and recipes, which hold pixel hashes."""

    warnings: tuple[str, ...] = ()

    def __init__(self, name: str, root: str, split: str, photos: str, maps: SourceMaps | None = None) -> None:
        self.name, self._maps = name, maps
        self.offers = frozenset({"panoptic"} if maps else ())
        self._rows = _open(root, split, photos)
        held = {*self._rows.column_names, *(PICTURES if photos else ())}  # rendered, for recipes
        missing = sorted({*PLAIN, *PICTURES} - held)
        if missing:
            raise SourceError(
                f"{root}: expected the columns of an OLRD data set, missing {', '.join(missing)}"
                + ("; a folder of recipes needs --data-option photos=FOLDER" if "image" in missing else "")
            )
        self._plain = self._rows.with_format(None).select_columns(list(PLAIN)).to_list()
        ids = self.ids()
        if again := duplicates(ids):
            raise SourceError(f"{root}: sample ids must be different, {again[:3]} occur twice")
        self.fingerprint = self._fingerprint()

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for row in self._plain:
            digest.update(f"{row['id']}\n{row['recipe']}\n".encode())
            if row["caption"]:  # erasers may be given it
                digest.update(f"{row['caption']}\n".encode())
        return digest.hexdigest()[:16]

    def draw(self, count: int, seed: int) -> None:
        """Keep `count` triplets, drawn by id, in their old order; fewer if there are fewer."""
        keyed = sorted(range(len(self._plain)), key=lambda i: keyed_draw(seed, self._plain[i]["id"]))
        kept = sorted(keyed[:count])
        self._plain = [self._plain[i] for i in kept]
        self._rows = self._rows.select(kept)
        self.fingerprint = self._fingerprint()

    def ids(self) -> list[str]:
        """The triplets' ids."""
        return [row["id"] for row in self._plain]

    def sample(self, index: int) -> Sample:
        """Decoded from the stored bytes; rendered, for recipes."""
        plain, row = self._plain[index], self._rows[index]
        image, mask, truth = (_pixels(row[name], name, plain["id"]) for name in PICTURES)
        same = plain["image_id"] == plain["donor_image_id"]
        return Sample(
            id=plain["id"],
            cluster=plain["image_id"],
            image=image,
            mask=mask,
            truth=truth,
            category=plain["category"],
            background=", ".join(plain["background_labels"]),
            prompt=plain["prompt"],
            caption=plain["caption"],
            twin=Box(*plain["source_bbox"]) if same else None,
            annotated=self._reader(plain["image_id"], mask.shape[1], mask.shape[0]),
        )

    def _reader(self, image_id: str, width: int, height: int) -> Callable[[], Annotated | None] | None:
        """Reads the photo's map once, when asked."""
        if self._maps is None:
            return None
        return cache(partial(self._maps.of, image_id, (width, height)))


def _open(root: str, split: str, photos: str) -> Any:
    """All rows as one `datasets.Dataset` with undecoded pictures, or rendered ones for recipes."""
    import datasets

    from olrd.dataset.loading import RenderBatch, open_splits

    loaded = open_splits(root)
    if split != "all" and split not in loaded:
        raise did_you_mean("split", split, loaded)
    rows = datasets.concatenate_datasets([loaded[s] for s in loaded if split in ("all", s)])
    if "image" in rows.column_names:
        for name in set(PICTURES) & set(rows.column_names):
            rows = rows.cast_column(name, datasets.Image(decode=False))
    elif photos:
        if not Path(photos).is_dir():
            raise UsageError(f"--data-option photos={photos} is not a folder")
        rows = rows.with_transform(RenderBatch(photos))
    return rows


def _pixels(value: Any, name: str, sample: str) -> Any:
    if not isinstance(value, dict):  # rendered from a recipe
        # Not np.asarray of a 1-bit picture: its True is the byte 255, which is no valid bool.
        return np.asarray(value.convert("L")) > 0 if name == "mask" else np.asarray(value)
    what = f"{name} of {sample}"
    if name == "mask":
        return np.ascontiguousarray(decode_mask(value["bytes"], what, MAX_PIXELS))
    return decode_photo(value["bytes"], what).pixels
