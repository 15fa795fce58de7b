"""Recipes and photos give back the direct build, byte for byte, or say exactly why not."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from built_folders import command, digest
from cases import every
from drawn_sets import DrawnSets
from sealed_copy import Copy

import olrd.tools.rebuild as rebuilding
from olrd.builder.build import build
from olrd.cli.main import main as olrd
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.dataset.shards import ROW_GROUP, open_writer, to_table
from olrd.errors import IntegrityError, OlrdError, OutputError, SourceError, UsageError
from olrd.sources import SourceSpec
from olrd.tools.rebuild import rebuild
from olrd.tools.verify import verify


@pytest.fixture(scope="module")
def root(drawn: DrawnSets) -> Path:
    return drawn.photos(14, 9)


@pytest.fixture(scope="module")
def config(root: Path) -> BuildConfig:
    return BuildConfig(SourceSpec("coco", str(root)), per_object=1, shard_bytes=250_000)


@pytest.fixture(scope="module")
def full(config: BuildConfig, drawn: DrawnSets) -> Path:
    return drawn.built(config)


@pytest.fixture(scope="module")
def recipes(config: BuildConfig, drawn: DrawnSets) -> Path:
    return drawn.built(replace(config, form="recipes"))


def names_of(folder: Path) -> list[str]:
    """The photos that the recipes need, in the order of the rows."""
    texts = [json.loads(row["recipe"]) for row in Dataset(folder).rows(["recipe"])]
    return [recipe["background"]["file_name"] for recipe in texts]


def test_rebuilding_gives_the_direct_build(root: Path, full: Path, recipes: Path, tmp_path: Path) -> None:
    result = rebuild(recipes, root, tmp_path / "out")
    assert digest(tmp_path / "out") == digest(full)
    assert result == json.loads((full / "build.json").read_text())
    assert len(list((full / "data").iterdir())) >= 4


@pytest.mark.slow
def test_two_workers_and_the_command_give_the_same(root: Path, full: Path, recipes: Path, tmp_path: Path) -> None:
    words = ["rebuild", recipes, "--root", root, "--out", tmp_path / "out", "--workers", 2]
    done = command(*words, module="olrd.cli.main")
    assert done.returncode == 0, done.stderr
    assert "every triplet verified" in done.stdout
    assert digest(tmp_path / "out") == digest(full)


@pytest.mark.usefixtures("no_sample_sheet")
@pytest.mark.parametrize(
    "change",
    [
        {"donor": "other"},
        {"scale": (0.6, 1.4), "flip": True, "match": ("noise", "sharpness")},
        {"size": 100},
        {"size": 260, "donor": "other", "scale": (0.8, 1.2), "flip": True},
        {"blend": "poisson"},
        {"blend": "feather", "placement": "uniform", "params": {"radius": 3.0}},
        {"blend": "hard", "placement": "centroid"},
    ],
    ids=lambda change: "-".join(change),
)
@pytest.mark.slow
def test_every_option_rebuilds(change: dict[str, Any], config: BuildConfig, root: Path, tmp_path: Path) -> None:
    own = replace(config, limit=16 if "donor" in change else 6, **change)  # few photos fit each other
    build(own, tmp_path / "full")
    build(replace(own, form="recipes"), tmp_path / "recipes")
    rebuild(tmp_path / "recipes", root, tmp_path / "out")
    assert len(Dataset(tmp_path / "out")) >= 5
    assert digest(tmp_path / "out") == digest(tmp_path / "full")


@pytest.mark.slow
def test_the_photo_folder_itself_is_a_root_too(root: Path, full: Path, recipes: Path, tmp_path: Path) -> None:
    rebuild(recipes, root / "train2017", tmp_path / "out")
    assert digest(tmp_path / "out") == digest(full)


@pytest.mark.slow
def test_the_annotations_are_not_needed(root: Path, full: Path, recipes: Path, tmp_path: Path) -> None:
    shutil.copytree(root / "train2017", tmp_path / "photos" / "images" / "train2017")
    rebuild(recipes, tmp_path / "photos", tmp_path / "out")
    assert digest(tmp_path / "out") == digest(full)


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 2])
def test_an_interrupted_rebuild_goes_on(
    after: int, root: Path, full: Path, recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is done before the interruption is not done again."""
    whole, calls = rebuilding.UnitRebuilder.__call__, [0]

    def interrupted(worker: rebuilding.UnitRebuilder, number: int) -> int:
        calls[0] += 1
        if calls[0] > after:
            raise KeyboardInterrupt
        return whole(worker, number)

    units = len(Dataset(recipes).record.to_json()["units"])
    assert units > after + 1
    monkeypatch.setattr(rebuilding.UnitRebuilder, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rebuild(recipes, root, tmp_path / "out")
    assert not (tmp_path / "out" / "build.json").exists()
    calls[0] = -units
    rebuild(recipes, root, tmp_path / "out")
    assert calls[0] == -after
    assert digest(tmp_path / "out") == digest(full)


@pytest.mark.slow
def test_a_finished_rebuild_is_left_alone(root: Path, recipes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = rebuild(recipes, root, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert rebuild(recipes, root, out) == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_another_photo_of_that_name_is_named(workers: int, root: Path, recipes: Path, tmp_path: Path) -> None:
    """One byte more than the original, which no decoder would notice."""
    photos = shutil.copytree(root / "train2017", tmp_path / "photos")
    name = names_of(recipes)[3]
    with (photos / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(IntegrityError, match=name):
        rebuild(recipes, photos, tmp_path / "out", workers)
    assert not (tmp_path / "out" / "build.json").exists()


@pytest.mark.slow
def test_a_missing_photo_is_named_and_a_later_run_goes_on(
    root: Path, full: Path, recipes: Path, tmp_path: Path
) -> None:
    photos = shutil.copytree(root / "train2017", tmp_path / "photos")
    name = names_of(recipes)[-1]
    (photos / name).unlink()
    with pytest.raises(SourceError, match=name):
        rebuild(recipes, photos, tmp_path / "out")
    shutil.copy(root / "train2017" / name, photos)
    rebuild(recipes, photos, tmp_path / "out")
    assert digest(tmp_path / "out") == digest(full)


def test_the_command_names_the_photo_without_a_traceback(
    root: Path, recipes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = shutil.copytree(root / "train2017", tmp_path / "photos")
    name = names_of(recipes)[0]
    (photos / name).unlink()
    words = ["rebuild", recipes, "--root", photos, "--out", tmp_path / "out", "--workers", 1]
    assert olrd(list(map(str, words))) == 1
    printed = capsys.readouterr()
    assert name in printed.err
    assert printed.out == ""


def test_a_full_dataset_has_nothing_to_rebuild(root: Path, full: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pixels already"):
        rebuild(full, root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_wrong_root_fails_before_anything_is_written(recipes: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        rebuild(recipes, tmp_path / "nowhere", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rebuilding_into_the_recipes_is_refused(root: Path, recipes: Path) -> None:
    before = digest(recipes / "data")
    with pytest.raises(OutputError, match="another build"):
        rebuild(recipes, root, recipes)
    assert digest(recipes / "data") == before


def _shift(recipe: dict[str, Any]) -> None:
    recipe["position"][0] += 1


def _longer_box(recipe: dict[str, Any]) -> None:
    recipe["source_bbox"][2] += 1


def _other_mask(recipe: dict[str, Any]) -> None:
    recipe["rle"] = recipe["rle"][:-1]


def _off_frame(recipe: dict[str, Any]) -> None:
    recipe["position"] = [100_000, 100_000]


def _unknown_blend(recipe: dict[str, Any]) -> None:
    recipe["blend"] = "magic"


def _without_params(recipe: dict[str, Any]) -> None:
    recipe["params"] = {}


def _climbing(recipe: dict[str, Any]) -> None:
    recipe["background"]["file_name"] = "../../../../etc/passwd"


def _no_position(recipe: dict[str, Any]) -> None:
    del recipe["position"]


def _half_a_pixel(recipe: dict[str, Any]) -> None:
    recipe["position"][0] += 0.5


def _zero_scale(recipe: dict[str, Any]) -> None:
    recipe["scale"] = 0


TAMPERS = (
    _shift,
    _longer_box,
    _other_mask,
    _off_frame,
    _unknown_blend,
    _without_params,
    _climbing,
    _no_position,
    _half_a_pixel,
    _zero_scale,
)


@pytest.mark.parametrize("tamper", every(3, {tamper.__name__.strip("_"): tamper for tamper in TAMPERS}))
def test_a_tampered_recipe_is_refused(
    tamper: Callable[[dict[str, Any]], None], root: Path, recipes: Path, tmp_path: Path
) -> None:
    copy = tampered(recipes, tmp_path / "recipes", tamper)
    with pytest.raises(IntegrityError):
        rebuild(copy, root, tmp_path / "out")
    assert not (tmp_path / "out" / "build.json").exists()


def tampered(recipes: Path, copy: Path, tamper: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of the dataset in which one recipe is changed."""
    shutil.copytree(recipes, copy)
    shard = sorted((copy / "data").iterdir())[-1]
    rows = pq.read_table(shard).to_pylist()
    recipe = json.loads(rows[0]["recipe"])
    tamper(recipe)
    rows[0]["recipe"] = json.dumps(recipe, sort_keys=True, separators=(",", ":"))
    schema = pq.read_schema(shard)
    with open_writer(shard, schema) as writer:
        writer.write_table(to_table(rows, schema), row_group_size=ROW_GROUP)
    return copy


def test_a_recipe_from_elsewhere_cannot_fill_the_memory(root: Path, recipes: Path, tmp_path: Path) -> None:
    """The cut-out would be many times larger than the photo: refused before it is made."""
    copy = tampered(recipes, tmp_path / "recipes", lambda recipe: recipe.update(scale=250.0))
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError):
            rebuild(copy, root, tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30_000_000


def test_damaged_recipe_shards_are_refused(root: Path, recipes: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(recipes, tmp_path / "recipes"))
    shard = min((copy / "data").iterdir())
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(OlrdError, match=shard.name):
        rebuild(copy, root, tmp_path / "out")


def test_recipes_hold_no_pixels_and_are_small(recipes: Path, full: Path) -> None:
    columns = {"image", "mask", "background"}
    rows = list(Dataset(recipes).rows())
    assert len(rows) == len(Dataset(full)) > 20
    for row in rows:
        assert not columns & set(row)
        assert len(row["recipe"].encode()) < 3000
        assert not any(isinstance(value, bytes) for value in row.values())
    text = sum(len(json.dumps(row).encode()) for row in rows)
    assert text / len(rows) < 3000
    assert not (recipes / "sample.png").exists()
    assert verify(recipes)["problems"] == []


def test_recipes_say_what_the_full_rows_say(recipes: Path, full: Path) -> None:
    pictures = {"image", "mask", "background"}
    for lean, whole in zip(Dataset(recipes).rows(), Dataset(full).rows(), strict=True):
        assert lean == {name: value for name, value in whole.items() if name not in pictures}


# --- recipes of a stranger --------------------------------------------------------------------------


def edited(recipes: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of recipes whose build.json is changed."""
    copy = Path(shutil.copytree(recipes, folder))
    record = json.loads((copy / "build.json").read_text())
    change(record)
    (copy / "build.json").write_text(json.dumps(record))
    return copy


@contextmanager
def little_memory(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def unit_climbs(record: dict[str, Any]) -> None:
    record["units"][0]["name"] = "../../victim/evil-00000"


def split_climbs(record: dict[str, Any]) -> None:
    record["config"]["splits"] = [["../../victim/evil", 1.0]]


def shard_climbs(record: dict[str, Any]) -> None:
    record["shards"][0]["file"] = "data/../../victim/evil.parquet"


def photos_without_end(record: dict[str, Any]) -> None:
    record["units"][0]["tally"]["photos_read"] = 10**12


def rows_without_end(record: dict[str, Any]) -> None:
    record["shards"][0]["rows"] = 10**12


def unit_of_another_split(record: dict[str, Any]) -> None:
    record["units"][0]["name"] = "elsewhere-00000"


@pytest.mark.parametrize(
    "change", [unit_climbs, split_climbs, shard_climbs, photos_without_end, rows_without_end, unit_of_another_split]
)
def test_recipes_of_a_stranger_write_nothing(
    change: Callable[[dict[str, Any]], None], root: Path, recipes: Path, tmp_path: Path
) -> None:
    (tmp_path / "victim").mkdir()
    copy = edited(recipes, tmp_path / "copy", change)
    with little_memory(20_000_000), pytest.raises(IntegrityError):
        rebuild(copy, root, tmp_path / "t" / "out")
    assert not (tmp_path / "t").exists() and list((tmp_path / "victim").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split": "test"}, "is of split 'test' in a unit of train"),
        ({"id": "another"}, "column id is 'another'"),
        ({"width": 5}, "sizes differ"),
        ({"bbox": [0, 0, 1, 1]}, "column bbox"),
    ],
    ids=repr,
)
def test_columns_that_are_not_those_of_the_recipe_are_refused(
    change: dict[str, Any], said: str, root: Path, recipes: Path, tmp_path: Path
) -> None:
    """What `verify` would find in the result is not written."""
    copy = Copy(Path(shutil.copytree(recipes, tmp_path / "copy")))
    copy.edit(lambda rows: rows[0].update(change))
    with pytest.raises(IntegrityError, match=said):
        rebuild(copy.folder, root, tmp_path / "out")
    assert not (tmp_path / "out" / "build.json").exists()


def in_recipe(change: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    def damage(row: dict[str, Any]) -> None:
        row["recipe"] = json.dumps(json.loads(row["recipe"]) | change, sort_keys=True, separators=(",", ":"))

    return damage


@pytest.mark.parametrize(
    "change",
    every(
        3,
        {
            "a box of gigapixels": {"source_bbox": [0, 0, 60_000, 60_000]},
            "a long box": {"source_bbox": [0, 0, 30_000, 1]},
            "a large size": {"size": 32_768},
            "outside": {"position": [-5, -5]},
            "a wide blend": {"blend": "feather", "params": {"radius": 10_000}},
            "a long run": {"rle": "P" * 60},
            "empty runs": {"rle": "0" * 60},
        },
    ),
)
def test_a_recipe_larger_than_its_photo_is_refused(
    change: dict[str, Any], root: Path, recipes: Path, tmp_path: Path
) -> None:
    """Before memory is taken: it would be gigabytes, or the end of the process. `verify` names the row."""
    copy = Copy(Path(shutil.copytree(recipes, tmp_path / "copy")))
    copy.edit(lambda rows: in_recipe(change)(rows[0]))
    with little_memory(100_000_000):
        with pytest.raises(IntegrityError):
            rebuild(copy.folder, root, tmp_path / "out")
        if "size" not in change:
            assert verify(copy.folder)["problems"]


def test_the_limit_of_pixels_is_the_readers(root: Path, recipes: Path, tmp_path: Path) -> None:
    """A stranger's build.json may allow any."""
    copy = edited(recipes, tmp_path / "copy", lambda record: record["config"]["source"].update(max_pixels=10**12))
    with pytest.raises(IntegrityError, match="more than the allowed 100 pixels"):
        rebuild(copy, root, tmp_path / "out", max_pixels=100)
