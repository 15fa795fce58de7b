"""RealHM (216 pairs): a dataset for harmonisation, used for removal.

The input is `X_gt.jpg` (the composite that an artist harmonised), the mask `X_mask.jpg`, and the truth `X_fore.jpg`
(the background photo, despite its name). No publication describes this use; it follows from the files. The artists may
have changed the tone outside the mask, and every sample reports by how much.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmark.datasets import DataSpec, Sample
from benchmark.datasets.pair_doubts import drift
from benchmark.datasets.pairs import same_size, threshold_of
from olrd.arrays import decode_photo
from olrd.errors import SourceError, UsageError
from olrd.mask_files import MaskChoice, read_mask
from olrd.registry import checked_options
from olrd.sources.pairs.folders import bytes_of
from olrd.trust import counted

COUNT = 216
WHERE = (
    "RealHM is one archive linked from https://github.com/VITA-Group/SSHarmonization (no second host, no data "
    "licence: never redistribute it); unpack it and give --root the folder that holds vendor_testing_1"
)


def open_realhm(spec: DataSpec) -> RealHM:
    """Open `realhm`. Option: `threshold`, the grey level above which a pixel of the JPEG mask counts (default 127)."""
    options = checked_options(spec, {"threshold": "127"})
    if spec.root is None:
        raise UsageError(f"realhm: name its folder with --root. {WHERE}")
    return RealHM(Path(spec.root), threshold_of(options["threshold"]))


class RealHM:
    """The items that have a `X_small.jpg`, as in the authors' own code."""

    name = "realhm"

    def __init__(self, root: Path, threshold: int) -> None:
        self.root, self.threshold = root, threshold
        stems = sorted(p.with_name(p.name.removesuffix("_small.jpg")) for p in root.rglob("*_small.jpg"))
        if not stems:
            raise SourceError(f"{root} holds no *_small.jpg. {WHERE}")
        self._stems = stems
        for stem in stems:
            for part in ("gt", "mask", "fore"):
                if not (path := _file(stem, part)).is_file():
                    raise SourceError(f"{path} is missing; the archive seems to be incomplete. {WHERE}")
        digest = hashlib.sha256(f"{threshold}".encode())
        for stem in stems:
            digest.update(f"\n{stem.relative_to(root).as_posix()}\n".encode())
            digest.update(b"".join(bytes_of(_file(stem, p), SourceError) for p in ("gt", "mask", "fore")))
        self.fingerprint = digest.hexdigest()[:16]
        count = "" if len(stems) == COUNT else f"; {counted(len(stems), 'item')} instead of the published {COUNT}"
        self.warnings: tuple[str, ...] = (f"input and truth differ outside the mask (harmonised); see facts{count}",)

    def ids(self) -> list[str]:
        """`vendor_testing_1/X`, sorted."""
        return [stem.relative_to(self.root).as_posix() for stem in self._stems]

    def sample(self, index: int) -> Sample:
        """Input, mask and truth, with their difference outside the mask as facts."""
        stem = self._stems[index]
        image, truth = (
            decode_photo(bytes_of(_file(stem, part)), str(_file(stem, part))).pixels for part in ("gt", "fore")
        )
        same_size(truth, image, _file(stem, "fore"))
        file, choice = _file(stem, "mask"), MaskChoice("luminance", threshold=self.threshold)
        mask = read_mask(bytes_of(file), str(file), image.shape[1::-1], choice).mask
        name = stem.relative_to(self.root).as_posix()
        return Sample(name, name, image, mask, truth, facts=drift(image, truth, mask))


def _file(stem: Path, part: str) -> Path:
    return stem.with_name(f"{stem.name}_{part}.jpg")
