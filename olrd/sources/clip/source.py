"""`clip`: the frames of a fixed camera, as folders of pictures or videos; what passes is an object."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa

from olrd.arrays import Image
from olrd.errors import Rejected, SourceError, UsageError
from olrd.licenses import license_code, license_url
from olrd.panoptic import Record
from olrd.registry import checked_options, number_options
from olrd.sources import SEEN, SourceSpec, check_unused
from olrd.sources.clip.index import clip_index, clip_names
from olrd.sources.seen import PictureRef, Seen, seen_categories
from olrd.sources.seen.picture_files import PictureFiles, working_pixels
from olrd.sources.seen.place import Place, layer_count
from olrd.sources.seen.video import VIDEOS, is_video
from olrd.storage.roots import Traversable, open_root

DEFAULTS = {"apart": "0.01", "category": "object", "license": "", "source_url_prefix": ""}


class Clips:
    """See `olrd.sources.seen.SeenSource`. The plate of the last clip is kept, because its frames are neighbours."""

    name = "clip"
    background_kind = SEEN

    def __init__(self, root: Traversable, table: pa.Table, spec: SourceSpec) -> None:
        options = checked_options(spec, DEFAULTS)
        self.max_pixels, self.categories = spec.max_pixels, seen_categories(options["category"])
        self.fingerprint: str = table.schema.metadata[b"fingerprint"].decode()
        self._files, self._table = PictureFiles(root, spec.max_pixels), table
        self._license = license_url(options["license"]) if options["license"] else ""
        self._prefix = options["source_url_prefix"]
        self._place: tuple[tuple[str, int | None], Place | Rejected] | None = None

    def __len__(self) -> int:
        return self._table.num_rows

    @cached_property
    def _frames(self) -> dict[str, range]:
        """The numbers of the frames of each clip, which follow each other."""
        found: dict[str, range] = {}
        for number, clip in enumerate(self._table["clip"].to_pylist()):
            found[clip] = range(found[clip].start if clip in found else number, number + 1)
        return found

    def _text(self, column: str, index: int) -> str:
        text: str = self._table[column][index].as_py()
        return text

    def image_id(self, index: int) -> str:
        return self._text("image_id", index)

    def scene_id(self, index: int) -> str:
        return self._text("clip", index)

    def picture(self, index: int) -> PictureRef:
        return PictureRef(*(self._text(column, index) for column in ("file_name", "part", "sha256")))

    def record(self, index: int) -> Record:
        name = self._text("file_name", index)
        return Record(
            self.image_id(index),
            name,
            0,
            0,
            license_code(self._license),
            self._license,
            self._prefix + quote(name) if self._prefix else "",
            "",
            None,
            (),
        )

    def photo_bytes(self, record: Record) -> bytes:
        number = record.image_id.rpartition("-")[2]
        part = f"frame:{int(number)}" if is_video(record.file_name) else ""
        return self._files.read(record.file_name, part)

    def skipped(self, index: int) -> str | None:
        return "frame_alike" if self._table["alike"][index].as_py() else None

    def seen(self, index: int, pixels: Image, size: int | None) -> Seen:
        clip = self.scene_id(index)
        if self._place is None or self._place[0] != (clip, size):
            self._place = (clip, size), self._opened(index, pixels, size)
        place = self._place[1]
        if isinstance(place, Rejected):
            raise Rejected(place.code, str(place))
        return place.seen(self.image_id(index), pixels)

    def _opened(self, index: int, pixels: Image, size: int | None) -> Place | Rejected:
        """The place of a frame's clip, or why it has no plate. pixels: of any frame, for the size."""
        clip = self.scene_id(index)
        frames = self._frames[clip]
        count = min(len(frames), layer_count(pixels.shape))
        chosen = [frames[(2 * k + 1) * len(frames) // (2 * count)] for k in range(count)]
        pictures = []
        for number in chosen:
            picture = self.picture(number)
            try:
                data = self._files.read(picture.file_name, picture.part)
                pictures.append((picture, working_pixels(data, picture.file_name, size, self.max_pixels)))
            except Rejected:  # the frame reports it when its turn comes
                continue
        try:
            return Place(clip, pictures)
        except Rejected as error:
            return error


def open_clip(spec: SourceSpec) -> Clips:
    """`--source clip --root DIR_OR_VIDEO [--source-option KEY=VALUE]`.

    Options: `apart` (the share of a frame that must have changed since the last one that is used), `category`,
    `license` and `source_url_prefix` (of all frames).
    """
    check_unused(spec, "subset")
    apart = number_options(spec, checked_options(spec, DEFAULTS), {"apart": (0, 1)})["apart"]
    if spec.root is None:
        raise UsageError("--source clip needs --root: a folder of frames, a folder of such folders, or a video")
    root = open_root(spec.root)
    if isinstance(root, Path) and is_video(root.name) and root.is_file():
        root, names = root.parent, [root.name]
    elif not root.is_dir():
        raise SourceError(f"--root {spec.root} is not a folder, an archive or a video ({', '.join(VIDEOS)})")
    else:
        names = clip_names(root)
    return Clips(root, clip_index(root, names, apart, spec.max_pixels), spec)
