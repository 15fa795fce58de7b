"""The pairs of a set for building: folders in the layout of a published set, Parquet files, or a dataset of the Hub."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from olrd.errors import Rejected, SourceError, UsageError, did_you_mean
from olrd.progress import progress_bar, say
from olrd.sources.pairs.columns import OBER, USUAL, chosen_columns
from olrd.sources.pairs.folders import Advice, find_pairs
from olrd.sources.pairs.layouts import Layout, layout_of
from olrd.sources.pairs.names import duplicates
from olrd.sources.seen import PictureRef
from olrd.sources.seen.hub_pictures import HubPictures
from olrd.sources.seen.picture_files import PictureFiles
from olrd.storage.files import children, file_name_of
from olrd.storage.remote import Remote
from olrd.trust import printable

_EFFECTS = ("effect", "object_effect_mask", "mask_eff")
"""Usual names of a column with masks of objects and their shadows."""
NONE = "none"
ALL = "all"
ADVICE = Advice("--source-option", truthless="", deep=": --root and photos=FOLDER read those of one folder")


class Pair(NamedTuple):
    """A pair. image and truth: with and without the object. mask and effect: None if they are found by difference."""

    id: str
    scene: str
    image: PictureRef
    truth: PictureRef
    mask: PictureRef | None
    effect: PictureRef | None


class PairSet(NamedTuple):
    """The pairs of a set. invert: masks are black where the object is."""

    pairs: list[Pair]
    fingerprint: str
    invert: bool


def pair_set(root: Path | Remote | str, options: Mapping[str, str], files: PictureFiles | HubPictures) -> PairSet:
    """Find the pairs of a set.

    Args:
        root: a folder, or the name of the dataset if it is of the Hub.
        options: of the source.
        files: reads the pictures of the root.

    Raises:
        SourceError: there are none, or a file is missing.
        UsageError: a layout, a column or a split does not exist.
    """
    table = options["columns"] or OBER * (options["layout"] == "ober")
    layout = layout_of("plain" if options["layout"] == "ober" else options["layout"])
    if isinstance(files, HubPictures):
        pairs = list(_of_hub(files, table, options["split"]))
    elif isinstance(root, str):
        raise TypeError(f"expected a folder, got {root!r}")
    elif (
        table
        or isinstance(root, Remote)
        or (not (root / (options["photos"] or layout.photos)).is_dir() and _tables(root))
    ):
        pairs = list(_of_tables(root, table, options["split"]))
    else:
        if options["split"] != ALL:
            raise UsageError("the source pairs: split is for Parquet files and datasets of the Hub; --root has folders")
        pairs = _of_folders(root, layout, options)
    if again := duplicates(pair.id for pair in pairs):
        raise SourceError(
            f"{root}: several pairs have the id {again[0]}; ids must differ in letters, digits, . _ and -"
        )
    pairs, fingerprint = _hashed(pairs, files)
    return PairSet(pairs, fingerprint, layout.invert)


def _of_folders(root: Path, layout: Layout, options: Mapping[str, str]) -> list[Pair]:
    truth = options["truth"] or layout.truth or "gt"
    known = {name: options[name] for name in ("photos", "masks", "effects")} | {"truth": truth}
    if without := options["masks"] == NONE:  # the truth takes the place of the mask, and is matched by its name
        known |= {"masks": truth, "truth": NONE}
    layout = layout._replace(beside=layout.beside and not without)
    found = find_pairs(root, layout, known, options["cluster"], False, ADVICE)
    for warning in found.warnings:
        if not without:
            say(warning)
    pairs = []
    for item in found.items:
        clean = item.mask if without else item.truth
        if clean is None:
            raise SourceError(f"{root}: {item.id} has no picture without the object")
        pairs.append(
            Pair(
                file_name_of(item.id),
                item.cluster,
                _ref(root, item.photo),
                _ref(root, clean),
                None if without else _ref(root, item.mask),
                _ref(root, item.effect) if item.effect else None,
            )
        )
    return pairs


def _ref(root: Path, path: Path) -> PictureRef:
    return PictureRef(path.relative_to(root).as_posix(), "", "")


def _tables(root: Path | Remote) -> list[str]:
    """The Parquet files of a folder, or of its folder `data`, as relative names."""
    for folder in ("", "data/"):
        found = [path.name for path in children(root / folder if folder else root)]
        if names := [folder + name for name in found if name.endswith(".parquet") and name[0] != "."]:
            return names
    return []


def _of_hub(files: HubPictures, text: str, split: str) -> Iterator[Pair]:
    """The pairs of a dataset of the Hub. A reference names the split in place of a file."""
    splits = files.splits
    if split != ALL and split not in splits:
        raise did_you_mean("split", split, [ALL, *splits])
    number = 0
    for name, rows in splits.items():
        if split not in (ALL, name):
            continue
        columns = _columns(files.name, text, rows.column_names)
        texts = {part: [str(v) for v in rows[columns[part]]] for part in ("id", "cluster") if part in columns}
        for row in range(len(rows)):
            yield _of_row(name, row, columns, {part: values[row] for part, values in texts.items()}, number)
            number += 1


def _of_row(name: str, row: int, columns: Mapping[str, str], texts: Mapping[str, str], number: int) -> Pair:
    """The pair of a row. name: of the file or split. texts: its id and cluster, as far as there are such columns."""
    refs = {part: PictureRef(name, f"row:{row}:{columns[part]}", "") for part in (*USUAL, "effect") if part in columns}
    key = texts.get("id", f"{number:06d}")
    scene = texts.get("cluster", key)
    return Pair(file_name_of(key), scene, refs["image"], refs["truth"], refs.get("mask"), refs.get("effect"))


def _of_split(names: list[str], split: str) -> list[str]:
    """The Parquet files of a split: those whose names begin with it, as in `test-00000-of-00001.parquet`."""
    splits = [name.rpartition("/")[2].partition("-")[0].removesuffix(".parquet") for name in names]
    if split != ALL and split not in splits:
        raise did_you_mean("split", split, [ALL, *dict.fromkeys(splits)])
    return [name for name, own in zip(names, splits, strict=True) if split in (ALL, own)]


def _of_tables(root: Path | Remote, text: str, split: str) -> Iterator[Pair]:
    names = _tables(root)
    if not names:
        raise SourceError(f"{root} holds no Parquet file (*.parquet, data/*.parquet)")
    number = 0
    for name in _of_split(names, split):
        path = root / name
        try:
            with pq.ParquetFile(path.open() if isinstance(path, Remote) else path) as file:
                columns = _columns(str(root), text, file.schema_arrow.names)
                plain = [part for part in ("id", "cluster") if part in columns]
                count = file.metadata.num_rows
                texts = {
                    part: [str(v) for v in file.read(columns=[columns[part]])[columns[part]].to_pylist()]
                    for part in plain
                }
        except (OSError, ValueError, pa.ArrowException) as error:
            raise SourceError(f"{root}/{name} cannot be read as Parquet: {printable(str(error))}") from error
        for row in range(count):
            yield _of_row(name, row, columns, {part: values[row] for part, values in texts.items()}, number)
            number += 1


def _columns(root: str, text: str, present: list[str]) -> dict[str, str]:
    chosen = chosen_columns(text, present)
    for name in _EFFECTS:
        if "effect" not in chosen and name in present and not text.count("effect:"):
            chosen["effect"] = name
    if missing := [part for part in ("image", "truth") if part not in chosen]:
        raise UsageError(
            f"{root} has the columns {', '.join(present)}: say which hold the {' and the '.join(missing)} with "
            "--source-option columns=image:NAME,truth:NAME,mask:NAME,effect:NAME"
        )
    return chosen


def _hashed(pairs: list[Pair], files: PictureFiles | HubPictures) -> tuple[list[Pair], str]:
    """The pairs with the hashes of their pictures, and a hash of all."""
    digest = hashlib.sha256(b"pairs 1")
    found = []
    with progress_bar("reading pairs", len(pairs), unit="pair") as bar:
        for pair in pairs:
            refs = [_with_hash(ref, files) for ref in pair[2:]]
            digest.update("\t".join([pair.id, pair.scene, *(ref.sha256 if ref else "-" for ref in refs)]).encode())
            found.append(Pair(pair.id, pair.scene, *refs))  # type: ignore[arg-type]
            bar.update(1)
    return found, digest.hexdigest()


def _with_hash(ref: PictureRef | None, files: PictureFiles | HubPictures) -> PictureRef | None:
    if ref is None:
        return None
    try:
        return ref._replace(sha256=files.sha256(ref.file_name, ref.part))
    except Rejected as error:  # the pair reports it when it is opened
        return ref._replace(sha256=error.code)
