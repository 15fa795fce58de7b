"""`clip`: triplets of what passes a fixed camera, on scenes drawn in code with known masks, shadows and clean pictures."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from built_folders import digest
from cases import every
from drawn_clip_video import write_video
from drawn_sets import DrawnSets
from PIL import Image as Pillow

from olrd.arrays import Image
from olrd.audit import audit
from olrd.audit.stats import stats
from olrd.builder.build import build
from olrd.builder.merge import merge
from olrd.builder.units import Share
from olrd.cli.build import main as olrd_build
from olrd.config import BuildConfig, CandidateRules
from olrd.dataset.folder import Dataset
from olrd.dataset.loading import load
from olrd.errors import IntegrityError, OutputError, Rejected, SourceError, UsageError
from olrd.masks import mask_box
from olrd.sources import SourceSpec, open_source
from olrd.sources.seen import PictureRef
from olrd.sources.seen import video as videos
from olrd.sources.seen.place import Place
from olrd.tools.rebuild import rebuild, strip_pixels
from olrd.tools.show import show
from olrd.tools.verify import verify
from olrd.triplets.seen_recipe import SeenRecipe, read_recipe
from tools.drawn_clip import Scene, ground, overlap

pytestmark = pytest.mark.slow

SCENE = Scene(frames=10)


def place_of(frames: list[Image]) -> Place:
    return Place("a place", [(PictureRef(str(k), "", ""), pixels) for k, pixels in enumerate(frames)])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips: one of 10 frames, and one of 9 with a shaking camera and changing light."""
    root = tmp_path_factory.mktemp("clips")
    SCENE.save(root / "street")
    Scene(frames=9, shake=1.5, flicker=0.05, seed=3).save(root / "yard" / "a")
    return root


@pytest.fixture(scope="module")
def config(root: Path) -> BuildConfig:
    spec = SourceSpec("clip", str(root), options={"license": "CC0-1.0", "apart": "0.001"})
    return BuildConfig(spec, shard_bytes=400_000)


@pytest.fixture(scope="module")
def full(config: BuildConfig, drawn: DrawnSets) -> Path:
    return drawn.built(config)


SCENES = {
    "shaken": replace(SCENE, shake=2, flicker=0.1),
    "plain": SCENE,
    "noisy": replace(SCENE, noise=4),
    "drawn": replace(SCENE, noise=0),
    "faint-shadow": replace(SCENE, darkness=0.85),
}


@pytest.mark.parametrize("scene", every(5, SCENES))
def test_objects_and_their_shadows_are_found(scene: Scene) -> None:
    frames = [scene.frame(number) for number in range(scene.frames)]
    place = place_of([frame.pixels for frame in frames])
    for number, frame in enumerate(frames):
        seen = place.seen(str(number), frame.pixels)
        assert len(seen.changes) == frame.mask.any() and not seen.rejected, number
        for change in seen.changes:
            assert overlap(change.mask, frame.mask) >= 0.9
            assert overlap(change.effect, frame.effect) >= 0.8
            assert (frame.effect & ~change.effect).sum() <= 0.06 * frame.effect.sum()
            box = mask_box(change.effect)
            error = np.abs(seen.plate(box).astype(int) - frame.clean[box.crop()]).mean()
            assert error < 2 + scene.noise, "the plate is not the picture without the object"


def test_a_still_camera_is_not_resampled() -> None:
    frames = [SCENE.frame(number).pixels for number in range(SCENE.frames)]
    layers = place_of(frames).seen("3", frames[3]).layers
    assert len(layers) == SCENE.frames and all(layer.motion is None for layer in layers)


def test_every_row_is_exact_and_says_what_it_is(full: Path) -> None:
    rows = list(Dataset(full))
    assert len(rows) >= 10
    for sample in rows:
        assert sample.effect is not None
        assert np.array_equal(sample.image[~sample.effect], sample.background[~sample.effect])
        assert not (sample.mask & ~sample.effect).any()
        assert (sample.image != sample.background)[sample.mask].any(axis=1).mean() > 0.9
        row = sample.row
        assert (row["source"], row["placement"], row["blend"]) == ("clip", "seen", "none")
        assert row["background_kind"] == "seen" and row["license"] == row["donor_license"] == "CC0-1.0"
        assert row["image_id"] in ("street", "yard/a") and row["donor_image_id"].startswith(row["image_id"][:4])
    assert not verify(full)["problems"]
    assert len({(sample.row["image_id"], sample.row["split"]) for sample in rows}) == 2  # a clip is of one split


def test_the_composite_is_the_frame_itself(root: Path, full: Path) -> None:
    for row in Dataset(full).rows():
        recipe = json.loads(row["recipe"])
        assert row["image"]["bytes"] == (root / recipe["picture"][0]).read_bytes()


def test_two_workers_and_shares_give_the_same_bytes(config: BuildConfig, full: Path, tmp_path: Path) -> None:
    build(config, tmp_path / "two", workers=2)
    assert digest(tmp_path / "two") == digest(full)
    shares = [tmp_path / f"share{part}" for part in range(2)]
    for part, out in enumerate(shares):
        build(config, out, share=Share(part, 2))
    merge(shares, tmp_path / "merged")
    assert digest(tmp_path / "merged") == digest(full)


def test_an_interrupted_build_is_finished(
    config: BuildConfig, full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0
    original = Place.seen

    def stops(self: Place, name: str, pixels: Image) -> Any:
        nonlocal made
        made += 1
        if made == 14:
            raise KeyboardInterrupt
        return original(self, name, pixels)

    monkeypatch.setattr(Place, "seen", stops)
    with pytest.raises(KeyboardInterrupt):
        build(config, tmp_path / "out")
    monkeypatch.undo()
    build(config, tmp_path / "out")
    assert digest(tmp_path / "out") == digest(full)


def test_recipes_give_the_same_bytes(
    config: BuildConfig, full: Path, root: Path, drawn: DrawnSets, tmp_path: Path
) -> None:
    recipes = drawn.built(replace(config, form="recipes"))
    assert not verify(recipes)["problems"]
    rebuild(recipes, root, tmp_path / "rebuilt")
    assert digest(tmp_path / "rebuilt") == digest(full)
    (tmp_path / "stripped").mkdir()
    stripped = strip_pixels(Dataset(full), tmp_path / "stripped")
    texts = [[row["recipe"] for row in Dataset(folder).rows(["recipe"])] for folder in (recipes, stripped.folder)]
    assert texts[0] == texts[1]
    rows = load(recipes, Dataset(recipes).record.shards[0].split, root)
    assert set(rows[0]) >= {"image", "mask", "effect", "background"}


def test_other_frames_than_those_of_the_recipe_are_refused(
    config: BuildConfig, root: Path, drawn: DrawnSets, tmp_path: Path
) -> None:
    recipes = drawn.built(replace(config, form="recipes"))
    shutil.copytree(root, tmp_path / "other")
    Pillow.fromarray(SCENE.frame(0).clean).save(tmp_path / "other" / "street" / "frame5.png")
    with pytest.raises(IntegrityError, match=r"frame5.png is not the photo the recipe was made from"):
        rebuild(recipes, tmp_path / "other", tmp_path / "out")


def test_the_card_the_audit_and_the_page_know_it(full: Path, tmp_path: Path) -> None:
    card = (full / "README.md").read_text()
    assert "an object was cut out" not in card and "clean plate" in card and "effect" in card
    result = audit(full)
    assert "nothing is pasted" in result["edge_leak"]["note"]
    assert "nothing is pasted" in stats(full, tmp_path / "stats.html")["edge_leak"]["note"]
    show(full, tmp_path / "shown")
    assert (tmp_path / "shown" / "page.html").is_file()


def test_the_size_option_applies_to_all_frames(config: BuildConfig, root: Path, tmp_path: Path) -> None:
    one = replace(config, source=replace(config.source, root=str(root / "street")), size=100)
    build(one, tmp_path / "out")
    assert {sample.image.shape[:2] for sample in Dataset(tmp_path / "out")} == {(100, 133)}
    build(replace(one, form="recipes"), tmp_path / "recipes")
    rebuild(tmp_path / "recipes", root / "street", tmp_path / "again")
    assert digest(tmp_path / "again") == digest(tmp_path / "out")


def test_masks_as_users_draw_them(config: BuildConfig, root: Path, full: Path, tmp_path: Path) -> None:
    one = replace(config, source=replace(config.source, root=str(root / "street")))
    build(replace(one, mask_style=("box",), mask_grow=2), tmp_path / "out")
    assert not verify(tmp_path / "out")["problems"]
    build(replace(one, mask_style=("box",), mask_grow=2, form="recipes"), tmp_path / "recipes")
    rebuild(tmp_path / "recipes", root / "street", tmp_path / "again")
    assert digest(tmp_path / "again") == digest(tmp_path / "out")
    exact = {sample.row["donor_image_id"]: sample for sample in Dataset(full)}
    for sample in Dataset(tmp_path / "out"):
        other = exact["street_" + sample.row["donor_image_id"]]
        assert other.effect is not None and sample.effect is not None
        assert not (other.mask & ~sample.mask).any() and sample.mask.sum() > 1.2 * other.mask.sum()
        assert np.array_equal(sample.effect, other.effect | sample.mask)


def test_the_supercategory_of_the_objects_may_be_named(config: BuildConfig, root: Path, tmp_path: Path) -> None:
    source = replace(config.source, root=str(root / "street"), options={"apart": "0.001", "category": "walker"})
    build(replace(config, source=source, rules=CandidateRules(categories=("object",))), tmp_path / "out")
    assert {sample.row["category"] for sample in Dataset(tmp_path / "out")} == {"walker"}


def test_a_camera_that_is_moved_away_is_refused_with_the_figure() -> None:
    frames = [SCENE.frame(number).pixels for number in range(SCENE.frames)]
    place = place_of(frames)
    with pytest.raises(Rejected, match=r"moved by \d+\.\d pixels against a place, at most 5\.3 fit") as caught:
        place.seen("moved", np.roll(frames[0], 31, axis=1))
    assert caught.value.code == "camera_moved"
    with pytest.raises(Rejected, match=r"\d of 10 pictures show one place in one light.*moves by up to \d+\.\d pixels"):
        place_of([np.roll(frame, 17 * number, axis=1) for number, frame in enumerate(frames)])


def test_light_that_a_gain_does_not_match_is_refused_with_the_figure() -> None:
    frames = [SCENE.frame(number).pixels for number in range(SCENE.frames)]
    with pytest.raises(Rejected, match=r"levels differ by up to \d+, at most 64 fit") as caught:
        place_of(frames).seen("dark", (frames[0] * 0.5).astype(np.uint8))
    assert caught.value.code == "light_changed"


def test_a_clip_without_enough_frames_says_so(tmp_path: Path) -> None:
    Scene(frames=4).save(tmp_path / "few")
    with pytest.raises(OutputError, match=r"4 of 4 photos are rejected, most as plate_missing.*expected at least 5"):
        build(BuildConfig(SourceSpec("clip", str(tmp_path / "few"), options={"apart": "0"})), tmp_path / "out")


def test_what_leaves_in_the_middle_of_a_clip_is_no_object() -> None:
    """A thing that stands there most of the time is in the plate. Frames without it do not show an object."""
    there, gone = SCENE.frame(5), np.rint(ground()).astype(np.uint8)
    rng = np.random.default_rng(1)
    frames = [there.pixels if k < 9 else gone for k in range(12)]
    frames = [np.clip(frame + rng.normal(0, 1.5, frame.shape), 0, 255).astype(np.uint8) for frame in frames]
    seen = place_of(frames).seen("11", frames[11])
    assert not seen.changes and seen.rejected["left_behind"] == 1


def test_frames_that_show_nothing_new_are_left_out_and_counted(tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    SCENE.save(clip)
    for number in range(5):
        shutil.copy(clip / "frame5.png", clip / f"frame5_{number}.png")
    source = open_source(SourceSpec("clip", str(clip), options={"apart": "0.01"}))
    names = [source.record(k).file_name for k in range(len(source))]
    assert names[:3] == ["frame0.png", "frame1.png", "frame2.png"] and len(names) == 15
    build(BuildConfig(source=SourceSpec("clip", str(clip))), tmp_path / "out")
    totals = Dataset(tmp_path / "out").record.totals
    assert totals.photos_rejected["frame_alike"] >= 6 and not totals.failures
    assert totals.photos_read == 15 and totals.balanced()


def test_frames_are_in_natural_order(tmp_path: Path) -> None:
    for name in ("f10.png", "f9.png", "f1.png"):
        Pillow.fromarray(SCENE.frame(0).pixels).save(tmp_path / name)
    source = open_source(SourceSpec("clip", str(tmp_path)))
    assert [source.record(k).file_name for k in range(3)] == ["f1.png", "f9.png", "f10.png"]


def test_a_damaged_frame_is_counted_and_the_others_are_used(tmp_path: Path) -> None:
    SCENE.save(tmp_path / "clip")
    (tmp_path / "clip" / "frame4.png").write_bytes(b"no picture")
    build(BuildConfig(SourceSpec("clip", str(tmp_path / "clip"), options={"apart": "0"})), tmp_path / "out")
    totals = Dataset(tmp_path / "out").record.totals
    assert totals.photos_rejected == {"photo_unreadable": 1} and totals.photos_used == 5
    assert not verify(tmp_path / "out")["problems"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--blend", "hard"], "the source clip pastes nothing, so --blend has no effect"),
        (["--flip"], "--flip has no effect"),
        (["--per-object", "1"], "--per-object has no effect"),
        (["--no-refine-outlines"], "--no-refine-outlines has no effect"),
        (["--doubtful", "none"], "--doubtful has no effect"),
        (["--min-edge", "0"], "--min-edge has no effect"),
        (["--source-option", "apart=2"], "apart"),
        (["--source-option", "aprat=0"], "Did you mean 'apart'"),
        (["--categories", "dog"], "dog"),
        (["--subset", "a"], "takes no --subset"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    words: list[str], message: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["--source", "clip", "--root", str(root / "street"), "--out", str(tmp_path / "out"), *words]
    assert olrd_build(argv) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "data").exists()


def test_roots_that_hold_no_clip_say_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs --root: a folder of frames"):
        open_source(SourceSpec("clip"))
    with pytest.raises(SourceError, match="holds no frames: expected a folder of pictures"):
        open_source(SourceSpec("clip", str(tmp_path)))
    with pytest.raises(SourceError, match="is not a folder, an archive or a video"):
        open_source(SourceSpec("clip", str(tmp_path / "nowhere")))


@pytest.mark.parametrize(
    "change",
    [
        {"layers": []},
        {"layers": [[["a", "", ""], [1, 2], None]]},
        {"layers": [[["a", "", ""], None, [[1, 0], [1, 0], [float("inf"), 0]]]]},
        {"layers": [[["a", "frame:x", ""], None, None]]},
        {"layers": [[["a", "", ""], None, None]] * 65},
        {"mask_bbox": [0, 0, 0, 4]},
        {"effect_bbox": [0, -1, 3, 4]},
        {"tolerance": 1 << 20},
        {"size": 3},
        {"version": 9},
        {"more": 1},
        {"picture": ["a"]},
    ],
)
def test_recipes_of_strangers_are_refused(change: dict[str, Any], full: Path) -> None:
    text = next(Dataset(full).rows(["recipe"]))["recipe"]
    recipe = read_recipe(text)
    assert isinstance(recipe, SeenRecipe) and recipe.to_json() == text
    with pytest.raises(IntegrityError):
        read_recipe(json.dumps(json.loads(text) | change, separators=(",", ":")))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda row: row | {"effect": row["mask"]}, "differs from the background"),
        (lambda row: row | {"mask": row["effect"]}, "the pixels are not those of the recipe"),
        (lambda row: row | {"image": row["background"]}, "the pixels are not those of the recipe"),
        (lambda row: row | {"blend": "hard"}, "column blend is"),
        (lambda row: row | {"image_id": "elsewhere"}, "column image_id is"),
    ],
)
def test_verify_finds_rows_that_were_changed(
    change: Callable[[dict[str, Any]], dict[str, Any]], problem: str, full: Path
) -> None:
    from olrd.tools.verify import row_problems

    row = next(Dataset(full).rows())
    assert not list(row_problems(row, "full"))
    assert any(problem in found for found in row_problems(change(row), "full"))


def test_a_video_gives_its_frames(tmp_path: Path, drawn: DrawnSets) -> None:
    av = pytest.importorskip("av", reason="pip install '.[clip]'")
    (tmp_path / "in").mkdir()
    write_video(av, tmp_path / "in" / "walk.mp4", SCENE)
    config = BuildConfig(SourceSpec("clip", str(tmp_path / "in" / "walk.mp4"), options={"apart": "0"}))
    build(config, tmp_path / "out")
    rows = list(Dataset(tmp_path / "out"))
    assert len(rows) == 6 and not verify(tmp_path / "out")["problems"]
    for sample in rows:
        recipe = json.loads(sample.row["recipe"])
        number = int(recipe["picture"][1].removeprefix("frame:"))
        assert overlap(sample.mask, SCENE.frame(number).mask) > 0.8  # colours have half the resolution
    build(replace(config, form="recipes"), tmp_path / "recipes")
    rebuild(tmp_path / "recipes", tmp_path / "in", tmp_path / "again")
    assert digest(tmp_path / "again") == digest(tmp_path / "out")
    with pytest.raises(Rejected, match="has no frame 10"):
        videos.Video(tmp_path / "in" / "walk.mp4", "walk.mp4", 10**6).frame(10)
    with pytest.raises(Rejected, match="more than the allowed 100 pixels"):
        videos.Video(tmp_path / "in" / "walk.mp4", "walk.mp4", 100).frame(0)


def test_a_damaged_video_is_counted_in_every_build(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the build that read the frames first said so; the count of its frames was silent."""
    av = pytest.importorskip("av", reason="pip install '.[clip]'")
    (tmp_path / "in").mkdir()
    write_video(av, tmp_path / "in" / "walk.mp4", SCENE)
    (tmp_path / "in" / "junk.mp4").write_bytes(b"no video")
    config = BuildConfig(SourceSpec("clip", str(tmp_path / "in"), options={"apart": "0"}))
    for out in (tmp_path / "first", tmp_path / "second"):
        build(config, out)
        totals = Dataset(out).record.totals
        assert totals.photos_rejected == {"photo_unreadable": 1} and totals.photos_used == 6
        (failure,) = totals.failures
        assert failure["image_id"] == "junk-000000" and failure["message"].startswith("junk.mp4: ")
    assert digest(tmp_path / "first") == digest(tmp_path / "second")


def test_a_file_that_is_no_video_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="pip install '.[clip]'")
    Pillow.fromarray(SCENE.frame(0).pixels).save(tmp_path / "a.png")
    for data in ((tmp_path / "a.png").read_bytes(), b"", b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n"):
        (tmp_path / "a.mp4").write_bytes(data)
        with pytest.raises(Rejected, match=r"^a\.mp4: "):
            videos.Video(tmp_path / "a.mp4", "a.mp4", 10**6).frame(0)


def test_a_traffic_camera(shared_data: Path, tmp_path: Path) -> None:
    """Twelve frames of a real one, minutes apart: leaves move, the light changes."""
    folder = shared_data / "static_pairs"
    if not folder.is_dir():
        pytest.skip("the frames of the traffic camera are not here")
    build(BuildConfig(SourceSpec("clip", str(folder / "image"), options={"apart": "0"})), tmp_path / "out")
    rows = list(Dataset(tmp_path / "out"))
    assert len(rows) >= 8 and not verify(tmp_path / "out")["problems"]
    clean = np.asarray(Pillow.open(folder / "background.png")).astype(int)
    for sample in rows:
        far = (sample.background.astype(int) - clean)[sample.mask]
        assert np.median(np.abs(far - np.median(far))) < 8  # but for the light of the hour
