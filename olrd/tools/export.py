"""`olrd export`: a dataset as folders of pictures, as WebDataset, or as COCO instances, for programs that read those.

The rows are cut into stretches of `per_file` rows of one split. A stretch is the unit of work: it is exported by any
worker with the same bytes. Files appear under their names when they are complete, and a run that was interrupted goes
on after those that are there.
"""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from olrd.arrays import MAX_PIXELS, Mask, encode_png
from olrd.dataset.beside import beside
from olrd.dataset.folder import Dataset, row_triplet
from olrd.dataset.sampling import rows_at
from olrd.dataset.schema import ALL_PICTURES, MASKS
from olrd.engines import EngineSpec, open_engine
from olrd.errors import IntegrityError, OutputError, UsageError, did_you_mean
from olrd.masks import mask_box
from olrd.options import fitted
from olrd.panoptic import encode_rle
from olrd.progress import progress_bar
from olrd.storage.files import atomic_path, file_name_of, sha256, to_json, write_atomic
from olrd.storage.outputs import writing_to
from olrd.storage.remote import is_url
from olrd.tools.export_lists import classes_of, license_of, open_list
from olrd.triplets.compose import Triplet
from olrd.trust import counted, parse_json, plain_name, shown

FORMS = ("folders", "webdataset", "coco")
RECORD_FILE = "export.json"
PER_FILE = 500
"""Rows of a tar file: about 400 MB of photos of COCO's size."""
_JPEG = b"\xff\xd8\xff"
_PNG = b"\x89PNG\r\n\x1a\n"


class Stretch(NamedTuple):
    """Rows of one split that are exported together: number in the split, and the first and last row of the dataset."""

    split: str
    number: int
    start: int
    stop: int


class Picture(NamedTuple):
    """A file of a triplet. kind: `image`, `mask`, `background`, `effect` or `masks`. suffix: of the file, without dot."""

    kind: str
    suffix: str
    data: bytes


def export(
    folder: Path | str,
    to: str,
    out: Path | str,
    per_file: int = PER_FILE,
    workers: int = 1,
    max_pixels: int = MAX_PIXELS,
) -> dict[str, Any]:
    """Export a dataset in full form into a folder on this machine.

    Args:
        folder: of the dataset, or its URL.
        to: one of `FORMS`; docs/datasets.md shows the files of each.
        out: the folder to write to: a new one, an empty one, or that of the same export, which is then finished.
        per_file: rows of a tar file; rows that a worker does at a time.
        workers: number of processes. The files do not depend on it.
        max_pixels: larger pictures are refused.

    Returns:
        JSON values: `to`, `out`, `triplets`, `splits` (rows by name) and `files`, their number.

    Raises:
        UsageError: an option does not fit, the dataset holds recipes, or `out` is inside it.
        OutputError: `out` holds something else, or cannot be written to.
        IntegrityError: a row or a picture is damaged, or two ids give one file name.
    """
    if to not in FORMS:
        raise did_you_mean("form", to, FORMS)
    per_file = fitted(int, per_file, "--per-file")
    if per_file < 1:
        raise UsageError(f"--per-file is a number of rows from 1, got {per_file}")
    if is_url(str(out)):
        raise UsageError(f"--out {out}: exports are written to a folder on this machine; upload it afterwards")
    dataset = Dataset(folder, max_pixels=max_pixels)
    dataset.need_triplets()
    if dataset.form != "full":
        raise UsageError(
            f"{folder} holds recipes without pictures: run `olrd rebuild` and export the folder that it writes"
        )
    target = beside(dataset, "", out)
    record = {
        "dataset": _fingerprint(dataset),
        "format": 2 if dataset.optional else 1,
        "olrd.export": to,
        "per_file": per_file,
    }
    with writing_to(target, "--out"):
        _claim(target, record)
    _check_names(dataset)
    stretches, splits = list(_stretches(dataset, per_file)), dataset.record.splits
    worker = Exporter(str(folder), str(target), to, max_pixels)
    engine = open_engine(EngineSpec(workers=workers))
    with progress_bar("exporting", len(dataset), unit=" triplets") as bar, ExitStack() as open_files:
        lists = {split: open_files.enter_context(open_list(to, target, split, dataset)) for split in splits}
        pictures = 0
        for stretch, entries, written in engine.run(worker, stretches):
            lists[stretch.split].add(stretch.number, entries)
            pictures += written
            bar.update(stretch.stop - stretch.start)
    files = len(stretches) if to == "webdataset" else pictures + len(lists)
    write_atomic(target / RECORD_FILE, to_json(record | {"finished": True}))
    return {"to": to, "out": str(target), "triplets": len(dataset), "splits": splits, "files": files}


def _fingerprint(dataset: Dataset) -> str:
    """Identifies the rows: a hash of the hashes of the shards."""
    return sha256(*(shard.sha256.encode() for shard in dataset.record.shards))


def _claim(target: Path, record: Mapping[str, Any]) -> None:
    """Take the folder for this export, or go on with it. Raises `OutputError` if it holds anything else."""
    path = target / RECORD_FILE
    if path.is_file():
        found = parse_json(path.read_bytes(), path, OutputError)
        if not isinstance(found, dict) or {key: found.get(key) for key in record} != record:
            raise OutputError(
                f"{target} holds an export of another dataset, or with other options; choose another --out"
            )
        return
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target} is a file; expected a folder to write to: choose another --out")
    if target.is_dir() and any(target.iterdir()):
        raise OutputError(f"{target} is not empty and holds no {RECORD_FILE} of an export; choose another --out")
    target.mkdir(parents=True, exist_ok=True)
    write_atomic(path, to_json(record))


def _stretches(dataset: Dataset, per_file: int) -> Iterator[Stretch]:
    """The rows of every split, cut. The shards of a split lie beside each other; if not, a stretch ends there."""
    first, numbers = 0, Counter[str]()
    runs: list[tuple[str, int, int]] = []
    for shard in dataset.record.shards:
        if runs and runs[-1][0] == shard.split:
            runs[-1] = shard.split, runs[-1][1], first + shard.rows
        else:
            runs.append((shard.split, first, first + shard.rows))
        first += shard.rows
    for split, start, stop in runs:
        for begin in range(start, stop, per_file):
            yield Stretch(split, numbers[split], begin, min(stop, begin + per_file))
            numbers[split] += 1


def _check_names(dataset: Dataset) -> None:
    """Raise `IntegrityError` if two ids give one file name, on file systems that ignore case too."""
    seen: dict[str, str] = {}
    for row in dataset.rows(["id"]):
        name = stem_of(row["id"]).casefold()
        if name in seen:
            raise IntegrityError(
                f"{dataset.folder}: the ids {shown(seen[name])} and {shown(row['id'])} give one file name; `olrd verify` "
                "lists ids that are there twice"
            )
        seen[name] = row["id"]
    if len(seen) != len(dataset):
        raise IntegrityError(f"{dataset.folder}: {counted(len(seen), 'row')}, build.json says {len(dataset)}")


def stem_of(row_id: object) -> str:
    """The name of a row's files without suffix, from its id.

    Without dots, because WebDataset takes what follows the first one for the kind of the file. An id that needs other
    characters replaced gets a hash of the id, so that two ids never give one name.

    Raises `IntegrityError` if it is not the name of a file.
    """
    if not isinstance(row_id, str):
        raise IntegrityError(f"the id {shown(row_id)} is not a text")
    stem = file_name_of(row_id).replace(".", "_")
    if stem != row_id:
        stem = f"{stem[:100]}-{sha256(row_id.encode(errors='surrogatepass'))[:12]}"
    return plain_name(stem, "the id of a row")


@dataclass
class Exporter:
    """Exports stretches (see `olrd.engines.Worker`)."""

    folder: str
    out: str
    to: str
    max_pixels: int = MAX_PIXELS
    _dataset: Dataset = field(init=False, repr=False)

    def start(self) -> None:
        """Open the dataset."""
        self._dataset = Dataset(self.folder, max_pixels=self.max_pixels)

    def __call__(self, stretch: Stretch) -> tuple[Stretch, list[dict[str, Any]], int]:
        """Write the files of a stretch. Returns what the list of its split holds of each row, and the number of pictures
        beside each other in folders."""
        out = Path(self.out)
        rows = rows_at(self._dataset, range(stretch.start, stretch.stop))
        if self.to == "webdataset":
            _write_tar(out / f"{stretch.split}-{stretch.number:06d}.tar", rows, self.max_pixels)
            return stretch, [], 0
        write = _write_folders if self.to == "folders" else _write_coco
        written = [write(out, stretch.split, row, self.max_pixels) for row in rows]
        return stretch, [entry for entry, _ in written], sum(files for _, files in written)


def _pictures(row: dict[str, Any], triplet: Triplet) -> list[Picture]:
    """Composite and masks as PNG (masks with 0 and 255), the photo's own file if it is a JPEG or PNG, else a PNG."""
    stored = bytes(row["background"]["bytes"])
    own = stored if stored.startswith((_JPEG, _PNG)) else encode_png(triplet.background)
    return [
        Picture("image", "png", encode_png(triplet.image)),
        Picture("mask", "png", _grey(triplet.mask)),
        Picture("background", _suffix(stored), own),
        *([] if triplet.effect is None else [Picture("effect", "png", _grey(triplet.effect))]),
    ]


def _grey(mask: Mask) -> bytes:
    """A mask as PNG with 0 and 255."""
    return encode_png(np.where(mask, np.uint8(255), np.uint8(0)))


def _file_names(row: Mapping[str, Any], stem: str) -> dict[str, list[str]]:
    """The names of a row's files in folders, by kind, known before a picture is decoded."""
    suffix = _suffix(bytes((row["background"] or {}).get("bytes") or b""))
    names = {
        "image": [f"image/{stem}.png"],
        "mask": [f"mask/{stem}.png"],
        "background": [f"background/{stem}.{suffix}"],
    }
    if "effect" in row:
        names["effect"] = [f"effect/{stem}.png"]
    if MASKS in row:
        names[MASKS] = [f"masks/{stem}-{number}.png" for number in range(len(row[MASKS] or ()))]
    return names


def _suffix(stored: bytes) -> str:
    return "jpg" if stored.startswith(_JPEG) else "png"


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """The plain columns without the recipe. Numbers that JSON does not have become None."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
        if name not in (*ALL_PICTURES, MASKS, "recipe")
    }


def _write_new(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, data, durable=False)


def _write_folders(out: Path, split: str, row: dict[str, Any], max_pixels: int) -> tuple[dict[str, Any], int]:
    """SPLIT/KIND/ID.png or .jpg for image, mask, background and effect, and SPLIT/masks/ID-0.png and so on.

    Returns the line of metadata.jsonl and the number of files. `datasets` (imagefolder) opens the columns `..._file_name`
    as pictures, and `masks_file_names` as a list of them.
    """
    home = out / split
    names = _file_names(row, stem_of(row["id"]))
    files = [name for kind in names.values() for name in kind]
    if not all((home / name).is_file() for name in files):
        triplet = row_triplet(row, max_pixels)
        pictures = [picture.data for picture in _pictures(row, triplet)]
        for name, data in zip(files, [*pictures, *map(_grey, triplet.masks or ())], strict=True):
            _write_new(home / name, data)
    paths: dict[str, Any] = {f"{kind}_file_name": found[0] for kind, found in names.items() if kind != MASKS}
    if MASKS in names:
        paths[f"{MASKS}_file_names"] = names[MASKS]
    return paths | _plain(row), len(files)


def _write_coco(out: Path, split: str, row: dict[str, Any], max_pixels: int) -> tuple[dict[str, Any], int]:
    """SPLIT/ID.png, the composite. Returns what `instances_SPLIT.json` needs of the row, and the number of files.

    COCO has no field for shadows and reflections: the image has the key `effect`, with run lengths, which readers of
    COCO ignore.
    """
    triplet = row_triplet(row, max_pixels)
    name = f"{stem_of(row['id'])}.png"
    if not (out / split / name).is_file():
        _write_new(out / split / name, encode_png(triplet.image))
    height, width = triplet.mask.shape
    image = {"file_name": name, "width": width, "height": height, "license": license_of(row)}
    if triplet.effect is not None:
        image["effect"] = {"size": [height, width], "counts": encode_rle(triplet.effect)}
    objects = [
        {
            "segmentation": {"size": [height, width], "counts": encode_rle(mask)},
            "bbox": [int(one) for one in mask_box(mask)],
            "area": int(np.count_nonzero(mask)),
            "category": name,
        }
        for name, mask in zip(classes_of(row), triplet.masks or (triplet.mask,), strict=True)
    ]
    return {"image": image, "objects": objects}, 1


def _write_tar(path: Path, rows: Iterator[dict[str, Any]], max_pixels: int) -> None:
    """A tar file of WebDataset: of each row ID.image.png, ID.mask.png, ID.background.jpg or .png, ID.effect.png and
    ID.masks.png where the set has them, and ID.json.

    Bit k of ID.masks.png is the mask of object k: `datasets` reads only tar files whose samples all have the same kinds
    of files.
    """
    if path.is_file():
        return
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as tar:
        for row in rows:
            triplet = row_triplet(row, max_pixels)
            members = {f"{kind}.{suffix}": data for kind, suffix, data in _pictures(row, triplet)}
            if triplet.masks is not None:
                bits = (mask * np.uint8(1 << number) for number, mask in enumerate(triplet.masks))
                members[f"{MASKS}.png"] = encode_png(np.bitwise_or.reduce(list(bits)))
            members["json"] = json.dumps(_plain(row), ensure_ascii=True, sort_keys=True, allow_nan=False).encode()
            for kind, data in members.items():
                entry = tarfile.TarInfo(f"{stem_of(row['id'])}.{kind}")  # no time, owner or mode of this machine
                entry.size, entry.mode = len(data), 0o644
                tar.addfile(entry, io.BytesIO(data))
