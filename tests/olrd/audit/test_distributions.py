"""Distributions, and the audit as a whole."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_dataset import HEIGHT, WIDTH, write_dataset

from olrd.audit import audit, format_audit
from olrd.audit.distributions import AREA_EDGES, distributions
from olrd.dataset.folder import Dataset
from olrd.errors import IntegrityError, SourceError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("dist") / "set", photos=9, per_photo=2)


def test_counts_equal_the_plain_loop(folder: Path) -> None:
    dataset = Dataset(folder)
    found = distributions(dataset)
    assert sorted(found) == ["all", "test", "train"]
    for name, part in found.items():
        rows = [row for row in dataset.rows() if name in ("all", row["split"])]
        assert part["triplets"] == len(rows)
        assert part["photos"] == len({row["image_id"] for row in rows})
        assert part["categories"] == Counter(row["category"] for row in rows)
        assert part["supercategories"] == Counter(row["supercategory"] for row in rows)
        labels = [label for row in rows for label in row["background_labels"]]
        assert part["background_labels"] == Counter(labels)
        assert part["licenses"] == {"CC-BY-2.0": len(rows)}
        areas = [row["mask_area"] for row in rows]
        assert part["area"]["quantiles"]["50"] == pytest.approx(np.median(areas), abs=1e-6)
        edges = list(pairwise(AREA_EDGES))
        expected = [sum(low <= area < high for area in areas) for low, high in edges]
        assert list(part["area"]["bins"].values()) == expected
        grid = [[0] * 3 for _ in range(3)]
        for x, y, w, h in (row["bbox"] for row in rows):
            grid[int((y + h / 2) / HEIGHT * 3)][int((x + w / 2) / WIDTH * 3)] += 1
        assert part["position"] == grid
        lengths = [np.hypot(*row["shift"]) / np.hypot(WIDTH, HEIGHT) for row in rows]
        assert part["shift"]["quantiles"]["100"] == pytest.approx(max(lengths), abs=1e-6)


def test_most_frequent_come_first(folder: Path) -> None:
    labels = distributions(Dataset(folder))["all"]["background_labels"]
    assert list(labels.items()) == [("sand", 10), ("grass", 8), ("sky", 8)]


def test_an_empty_split_and_missing_values(tmp_path: Path) -> None:
    meta: dict[str, Any] = {"license": None, "background_labels": []}
    folder = write_dataset(tmp_path / "set", photos=1, per_photo=1, meta=meta)
    found = distributions(Dataset(folder))
    assert set(found) == {"all", "train"}
    assert found["all"]["licenses"] == {"": 1} and found["all"]["background_labels"] == {}
    empty = write_dataset(tmp_path / "empty", photos=0)
    assert distributions(Dataset(empty))["all"]["area"]["quantiles"] is None
    with pytest.raises(SourceError, match="holds no triplets"):
        audit(empty)


@pytest.mark.slow
def test_audit_is_json_and_one_screen(folder: Path) -> None:
    result = audit(folder, [folder])
    assert json.loads(json.dumps(result)) == result
    assert result["edge_leak"]["auc"] is None and "too few" in result["edge_leak"]["note"]
    text = format_audit(result)
    assert len(text.splitlines()) < 40
    for word in ("edge leak", "not measured", "same id 9", "18 triplets of 9 photos", "dog 6"):
        assert word in text
    assert result == audit(folder, [folder])


@pytest.mark.slow
def test_measured_leaks_are_printed(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", photos=24, per_photo=1)
    result = audit(folder)
    text = format_audit(result)
    assert f"{result['edge_leak']['auc']['value']:.3f}" in text
    assert "surroundings" in text and "24 objects" in text


def test_recipes_form_has_no_edge_leak(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", photos=2, form="recipes")
    result = audit(folder)
    assert result["edge_leak"] is None
    assert "olrd rebuild" in format_audit(result)


@pytest.mark.parametrize(
    "meta",
    [{"bbox": None}, {"bbox": [-9, 0, 1, 1]}, {"width": 0}, {"background_labels": None}, {"mask_area": float("nan")}],
    ids=repr,
)
def test_a_row_with_a_wrong_value_is_an_error(meta: dict[str, Any], tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", photos=2, meta=meta)
    with pytest.raises(IntegrityError, match="olrd verify"):
        distributions(Dataset(folder))
