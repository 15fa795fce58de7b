"""The columns of a triplet, as `datasets.load_dataset` opens them.

Pictures are Arrow `struct<bytes, path>` with the Hugging Face feature `Image`. The features are stored in the schema
metadata. The files are written with pyarrow alone.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pyarrow as pa

from olrd.config import BuildConfig
from olrd.sources import SEEN, SourceInfo

_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_IMAGE_RGB = {"mode": "RGB", "_type": "Image"}
_IMAGE = {"_type": "Image"}

# name -> (Arrow type, Hugging Face feature); None stands for a plain Value of that type
_PIXEL_COLUMNS: dict[str, tuple[pa.DataType, dict[str, Any]]] = {
    "image": (_PICTURE, _IMAGE_RGB),
    "mask": (_PICTURE, _IMAGE),
    "background": (_PICTURE, _IMAGE_RGB),
}
_OPTIONAL_PICTURES: dict[str, tuple[pa.DataType, dict[str, Any]]] = {"effect": (_PICTURE, _IMAGE)}
"""Pictures that only some builds have; see `optional_columns`."""
MASKS = "masks"
"""The optional column that is a list of pictures: the mask of every object."""
_OPTIONAL_LISTS: dict[str, tuple[pa.DataType, dict[str, Any]]] = {
    MASKS: (pa.list_(_PICTURE), {"feature": _IMAGE, "_type": "List"})
}
_OPTIONAL_PLAIN: dict[str, pa.DataType] = {"categories": pa.list_(pa.string())}
_BOX = pa.list_(pa.int32(), 4)
_PLAIN_COLUMNS: dict[str, pa.DataType] = {
    "id": pa.string(),
    "source": pa.string(),
    "split": pa.string(),
    "image_id": pa.string(),
    "donor_image_id": pa.string(),
    "segment_id": pa.int64(),
    "category": pa.string(),
    "supercategory": pa.string(),
    "background_kind": pa.string(),
    "background_labels": pa.list_(pa.string()),
    "prompt": pa.string(),
    "caption": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "bbox": _BOX,
    "source_bbox": _BOX,
    "shift": pa.list_(pa.int32(), 2),
    "scale": pa.float64(),
    "flip": pa.bool_(),
    "mask_area": pa.float64(),
    "placement": pa.string(),
    "blend": pa.string(),
    "license": pa.string(),
    "license_url": pa.string(),
    "source_url": pa.string(),
    "author": pa.string(),
    "donor_license": pa.string(),
    "donor_license_url": pa.string(),
    "donor_source_url": pa.string(),
    "donor_author": pa.string(),
    "recipe": pa.string(),
}
PICTURES = tuple(_PIXEL_COLUMNS)
"""The pictures that every row in full form has."""
ALL_PICTURES = (*PICTURES, *_OPTIONAL_PICTURES)
"""All columns that hold pictures, in any build."""


def optional_columns(config: BuildConfig, source: SourceInfo) -> tuple[str, ...]:
    """The optional columns of a build: `effect` if shadows are known, because the background was seen or
    shadows were drawn; `masks` and `categories` if several objects may be pasted."""
    full = config.form == "full"
    if source.background_kind == SEEN:
        return ("effect",) if full else ()
    shaded = ("effect",) if full and config.shadow != "none" else ()
    several = ((MASKS, "categories") if full else ("categories",)) if config.several else ()
    return (*shaded, *several)


def _value(kind: pa.DataType) -> dict[str, Any]:
    """The Hugging Face feature of a plain Arrow type."""
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _value(kind.value_type), "length": kind.list_size, "_type": "List"}
    if pa.types.is_list(kind):
        return {"feature": _value(kind.value_type), "_type": "List"}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}


def features(form: str, optional: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """The Hugging Face features by column, in column order. optional: see `optional_columns`."""
    columns = {name: _value(kind) for name, kind in _PLAIN_COLUMNS.items()}
    columns |= {name: _value(kind) for name, kind in _OPTIONAL_PLAIN.items() if name in optional}
    if form == "recipes":
        return columns
    pictures = {name: feature for name, (_, feature) in _PIXEL_COLUMNS.items()}
    more = _OPTIONAL_PICTURES | _OPTIONAL_LISTS
    pictures |= {name: feature for name, (_, feature) in more.items() if name in optional}
    return {"id": columns.pop("id")} | pictures | columns


@cache
def schema(form: str, optional: tuple[str, ...] = ()) -> pa.Schema:
    """The Arrow schema of `form` (`full` or `recipes`), with the features as metadata. optional: see
    `optional_columns`."""
    pictures = _PIXEL_COLUMNS | _OPTIONAL_PICTURES | _OPTIONAL_LISTS
    kinds = {name: kind for name, (kind, _) in pictures.items()} | _PLAIN_COLUMNS | _OPTIONAL_PLAIN
    described = features(form, optional)
    metadata = {"huggingface": json.dumps({"info": {"features": described}})}
    return pa.schema([(name, kinds[name]) for name in described], metadata=metadata)
