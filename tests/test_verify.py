"""Every invariant has one damage that only its own check can see; `verify` must name it."""

from __future__ import annotations

import io
import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow
from synthetic_coco import write_coco

from olrd.arrays import decode_mask, decode_photo, encode_image, encode_mask
from olrd.build import build
from olrd.cli.main import main as olrd
from olrd.config import BuildConfig
from olrd.dataset import Dataset
from olrd.errors import IntegrityError, OlrdError, SourceError
from olrd.files import sha256_file
from olrd.shards import ROW_GROUP, open_writer, to_table
from olrd.sources import SourceSpec
from olrd.verify import verify

Row = dict[str, Any]
Rows = list[Row]


@dataclass
class Copy:
    """A finished dataset to be damaged. `seal` makes shard hashes and sizes fit again, so that a
    damage is seen by the check that it is meant for and by no other."""

    folder: Path

    @property
    def build(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.folder / "build.json").read_text())
        return value

    def save(self, build: dict[str, Any]) -> None:
        (self.folder / "build.json").write_text(json.dumps(build))

    def shard(self, number: int = 0) -> Path:
        return self.folder / str(self.build["shards"][number]["file"])

    def edit(self, change: Callable[[Rows], None], number: int = 0) -> None:
        """Rewrite a shard with changed rows."""
        path = self.shard(number)
        rows = pq.read_table(path).to_pylist()
        change(rows)
        schema = pq.read_schema(path)
        with open_writer(path, schema) as writer:
            writer.write_table(to_table(rows, schema), row_group_size=ROW_GROUP)
        self.seal()

    def seal(self) -> None:
        build = self.build
        for shard in build["shards"]:
            path = self.folder / shard["file"]
            shard |= {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        self.save(build)


def _built(factory: pytest.TempPathFactory, name: str, **change: Any) -> Path:
    root = write_coco(factory.mktemp(f"photos-{name}"), count=16, seed=3)
    out = factory.mktemp(name) / "out"
    spec = SourceSpec("coco", str(root))
    build(BuildConfig(spec, per_object=1, shard_bytes=400_000, **change), out)
    return out


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built(tmp_path_factory, "full")


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built(tmp_path_factory, "recipes", form="recipes")


@pytest.fixture(scope="module")
def resized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _built(tmp_path_factory, "resized", size=96)


@pytest.fixture
def copy(full: Path, tmp_path: Path) -> Copy:
    return Copy(Path(shutil.copytree(full, tmp_path / "out")))


def problems(folder: Path) -> list[str]:
    found: list[str] = verify(folder)["problems"]
    return found


# --- intact --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["full", "recipes", "resized"])
def test_an_intact_dataset_has_no_problem(form: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(form)
    result = verify(folder)
    rows = list(Dataset(folder).rows(["image_id", "donor_image_id"]))
    assert result["problems"] == []
    assert result["triplets"] == len(rows) > 20
    assert result["photos"] == len({photo for row in rows for photo in row.values()})
    assert result["shards"] == len(list((folder / "data").iterdir())) >= 3
    assert result["form"] == ("recipes" if form == "recipes" else "full")


def test_resealing_alone_is_no_damage(copy: Copy) -> None:
    """The tool of these tests is itself harmless: an unchanged rewrite is accepted."""
    copy.edit(lambda rows: None)
    assert problems(copy.folder) == []


# --- one value of one row ------------------------------------------------------------------------


def picture(row: Row, name: str) -> np.ndarray:
    with Pillow.open(io.BytesIO(row[name]["bytes"])) as image:
        return np.array(image)


def put(row: Row, name: str, pixels: np.ndarray) -> None:
    data = encode_mask(pixels) if name == "mask" else encode_image(pixels)
    row[name] = {"bytes": data, "path": row[name]["path"]}


def composite_changed_outside(row: Row) -> None:
    image, mask = picture(row, "image"), picture(row, "mask")
    y, x = np.argwhere(~mask)[-1]
    image[y, x, 1] ^= 1
    put(row, "image", image)


def composite_changed_inside(row: Row) -> None:
    image, mask = picture(row, "image"), picture(row, "mask")
    y, x = np.argwhere(mask)[0]
    image[y, x, 2] ^= 1
    put(row, "image", image)


def composite_is_the_background(row: Row) -> None:
    row["image"] = {"bytes": row["background"]["bytes"], "path": row["image"]["path"]}


def mask_lost_a_pixel(row: Row) -> None:
    """One where the composite equals the background anyway, so that only the hash can tell."""
    image, mask = picture(row, "image"), picture(row, "mask").astype(bool)
    behind = decode_photo(row["background"]["bytes"]).pixels
    equal = np.argwhere(mask & (image == behind).all(axis=2))
    y, x = equal[0] if len(equal) else np.argwhere(mask)[0]
    mask[y, x] = False
    put(row, "mask", mask)


def mask_gained_a_pixel(row: Row) -> None:
    mask = picture(row, "mask").astype(bool)
    y, x = np.argwhere(~mask)[0]
    mask[y, x] = True
    put(row, "mask", mask)


def mask_is_empty(row: Row) -> None:
    put(row, "mask", np.zeros_like(picture(row, "mask"), dtype=bool))


def mask_is_everything(row: Row) -> None:
    put(row, "mask", np.ones_like(picture(row, "mask"), dtype=bool))


def mask_is_inverted(row: Row) -> None:
    put(row, "mask", ~picture(row, "mask").astype(bool))


def mask_is_not_binary(row: Row) -> None:
    grey = picture(row, "mask").astype(np.uint8) * 255
    grey[0, 0] = 100
    buffer = io.BytesIO()
    Pillow.fromarray(grey).save(buffer, "PNG")
    row["mask"]["bytes"] = buffer.getvalue()


def composite_is_a_jpeg(row: Row) -> None:
    buffer = io.BytesIO()
    Pillow.fromarray(picture(row, "image")).save(buffer, "JPEG", quality=100, subsampling=0)
    row["image"]["bytes"] = buffer.getvalue()


def composite_is_truncated(row: Row) -> None:
    row["image"]["bytes"] = row["image"]["bytes"][:-200]


def composite_is_no_image(row: Row) -> None:
    row["image"]["bytes"] = b"no image"


def composite_is_missing(row: Row) -> None:
    row["image"] = {"bytes": None, "path": row["image"]["path"]}


def mask_is_truncated(row: Row) -> None:
    row["mask"]["bytes"] = row["mask"]["bytes"][:40]


def background_is_encoded_again(row: Row) -> None:
    """The same pixels in another file: no longer the photo's own bytes."""
    pixels = decode_photo(row["background"]["bytes"]).pixels
    put(row, "background", pixels)


def background_changed_under_the_object(row: Row) -> None:
    """Where the proof does not look: the ground truth inside the mask."""
    pixels = decode_photo(row["background"]["bytes"]).pixels.copy()
    mask = decode_mask(row["mask"]["bytes"])
    pixels[mask] = 255 - pixels[mask]
    put(row, "background", pixels)


def background_changed_and_renamed(row: Row) -> None:
    """The same, with the name that a lossless copy of the photo would have."""
    background_changed_under_the_object(row)
    row["background"]["path"] = f"{row['id']}-background.webp"


def everything_is_cropped(row: Row) -> None:
    for name in ("image", "background"):
        put(row, name, picture(row, name)[:-1])
    put(row, "mask", picture(row, "mask")[:-1])


def composite_is_cropped(row: Row) -> None:
    put(row, "image", picture(row, "image")[:, :-1])


def _recipe(change: Callable[[dict[str, Any]], None]) -> Callable[[Row], None]:
    def damage(row: Row) -> None:
        recipe = json.loads(row["recipe"])
        change(recipe)
        row["recipe"] = json.dumps(recipe, sort_keys=True, separators=(",", ":"))

    return damage


def _column(name: str, value: Callable[[Any], Any]) -> Callable[[Row], None]:
    def damage(row: Row) -> None:
        row[name] = value(row[name])

    return damage


def later(value: list[int]) -> list[int]:
    return [value[0] + 1, *value[1:]]


ROW_DAMAGES: dict[str, tuple[Callable[[Row], None], str]] = {
    "composite_changed_outside": (composite_changed_outside, "differs from the background"),
    "composite_changed_inside": (composite_changed_inside, "recipe promises"),
    "composite_is_the_background": (composite_is_the_background, "recipe promises"),
    "composite_is_a_jpeg": (composite_is_a_jpeg, "differs from the background|recipe promises"),
    "composite_is_truncated": (composite_is_truncated, "truncated|corrupt|not a readable"),
    "composite_is_no_image": (composite_is_no_image, "not a readable image"),
    "composite_is_missing": (composite_is_missing, "image"),
    "composite_is_cropped": (composite_is_cropped, "sizes differ"),
    "everything_is_cropped": (everything_is_cropped, "sizes differ"),
    "mask_lost_a_pixel": (mask_lost_a_pixel, "recipe promises|differs from the background"),
    "mask_gained_a_pixel": (mask_gained_a_pixel, "recipe promises"),
    "mask_is_empty": (mask_is_empty, "differs from the background|mask covers"),
    "mask_is_everything": (mask_is_everything, "mask covers"),
    "mask_is_inverted": (mask_is_inverted, "differs from the background"),
    "mask_is_not_binary": (mask_is_not_binary, "two values"),
    "mask_is_truncated": (mask_is_truncated, "truncated|corrupt|not a readable"),
    "background_is_encoded_again": (background_is_encoded_again, "photo's own file"),
    "background_changed_and_renamed": (background_changed_and_renamed, "promises"),
    "background_changed_under_the_object": (background_changed_under_the_object, "own file"),
    "id": (_column("id", lambda v: v + "x"), "column id"),
    "image_id": (_column("image_id", lambda v: v + "0"), "column image_id"),
    "donor_image_id": (_column("donor_image_id", lambda v: v + "0"), "column donor_image_id"),
    "segment_id": (_column("segment_id", lambda v: v + 1), "column segment_id"),
    "bbox": (_column("bbox", later), "column bbox"),
    "source_bbox": (_column("source_bbox", later), "column source_bbox"),
    "shift": (_column("shift", later), "column shift"),
    "scale": (_column("scale", lambda v: v + 0.25), "column scale"),
    "flip": (_column("flip", lambda v: not v), "column flip"),
    "mask_area": (_column("mask_area", lambda v: v * 1.001), "mask_area"),
    "blend": (_column("blend", lambda v: "hard"), "column blend"),
    "width": (_column("width", lambda v: v + 1), "sizes differ"),
    "split": (_column("split", lambda v: "elsewhere"), "split"),
    "bbox_is_null": (_column("bbox", lambda v: None), "bbox"),
    "recipe_is_no_json": (_column("recipe", lambda v: v[:-9]), "not a recipe"),
    "recipe_of_another_version": (_recipe(lambda r: r.update(version=99)), "version"),
    "recipe_hash": (_recipe(lambda r: r.update(pixels_sha256="0" * 64)), "recipe promises"),
    "recipe_position": (_recipe(lambda r: r.update(position=later(r["position"]))), "shift"),
    "recipe_position_is_text": (_recipe(lambda r: r.update(position="ab")), "recipe"),
    "recipe_photo": (
        _recipe(lambda r: r["background"].update(sha256="0" * 64)),
        "own file",
    ),
    "recipe_box": (_recipe(lambda r: r.update(source_bbox=later(r["source_bbox"]))), "source_bbox"),
    "recipe_mask": (_recipe(lambda r: r.update(rle=r["rle"][:-2])), "RLE counts"),
    "recipe_blend": (_recipe(lambda r: r.update(blend="poisson", params={})), "column blend"),
}


@pytest.mark.parametrize("name", ROW_DAMAGES)
def test_a_damaged_row_is_found(name: str, copy: Copy) -> None:
    damage, said = ROW_DAMAGES[name]
    victims: list[str] = []

    def change(rows: Rows) -> None:
        victims.append(rows[1]["id"])
        damage(rows[1])

    copy.edit(change)
    found = problems(copy.folder)
    assert found
    assert not any("its bytes are not those that were written" in p for p in found)
    assert all(p.startswith(victims[0]) or "splits" in p for p in found), found
    assert any(re.search(said, p) for p in found), found


def test_a_resized_background_changed_under_the_object_is_found(
    resized: Path, tmp_path: Path
) -> None:
    """A resized background has no photo's bytes to be compared with; the ground truth under the
    object still needs a witness."""
    copy = Copy(Path(shutil.copytree(resized, tmp_path / "out")))
    copy.edit(lambda rows: background_changed_under_the_object(rows[0]))
    assert problems(copy.folder) != []


# --- whole shards and the record -----------------------------------------------------------------


def test_a_flipped_byte_anywhere_is_found(copy: Copy) -> None:
    """Headers, pictures, text, footer: always reported, never an exception."""
    path = copy.shard(1)
    data = path.read_bytes()
    moments = random.Random(5)
    places = [*range(0, 40, 9), *range(len(data) - 60, len(data), 7)]
    places += [moments.randrange(len(data)) for _ in range(12)]
    places += [moments.randrange(len(data) - 20_000, len(data)) for _ in range(12)]
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << moments.randrange(8)
        path.write_bytes(damaged)
        found = problems(copy.folder)
        assert any(path.name in p for p in found), place
    path.write_bytes(data)
    assert problems(copy.folder) == []


def test_a_truncated_shard_is_found(copy: Copy) -> None:
    data = copy.shard().read_bytes()
    copy.shard().write_bytes(data[: len(data) // 2])
    assert any(copy.shard().name in p for p in problems(copy.folder))


def test_a_missing_shard_is_found(copy: Copy) -> None:
    copy.shard(1).unlink()
    found = problems(copy.folder)
    assert any(copy.shard(1).name in p for p in found)
    assert any("build.json counts" in p for p in found)


def test_a_file_that_does_not_belong_is_found(copy: Copy) -> None:
    """load_dataset would read it as data."""
    shutil.copy(copy.shard(), copy.folder / "data" / "train-99999-of-99999.parquet")
    (found,) = problems(copy.folder)
    assert "train-99999-of-99999.parquet" in found
    assert "not part of the build" in found


def test_an_id_that_is_there_twice_is_found(copy: Copy) -> None:
    def change(rows: Rows) -> None:
        rows[1] = rows[0]

    copy.edit(change)
    (found,) = problems(copy.folder)
    assert "twice" in found


def test_an_id_that_is_in_two_shards_is_found(copy: Copy) -> None:
    stolen: Rows = []
    copy.edit(lambda rows: stolen.append(dict(rows[0])))
    other = next(k for k, s in enumerate(copy.build["shards"]) if k and s["split"] == "train")

    def change(rows: Rows) -> None:
        rows[0] = stolen[0]

    copy.edit(change, other)
    (found,) = problems(copy.folder)
    assert stolen[0]["id"] in found
    assert "twice" in found


def test_a_photo_in_two_splits_is_found(copy: Copy) -> None:
    """One of two triplets of a photo moves to another split, and the counts with it."""
    build = copy.build
    other = next(k for k, shard in enumerate(build["shards"]) if shard["split"] != "train")
    split = build["shards"][other]["split"]
    moved: Rows = []

    def take(rows: Rows) -> None:
        photos = [row["image_id"] for row in rows]
        row = next(row for row in rows if photos.count(row["image_id"]) > 1)
        rows.remove(row)
        moved.append(dict(row, split=split))

    copy.edit(take)
    copy.edit(lambda rows: rows.extend(moved), other)
    build = copy.build
    build["shards"][0]["rows"] -= 1
    build["shards"][other]["rows"] += 1
    copy.save(build)
    (found,) = problems(copy.folder)
    assert f"photo {moved[0]['image_id']} is in the splits" in found


def test_a_row_in_the_wrong_shard_is_found(copy: Copy) -> None:
    copy.edit(lambda rows: [row.update(split="test") for row in rows] and None)
    found = problems(copy.folder)
    assert any("split test in" in p for p in found)


def test_missing_rows_are_found(copy: Copy) -> None:
    copy.edit(lambda rows: rows.pop() and None)
    found = problems(copy.folder)
    assert any("rows, build.json says" in p for p in found)
    assert any("build.json counts" in p for p in found)


def test_missing_rows_with_the_shards_count_corrected_are_found(copy: Copy) -> None:
    copy.edit(lambda rows: rows.pop() and None)
    build = copy.build
    build["shards"][0]["rows"] -= 1
    copy.save(build)
    (found,) = problems(copy.folder)
    assert "build.json counts" in found


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("photos_read", "add up"),
        ("photos_used", "add up"),
        ("photos_without_triplet", "add up"),
        ("objects_read", "add up"),
        ("objects_used", "add up"),
        ("triplets", "counts"),
    ],
)
def test_edited_counts_are_found(key: str, said: str, copy: Copy) -> None:
    build = copy.build
    build["totals"][key] += 1
    copy.save(build)
    (found,) = problems(copy.folder)
    assert said in found


def test_an_edited_reject_histogram_is_found(copy: Copy) -> None:
    build = copy.build
    build["totals"]["objects_rejected"]["stuff"] -= 1
    copy.save(build)
    (found,) = problems(copy.folder)
    assert "add up" in found


def test_counts_of_a_unit_that_do_not_fit_are_found(copy: Copy) -> None:
    build = copy.build
    build["units"][0]["rows"] += 1
    copy.save(build)
    assert problems(copy.folder) != []


def test_other_columns_are_found(copy: Copy) -> None:
    path = copy.shard()
    table = pq.read_table(path).drop_columns(["prompt"])
    pq.write_table(table, path)
    copy.seal()
    assert any("columns" in p for p in problems(copy.folder))


def test_features_lost_from_the_schema_are_found(copy: Copy) -> None:
    """Without them `load_dataset` gives structs instead of pictures."""
    path = copy.shard()
    table = pq.read_table(path).replace_schema_metadata(None)
    pq.write_table(table, path)
    copy.seal()
    assert problems(copy.folder) != []


def test_columns_of_another_type_are_found(copy: Copy) -> None:
    path = copy.shard()
    table = pq.read_table(path)
    place = table.schema.get_field_index("segment_id")
    table = table.set_column(place, "segment_id", table["segment_id"].cast("int32"))
    pq.write_table(table, path)
    copy.seal()
    assert problems(copy.folder) != []


@pytest.mark.parametrize("name", ["recipe_position", "recipe_is_no_json", "id", "shift"])
def test_damaged_recipes_are_found_without_pixels(name: str, recipes: Path, tmp_path: Path) -> None:
    copy = Copy(Path(shutil.copytree(recipes, tmp_path / "out")))
    copy.edit(lambda rows: ROW_DAMAGES[name][0](rows[0]))
    assert problems(copy.folder) != []


def test_one_and_two_workers_agree(copy: Copy) -> None:
    copy.edit(lambda rows: composite_changed_outside(rows[0]))
    copy.edit(lambda rows: mask_gained_a_pixel(rows[-1]), 1)
    copy.shard(2).unlink()
    one, two = verify(copy.folder, workers=1), verify(copy.folder, workers=2)
    assert len(one["problems"]) >= 4
    assert one == two


# --- the command ---------------------------------------------------------------------------------


def test_the_command_says_that_all_is_well(full: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert olrd(["verify", str(full), "--workers", "1"]) == 0
    printed = capsys.readouterr()
    assert f"{len(Dataset(full))} triplets" in printed.out
    assert "every invariant" in printed.out
    assert printed.err == ""


def test_the_command_fails_with_the_problem(copy: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    copy.edit(lambda rows: composite_changed_outside(rows[0]))
    assert olrd(["verify", str(copy.folder), "--workers", "1"]) == 1
    printed = capsys.readouterr()
    assert "1 PROBLEMS" in printed.out
    assert "differs from the background" in printed.out
    assert "Traceback" not in printed.err


def test_the_command_speaks_json(copy: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verify", str(copy.folder), "--workers", "1", "--json"]
    assert olrd(words) == 0
    assert json.loads(capsys.readouterr().out) == verify(copy.folder)
    copy.edit(lambda rows: mask_is_empty(rows[0]))
    assert olrd(words) == 1
    assert len(json.loads(capsys.readouterr().out)["problems"]) == 1


def test_what_is_no_dataset_is_an_error(copy: Copy, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no finished build"):
        verify(tmp_path / "nowhere")
    (copy.folder / "build.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"build\.json"):
        verify(copy.folder)


def test_a_record_without_totals_is_an_error_and_no_crash(copy: Copy) -> None:
    build = copy.build
    del build["totals"]
    copy.save(build)
    with pytest.raises(OlrdError):
        verify(copy.folder)
