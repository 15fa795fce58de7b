"""Panoptic maps of the photos of a built folder, read from the source that it was built from."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.datasets import Annotated
from olrd.arrays import photo_header, resize_ids
from olrd.dataset.folder import Dataset
from olrd.dataset.record import BUILD_FILE
from olrd.errors import SourceError
from olrd.panoptic import PanopticMap
from olrd.sources import Source, SourceSpec, open_source


def source_maps(root: str, maps: str) -> SourceMaps | None:
    """The maps of a built folder, or None if its source is not known.

    Args:
        root: folder of the dataset.
        maps: folder of the source, which was the --root of the build. A build of the embedded photos needs none.

    Raises:
        SourceError: `maps` is given, but `root` is not a built folder.
    """
    if not (Path(root) / BUILD_FILE).is_file():
        if maps:
            raise SourceError(f"maps={maps}: {root} has no {BUILD_FILE} that says what it was built from")
        return None
    record = Dataset(root).record
    source: dict[str, Any] = record.config.get("source", {"root": ""})
    if source["root"] is not None and not maps:  # build.json does not hold the path of the folder
        return None
    try:
        spec = SourceSpec(**source | {"root": maps or None})
        return SourceMaps(spec, record.source.fingerprint)
    except (KeyError, TypeError) as error:
        raise SourceError(f"{root}/{BUILD_FILE} does not say what it was built from") from error


class SourceMaps:
    """Maps of a source, which is opened for the first map. fingerprint: of the annotations that were built from."""

    def __init__(self, spec: SourceSpec, fingerprint: str) -> None:
        self._spec, self._fingerprint = spec, fingerprint

    @cached_property
    def _source(self) -> Source:
        source = open_source(self._spec)
        if source.fingerprint != self._fingerprint:
            raise SourceError(
                f"maps={self._spec.root}: its annotations are not those that the dataset was built from "
                f"(fingerprint {source.fingerprint[:12]}, expected {self._fingerprint[:12]})"
            )
        return source

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {self._source.image_id(k): k for k in range(len(self._source))}

    def of(self, image_id: str, size: tuple[int, int]) -> Annotated | None:
        """The map of a photo, resized to (width, height), or None if the source has none.

        Areas and boxes of its segments are those of the source.
        """
        if image_id not in self._numbers:
            return None
        record = self._source.record(self._numbers[image_id])
        if record.panoptic_name is None:
            return None
        full = record.width, record.height
        if not record.width:
            full = photo_header(self._source.photo_bytes(record), record.file_name).size
        ids, segments = self._source.panoptic(record, *full)
        if ids.shape != (size[1], size[0]):
            ids = resize_ids(ids, size)
        return Annotated(PanopticMap(ids, segments), self._source.categories)
