"""An eraser that reads the results of other programs from files with the samples' names.

This makes it possible to score closed-source products and other people's code. `benchmark export` writes the inputs and masks
under the same names.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from baselines.eraser import Eraser, EraserInfo, EraserSpec, Hints
from olrd.arrays import Image, Mask, decode_photo, resize_image
from olrd.errors import OlrdError, SourceError, UsageError
from olrd.progress import say
from olrd.registry import checked_options
from olrd.storage.files import file_name_of, read_regular, sha256_file

SUFFIXES = (".png", ".webp", ".jpg", ".jpeg")
ADDED = re.compile(r"(_mask\d*)?([_-](inpainted|result|output|out|pred|removed))?$", re.IGNORECASE)
"""What programs add to the names of their results, e.g. LaMa: `1.png` becomes `1_mask001.png`."""


class ResultError(OlrdError):
    """The result of one sample is missing, cannot be read, or has another size. Only its own sample fails."""


def open_folder(spec: EraserSpec) -> Eraser:
    """Open a folder of results.

    Options:
        path: The folder (required).
        name: Name of the method in the table; by default the folder's name.
        revision: Revision of the method; by default a hash of the pictures.
        license: Licence of the method (default `unknown`).
        resize: `yes` to resize results of another size to the input's (default `no`: they are errors).
    """
    defaults = {"path": "", "name": "", "revision": "", "license": "unknown", "resize": "no"}
    options = checked_options(spec, defaults)
    if not options["path"]:
        raise UsageError(
            "the eraser folder reads finished results: give --option path=FOLDER with files named "
            "<sample id>.png (or .webp, .jpg), and --option name=METHOD for the table"
        )
    if options["resize"] not in ("yes", "no"):
        raise UsageError(f"folder: resize must be yes or no, got '{options['resize']}'")
    root = Path(options["path"])
    if not root.is_dir():
        raise SourceError(f"folder: path={root} is not a folder; it should hold <sample id>.png files")
    return FolderEraser(root, options)


class FolderEraser:
    """Reads `<sample id>.<png|webp|jpg>`. A missing file, or one of another size, fails only its own sample.

    A word that programs add to names (`ADDED`) may follow the id, unless two files would be the result of one sample.
    The results of samples with an id `a/b` may be called `a_b.png` or lie in subfolders as `a/b.png`.

    Raises:
        SourceError: the folder holds no picture.
    """

    def __init__(self, root: Path, options: dict[str, str]) -> None:
        self.root, self._options = root, options
        self._files = _pictures(root)
        self._said = False

    @cached_property
    def info(self) -> EraserInfo:
        """The revision is the given one, or a hash of all pictures in the folder."""
        digest = hashlib.sha256()
        for path in self._files:
            digest.update(f"{path.relative_to(self.root).as_posix()} {sha256_file(path)}\n".encode())
        given = self._options
        name = given["name"] or self.root.resolve().name
        revision = given["revision"] or digest.hexdigest()[:12]
        resolved = {"name": name} | ({"resize": "yes"} if given["resize"] == "yes" else {})
        return EraserInfo(name, revision, given["license"], options=resolved)

    @cached_property
    def _by_name(self) -> dict[str, Path]:
        """The files by the name of their sample. Of two suffixes, the first one of `SUFFIXES` counts."""
        ranked = sorted(self._files, key=lambda path: SUFFIXES.index(path.suffix.lower()), reverse=True)
        exact = {file_name_of(path.relative_to(self.root).with_suffix("").as_posix()): path for path in ranked}
        plain = {name: ADDED.sub("", name) for name in exact}
        counts = Counter(plain.values())
        return {short: exact[name] for name, short in plain.items() if counts[short] == 1} | exact

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
        path = self._by_name.get(file_name_of(key))
        if path is None:
            raise ResultError(
                f"{self.root} holds no {file_name_of(key)}.png (or .webp, .jpg) for sample {key}; "
                f"it holds e.g. {self._files[0].relative_to(self.root)}"
            )
        pixels = decode_photo(read_regular(path), str(path)).pixels
        if pixels.shape == image.shape:
            return pixels
        sizes = f"{image.shape[1]} x {image.shape[0]} pixels as the input, got {pixels.shape[1]} x {pixels.shape[0]}"
        if self._options["resize"] == "no":
            raise ResultError(f"{path}: expected {sizes}; --option resize=yes resizes it")
        if not self._said:
            say(f"{path}: expected {sizes}; it is resized, as are all results of another size")
            self._said = True
        return resize_image(pixels, (image.shape[1], image.shape[0]))


def _pictures(root: Path) -> list[Path]:
    """The pictures in a folder, or, if it holds none, in its subfolders, sorted. Hidden files are left out."""
    for paths in (root.iterdir(), root.rglob("*")):
        found = sorted(path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file())
        if found := [path for path in found if not path.name.startswith(".")]:
            return found
    raise SourceError(f"folder: path={root} holds no picture; it should hold <sample id>.png (or .webp, .jpg) files")
