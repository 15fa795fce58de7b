"""Writes the pictures of a report: crops around the mask and, on request, whole photos.

OUT/pictures/<sample>/input.webp, truth.webp, 1-<method>.webp ...   crops in the photo's own pixels
OUT/pictures/<sample>/whole-input.webp ...                          whole photos, small unless all is kept
OUT/pictures/files.json                                             the names of these files
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow

from benchmark.crops import crop_box
from benchmark.page.outline import outline_path
from olrd.arrays import Image, Mask
from olrd.errors import IntegrityError
from olrd.panoptic import Box
from olrd.storage.files import read_regular, to_json, write_atomic
from olrd.trust import parse_json, plain_name

FOLDER = "pictures"
KEPT = ("crops", "all", "none")
"""crops: crops, and small whole photos. all: also every whole photo in full size. none: scores without pictures."""
QUALITY, LOSSLESS = 90, 100
"""WebP quality of crops, and the one that stands for a lossless file. `docs/decisions.md` has the measurement."""
CROP_SIDE = 1024
"""Longest side of a crop's file in pixels."""
PHOTO_SIDE, PHOTO_QUALITY = 448, 70
"""Longest side and WebP quality of the small whole input. It shows where the crop is."""
OTHER_SIDE, OTHER_QUALITY = 288, 60
"""Those of a truth or output that differs from the input outside the crop, too."""
LONGEST = 16383
"""Longest side of a WebP file in pixels."""


class Keep(NamedTuple):
    """How much of the pictures a report keeps.

    Attributes:
        pictures: one of `KEPT`.
        quality: WebP quality from 1 to 100; 100 is lossless.
        side: longest side of a crop's file in pixels. Larger crops are reduced.
    """

    pictures: str = "crops"
    quality: int = QUALITY
    side: int = CROP_SIDE


class Pictures:
    """The folder of a report's pictures.

    Args:
        out: folder of the report.
        keep: how much is kept.

    Raises:
        IntegrityError: files.json of an earlier report is damaged.
    """

    def __init__(self, out: Path, keep: Keep) -> None:
        self.folder, self.keep = out / FOLDER, keep
        self.files: set[str] = set()
        self.bytes = 0
        self._earlier = _listed(self.folder / "files.json")

    def add(
        self, name: str, stems: Sequence[str], pictures: Sequence[Image | None], mask: Mask | None
    ) -> dict[str, Any]:
        """Write the pictures of a sample.

        Args:
            name: folder of the sample; a plain name.
            stems: names of the pictures, without suffix.
            pictures: uint8 [H, W, 3] of one size, the input first. None where there is none.
            mask: bool [H, W]; None if the sample cannot be read. The crop is then the whole photo.

        Returns:
            What the page needs: `box` (x, y, width and height of the crop in the photo), `scale` (pixels of the crop's
            file per pixel of the photo), `outline` (path of the mask's outline in the crop), `files` and `wholes` (one
            name or None per picture). A picture without a whole equals the input outside the crop.
        """
        shape = next((p.shape[:2] for p in pictures if p is not None), None)
        if shape is None:
            return {"box": None, "scale": 1, "outline": "", "files": [None] * len(stems), "wholes": [None] * len(stems)}
        box = Box(0, 0, shape[1], shape[0]) if mask is None else crop_box(mask)
        files = [
            None if pixels is None else self._write(name, stem, pixels[box.crop()], self.keep.side, self.keep.quality)
            for stem, pixels in zip(stems, pictures, strict=True)
        ]
        wholes: list[str | None] = []
        for stem, pixels in zip(stems, pictures, strict=True):
            if pixels is None or not self._needs_whole(pixels, pictures[0], box):
                wholes.append(None)
            elif self.keep.pictures == "all":
                wholes.append(self._write(name, f"whole-{stem}", pixels, LONGEST, self.keep.quality))
            elif pixels is pictures[0]:
                wholes.append(self._write(name, f"whole-{stem}", pixels, PHOTO_SIDE, PHOTO_QUALITY))
            else:
                wholes.append(self._write(name, f"whole-{stem}", pixels, OTHER_SIDE, OTHER_QUALITY))
        return {
            "box": list(box),
            "scale": round(min(1.0, self.keep.side / max(box.w, box.h)), 4),
            "outline": "" if mask is None else outline_path(mask[box.crop()]),
            "files": files,
            "wholes": wholes,
        }

    def _needs_whole(self, pixels: Image, photo: Image | None, box: Box) -> bool:
        """Whether a file of the whole picture says more than its crop and the input do."""
        is_whole = (box.w, box.h) == (pixels.shape[1], pixels.shape[0])
        if self.keep.pictures == "all":
            return not is_whole or max(box.w, box.h) > self.keep.side
        if is_whole:
            return False
        return photo is None or pixels is photo or not equal_outside(pixels, photo, box)

    def _write(self, folder: str, stem: str, pixels: Image, side: int, quality: int) -> str:
        file = f"{stem}.webp"
        path = self.folder / plain_name(folder, self.folder) / plain_name(file, self.folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        data = encode(pixels, side, quality)
        write_atomic(path, data, durable=False)
        self.files.add(f"{folder}/{file}")
        self.bytes += len(data)
        return file

    def finish(self) -> None:
        """Remove what an earlier report wrote here and this one does not use, and list the files."""
        for file in sorted(self._earlier - self.files):
            path = self.folder / file
            path.unlink(missing_ok=True)
            if path.parent.is_dir() and not any(path.parent.iterdir()):
                path.parent.rmdir()
        if self.files or self._earlier:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self.folder / "files.json", to_json({"files": sorted(self.files)}))


def _listed(path: Path) -> set[str]:
    """The files that an earlier report wrote. Raises `IntegrityError` unless all of them lie two levels below it."""
    if not path.exists():
        return set()
    found = parse_json(read_regular(path), path)
    names = found.get("files") if isinstance(found, dict) else None
    if not isinstance(names, list):
        raise IntegrityError(f"{path}: expected a list of files; remove the folder, or choose another --out")
    pairs = (str(name).partition("/")[::2] for name in names)
    return {f"{plain_name(folder, path)}/{plain_name(file, path)}" for folder, file in pairs}


def equal_outside(one: Image, other: Image, box: Box) -> bool:
    """Whether two pictures uint8 [H, W, 3] of one size are equal outside a box."""
    rows, columns = box.crop()
    parts = (
        (slice(0, rows.start), slice(None)),
        (slice(rows.stop, None), slice(None)),
        (rows, slice(0, columns.start)),
        (rows, slice(columns.stop, None)),
    )
    return all(np.array_equal(one[part], other[part]) for part in parts)


def encode(pixels: Image, side: int, quality: int) -> bytes:
    """A picture as WebP, reduced by area averaging if it is longer than `side` pixels. Quality 100 is lossless."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    picture = Pillow.fromarray(pixels)
    if scale < 1:
        size = max(1, round(width * scale)), max(1, round(height * scale))
        picture = picture.resize(size, Pillow.Resampling.BOX)
    buffer = io.BytesIO()
    if quality == LOSSLESS:
        picture.save(buffer, "WEBP", lossless=True, quality=20, method=0)
    else:
        picture.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()
