"""A dataset in Croissant, the JSON-LD in which machine-learning datasets are described, with its RAI fields.

Croissant 1.1: http://mlcommons.org/croissant/1.1. RAI (responsible AI) 1.0: http://mlcommons.org/croissant/RAI/1.0. The
files and columns follow from build.json and the schema, the RAI texts from how the triplets were made. What only the
publisher knows (address, creator, date) is given by the caller.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from olrd.dataset import seen_words
from olrd.dataset.folder import Dataset
from olrd.dataset.record import BuildRecord
from olrd.dataset.responsible import Facts, is_refused, plain, responsible
from olrd.dataset.schema import features, optional_columns
from olrd.errors import UsageError
from olrd.licenses import license_url
from olrd.sources import SEEN
from olrd.trust import counted

PARQUET = "application/x-parquet"
SPECIFICATIONS = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
KINDS = {
    "string": "sc:Text",
    "bool": "sc:Boolean",
    "int32": "cr:Int32",
    "int64": "cr:Int64",
    "float64": "cr:Float64",
    "Image": "sc:ImageObject",
}
"""Croissant's name of each type that a column may have."""
COLUMNS = {
    "image": "the composite: the photo with the object pasted into it",
    "mask": "1-bit; 1 = the pixels to erase, with every pixel that the paste touched",
    "masks": "the mask of every pasted object; their union is mask",
    "categories": "the classes of the pasted objects, in the order of masks",
    "background": "the ground truth: the untouched photo; equal to image outside the mask",
    "prompt": "a short text from the labels of the background under the object",
    "caption": "a long caption of the background by a model, or null",
    "bbox": "x, y, width, height of the pasted object in pixels",
    "source_bbox": "x, y, width, height of the object at its original place in pixels",
    "shift": "the move in pixels, right and down",
    "mask_area": "the mask's share of the photo",
    "license": "licence of the background photo (SPDX where it has a code)",
    "donor_license": "licence of the photo that the object comes from",
    "recipe": "JSON from which the pixels are made again, with their hashes",
}
SHADED_COLUMNS = {
    "effect": "1-bit; 1 = the mask, and every pixel that the drawn shadow of the object darkens",
    "background": "the ground truth: the untouched photo; equal to image outside the effect",
}
"""The same in sets with shadows."""
LANGUAGE: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The terms of the specification, as every Croissant file carries them."""


@dataclass(frozen=True)
class Publication:
    """What build.json does not know.

    Attributes:
        name: of the dataset.
        url: the page of the dataset. Files are addressed under `<url>/resolve/main/` on the Hugging Face Hub, and
            under the address itself elsewhere; without a url relative to the folder.
        creator: a person or an organisation.
        date: of publication, as YYYY-MM-DD.
        version: e.g. 1.0.0.
        citation: BibTeX.
        derived_from: addresses of the datasets that the photos and annotations come from.
    """

    name: str = "object-removal-triplets"
    url: str = ""
    creator: str = ""
    date: str = ""
    version: str = "1.0.0"
    citation: str = ""
    derived_from: tuple[str, ...] = ()

    def not_given(self) -> list[str]:
        """The options of `olrd croissant` that conferences ask for and that were left out."""
        given = {"url": self.url, "creator": self.creator, "date": self.date, "citation": self.citation}
        return [f"--{name}" for name, value in (given | {"derived-from": self.derived_from}).items() if not value]


def _is_day(text: str) -> bool:
    """Whether a text is a day of the calendar, as YYYY-MM-DD."""
    try:
        return date.fromisoformat(text).isoformat() == text  # a day has other ISO forms too
    except ValueError:
        return False


def croissant(dataset: Dataset, publication: Publication) -> dict[str, Any]:
    """The Croissant description of a dataset, as JSON values.

    Raises:
        UsageError: an address, the date or the version has another form.
    """
    for what, address in (("the dataset", publication.url), *(("a source", one) for one in publication.derived_from)):
        if address and not address.startswith(("http://", "https://")):
            raise UsageError(f"the address of {what} must start with https://, got {address!r}")
    if publication.date and not _is_day(publication.date):
        raise UsageError(f"--date expects a day as YYYY-MM-DD, got {publication.date!r}")
    if not re.fullmatch(r"\d+\.\d+\.\d+", publication.version, re.ASCII):
        raise UsageError(f"--dataset-version expects numbers as X.Y.Z, e.g. 1.0.0, got {publication.version!r}")
    record = dataset.record
    facts = _facts(dataset)
    described: dict[str, Any] = {
        "@context": LANGUAGE,
        "@type": "sc:Dataset",
        "conformsTo": list(SPECIFICATIONS),
        "name": publication.name,
        "description": _description(record),
        "version": publication.version,
        "keywords": ["object removal", "inpainting", "image-to-image", "panoptic segmentation"],
        "isLiveDataset": False,
    }
    given = {
        "license": sorted({address for _, address in facts.licenses if address}),
        "url": publication.url,
        "citeAs": publication.citation,
        "datePublished": publication.date,
        "creator": {"@type": "sc:Organization", "name": publication.creator} if publication.creator else "",
    }
    described |= {name: value for name, value in given.items() if value}
    described |= responsible(record, facts, publication.derived_from)
    described["distribution"] = list(_files(record, publication.url))
    described["recordSet"] = [_records(record, split) for split in record.splits]
    return described


def _description(record: BuildRecord) -> str:
    kind = "Recipes, from which the pictures are made again, of triplets" if record.form == "recipes" else "Triplets"
    source = plain(record.source.name)
    if record.source.background_kind == SEEN:
        noun, what = "photo", seen_words.DESCRIPTION.format(source=source)
    else:
        noun = "composite"
        what = (
            f"of the source {source}, in which an object was cut out, moved onto a background region of a photo and "
            "blended in. The untouched photo is the exact ground truth."
        )
    return f"{kind} for object removal: {counted(record.totals.triplets, noun)} {what} Built by olrd {plain(record.olrd)}: {plain(record.command)}"


def _files(record: BuildRecord, url: str) -> Iterator[dict[str, Any]]:
    """A file per shard, and a set of files per split, which the records are read from."""
    base = f"{url.rstrip('/')}/" if url else ""
    if base.startswith("https://huggingface.co/datasets/"):
        base += "resolve/main/"
    for shard in record.shards:
        yield {
            "@type": "cr:FileObject",
            "@id": shard.file,
            "name": shard.file,
            "contentUrl": f"{base}{shard.file}",
            "contentSize": f"{shard.bytes} B",
            "encodingFormat": PARQUET,
            "sha256": shard.sha256,
        }
    for split in record.splits:
        yield {
            "@type": "cr:FileSet",
            "@id": f"{split}-files",
            "name": f"{split}-files",
            "encodingFormat": PARQUET,
            "includes": f"data/{split}-*.parquet",
        }


def _records(record: BuildRecord, split: str) -> dict[str, Any]:
    """The rows of a split with all columns."""
    name, seen = f"{split}-rows", record.source.background_kind == SEEN
    optional = optional_columns(record.settings(), record.source)
    more = seen_words.COLUMNS if seen else SHADED_COLUMNS if record.settings().shadow != "none" else {}
    words = COLUMNS | more
    fields = [
        _field(name, column, feature, split, words.get(column))
        for column, feature in features(record.form, optional).items()
    ]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "key": {"@id": f"{name}/id"}, "field": fields}


def _field(
    records: str, column: str, feature: Mapping[str, Any], split: str, description: str | None
) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": f"{split}-files"}, "extract": {"column": column}}
    found: dict[str, Any] = {"@type": "cr:Field", "@id": f"{records}/{column}", "name": column}
    if description:
        found["description"] = description
    if feature["_type"] == "List":
        found |= {"repeated": True, "dataType": KINDS[feature["feature"].get("dtype", "Image")]}
        if "dtype" not in feature["feature"]:
            source["transform"] = {"jsonPath": "[*].bytes"}
    elif feature["_type"] == "Image":
        found["dataType"] = KINDS["Image"]
        source["transform"] = {"jsonPath": "bytes"}
    else:
        found["dataType"] = KINDS[feature["dtype"]]
    return found | {"source": source}


def _facts(dataset: Dataset) -> Facts:
    """Counts over all rows."""
    licenses, categories = Counter[tuple[str, str]](), Counter[str]()
    refused = 0
    names = ["image_id", "category", "license", "license_url", "donor_license", "donor_license_url"]
    photos: set[str] = set()
    for row in dataset.rows(names):
        licenses.update({(str(row[f"{who}license"]), _address(row, who)) for who in ("", "donor_")})
        categories[str(row["category"])] += 1
        refused += is_refused(row)
        photos.add(str(row["image_id"]))
    return Facts(licenses, categories, len(photos), refused)


def _address(row: Mapping[str, Any], who: str) -> str:
    address = str(row[f"{who}license_url"] or "")
    if address.startswith(("http://", "https://")):
        return plain(address)
    try:
        return license_url(str(row[f"{who}license"]))
    except UsageError:
        return ""
