"""Training examples: the object is never visible, holes have whole cells, and examples depend on their keys alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from synthetic_dataset import write_dataset

from magiceraser_ref.training.examples import Example, ExampleRules, Examples, crop_around, free_crop, make_example
from magiceraser_ref.training.rows import TrainingRows
from magiceraser_ref.training.stream import KeyBatches, Stream, loader
from olrd.arrays import encode_png
from olrd.builder.build import build
from olrd.builder.cached import demo_triplets
from olrd.config import BuildConfig
from olrd.errors import Rejected, SourceError, UsageError
from olrd.masks import mask_box
from olrd.sources import SourceSpec
from olrd.sources.panoptic.coco import DEMO_ROOT
from olrd.triplets.compose import Triplet

RULES = ExampleRules(resolution=32, factor=4, batch=4)


def short(row: dict[str, Any], key: tuple[object, ...]) -> str:
    return str(row["prompt"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("triplets") / "t", photos=4, splits=("train", "test"))


@pytest.fixture(scope="module")
def rows(folder: Path) -> TrainingRows:
    return TrainingRows(str(folder), "all")


def drawn(height: int = 96, width: int = 140, seed: int = 0) -> Triplet:
    """A triplet of noise with a small object."""
    rng = np.random.default_rng(seed)
    background = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), np.bool_)
    mask[30:47, 61:80] = True
    image = np.where(mask[..., None], 255 - background, background).astype(np.uint8)
    return Triplet(image, mask, background)


def equal(one: Example, other: Example) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("size", [24, 32, 96, 128])
def test_the_pixels_under_the_mask_never_show(size: int) -> None:
    triplet = drawn()
    rules = ExampleRules(resolution=size, factor=4)
    noise = np.random.default_rng(9).integers(0, 255, triplet.image.shape, dtype=np.uint8)
    other = np.where(triplet.mask[..., None], noise, triplet.image).astype(np.uint8)
    for key in range(8):
        one = make_example(triplet, rules, "", ("k", key))
        assert equal(one, make_example(triplet._replace(image=other), rules, "", ("k", key)))


def test_the_hole_is_blank_and_in_whole_cells_and_holds_the_mask() -> None:
    triplet = drawn()
    example = make_example(triplet, ExampleRules(resolution=64, factor=8), "", ("k",))
    hole = example.hole.repeat(8, 0).repeat(8, 1)
    assert example.hole.shape == (8, 8) and hole.any() and not hole.all()
    assert (example.masked[:, hole] == 0).all()
    assert np.array_equal(example.masked[:, ~hole], example.target[:, ~hole])  # OLRD: equal outside
    assert example.target.dtype == np.float32 and np.abs(example.target).max() <= 1
    assert (example.target[:, hole] != 0).any()


def test_the_target_is_the_clean_background_not_the_composite() -> None:
    triplet = drawn()
    other = triplet._replace(background=triplet.image)
    one, two = (make_example(t, RULES, "", ("k",)) for t in (triplet, other))
    assert not np.array_equal(one.target, two.target)
    assert np.array_equal(one.masked, two.masked)


def test_crops_hold_the_mask_inside_the_photo() -> None:
    mask = drawn().mask
    box, sides = mask_box(mask), set()
    for key in range(200):
        crop = crop_around(mask, 32, (key,))
        assert crop.x >= 0 and crop.y >= 0 and crop.x + crop.w <= 140 and crop.y + crop.h <= 96
        assert crop.x <= box.x and crop.x + crop.w >= box.x + box.w
        assert crop.y <= box.y and crop.y + crop.h >= box.y + box.h
        sides.add(crop.w)
    assert min(sides) >= 32 and max(sides) <= 96 and len(sides) > 20


def test_a_mask_wider_than_the_photo_is_high_is_cut() -> None:
    mask = np.zeros((40, 120), np.bool_)
    mask[10:20, 5:115] = True
    crops = [crop_around(mask, 32, (key,)) for key in range(50)]
    assert all(c.w == 40 and c.x >= 5 and c.x + 40 <= 115 and c.y == 0 for c in crops)


def test_free_crops_lie_inside_small_photos_too() -> None:
    for key in range(50):
        crop = free_crop((20, 50), 32, (key,))
        assert crop.w == crop.h == 20 and 0 <= crop.x <= 30 and crop.y == 0


def test_random_masks_take_the_same_backgrounds_without_the_object() -> None:
    triplet = drawn()
    rules = ExampleRules(resolution=32, factor=4, masks="random")
    found = [make_example(triplet, rules, "", ("k", n)) for n in range(5)]
    other = triplet._replace(image=np.zeros_like(triplet.image))
    assert all(equal(a, make_example(other, rules, "", ("k", n))) for n, a in enumerate(found))
    assert len({example.hole.tobytes() for example in found}) > 1


def test_the_hole_is_the_mask_or_the_effect() -> None:
    triplet = drawn()
    effect = triplet.mask.copy()
    effect[47:54, 61:110] = True
    image = triplet.image.copy()
    image[effect & ~triplet.mask] //= 2
    triplet = triplet._replace(image=image, effect=effect)
    rules = ExampleRules(resolution=64, factor=8, mirror=False)
    for region, hole in (("mask", triplet.mask), ("effect", effect)):
        example = make_example(triplet, replace(rules, region=region), "", ("k",))
        expected = make_example(triplet._replace(mask=hole, effect=None), rules, "", ("k",))
        assert equal(example, expected)
        holes = example.hole.repeat(8, 0).repeat(8, 1)
        alike = np.array_equal(example.masked[:, ~holes], example.target[:, ~holes])
        assert alike == (region == "effect")  # a shadow outside the hole is seen, and is not in the target
    with pytest.raises(SourceError, match=r"no column effect.*--shadow"):
        make_example(drawn(), replace(rules, region="effect"), "", ("k",))
    with pytest.raises(UsageError, match="Did you mean 'effect'"):
        ExampleRules(region="effects")


def test_half_of_the_examples_are_mirrored() -> None:
    triplet = drawn()
    plain = ExampleRules(resolution=32, factor=4, mirror=False)
    flipped = 0
    for key in range(60):
        one = make_example(triplet, RULES, "", (key,))
        two = make_example(triplet, plain, "", (key,))
        mirrored = np.array_equal(one.target, two.target[:, :, ::-1])
        assert mirrored or equal(one, two)
        assert not mirrored or np.array_equal(one.hole, two.hole[:, ::-1])
        flipped += mirrored
    assert 15 < flipped < 45


def test_every_row_comes_once_an_epoch_in_changing_order(rows: TrainingRows) -> None:
    examples = Examples(rows, RULES, short)
    steps = len(rows) // RULES.batch
    assert steps * RULES.batch == len(rows)
    numbers = [examples.number_at(s, k) for s in range(2 * steps) for k in range(RULES.batch)]
    first, second = numbers[: len(rows)], numbers[len(rows) :]
    assert Counter(first) == Counter(second) == Counter(range(len(rows)))
    assert first != second
    assert [examples.number_at(0, k) for k in range(4)] == first[:4]  # back again


def test_a_sample_depends_on_seed_step_and_place_alone(rows: TrainingRows) -> None:
    examples = Examples(rows, RULES, short)
    wanted = examples.sample_at(3, 1)
    examples.sample_at(9, 2)
    assert equal(examples.sample_at(3, 1), wanted)
    assert equal(Examples(rows, RULES, short).sample_at(3, 1), wanted)
    other = Examples(rows, ExampleRules(resolution=32, factor=4, batch=4, seed=1), short)
    assert not equal(other.sample_at(3, 1), wanted)


@pytest.mark.slow
def test_workers_and_devices_do_not_change_the_stream(rows: TrainingRows) -> None:
    stream = Stream(Examples(rows, RULES, short), 1000, 4)

    def batches(start: int, workers: int, rank: int = 0, devices: int = 1) -> list[Any]:
        keys = KeyBatches(start, 4, size=2, passes=2 // devices, rank=rank, devices=devices)
        return list(loader(stream, keys, workers))

    alone = batches(0, 0)
    for other in (batches(0, 2), [*batches(0, 0)[:4], *batches(2, 1)]):
        assert len(other) == len(alone)
        for a, b in zip(alone, other, strict=True):
            assert a.prompts == b.prompts
            assert all((x == y).all() for x, y in zip(a[:-1], b[:-1], strict=True))
    first, second = batches(0, 0, 0, 2), batches(0, 0, 1, 2)
    together = [b for pair in zip(first, second, strict=True) for b in pair]
    assert all((a.noise == b.noise).all() for a, b in zip(alone, together, strict=True))


@pytest.mark.slow
def test_recipes_give_what_full_rows_give(tmp_path: Path) -> None:
    recipes = tmp_path / "recipes"
    build(BuildConfig(SourceSpec("coco"), form="recipes", limit=2), recipes)
    rendered = TrainingRows(str(recipes), "all", str(DEMO_ROOT))
    full = TrainingRows(str(demo_triplets()), "all")
    by_id = {full[k][0]["id"]: full[k] for k in range(len(full))}
    for number in range(len(rendered)):
        plain, triplet = rendered[number]
        wanted_plain, wanted = by_id[plain["id"]]
        assert plain == wanted_plain
        assert all(np.array_equal(a, b) for a, b in zip(triplet, wanted, strict=True))
    assert len(rendered)
    with pytest.raises(UsageError, match=r"without pictures.*--photos FOLDER"):
        TrainingRows(str(recipes), "all")


def test_bad_data_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(SourceError, match="olrd-build"):
        TrainingRows(str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="Did you mean 'train'"):
        TrainingRows(str(folder), "trian")
    with pytest.raises(UsageError, match="multiple of 8"):
        ExampleRules(resolution=30)
    with pytest.raises(UsageError, match="Did you mean 'random'"):
        ExampleRules(masks="randm")


def test_the_fingerprint_is_of_the_rows(folder: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "o", photos=5)
    names = {TrainingRows(str(f), s).fingerprint for f in (folder, other) for s in ("all", "train")}
    assert len(names) == 4


def own_rows(folder: Path, count: int = 3, **columns: list[Any]) -> Path:
    """Triplets with pictures alone, as a user stores them: RGB masks of 0 and 255, in a Parquet file."""
    triplets = [drawn(seed=seed) for seed in range(count)]
    pictures = {
        "image": [t.image for t in triplets],
        "mask": [np.repeat(np.uint8(255) * t.mask[..., None], 3, axis=2) for t in triplets],
        "background": [t.background for t in triplets],
    }
    stored = {name: [{"bytes": encode_png(x), "path": None} for x in values] for name, values in pictures.items()}
    (folder / "data").mkdir(parents=True)
    features = datasets.Features({name: datasets.Image() for name in pictures})
    table = datasets.Dataset.from_dict(stored, features=features)
    for name, values in columns.items():
        table = table.add_column(name, values)
    table.to_parquet(folder / "data" / "train-00000.parquet")
    return folder


def test_triplets_of_pictures_alone_are_accepted(tmp_path: Path) -> None:
    rows = TrainingRows(str(own_rows(tmp_path / "own")))
    assert len(rows) == 3 and rows.captioned == 0
    for seed in range(3):
        row, triplet = rows[seed]
        assert all(np.array_equal(a, b) for a, b in zip(triplet, drawn(seed=seed), strict=True))
        assert row["id"] == f"row-{seed:06d}" and row["prompt"] == "A photo of R* background"
        assert row["caption"] is None
    assert Examples(rows, RULES, short).sample_at(0, 0).prompt == "A photo of R* background"
    captions = [None, "a lawn", ""]
    named = TrainingRows(str(own_rows(tmp_path / "named", id=[7, 8, 9], caption=captions)))
    assert named.captioned == 1 and named[1][0]["id"] == "8" and named[1][0]["caption"] == "a lawn"


def test_the_fingerprint_of_own_triplets_is_of_their_pictures(tmp_path: Path) -> None:
    one, same = (TrainingRows(str(own_rows(tmp_path / name))).fingerprint for name in ("a", "b"))
    fewer = TrainingRows(str(own_rows(tmp_path / "c", 2))).fingerprint
    longer = TrainingRows(str(own_rows(tmp_path / "d", prompt=["x", "y", "z"]))).fingerprint
    assert one == same and len({one, fewer, longer}) == 3


def picture_files(folder: Path, **changed: Any) -> Path:
    """One triplet as picture files and metadata.csv, as `datasets` opens a folder."""
    (folder / "train").mkdir(parents=True)
    triplet = drawn()._replace(**changed)
    pictures = {name: pixels for name, pixels in triplet._asdict().items() if pixels is not None}
    for name, pixels in pictures.items():
        values = np.uint8(255) * pixels if pixels.dtype == np.bool_ else pixels
        (folder / "train" / f"{name}.png").write_bytes(encode_png(values))
    line = ",".join(f"{name}.png" for name in pictures)
    names = ",".join(f"{name}_file_name" for name in pictures)
    (folder / "train" / "metadata.csv").write_text(f"{names}\n{line}\n")
    return folder


def test_triplets_as_picture_files_are_accepted(tmp_path: Path) -> None:
    rows = TrainingRows(str(picture_files(tmp_path / "files")))
    assert all(np.array_equal(a, b) for a, b in zip(rows[0][1], drawn(), strict=True))
    assert len(rows.fingerprint) == 16


def test_own_triplets_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    small = TrainingRows(str(picture_files(tmp_path / "small", background=drawn(80, 140).background)))
    with pytest.raises(Rejected, match="140 x 96, 140 x 96, 140 x 80"):
        small[0]
    empty = TrainingRows(str(picture_files(tmp_path / "empty", mask=np.zeros((96, 140), np.bool_))))
    with pytest.raises(Rejected, match="'row-000000' covers nothing"):
        empty[0]
    table = datasets.Dataset.from_dict({"image": [1], "truth": [2]})
    (tmp_path / "other").mkdir()
    table.to_parquet(tmp_path / "other" / "train.parquet")
    with pytest.raises(SourceError, match="image, mask, background, missing background, mask"):
        TrainingRows(str(tmp_path / "other"))


@pytest.mark.slow
def test_recipes_at_a_url_name_the_option_of_the_command() -> None:
    build(BuildConfig(SourceSpec("coco"), form="recipes", limit=1), "memory://recipes-to-train")
    with pytest.raises(UsageError, match=r"without pictures.*--photos FOLDER"):
        TrainingRows("memory://recipes-to-train", "all")
    rows = TrainingRows("memory://recipes-to-train", "all", str(DEMO_ROOT))
    assert rows[0][1].mask.any()
