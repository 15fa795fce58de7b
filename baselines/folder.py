"""An eraser that reads the results of other programs from files with the samples' names.

This makes it possible to score closed-source products and other people's code. `benchmark export` writes the inputs and masks
under the same names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from baselines.eraser import Eraser, EraserInfo, EraserSpec, Hints
from olrd.arrays import Image, Mask, decode_photo
from olrd.errors import OlrdError, SourceError, UsageError
from olrd.registry import checked_options
from olrd.storage.files import file_name_of, read_regular, sha256_file

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")


class ResultError(OlrdError):
    """The result of one sample is missing, cannot be read, or has another size. Only its own sample fails."""


def open_folder(spec: EraserSpec) -> Eraser:
    """Open a folder of results.

    Options:
        path: The folder (required).
        name: Name of the method in the table; by default the folder's name.
        revision: Revision of the method; by default a hash of the pictures.
        license: Licence of the method (default `unknown`).
    """
    options = checked_options(spec, {"path": "", "name": "", "revision": "", "license": "unknown"})
    if not options["path"]:
        raise UsageError(
            "the eraser folder reads finished results: give --option path=FOLDER with files named "
            "<sample id>.png (or .webp, .jpg), and --option name=METHOD for the table"
        )
    root = Path(options["path"])
    if not root.is_dir():
        raise SourceError(f"folder: path={root} is not a folder; it should hold <sample id>.png files")
    return FolderEraser(root, options)


class FolderEraser:
    """Reads `<sample id>.<png|webp|jpg>`. A missing file, or one of another size, fails only its own sample."""

    def __init__(self, root: Path, options: dict[str, str]) -> None:
        self.root, self._options = root, options

    @cached_property
    def info(self) -> EraserInfo:
        """The revision is the given one, or a hash of all pictures in the folder."""
        digest = hashlib.sha256()
        for path in sorted(self.root.iterdir()):
            if path.suffix in SUFFIXES and path.is_file():
                digest.update(f"{path.name} {sha256_file(path)}\n".encode())
        given = self._options
        name = given["name"] or self.root.resolve().name
        revision = given["revision"] or digest.hexdigest()[:12]
        return EraserInfo(name, revision, given["license"], options={"name": name})

    def erase(
        self, images: Sequence[Image], masks: Sequence[Mask], hints: Sequence[Hints] | None = None
    ) -> list[Image]:
        """See `Eraser.erase`. The hints must hold the samples' keys. A sample with an empty mask needs no file."""
        if hints is None:
            raise UsageError("the eraser folder matches files by sample id: pass hints with keys")
        return [
            self._read(image, hint.key) if mask.any() else image.copy()
            for image, mask, hint in zip(images, masks, hints, strict=True)
        ]

    def _read(self, image: Image, key: str) -> Image:
        stem = file_name_of(key)
        for suffix in SUFFIXES:
            path = self.root / f"{stem}{suffix}"
            if path.is_file():
                pixels = decode_photo(read_regular(path), str(path)).pixels
                if pixels.shape != image.shape:
                    raise ResultError(
                        f"{path}: expected {image.shape[1]} x {image.shape[0]} pixels as the input, "
                        f"got {pixels.shape[1]} x {pixels.shape[0]}"
                    )
                return pixels
        raise ResultError(f"{self.root} holds no {stem}.png (or .webp, .jpg) for sample {key}")
