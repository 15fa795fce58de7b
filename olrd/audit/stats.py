"""`olrd stats`: what a dataset holds, counted in one pass over its plain columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from olrd.audit.distributions import AREA_EDGES, COLUMNS, cell_of, check_row, quantiles, shift_share
from olrd.audit.edge_leak import dataset_leak
from olrd.audit.stats_page import one_name, stats_page
from olrd.dataset.beside import beside, dataset_name
from olrd.dataset.folder import Dataset
from olrd.dataset.seen_words import places
from olrd.errors import ALL_REASONS
from olrd.progress import size_text
from olrd.storage.files import write_wanted
from olrd.trust import counted

POSITIONS = 8
"""Cells of the frame across and down."""
SHIFT_STEP = 0.1
"""Width of a bin of the shift, as a share of the diagonal."""


@dataclass
class _Counts:
    """What is counted over the rows."""

    areas: list[float] = field(default_factory=list)
    shifts: list[float] = field(default_factory=list)
    splits: Counter[str] = field(default_factory=Counter)
    photos: dict[tuple[str, str], str] = field(default_factory=dict)
    per_photo: Counter[tuple[str, str]] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)
    cells: Counter[tuple[str, int]] = field(default_factory=Counter)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    positions: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, row: Mapping[str, Any]) -> None:
        """Count one row that `check_row` accepts."""
        photo, category = (str(row["source"]), str(row["image_id"])), str(row["category"] or "")
        self.areas.append(row["mask_area"])
        self.shifts.append(shift_share(dict(row)))
        self.splits[row["split"]] += 1
        self.photos.setdefault(photo, row["split"])
        self.per_photo[photo] += 1
        self.categories[category] += 1
        self.labels.update(map(str, row["background_labels"]))
        self.licenses[str(row["license"] or "")] += 1
        self.cells[category, area_bin(row["mask_area"])] += 1
        self.pairs.update((category, str(label)) for label in row["background_labels"])
        self.positions[cell_of(row, POSITIONS)] += 1


def area_bin(share: float) -> int:
    """The number of the bin of `AREA_EDGES` that holds an area; a bin begins with its lower edge, the last has both."""
    return min(int(np.searchsorted(AREA_EDGES, share, "right")) - 1, len(AREA_EDGES) - 2)


def stats(folder: Path | str, out: Path | str | None = None, leak: bool = True, seed: int = 0) -> dict[str, Any]:
    """Count what a dataset holds and write a page with plots.

    Args:
        folder: of the dataset, or its URL. Recipes too: only plain columns are read, except for the edge leak.
        out: the page; by default `<folder>-stats.html` beside the dataset. It may not be inside the dataset.
        leak: measure the edge leak, which decodes up to 400 triplets. Recipes have none.
        seed: of the leak's sample and classifiers.

    Returns:
        JSON values; `docs/datasets.md` lists them. Counts have the most frequent value first.

    Raises:
        SourceError: there is no build, or no triplet in it.
        IntegrityError: a row lacks a value.
        UsageError: `out` is inside the dataset.
        OutputError: `out` cannot be written.
    """
    dataset = Dataset(folder)
    dataset.need_triplets()
    page = beside(dataset, "-stats.html", out)
    result = counts_of(dataset)
    if leak and dataset.form == "full":
        result["edge_leak"] = dataset_leak(dataset, seed).to_json()
    write_wanted(page, stats_page(result))
    return result | {"page": str(page)}


def counts_of(dataset: Dataset) -> dict[str, Any]:
    """The counts of a dataset as JSON values, without the edge leak (`edge_leak` is None)."""
    counts = _Counts()
    for row in dataset.rows(COLUMNS):
        check_row(row)
        counts.add(row)
    totals, shifts = dataset.record.totals, np.array(counts.shifts)
    bins = int(shifts.max() / SHIFT_STEP) + 1
    photos = Counter(counts.photos.values())
    several = Counter(counts.per_photo.values())
    return {
        "name": dataset_name(dataset),
        "form": dataset.form,
        "command": dataset.record.command,
        "triplets": len(counts.areas),
        "photos": len(counts.photos),
        "background_kind": dataset.record.source.background_kind,
        "bytes": dataset.record.bytes,
        "splits": {name: {"triplets": n, "photos": photos[name]} for name, n in counts.splits.items()},
        "area": {
            "edges": list(AREA_EDGES),
            "counts": [sum(n for (_, k), n in counts.cells.items() if k == b) for b in range(len(AREA_EDGES) - 1)],
            "quantiles": quantiles(np.array(counts.areas)),
        },
        "shift": {
            "edges": [round(SHIFT_STEP * edge, 6) for edge in range(bins + 1)],
            "counts": np.bincount((shifts / SHIFT_STEP).astype(int), minlength=bins).tolist(),
            "quantiles": quantiles(shifts),
        },
        "categories": _ranked(counts.categories),
        "background_labels": _ranked(counts.labels),
        "licenses": _ranked(counts.licenses),
        "triplets_per_photo": {str(n): several[n] for n in sorted(several)},
        "positions": [[counts.positions[line, column] for column in range(POSITIONS)] for line in range(POSITIONS)],
        "cells": {
            name: [counts.cells[name, b] for b in range(len(AREA_EDGES) - 1)] for name in _ranked(counts.categories)
        },
        "category_backgrounds": _nested(counts.pairs, counts.categories),
        "left_out": {"photos": _ranked(totals.photos_rejected), "objects": _ranked(totals.objects_rejected)},
        "edge_leak": None,
    }


def _ranked(counts: Mapping[str, int]) -> dict[str, int]:
    """Counts, most frequent first, then by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _nested(pairs: Mapping[tuple[str, str], int], categories: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """Counts of backgrounds by class, both most frequent first."""
    found: dict[str, dict[str, int]] = {name: {} for name in _ranked(categories)}
    for (category, label), count in pairs.items():
        found[category][label] = count
    return {name: _ranked(inner) for name, inner in found.items()}


def stats_text(result: Mapping[str, Any], most: int = 10) -> str:
    """The counts as one screen of text."""
    area, shift = result["area"]["quantiles"], result["shift"]["quantiles"]
    splits = ", ".join(f"{name} {part['triplets']:,}" for name, part in result["splits"].items())
    lines = [
        f"{counted(result['triplets'], 'triplet')} of {places(result['photos'], result['background_kind'])} ({splits}), "
        f"{size_text(result['bytes'])}",
        f"mask area: median {100 * area['50']:.2f} %, 90 % from {100 * area['5']:.2f} to {100 * area['95']:.2f} %",
        f"shift: median {100 * shift['50']:.0f} % of the diagonal",
    ]
    if (leak := result["edge_leak"]) and leak["auc"]:
        lines.append(
            f"edge leak: AUC {leak['auc']['value']:.3f} per patch, {leak['auc_objects']['value']:.3f} per object"
        )
    for title in ("categories", "background_labels", "licenses"):
        counts = list(result[title].items())
        more = f" ({len(counts) - most} more on the page)" if len(counts) > most else ""
        lines += ["", title.replace("_", " ") + more]
        lines += [f"  {count:>9,}  {one_name(name)}" for name, count in counts[:most]]
    left_out = Counter(result["left_out"]["photos"]) + Counter(result["left_out"]["objects"])
    lines += ["", "left out", *(f"  {n:>9,}  {code:<20} {ALL_REASONS[code]}" for code, n in left_out.most_common(most))]
    return "\n".join([*lines, "", str(result["page"])])
