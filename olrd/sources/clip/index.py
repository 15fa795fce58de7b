"""The frames of clips: which files or videos are clips, the hash of each frame, and which frames are alike.

A clip is a folder of pictures, in the natural order of their names, or a video. Frames whose thumbnails differ too
little from that of the last frame that is used are marked as alike.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pyarrow as pa

from olrd.arrays import Image, decode_photo
from olrd.errors import Rejected, SourceError
from olrd.progress import progress_bar
from olrd.sources.listing import SUFFIXES, pictures_under, state_of
from olrd.sources.seen.picture_files import PictureFiles
from olrd.sources.seen.plate import luma_of
from olrd.sources.seen.video import VIDEOS, is_video
from olrd.storage.files import file_name_of, sha256
from olrd.storage.indexes import open_index
from olrd.storage.roots import Traversable

INDEX_VERSION = "2"
"""Indexes of another version are made again."""
FRAMES_VERSION = "1"
"""Part of the fingerprint: which frames are listed, and which are alike."""
THUMB = 96
"""Longer side of a thumbnail in pixels."""
CHANGED = 10
"""Difference in levels from which a pixel of a thumbnail counts as changed."""
_SCHEMA = pa.schema(
    [
        ("clip", pa.string()),
        ("image_id", pa.string()),
        ("file_name", pa.string()),
        ("part", pa.string()),
        ("sha256", pa.string()),
        ("alike", pa.bool_()),
    ]
)


def clip_index(root: Traversable, names: list[str], apart: float, max_pixels: int) -> pa.Table:
    """One row per frame, of `_SCHEMA`. Schema metadata: `fingerprint`.

    Args:
        root: the folder.
        names: of pictures and videos, relative to it.
        apart: the share of a thumbnail that must have changed since the last frame that is used.
        max_pixels: larger pictures are not read.
    """
    settings = [INDEX_VERSION, apart, max_pixels, [state_of(root, name) for name in names]]
    key = hashlib.sha256(json.dumps([str(root), settings]).encode()).hexdigest()[:32]

    def make(path: Path) -> None:
        rows = list(_rows(PictureFiles(root, max_pixels), names, apart))
        digest = hashlib.sha256(json.dumps([FRAMES_VERSION, apart]).encode())
        for row in rows:
            digest.update(json.dumps([row["image_id"], row["sha256"], row["alike"]]).encode())
        schema = _SCHEMA.with_metadata({"fingerprint": digest.hexdigest()})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_table(pa.Table.from_pylist(rows, schema=schema), max_chunksize=1000)

    return open_index(f"clip-{key}", make)


def clip_names(root: Traversable) -> list[str]:
    """The pictures and videos under a folder, in the order of clips and frames.

    Raises `SourceError` if there are none.
    """
    names = pictures_under(root, {*SUFFIXES, *VIDEOS})
    if not names:
        raise SourceError(
            f"{root} holds no frames: expected a folder of pictures ({', '.join(sorted(SUFFIXES))}), folders of them, or "
            f"videos ({', '.join(VIDEOS)})"
        )
    return sorted(names, key=lambda name: (clip_of(name), _natural(name), name))


def clip_of(name: str) -> str:
    """The id of the clip that a file belongs to: its folder, or a video's own name."""
    path = PurePosixPath(name)
    if is_video(name):
        return str(path)
    return str(path.parent) if str(path.parent) != "." else "frames"


def _natural(name: str) -> list[tuple[int, int | str]]:
    """`frame10` after `frame9`."""
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", name) if part]


def _rows(files: PictureFiles, names: list[str], apart: float) -> Iterator[dict[str, object]]:
    clip, last, taken = "", None, set[str]()
    with progress_bar("reading frames (once)", len(names), unit="file") as bar:
        for name in names:
            if clip_of(name) != clip:
                clip, last = clip_of(name), None
            stem = _id(name, taken)
            for number, part, digest, thumb in _video_frames(files, name) if is_video(name) else _picture(files, name):
                alike = thumb is not None and last is not None and _alike(last, thumb, apart)
                last = thumb if thumb is not None and not alike else last
                yield {
                    "clip": clip,
                    "image_id": stem + number,
                    "file_name": name,
                    "part": part,
                    "sha256": digest,
                    "alike": alike,
                }
            bar.update(1)


Frame = tuple[str, str, str, "np.ndarray | None"]
"""(number in a video as a suffix of the id, part, sha256, thumbnail); a frame that cannot be read has no thumbnail."""


def _id(name: str, taken: set[str]) -> str:
    """The id of a file's frames: its path without suffix, as the name of a file. Notes it in `taken`."""
    stem = file_name_of(name.rpartition(".")[0])
    if stem in taken:
        stem += f"_{sha256(name.encode())[:8]}"
    taken.add(stem)
    return stem


def _picture(files: PictureFiles, name: str) -> Iterator[Frame]:
    try:
        data = files.read(name)
        digest = sha256(data)
        yield "", "", digest, _thumbnail(decode_photo(data, name, files.max_pixels).pixels)
    except Rejected as error:  # the frame reports it when it is opened
        yield "", "", error.code, None


def _video_frames(files: PictureFiles, name: str) -> Iterator[Frame]:
    number, digest = 0, ""
    try:
        digest = files.sha256(name, "frame:0")
        for number, pixels in enumerate(files.video(name).frames(), start=1):
            yield f"-{number - 1:06d}", f"frame:{number - 1}", digest, _thumbnail(pixels)
    except Rejected:  # the first frame that cannot be read stands for the rest, and reports it when it is opened
        yield f"-{number:06d}", f"frame:{number}", digest, None


def _thumbnail(pixels: Image) -> np.ndarray:
    """int16 [h, w]: the luma, area-averaged, less its median, so that a change of light does not count."""
    scale = min(1.0, THUMB / max(pixels.shape))
    small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    luma = luma_of(small)
    return luma - np.int16(np.median(luma))


def _alike(last: np.ndarray, thumb: np.ndarray, apart: float) -> bool:
    if last.shape != thumb.shape:
        return False
    return bool(np.mean(np.abs(last - thumb) > CHANGED) < apart)
