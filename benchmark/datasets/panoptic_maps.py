"""Panoptic maps of an OLRD folder's background photos, read from the source that it was built from."""

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
    """The maps of a built folder, or None where its source is not at hand.

    root: the data set. maps: the folder that the build's --root named; a build of the embedded photos
    needs none. Raises `SourceError` if `maps` is given for something that is no built folder.
    """
    if not (Path(root) / BUILD_FILE).is_file():
        if maps:
            raise SourceError(f"maps={maps}: {root} has no {BUILD_FILE} that says what it was built from")
        return None
    record = Dataset(root).record
    source: dict[str, Any] = record.config.get("source", {"root": ""})
    if source["root"] is not None and not maps:  # a folder whose path the build keeps to itself
        return None
    try:
        spec = SourceSpec(**source | {"root": maps or None})
        return SourceMaps(spec, record.source.fingerprint)
    except (KeyError, TypeError) as error:
        raise SourceError(f"{root}/{BUILD_FILE} does not say what it was built from") from error


class SourceMaps:
    """Opens the source when the first map is asked for. fingerprint: the build's, of its annotations."""

    def __init__(self, spec: SourceSpec, fingerprint: str) -> None:
        self._spec, self._fingerprint = spec, fingerprint

    @cached_property
    def _source(self) -> Source:
        source = open_source(self._spec)
        if source.fingerprint != self._fingerprint:
            raise SourceError(
                f"maps={self._spec.root}: its annotations are not those that the data set was built from "
                f"(fingerprint {source.fingerprint[:12]}, expected {self._fingerprint[:12]})"
            )
        return source

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {self._source.image_id(k): k for k in range(len(self._source))}

    def of(self, image_id: str, size: tuple[int, int]) -> Annotated | None:
        """The map of a photo, resized to (width, height); None if the source lists no map for it.
        Areas and boxes of its segments stay those of the source."""
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
