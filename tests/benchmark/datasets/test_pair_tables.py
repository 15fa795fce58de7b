"""Pairs in Parquet files and on the hub, whatever their columns are called."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawn_pairs import mask_of, photo_of, three, truth_of, write_pairs
from PIL import Image as Pillow
from sound_datasets import check

from benchmark.datasets import DataSet, open_dataset
from olrd.arrays import Image, Mask
from olrd.errors import OlrdError, Rejected, UsageError


@pytest.fixture(scope="module", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """`datasets` caches elsewhere."""
    datasets = pytest.importorskip("datasets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


def stored(pixels: Image | Mask) -> dict[str, Any]:
    """A picture as `datasets` stores it."""
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def rows(image: str = "image", mask: str = "mask", truth: str = "truth", **more: list[Any]) -> dict[str, list[Any]]:
    seeds = (1, 2, 3)
    parts = {image: photo_of, mask: mask_of} | ({truth: truth_of} if truth else {})
    return {name: [stored(draw(seed)) for seed in seeds] for name, draw in parts.items()} | more


def write_table(path: Path, columns: dict[str, list[Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def opened(root: Path, **options: str) -> DataSet:
    data = open_dataset("pairs", str(root), options)
    check(data)
    return data


def as_drawn(data: DataSet) -> None:
    for index, seed in enumerate((1, 2, 3)):
        one = data.sample(index)
        np.testing.assert_array_equal(one.image, photo_of(seed))
        np.testing.assert_array_equal(one.mask, mask_of(seed))
        if one.truth is not None:
            np.testing.assert_array_equal(one.truth, truth_of(seed))


def test_columns_of_any_name_are_read(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", rows("with it", "m", "without", key=["x", "y", "z"], scene=[1, 1, 2]))
    data = opened(path, columns="image:with it,mask:m,truth:without")
    as_drawn(data)
    assert data.ids() == ["000000", "000001", "000002"] and data.warnings == ()
    named = opened(path, columns="image:with it, mask:m, truth:without, id:key, cluster:scene")
    as_drawn(named)
    assert named.ids() == ["x", "y", "z"] and [named.sample(k).cluster for k in range(3)] == ["1", "1", "2"]
    assert named.fingerprint != data.fingerprint


def test_a_column_of_effects_is_handed_on(tmp_path: Path) -> None:
    columns = rows("input", "object_mask", "gt")
    plain = opened(write_table(tmp_path / "plain.parquet", columns), layout="ober")
    columns["object_effect_mask"] = [None, *(stored(np.roll(mask_of(seed), 9, 0)) for seed in (2, 3))]
    data = opened(write_table(tmp_path / "effects.parquet", columns), layout="ober")
    as_drawn(data)
    empty, found = data.sample(0).effect, data.sample(1).effect
    assert plain.sample(0).effect is None and empty is not None and not empty.any()
    np.testing.assert_array_equal(found, np.roll(mask_of(2), 9, 0))
    named = opened(tmp_path / "effects.parquet", columns="image:input,mask:object_mask,effect:object_effect_mask")
    np.testing.assert_array_equal(named.sample(1).effect, found)


def test_a_folder_of_parquet_files_with_usual_columns_needs_no_option(tmp_path: Path) -> None:
    write_table(tmp_path / "data" / "test-00000-of-00001.parquet", rows("input", "object_mask", "gt"))
    write_table(tmp_path / "data" / "train-00000-of-00001.parquet", rows("input", "object_mask", "gt"))
    data = opened(tmp_path, split="test")
    as_drawn(data)
    assert len(opened(tmp_path).ids()) == 6
    with pytest.raises(UsageError, match="Did you mean 'test'"):
        opened(tmp_path, split="tset")
    same = opened(tmp_path, layout="ober", split="test")
    assert same.fingerprint == data.fingerprint


def test_rows_without_a_truth_and_sets_without_one_are_read(tmp_path: Path) -> None:
    some = rows()
    some["truth"][1] = None
    data = opened(write_table(tmp_path / "some.parquet", some))
    assert [data.sample(k).truth is None for k in range(3)] == [False, True, False]
    none = opened(write_table(tmp_path / "none.parquet", rows(truth="", removed=[1, 2, 3])))
    assert none.sample(0).truth is None
    assert none.warnings == (
        "there is no truth: scores that compare with it are empty (columns that are not used: removed)",
    )
    assert opened(tmp_path / "some.parquet", truth="none").sample(0).truth is None


def test_rows_with_one_photo_are_one_cluster(tmp_path: Path) -> None:
    table = rows()
    table["image"][2] = table["image"][0]
    table["truth"][2] = table["truth"][0]
    data = opened(write_table(tmp_path / "a.parquet", table))
    assert [data.sample(k).cluster for k in range(3)] == ["000000", "000001", "000000"]


def test_pictures_beside_the_table_are_read_and_none_elsewhere(tmp_path: Path) -> None:
    write_pairs(tmp_path / "set", three())
    names = {part: [f"{part}/{k}.png" for k in (1, 2, 3)] for part in ("image", "mask", "gt")}
    data = opened(write_table(tmp_path / "set" / "a.parquet", names))
    as_drawn(data)
    (tmp_path / "secret.png").write_bytes((tmp_path / "set" / "image" / "1.png").read_bytes())
    write_table(tmp_path / "set" / "b.parquet", names | {"image": ["../secret.png"] * 3})
    with pytest.raises(OlrdError):
        opened(tmp_path / "set" / "b.parquet")


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        (rows("a", "b", "c"), {}, "has the columns a, b, c: say which hold the image and the mask with"),
        (rows("a"), {}, "say which hold the image with"),
        (rows("a"), {"columns": "image:b,mask:mask"}, "no column is called 'b'"),
        (rows("a"), {"columns": "picture:a,mask:mask"}, "columns expects image:NAME,mask:NAME"),
        (rows("a"), {"columns": "a,mask"}, "columns expects image:NAME,mask:NAME"),
        (rows(n=[1, 2, 3]), {"columns": "image:n,mask:mask"}, "the column n holds no pictures"),
        (rows(n=["x", "x", "y"]), {"columns": "image:image,mask:mask,id:n"}, "holds x twice"),
    ],
)
def test_a_column_that_does_not_fit_is_named(
    columns: dict[str, list[Any]], options: dict[str, str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        opened(write_table(tmp_path / "a.parquet", columns), **options)


def test_a_row_without_a_photo_fails_alone(tmp_path: Path) -> None:
    table = rows()
    table["image"][1] = None
    data = open_dataset("pairs", str(write_table(tmp_path / "a.parquet", table)))
    assert data.sample(0).id == "000000"
    with pytest.raises(Rejected, match="row 000001: image is empty"):
        data.sample(1)


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(OlrdError, match=r"a\.parquet"):
        opened(tmp_path / "a.parquet")
    with pytest.raises(OlrdError, match="holds no Parquet file"):
        (tmp_path / "empty").mkdir()
        opened(tmp_path / "empty", columns="image:a,mask:b")


def test_a_root_that_is_not_there_is_no_hub_id(tmp_path: Path) -> None:
    with pytest.raises(OlrdError, match="does not exist, and it is no hub id"):
        opened(tmp_path / "gone", columns="image:a,mask:b")
    with pytest.raises(OlrdError, match="is no folder; sets of the hub are read with --data-option columns="):
        opened(Path("owner/name"))
