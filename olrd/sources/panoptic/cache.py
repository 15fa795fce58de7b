"""A folder of panoptic annotations that grows photo by photo and can be corrected by hand.

    annotations/panoptic_photos.json        all annotations: the file to read or to correct
    annotations/panoptic_photos/*.png       id = R + 256 G + 65536 B
    annotations/panoptic_photos.unjoined/   photos segmented since that file was written

The PNG of a photo is written first, then its small JSON, then the joined file, each atomically. So the folder is
consistent after a kill at any moment, and the next run does only what is missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from olrd.arrays import encode_ids
from olrd.errors import SourceError
from olrd.models.mask2former import Segmentation
from olrd.panoptic import Category
from olrd.sources.panoptic.index import panoptic_index
from olrd.sources.panoptic.json_file import (
    Json,
    category_entries,
    image_id,
    join_categories,
    join_document,
    new_part,
    png_name,
    read_json,
    write_document,
)
from olrd.storage.files import write_atomic


class PanopticCache:
    """The annotations of one folder of photos. A photo is named by its relative POSIX path."""

    def __init__(self, folder: Path) -> None:
        annotations = folder / "annotations"
        self.folder = folder
        self.json_path = annotations / "panoptic_photos.json"
        self.png_folder = annotations / "panoptic_photos"
        self._parts = annotations / "panoptic_photos.unjoined"
        # Parts count only as long as this file exists: a join ends with its removal.
        self._start = self._parts / "settings.json"

    def listed(self) -> dict[str, bool]:
        """For each photo in the joined file: whether it has an annotation and a PNG."""
        if not self.json_path.exists():
            return {}
        table = panoptic_index(self.json_path).select(["file_name", "panoptic_name"])
        return {
            row["file_name"]: bool(row["panoptic_name"]) and (self.png_folder / row["panoptic_name"]).exists()
            for row in table.to_pylist()
        }

    def settings(self) -> Json:
        """The settings that the annotations were made with; empty for a new folder or a JSON of other origin."""
        if self._start.exists():
            return dict(read_json(self._start)["settings"])
        if not self.json_path.exists():
            return {}
        import ijson

        panoptic_index(self.json_path)  # checks the file; it is needed next anyway
        # `info` is first in the files that are written here, so that one block is enough.
        try:
            with self.json_path.open("rb") as file:
                info: Json = next(ijson.items(file, "info", use_float=True), {})
        except ijson.JSONError as error:
            raise SourceError(f"{self.json_path} is not valid JSON: {error}") from error
        found = info.get("olrd") if isinstance(info, dict) else None
        return dict(found) if isinstance(found, dict) else {}

    def start(self, settings: Json, categories: Iterable[Category]) -> None:
        """Prepare for `add`. Raises `SourceError` if the categories contradict the existing ones."""
        entries = category_entries(categories)
        if self.json_path.exists():
            join_categories(read_json(self.json_path).get("categories", []), entries)
        if not self.started():
            self._clear_parts()
        self.png_folder.mkdir(parents=True, exist_ok=True)
        self._parts.mkdir(exist_ok=True)
        write_atomic(self._start, json.dumps({"settings": settings, "categories": entries}))

    def started(self) -> bool:
        """Whether there may be photos that wait to be joined."""
        return self._start.exists()

    def waits(self, file_name: str) -> bool:
        """Whether the photo is segmented but not joined yet."""
        png = self.png_folder / png_name(file_name)
        return self.started() and self._part(file_name).exists() and png.exists()

    def add(self, file_name: str, result: Segmentation) -> None:
        """Save the segmentation of a photo. A different PNG of the same name is renamed to `.bak`."""
        png, data = self.png_folder / png_name(file_name), encode_ids(result.ids)
        if png.exists() and png.read_bytes() != data:
            os.replace(png, png.with_name(f"{png.name}.bak"))
        write_atomic(png, data)
        write_atomic(self._part(file_name), json.dumps(new_part(file_name, result)))

    def join(self, photos: Iterable[str], rejected: Mapping[str, str], settings: Json) -> None:
        """Write the joined file: its old content, the waiting ones of `photos`, and the rejected photos.

        rejected: the reason code of each rejected photo. Raises `SourceError` if ids or categories contradict.
        """
        document = read_json(self.json_path) if self.json_path.exists() else {}
        categories = read_json(self._start)["categories"] if self.started() else []
        parts = {name: read_json(self._part(name)) for name in photos if self.waits(name)}
        document = join_document(document, parts, rejected, categories, settings)
        write_document(document, self.json_path)
        self._start.unlink(missing_ok=True)
        self._clear_parts()

    def _part(self, file_name: str) -> Path:
        return self._parts / f"{image_id(file_name):012x}.json"

    def _clear_parts(self) -> None:
        if self._parts.is_dir():
            for path in self._parts.iterdir():
                path.unlink()
            self._parts.rmdir()
