"""Training photos of the small model: Parquet files with the columns `image` (bytes) and `label`."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from olrd.arrays import Image, open_picture
from olrd.draws import draw_integer, draw_share
from olrd.errors import SourceError
from olrd.progress import progress_bar

HELD_OUT = 64
"""One photo in this many, chosen by the hash of its bytes, is held out of the training."""


LARGE = 200
"""Photos whose short side has at least this many pixels are large: they show the detail of the photos that users bring."""
LARGE_SHARE = 0.6
"""Share of the draws that are large photos, whatever their number."""


class TrainingPhotos:
    """The photos of a folder of Parquet files in memory, at their own scale, without exact duplicates.

    Photos whose short side is shorter than `side` are left out, because enlarging them would teach blur.

    Args:
        folder: The folder.
        side: Side in pixels of the squares that are cut out.
        held_out: Load the photos that are held out instead of those to train on.

    Raises:
        SourceError: If there is no photo.
    """

    def __init__(self, folder: Path | str, side: int, held_out: bool = False) -> None:
        self.side = side
        self.photos: list[Image] = []
        self.labels: list[str] = []
        seen: set[bytes] = set()
        for data, label in _rows(Path(folder)):
            name = hashlib.sha256(data).digest()
            if name in seen or (name[0] % HELD_OUT == 0) != held_out:
                continue
            seen.add(name)
            photo = np.asarray(open_picture(data, "a photo to train on").convert("RGB"))
            if min(photo.shape[:2]) >= side:
                self.photos.append(photo)
                self.labels.append(label)
        if not self.photos:
            raise SourceError(
                f"{folder}: expected *.parquet files with columns image and label, found no photo of at least {side} pixels"
            )
        self._large = [i for i, photo in enumerate(self.photos) if min(photo.shape[:2]) >= LARGE]

    def __len__(self) -> int:
        return len(self.photos)

    def draw(self, *key: object) -> int:
        """Draw the index of a photo. `LARGE_SHARE` of the draws are large photos, if there are any."""
        if self._large and draw_share(*key, "large") < LARGE_SHARE:
            return self._large[draw_integer(len(self._large), *key, "photo")]
        return draw_integer(len(self), *key, "photo")

    def crop(self, index: int, size: int, *key: object) -> Image:
        """Draw a square of the photo, uint8 [size, size, 3], mirrored half of the time. size <= side."""
        photo = self.photos[index]
        y = draw_integer(photo.shape[0] - size + 1, *key, "y")
        x = draw_integer(photo.shape[1] - size + 1, *key, "x")
        square = photo[y : y + size, x : x + size]
        return square[:, ::-1] if draw_integer(2, *key, "mirror") else square

    def prompt(self, index: int) -> str:
        """Return the short prompt made of the label; empty without a label."""
        label = self.labels[index]
        return f"A photo of {label}" if label else ""


def _rows(folder: Path) -> Iterator[tuple[bytes, str]]:
    import pyarrow.parquet as pq

    for path in sorted(folder.glob("*.parquet")):
        with pq.ParquetFile(path) as file, progress_bar(path.name, file.metadata.num_rows) as bar:
            for batch in file.iter_batches(64, columns=["image", "label"]):
                for row in batch.to_pylist():
                    yield row["image"]["bytes"], row["label"] or ""
                    bar.update()


def pack(folder: Path, out: Path, side: int, quality: int = 85) -> int:
    """Write the photos of at least `side` pixels again, as JPEGs, in files of 4096; return the bytes.

    The copies have other hashes, so other photos would be held out of them: hold out before packing.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    out.mkdir(parents=True, exist_ok=True)
    photos = TrainingPhotos(folder, side)
    for start in range(0, len(photos), 4096):
        rows = []
        for pixels, label in zip(photos.photos[start : start + 4096], photos.labels[start : start + 4096], strict=True):
            file = io.BytesIO()
            Pillow.fromarray(pixels).save(file, "JPEG", quality=quality)
            rows.append({"image": {"bytes": file.getvalue(), "path": None}, "label": label})
        target = out / f"photos-{start // 4096:02d}.parquet"
        pq.write_table(pa.Table.from_pylist(rows), target, compression="none")
    return sum(path.stat().st_size for path in out.glob("*.parquet"))
