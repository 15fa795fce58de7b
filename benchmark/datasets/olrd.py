"""`olrd`: triplets of `olrd-build` in a folder or on the hub.

Without a root, these are the triplets of the embedded photos, which are built on first use.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any

from benchmark.datasets import AlteredError, Annotated, DataSpec, Sample, table_name
from benchmark.datasets.panoptic_maps import SourceMaps, source_maps
from olrd.builder.cached import demo_triplets
from olrd.dataset.rows import Rows
from olrd.draws import digest as keyed_draw
from olrd.errors import IntegrityError, SourceError, UsageError
from olrd.panoptic import Box
from olrd.registry import checked_options
from olrd.sources.pairs.names import duplicates
from olrd.triplets.compose import Triplet, pixels_sha256
from olrd.triplets.seen_maker import SEEN_WORD
from olrd.triplets.seen_recipe import KIND as SEEN_KIND
from olrd.trust import shown

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
OPTIONAL = ("placement",)
"""Columns that datasets of other tools may lack."""


def open_olrd(spec: DataSpec) -> OlrdTriplets:
    """Open `olrd`.

    Options:
        split: the name of a split, or `all`.
        photos: folder of the photos; needed for recipes.
        maps: folder of the source that was built from, for erasers that use panoptic maps.
        per_photo: most triplets of one photo, drawn by id; 0 keeps all.
        name: the name in tables, of letters, digits, `.`, `_` and `-`.
    """
    defaults = {"split": "all", "photos": "", "maps": "", "per_photo": "0"}
    options = checked_options(spec, defaults | {"name": "olrd" if spec.root else "olrd-demo"})
    name = table_name(options["name"])
    if not options["per_photo"].isdecimal():
        raise UsageError(f"--data-option per_photo expects a whole number from 0, found {shown(options['per_photo'])}")
    root = spec.root or str(demo_triplets())
    maps = source_maps(root, options["maps"])
    triplets = OlrdTriplets(name, root, options["split"], options["photos"], maps)
    if most := int(options["per_photo"]):
        triplets.thin(most)
    return triplets


class OlrdTriplets:
    """Triplets with an exact truth.

    The fingerprint is a hash of ids and recipes, and recipes hold hashes of the pixels. Every sample is checked against
    its recipe when it is read.
    """

    warnings: tuple[str, ...] = ()

    def __init__(self, name: str, root: str, split: str, photos: str, maps: SourceMaps | None = None) -> None:
        self.name, self._root, self._maps = name, root, maps
        self.offers = frozenset({"panoptic"} if maps else ())
        self._rows = Rows(root, split, photos, PLAIN, "--data-option photos=FOLDER", OPTIONAL)
        self._plain = self._rows.plain()
        for number, row in enumerate(self._plain):
            check_row(row, f"{root}, row {number}")
        self.effects = any(f'"kind":"{SEEN_KIND}"' in (row["recipe"] or "") for row in self._plain)
        ids = self.ids()
        if again := duplicates(ids):
            raise SourceError(f"{root}: sample ids must be unique, but {again[:3]} occur twice")
        self.fingerprint = self._fingerprint()

    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for row in self._plain:
            digest.update(f"{row['id']}\n{row['recipe']}\n".encode())
            if row["caption"]:  # erasers may use it
                digest.update(f"{row['caption']}\n".encode())
        return digest.hexdigest()[:16]

    def draw(self, count: int, seed: int) -> None:
        """Keep `count` triplets at most, drawn by id, in their order."""
        self._keep(self._shuffled(seed)[:count])

    def thin(self, most: int) -> None:
        """Keep at most `most` triplets of each photo, drawn by id, in their order."""
        photos: Counter[str] = Counter()
        kept = []
        for index in self._shuffled(0):
            photo = self._plain[index]["image_id"]
            photos[photo] += 1
            if photos[photo] <= most:
                kept.append(index)
        self._keep(kept)

    def _shuffled(self, seed: int) -> list[int]:
        return sorted(range(len(self._plain)), key=lambda i: keyed_draw(seed, self._plain[i]["id"]))

    def _keep(self, indices: list[int]) -> None:
        kept = sorted(indices)
        self._plain = [self._plain[i] for i in kept]
        self._rows.keep(kept)
        self.fingerprint = self._fingerprint()

    def ids(self) -> list[str]:
        """The triplets' ids."""
        return [row["id"] for row in self._plain]

    def sample(self, index: int) -> Sample:
        """Decode a triplet from its stored bytes, or render it from its recipe. Raises `AlteredError` if it is not the
        one of its recipe."""
        plain, (_, triplet) = self._plain[index], self._rows[index]
        check_recipe(plain, triplet, self._root)
        image, mask, truth, effect, _ = triplet
        same = plain["image_id"] == plain["donor_image_id"] and plain["placement"] != SEEN_WORD
        return Sample(
            id=plain["id"],
            cluster=plain["image_id"],
            image=image,
            mask=mask,
            truth=truth,
            category=plain["category"] or "",
            background=", ".join(plain["background_labels"] or ()),
            placement=plain["placement"] or "",
            prompt=plain["prompt"],
            caption=plain["caption"],
            twin=Box(*plain["source_bbox"]) if same else None,
            effect=effect,
            annotated=self._reader(plain["image_id"], mask.shape[1], mask.shape[0]),
        )

    def _reader(self, image_id: str, width: int, height: int) -> Callable[[], Annotated | None] | None:
        """A function that reads the map of a photo on its first call and keeps it."""
        if self._maps is None:
            return None
        return cache(partial(self._maps.of, image_id, (width, height)))


def check_row(row: dict[str, Any], where: str) -> None:
    """Raise `IntegrityError` if a value is not of the type that its column promises. Parquet allows null anywhere."""
    box, labels = row["source_bbox"], row["background_labels"] or []
    texts = (row.get(name) for name in ("donor_image_id", "category", "prompt", "caption", "recipe", "placement"))
    good = (
        *((name, isinstance(row[name], str) and row[name] != "") for name in ("id", "image_id")),
        ("source_bbox", isinstance(box, list) and len(box) == 4 and all(type(number) is int for number in box)),
        ("background_labels", isinstance(labels, list) and all(isinstance(label, str) for label in labels)),
        ("texts", all(text is None or isinstance(text, str) for text in texts)),
    )
    for name, well in good:
        if not well:
            found = shown(row.get(name, "another type"))
            raise IntegrityError(f"{where}: {name} is {found}, which no triplet has: the dataset is damaged")


def check_recipe(row: dict[str, Any], triplet: Triplet, where: str) -> None:
    """Raise `AlteredError` if a row's pixels, photos or box are not those of its recipe.

    A recipe of another tool, without `pixels_sha256`, promises nothing and is not checked. where: the dataset.
    """
    recipe: Any = None
    with suppress(ValueError, TypeError, RecursionError):
        recipe = json.loads(row["recipe"])
    if not isinstance(recipe, dict) or not recipe.get("pixels_sha256"):
        return
    if recipe.get("kind") == SEEN_KIND:
        named = {"image_id": recipe.get("scene"), "donor_image_id": recipe.get("image_id")}
        box = recipe.get("mask_bbox")
    else:
        photos = {"image_id": recipe.get("background"), "donor_image_id": recipe.get("donor")}
        named = {name: photo.get("image_id") if isinstance(photo, dict) else None for name, photo in photos.items()}
        box = recipe.get("source_bbox")
    says = {"id": recipe.get("id"), **named, "source_bbox": box, "pixels (sha256)": recipe["pixels_sha256"]}
    found = {name: row.get(name) for name in says} | {"pixels (sha256)": pixels_sha256(triplet)}
    for name, value in says.items():
        if found[name] != value:
            raise AlteredError(
                f"{where}, triplet {shown(row['id'])}: {name} is {shown(found[name])}, the recipe says {shown(value)}: "
                "the dataset was changed after it was built, and scores on it mean nothing. Get the original again; "
                "`olrd verify` finds every such triplet"
            )
