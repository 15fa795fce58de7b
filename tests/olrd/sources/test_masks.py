"""A folder of photos and one of masks: every way of naming them, and what is wrong with a folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from drawn_instances import HEIGHT, WIDTH, config_of, disc, spec_of
from drawn_masks import ONE, TWO, draw_masks, large
from PIL import Image as Pillow

from olrd.builder.build import build
from olrd.dataset.folder import Dataset
from olrd.errors import Rejected, SourceError, UsageError
from olrd.panoptic import check_panoptic
from olrd.sources import Source, open_source
from olrd.tools.verify import verify

pytestmark = pytest.mark.usefixtures("no_sample_sheets")

PHOTOS = {"photos/a.jpg": 1, "photos/b.jpg": 2}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLRD_CACHE", str(tmp_path / "cache"))


def opened(root: Path, **options: str) -> Source:
    return open_source(spec_of(root, source="masks", **options))


def maps(source: Source) -> dict[str, np.ndarray | None]:
    """The checked map of each photo; None for a photo without a mask."""
    found: dict[str, np.ndarray | None] = {}
    for k in range(len(source)):
        record = source.record(k)
        if record.panoptic_name is None:
            found[record.file_name] = None
            continue
        panoptic = source.panoptic(record, WIDTH, HEIGHT)
        check_panoptic(record.file_name, panoptic, (WIDTH, HEIGHT), source.categories)
        found[record.file_name] = panoptic.ids
    return found


NAMES: dict[str, tuple[dict[str, int], list[str]]] = {
    "same name": ({"photos/a.jpg": 1}, ["masks/a.png"]),
    "images": ({"images/a.JPG": 1}, ["mask/a.PNG"]),
    "capitals": ({"Images/a.jpg": 1}, ["Masks/a.png"]),
    "_mask": ({"photos/a.jpg": 1}, ["masks/a_mask.png"]),
    "several, lama": ({"photos/a.jpg": 1}, ["masks/a_mask000.png", "masks/a_mask001.png"]),
    "several, numbers": ({"photos/a.jpg": 1}, ["masks/a_0.png", "masks/a_1.png"]),
    "several, dashes": ({"photos/a.jpg": 1}, ["masks/a-1.png", "masks/a-2.png"]),
    "several, mask and number": ({"photos/a.jpg": 1}, ["masks/a_mask_1.png", "masks/a_mask_2.png"]),
    "several, a folder": ({"photos/a.jpg": 1}, ["masks/a/left.png", "masks/a/right.png"]),
    "mask_ before the name": ({"photos/x/a.jpg": 1}, ["masks/x/mask_a.png"]),
    "whole name of the photo": ({"photos/a.jpg": 1}, ["masks/a.jpg.png"]),
    "subfolders": ({"photos/x/a.jpg": 1, "photos/y/a.jpg": 2}, ["masks/x/a.png", "masks/y/a_mask.png"]),
    "lama, one folder": ({"a.jpg": 1, "b.jpg": 2}, ["a_mask001.png", "a_mask002.png", "b_mask.png"]),
    "photos at the root": ({"a.jpg": 1, "x/b.jpg": 2}, ["masks/a.png", "masks/x/b.png"]),
    "a number in the photo's name": ({"photos/a_1.jpg": 1, "photos/a.jpg": 2}, ["masks/a_1.png", "masks/a.png"]),
}


@pytest.mark.parametrize("case", NAMES)
def test_masks_find_their_photos(case: str, tmp_path: Path) -> None:
    """The first mask of a photo is the first object, at its place; hidden files are no photos and no masks."""
    photos, masks = NAMES[case]
    root = draw_masks(tmp_path / "set", photos, dict(zip(masks, (ONE, TWO, ONE), strict=False)))
    for name in [*photos, *masks]:
        (root / name).with_name(f"._{Path(name).name}").write_bytes(b"no picture")
    source = opened(root)
    found = maps(source)
    assert sorted(found) == sorted(
        name.removeprefix("photos/").removeprefix("images/").removeprefix("Images/") for name in photos
    )
    drawn = [ids == number for ids in found.values() if ids is not None for number in np.unique(ids)[:-1]]
    assert len(drawn) == len(masks)
    for mask in drawn:
        assert any(np.array_equal(mask, disc(*box)) for box in (ONE, TWO))
    assert all(ids is not None for ids in found.values())
    assert {source.categories[s.category_id].name for k in range(len(source)) for s in source.record(k).segments} == {
        "object",
        "background",
    }


def test_the_smaller_lies_over_the_larger(tmp_path: Path) -> None:
    whole, part = (40, 40, 110, 90), (70, 70, 24, 24)
    root = draw_masks(tmp_path, {"photos/a.jpg": 1}, {"masks/a_0.png": part, "masks/a_1.png": whole})
    ids = maps(opened(root))["a.jpg"]
    expected = np.full((HEIGHT, WIDTH), 0xFFFFFFFF, np.uint32)
    expected[disc(*whole)] = 2
    expected[disc(*part)] = 1
    assert np.array_equal(ids, expected)


def test_classes_are_an_option_or_the_folders_of_the_masks(tmp_path: Path) -> None:
    root = draw_masks(tmp_path, PHOTOS, {"masks/dog/a.png": ONE, "masks/ball/a_mask.png": TWO, "masks/dog/b.png": ONE})
    source = opened(root, class_folders="yes")
    assert [[source.categories[s.category_id].name for s in source.record(k).segments] for k in range(len(source))] == [
        ["ball", "dog", "background"],
        ["dog", "background"],
    ]
    with pytest.raises(SourceError, match=r"'ball/a_mask.png' is a mask.*class_folders=yes"):
        opened(root)
    shutil.move(root / "masks/dog/a.png", root / "masks/a.png")
    with pytest.raises(UsageError, match=r"'a\.png' is in none"):
        opened(root, class_folders="yes")
    named = opened(root, category="traffic cone")
    assert "traffic cone" in {category.name for category in named.categories.values()}
    with pytest.raises(UsageError, match="exclude each other"):
        opened(root, category="x", class_folders="yes")


def test_a_photo_without_a_mask_is_listed_and_a_mask_without_a_photo_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = draw_masks(tmp_path, PHOTOS, {"masks/a.png": ONE, "masks/c.png": TWO})
    found = maps(opened(root))
    assert found["b.jpg"] is None and found["a.jpg"] is not None
    assert "1 mask has no photo and is left out (first: c.png)" in capsys.readouterr().err


def test_a_number_without_a_separator_is_part_of_the_name(tmp_path: Path) -> None:
    root = draw_masks(tmp_path, PHOTOS | {"photos/frame1.jpg": 3}, {"masks/frame12.png": ONE, "masks/a.png": TWO})
    assert maps(opened(root))["frame1.jpg"] is None


def test_options_name_the_folders(tmp_path: Path) -> None:
    root = draw_masks(tmp_path / "set", {"rgb/a.jpg": 1}, {"seg/a.png": ONE})
    plain = opened(root, photos="rgb", masks="seg")
    shutil.copytree(root / "seg", tmp_path / "elsewhere")
    apart = opened(root, photos="rgb", masks=str(tmp_path / "elsewhere"))
    assert plain.fingerprint == apart.fingerprint
    assert np.array_equal(maps(plain)["a.jpg"], maps(apart)["a.jpg"])
    with pytest.raises(SourceError, match=r"found 2 photos and 0 masks\. --source-option photos=FOLDER"):
        opened(root)


def test_an_archive_is_read_without_unpacking(tmp_path: Path) -> None:
    root = draw_masks(tmp_path / "set", PHOTOS, {"masks/a.png": ONE, "masks/b/1.png": TWO})
    shutil.make_archive(str(tmp_path / "set"), "zip", root)
    shutil.make_archive(str(tmp_path / "apart/Masks"), "zip", root / "masks")
    shutil.copytree(root / "photos", tmp_path / "apart/photos")
    packed, plain = opened(tmp_path / "set.zip"), opened(root)
    assert opened(tmp_path / "apart").fingerprint == plain.fingerprint
    assert packed.fingerprint == plain.fingerprint
    for name, ids in maps(plain).items():
        assert np.array_equal(maps(packed)[name], ids)
    assert packed.photo_bytes(packed.record(0)) == plain.photo_bytes(plain.record(0))


def test_a_changed_mask_changes_the_fingerprint(tmp_path: Path) -> None:
    """The cache does not hide it; a photo is no annotation."""
    root = draw_masks(tmp_path, PHOTOS, {"masks/a.png": ONE})
    before = opened(root).fingerprint
    draw_masks(root, {"photos/a.jpg": 9}, {})
    assert opened(root).fingerprint == before
    draw_masks(root, {}, {"masks/a.png": TWO})
    after = opened(root)
    assert after.fingerprint != before
    ids = maps(after)["a.jpg"]
    assert ids is not None and (ids[disc(*TWO)] == 1).all()


def test_a_mask_of_the_photos_shape_is_resized_and_another_is_refused(tmp_path: Path) -> None:
    root = draw_masks(tmp_path, PHOTOS, {"masks/a.png": ONE, "masks/b.png": ONE})
    large(root / "masks/a.png", ONE)
    Pillow.new("L", (HEIGHT, WIDTH), 255).save(root / "masks/b.png")
    source = opened(root)
    panoptic = source.panoptic(source.record(0), WIDTH, HEIGHT)
    expected = disc(*ONE)
    assert np.count_nonzero((panoptic.ids == 1) ^ expected) < 0.05 * np.count_nonzero(expected)
    with pytest.raises(Rejected, match=r"b.png"):
        source.panoptic(source.record(1), WIDTH, HEIGHT)


def test_a_mask_that_is_no_picture_refuses_its_photo_alone(tmp_path: Path) -> None:
    root = draw_masks(tmp_path, PHOTOS, {"masks/a.png": ONE, "masks/b.png": ONE})
    (root / "masks/b.png").write_bytes(b"no picture")
    source = opened(root)
    with pytest.raises(Rejected) as caught:
        source.panoptic(source.record(1), WIDTH, HEIGHT)
    assert caught.value.code == "panoptic_unreadable"
    source.panoptic(source.record(0), WIDTH, HEIGHT)


def test_photos_that_differ_only_in_their_suffix_are_refused(tmp_path: Path) -> None:
    root = draw_masks(tmp_path, PHOTOS | {"photos/a.png": 3}, {"masks/a.png": ONE})
    with pytest.raises(SourceError, match=r"'a.jpg' and 'a.png' differ only in their suffix"):
        opened(root)


def test_terms_are_declared(tmp_path: Path) -> None:
    root = draw_masks(tmp_path, {"photos/ä b.jpg": 1}, {"masks/ä b.png": ONE})
    record = opened(root, license="CC-BY-4.0", source_url_prefix="https://example.org/").record(0)
    assert (record.license, record.source_url) == ("CC-BY-4.0", "https://example.org/%C3%A4%20b.jpg")
    assert opened(root).record(0).license == "unknown"


def test_wrong_options_are_named(tmp_path: Path) -> None:
    root = draw_masks(tmp_path, PHOTOS, {"masks/a.png": ONE})
    with pytest.raises(UsageError, match="Did you mean 'masks'"):
        opened(root, mask="x")
    with pytest.raises(UsageError, match="expected yes or no, got 'maybe'"):
        opened(root, class_folders="maybe")
    with pytest.raises(SourceError, match="is not a folder"):
        opened(root / "nowhere")


@pytest.mark.slow
def test_a_build_verifies(tmp_path: Path) -> None:
    root = draw_masks(tmp_path / "set", PHOTOS, {"masks/a_0.png": ONE, "masks/a_1.png": TWO, "masks/b.png": TWO})
    build(config_of(spec_of(root, source="masks")), tmp_path / "out")
    verify(tmp_path / "out")
    rows = [triplet.row for triplet in Dataset(tmp_path / "out")]
    assert len(rows) >= 3
    assert {row["category"] for row in rows} == {"object"}
    assert {row["background_kind"] for row in rows} == {"unlabelled"}


def test_masks_are_read_as_everywhere_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The one reader: alpha of RGBA, colours, and black that means erase."""
    root = draw_masks(tmp_path, PHOTOS, {"masks/a.png": ONE, "masks/b.png": TWO})
    expected = maps(opened(root))
    for name, box in (("a", ONE), ("b", TWO)):
        strokes = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
        strokes[disc(*box)] = (255, 0, 0, 255)
        Pillow.fromarray(strokes).save(root / f"masks/{name}.png")
    capsys.readouterr()
    for photo, ids in maps(opened(root)).items():
        assert np.array_equal(ids, expected[photo])
    assert "masks: alpha of RGBA (2)" in capsys.readouterr().err
    for name, box in (("a", ONE), ("b", TWO)):
        Pillow.fromarray(~disc(*box)).save(root / f"masks/{name}.png")
    opened(root)
    said = capsys.readouterr().err
    assert "2 of 2 masks: the mask covers most of the photo, with its border" in said
    assert "If black means erase, give --source-option invert=yes" in said
    inverted = opened(root, invert="yes")
    for photo, ids in maps(inverted).items():
        assert np.array_equal(ids, expected[photo])
    assert inverted.fingerprint != opened(root).fingerprint


def test_masks_with_two_meanings_name_the_option(tmp_path: Path) -> None:
    """A label map; with the option it is read."""
    root = draw_masks(tmp_path, PHOTOS, {"masks/a.png": ONE})
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[disc(*ONE)], labels[disc(*TWO)] = 1, 2
    Pillow.fromarray(labels).save(root / "masks/a.png")
    with pytest.raises(SourceError, match=r"--source-option mask_from=index:"):
        opened(root)
    ids = maps(opened(root, mask_from="index:2"))["a.jpg"]
    assert ids is not None and np.array_equal(ids == 1, disc(*TWO))
    with pytest.raises(UsageError, match="expects alpha, luminance or index:N"):
        opened(root, mask_from="red")
