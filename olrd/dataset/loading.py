"""`olrd.load`: a built folder as a `datasets` dataset. Recipes are rendered when they are read."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from PIL import Image as Pillow

from olrd.arrays import MAX_PIXELS
from olrd.dataset.folder import Dataset
from olrd.dataset.record import BUILD_FILE
from olrd.dataset.render import Renderer
from olrd.dataset.schema import MASKS
from olrd.errors import IntegrityError, SourceError, UsageError, did_you_mean
from olrd.options import fitted
from olrd.storage.remote import Remote, is_url
from olrd.triplets.seen_recipe import read_recipe
from olrd.trust import counted, printable

if TYPE_CHECKING:
    import datasets


def load(
    folder: Path | Remote | str,
    split: str | None = None,
    root: Path | Remote | str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> datasets.Dataset | datasets.DatasetDict:
    """See `olrd.load`. Recipes are rendered in the process that reads them, so that a torch `DataLoader` with workers
    renders in parallel."""
    max_pixels = fitted(int, max_pixels, "max_pixels")
    built = Dataset(folder)
    if split is not None and not (isinstance(split, str) and split in built.record.splits):
        raise did_you_mean("split", split, built.record.splits)
    built.need_triplets()
    loaded = _loaded(built, split)
    if built.form == "full":
        return loaded
    if root is None:
        raise UsageError(f"{folder} holds recipes without pixels: pass root=, the folder of the photos")
    return loaded.with_transform(RenderBatch(root, min(max_pixels, built.record.settings().source.max_pixels)))


def _loaded(built: Dataset, split: str | None = None) -> datasets.Dataset | datasets.DatasetDict:
    """The shards that build.json lists, and nothing else: the card could name other files.

    Raises `IntegrityError` if a shard is missing, damaged, or has another number of rows.
    """
    import datasets

    remote = isinstance(built.folder, Remote)
    files: dict[str, list[str]] = {}
    for shard, path in zip(built.record.shards, built.shards, strict=True):
        if not remote:
            with built.open(path) as file:
                if file.metadata.num_rows != shard.rows:
                    raise IntegrityError(
                        f"{path}: {counted(file.metadata.num_rows, 'row')}, {BUILD_FILE} says {shard.rows}"
                    )
        # `datasets` reads a path as a pattern.
        name = f"{built.folder}/{shard.file}" if remote else glob.escape(str(Path(str(path)).resolve()))
        files.setdefault(shard.split, []).append(name)
    try:
        return datasets.load_dataset("parquet", data_files=files, split=split)
    except (OSError, ValueError, pa.ArrowException, datasets.exceptions.DatasetsError) as error:
        raise IntegrityError(
            f"{built.folder} cannot be opened: {printable(str(error))}; `olrd verify` checks it"
        ) from error


def open_splits(root: str) -> datasets.DatasetDict:
    """All splits of a folder, URL or hub id, as `datasets` opens them. Rows of recipes have no pictures.

    Of a built folder, only the shards that build.json lists are read.

    Raises `SourceError` if `datasets` cannot open it, or if it is a build without triplets, `IntegrityError` if a shard
    of a build is missing or damaged.
    """
    import datasets

    datasets.disable_progress_bars()
    if is_url(root) or (Path(root) / BUILD_FILE).is_file():
        built = Dataset(root)
        if not len(built):
            raise SourceError(f"{root} holds no triplets; its {BUILD_FILE} says why")
        return _loaded(built)
    if Path(root).is_file():
        raise SourceError(f"{root} is a file; expected a built dataset folder, its URL or a hub id")
    try:
        return datasets.load_dataset(root)
    except (OSError, ValueError, datasets.exceptions.DatasetNotFoundError) as error:
        raise SourceError(
            f"'{root}' is neither a folder nor a hub id that `datasets` opens: {error}. Build one with "
            "`olrd-build --source coco --root COCO --out FOLDER`"
        ) from error


class RenderBatch:
    """A transform for `datasets`: adds the pictures to a batch of recipes."""

    def __init__(self, root: Path | Remote | str, max_pixels: int = MAX_PIXELS) -> None:
        self.root, self.max_pixels = str(root), max_pixels
        self._renderer: Renderer | None = Renderer(root, max_pixels)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_renderer": None}  # every process opens the photos for itself

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        if "recipe" not in batch:
            return batch
        self._renderer = self._renderer or Renderer(self.root, self.max_pixels)
        shown: dict[str, list[Any]] = {}
        for text in batch["recipe"]:
            triplet, _ = self._renderer.render(read_recipe(text))
            for name, pixels in triplet._asdict().items():
                if pixels is not None and name != MASKS:
                    shown.setdefault(name, []).append(Pillow.fromarray(pixels))
            if "categories" in batch:
                single = triplet.masks or (triplet.mask,)
                shown.setdefault(MASKS, []).append([Pillow.fromarray(mask) for mask in single])
        return batch | shown
