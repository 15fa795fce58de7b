"""Reads the photos, masks and truths of `pairs` from Parquet files and from datasets of the hub, whatever their columns."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from olrd.dataset.loading import open_splits
from olrd.errors import Rejected, SourceError, UsageError, did_you_mean
from olrd.sources.pairs.columns import USUAL, chosen_columns
from olrd.sources.pairs.folders import Picture
from olrd.sources.pairs.names import duplicates
from olrd.sources.seen.hub_pictures import HUB_ID
from olrd.storage.files import read_regular, sha256
from olrd.trust import printable


class PairTable:
    """Rows with a photo, a mask and perhaps a truth.

    Args:
        root: a Parquet file, a folder of them, or a hub id.
        columns: `image:a,mask:b,truth:c,id:d,cluster:e,effect:f`, or an empty text for the usual names. Truth, id,
            cluster and effect (the mask of shadow and reflection) may be left out; ids are then the numbers of the rows.
        split: the name of a split, or `all`.
        truth: whether truths are read.

    Raises:
        UsageError: a column or split does not exist, or `columns` is not of that form.
        SourceError: the data cannot be opened.
    """

    def __init__(self, root: str, columns: str, split: str = "all", truth: bool = True) -> None:
        import datasets

        self.root, self.warnings = root, list[str]()
        splits = _splits(root)
        if split != "all" and split not in splits:
            raise did_you_mean("split", split, ["all", *splits])
        chosen = [name for name in splits if split in ("all", name)]
        rows = datasets.concatenate_datasets([splits[name] for name in chosen])
        if not len(rows):
            raise SourceError(f"{root}: the split {split} holds no rows")
        self._names = self._columns(columns, rows.column_names, truth)
        self.effects = "effect" in self._names
        self._parts = (*USUAL, "effect") if self.effects else tuple(USUAL)
        self._pictures = [self._names[part] for part in self._parts if part in self._names]
        for name in self._pictures:
            try:
                rows = rows.cast_column(name, datasets.Image(decode=False))
            except (TypeError, ValueError, pa.ArrowException) as error:
                raise UsageError(
                    f"{root}: the column {name} holds no pictures ({printable(str(error).splitlines()[0])}); name another "
                    f"with --data-option columns=... (columns: {', '.join(rows.column_names)})"
                ) from error
        self._rows = rows.select_columns(sorted({*self._names.values()}))
        self.ids = self._texts("id") or _numbered({name: len(splits[name]) for name in chosen})
        if again := duplicates(self.ids):
            raise UsageError(f"{root}: the column {self._names['id']} holds {again[0]} twice; ids must be unique")

    def _columns(self, text: str, present: list[str], truth: bool) -> dict[str, str]:
        """The column of each part."""
        chosen = chosen_columns(text, present)
        if missing := [part for part in ("image", "mask") if part not in chosen]:
            raise UsageError(
                f"{self.root} has the columns {', '.join(present)}: say which hold the {' and the '.join(missing)} with "
                "--data-option columns=image:NAME,mask:NAME,truth:NAME"
            )
        if not truth:
            chosen.pop("truth", None)
        elif "truth" not in chosen:
            others = ", ".join(name for name in present if name not in chosen.values()) or "none"
            self.warnings.append(
                f"there is no truth: scores that compare with it are empty (columns that are not used: {others})"
            )
        return chosen

    def _texts(self, part: str) -> list[str]:
        return [str(value) for value in self._rows[self._names[part]]] if part in self._names else []

    def pictures(self, index: int) -> tuple[Picture, Picture, Picture | None]:
        """The photo, the mask and the truth of a row. Raises `Rejected` if the photo or the mask is missing."""
        row = self._rows[index]
        found = [self._picture(row, part, self.ids[index]) for part in USUAL]
        if found[0] is None or found[1] is None:
            part = "image" if found[0] is None else "mask"
            raise Rejected("photo_unreadable", f"{self.root}, row {self.ids[index]}: {self._names[part]} is empty")
        return found[0], found[1], found[2]

    def effect(self, index: int) -> Picture | None:
        """The mask of the effect of a row. Raises `Rejected` if it cannot be read."""
        return self._picture(self._rows[index], "effect", self.ids[index])

    def _picture(self, row: Mapping[str, Any], part: str, name: str) -> Picture | None:
        stored = row[self._names[part]] if part in self._names else None
        if stored is None or (stored["bytes"] is None and stored["path"] is None):
            return None
        where = f"{self.root}, row {name}, {self._names[part]}"
        if stored["bytes"] is not None:
            return Picture(where, stored["bytes"])
        root = Path(self.root)
        folder = root if root.is_dir() else root.parent
        try:  # a stranger's table must not read files elsewhere
            return Picture(where, read_regular(folder / stored["path"], folder))
        except OSError as error:
            raise Rejected("photo_unreadable", f"{where}: {stored['path']} cannot be read: {error}") from error

    @cached_property
    def _hashes(self) -> list[list[str]]:
        """The hash of each picture of each row; `-` if there is none."""
        found = []
        for index, name in enumerate(self.ids):
            row = self._rows[index]
            pictures = [self._picture(row, part, name) for part in self._parts]
            found.append([sha256(picture.data) if picture else "-" for picture in pictures])
        return found

    @cached_property
    def clusters(self) -> list[str]:
        """The source photos: of the column `cluster`, or the first row with the same photo."""
        first: dict[str, str] = {}
        same = [first.setdefault(row[0], name) for name, row in zip(self.ids, self._hashes, strict=True)]
        return self._texts("cluster") or same

    def hash(self, settings: str) -> str:
        """A hash of all rows. settings: the options that change the samples."""
        rows = zip(self.ids, self.clusters, self._hashes, strict=True)
        lines = ["\t".join([name, cluster, *hashes]) for name, cluster, hashes in rows]
        return sha256("\n".join([settings, str(sorted(self._names.items())), *lines]).encode())[:16]


def is_table(root: str, folder: str) -> bool:
    """Whether a root is a Parquet file, or a folder of Parquet files without the folder of photos."""
    path = Path(root)
    return path.suffix == ".parquet" or (path.is_dir() and not (path / folder).is_dir() and bool(_files(path)))


def _files(folder: Path) -> list[Path]:
    """The Parquet files of a folder, or of its folder `data`."""
    found = sorted(folder.glob("*.parquet")) or sorted(folder.glob("data/*.parquet"))
    return [path for path in found if not path.name.startswith(".")]


def _splits(root: str) -> Mapping[str, Any]:
    """The rows by split. A split is what a file's name begins with, as in `test-00000-of-00001.parquet`."""
    import datasets

    path = Path(root)
    files = [path] if path.is_file() else _files(path)
    if not files:
        if path.exists():
            raise SourceError(f"{root} holds no Parquet file (*.parquet, data/*.parquet)")
        if not re.fullmatch(HUB_ID, root):
            raise SourceError(f"{root} does not exist, and it is no hub id (OWNER/NAME)")
        return open_splits(root)
    by_split: dict[str, list[str]] = {}
    for file in files:
        # `datasets` reads a path as a pattern.
        by_split.setdefault(_split_of(file), []).append(glob.escape(str(file.resolve())))
    datasets.disable_progress_bars()
    try:
        loaded: Mapping[str, Any] = datasets.load_dataset("parquet", data_files=by_split)
    except (OSError, ValueError, pa.ArrowException, datasets.exceptions.DatasetsError) as error:
        raise SourceError(f"{root} cannot be opened as Parquet: {printable(str(error))}") from error
    return loaded


def _split_of(file: Path) -> str:
    word = file.stem.partition("-")[0]
    return word if word in ("train", "test", "validation", "val") else "train"


def _numbered(counts: Mapping[str, int]) -> list[str]:
    """Ids of rows: their numbers, with the split where there are several."""
    return [f"{name}-{k:06d}" if len(counts) > 1 else f"{k:06d}" for name, n in counts.items() for k in range(n)]
