"""The small model: its words, its networks, and its training stages at a toy size."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from places import REPOSITORY
from property_examples import examples

from magiceraser_ref.small.architecture import MICRO, SMALL, TINY, build_pipeline, size_of
from magiceraser_ref.small.loop import Schedule, Session, train
from magiceraser_ref.small.perceptual import perceptual_loss
from magiceraser_ref.small.photos import HELD_OUT, TrainingPhotos
from magiceraser_ref.small.vocabulary import known_words, small_tokenizer
from magiceraser_ref.training.masks import LARGEST, SMALLEST, random_mask
from olrd.errors import IntegrityError, SourceError, UsageError
from olrd.models.coco_categories import coco_categories

torch = pytest.importorskip("torch", reason="pip install '.[magiceraser]'")
pytest.importorskip("diffusers", reason="pip install '.[magiceraser]'")

LPIPS = REPOSITORY / "benchmark" / "weights" / "lpips_v0.1_alex.safetensors"


@given(st.integers(8, 90), st.integers(8, 90), st.integers(0, 10**9))
@examples(60)
def test_a_random_mask_is_a_function_of_its_key(height: int, width: int, key: int) -> None:
    mask = random_mask(height, width, key)
    assert mask.shape == (height, width) and mask.dtype == np.bool_
    assert np.array_equal(mask, random_mask(height, width, key))
    assert mask.any()


def test_random_masks_keep_their_limits_and_differ() -> None:
    masks = [random_mask(64, 64, "limits", k) for k in range(100)]
    shares = [mask.mean() for mask in masks]
    assert all(SMALLEST <= share <= LARGEST for share in shares)
    assert max(shares) > 0.3 and min(shares) < 0.1
    assert len({mask.tobytes() for mask in masks}) == 100


def test_every_known_word_is_one_token() -> None:
    words = known_words(["garbage truck"])
    tokenizer = small_tokenizer(words)
    assert {"sky", "photo", "dining", "garbage"} <= set(words)
    split = [w for w in words if len(tokenizer.tokenize(w)) != 1]
    assert not split
    labels = [category.label for category in coco_categories().values()]
    unknown = tokenizer.unk_token_id
    for text in [*labels, "Zürich 2026 ✈"]:  # bytes spell what no word does
        assert unknown not in tokenizer(text, add_special_tokens=False).input_ids


def test_the_networks_are_those_of_stable_diffusion_inpainting() -> None:
    pipeline = build_pipeline(MICRO)
    assert pipeline.unet.config.in_channels == 9
    assert pipeline.vae_scale_factor == 4
    same, other = build_pipeline(MICRO), build_pipeline(MICRO, seed=1)
    for name, tensor in pipeline.unet.state_dict().items():
        assert torch.equal(tensor, same.unet.state_dict()[name])
    first = next(iter(pipeline.unet.state_dict()))
    assert not torch.equal(pipeline.unet.state_dict()[first], other.unet.state_dict()[first])


@pytest.mark.parametrize("sizes", [TINY, SMALL])
def test_the_weights_fit_into_the_package(sizes: object) -> None:
    with torch.device("meta"):
        bytes_in_half = 2 * sum(size_of(build_pipeline(sizes)).values())  # type: ignore[arg-type]
    assert bytes_in_half < 60e6


class Points(torch.utils.data.Dataset):  # type: ignore[misc]
    """Item n: a point on a line, drawn from n."""

    def __getitem__(self, n: int) -> object:
        x = torch.tensor([np.random.default_rng(n).uniform(-1, 1)], dtype=torch.float32)
        return {"x": x, "y": 3 * x + 1}


def _fit(folder: Path, schedule: Schedule, until: float | None = None) -> tuple[int, list[float]]:
    torch.manual_seed(0)
    line = torch.nn.Linear(1, 1)

    def losses(batch: dict[str, object], step: int) -> dict[str, object]:
        return {"loss": (line(batch["x"]).float() - batch["y"]).square().mean()}

    steps = train({"line": line}, losses, Points(), schedule, Session(folder, "cpu", until=until))
    return steps, [float(p) for p in line.parameters()]


def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    schedule = Schedule(steps=10, batch=4, rate=0.1, warmup=2, save_every=1)
    _, whole = _fit(tmp_path / "whole", schedule)
    steps, _ = _fit(tmp_path / "cut", schedule, until=0.0)  # stops after its first step
    assert steps == 1
    steps, resumed = _fit(tmp_path / "cut", schedule)
    assert steps == 10 and resumed == whole


@pytest.mark.slow
def test_training_learns(tmp_path: Path) -> None:
    _, (slope, offset) = _fit(tmp_path, Schedule(400, 8, 0.1, warmup=10, ema=0.9, decay=0.0))
    assert slope == pytest.approx(3, abs=0.1) and offset == pytest.approx(1, abs=0.1)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    schedule = Schedule(steps=2, batch=4, rate=0.1)
    _fit(tmp_path, schedule)
    assert not list(tmp_path.glob(".*"))
    path = tmp_path / "checkpoint.pt"
    whole = torch.load(path, weights_only=True)
    for state in ([1], {"step": 1}, whole | {"modules": {}}, whole | {"optimiser": 3}):
        torch.save(state, path)
        with pytest.raises(IntegrityError, match=r"checkpoint\.pt is"):
            _fit(tmp_path, schedule)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(IntegrityError, match=r"checkpoint\.pt is damaged"):
        _fit(tmp_path, schedule)


def test_a_gradient_that_is_no_number_stops_before_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="the gradient of step"):
        _fit(tmp_path, Schedule(steps=10, batch=4, rate=1e30, warmup=1, save_every=1))
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert all(values.isfinite().all() for values in state["modules"]["line"].values())


def test_a_checkpoint_of_another_schedule_is_refused(tmp_path: Path) -> None:
    schedule = Schedule(steps=2, batch=4, rate=0.1)
    _fit(tmp_path, schedule)
    with pytest.raises(UsageError, match="give the same values"):
        _fit(tmp_path, replace(schedule, batch=8))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 drawn photos as the Parquet files that training reads; the last twice."""
    folder = tmp_path_factory.mktemp("photos")
    rows = []
    for k in range(300):
        pixels = np.random.default_rng(k).integers(0, 256, (6, 7, 3), dtype=np.uint8)
        file = io.BytesIO()
        Pillow.fromarray(pixels).resize((84, 72)).save(file, "PNG")
        rows.append({"image": {"bytes": file.getvalue(), "path": f"{k}.png"}, "label": "sky"})
    rows.append(rows[-1])
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
    return folder


@pytest.mark.slow
def test_held_out_photos_are_never_trained_on(photos: Path) -> None:
    train_on, held = TrainingPhotos(photos, 32), TrainingPhotos(photos, 32, held_out=True)
    assert len(train_on) + len(held) == 300  # the duplicate counts once
    assert 0 < len(held) < 300 * 4 / HELD_OUT
    seen = {photo.tobytes() for photo in train_on.photos}
    assert not seen & {photo.tobytes() for photo in held.photos}
    crop = train_on.crop(3, 32, "key")
    assert crop.shape == (32, 32, 3) and np.array_equal(crop, train_on.crop(3, 32, "key"))


def test_no_photos_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="found no photo"):
        TrainingPhotos(tmp_path, 32)


@pytest.mark.slow
def test_the_initialiser_fills_holes_without_seeing_what_is_in_them(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("lpips", reason="pip install '.[dev]'")
    from magiceraser_ref.ffc.network import FfcSizes
    from magiceraser_ref.small.ffc_stage import train_ffc

    network = train_ffc(
        TrainingPhotos(photos, 64),
        Schedule(2, 2, 1e-3, warmup=1),
        Session(tmp_path, "cpu"),
        perceptual_loss(LPIPS, "cpu"),
        FfcSizes((16, 16, 64), blocks=1),
    )
    photo = torch.rand(1, 3, 24, 40) * 2 - 1
    hole = torch.zeros(1, 1, 24, 40)
    hole[..., 8:16, 8:16] = 1
    first = network(photo, hole)
    assert first.shape == photo.shape and first.abs().max() <= 1
    assert torch.equal(network(photo * (1 - hole) + hole, hole), first)
    # Through the spectrum even the far corner reaches the hole.
    photo[..., -1, -1] = -photo[..., -1, -1]
    assert not torch.equal(network(photo, hole)[..., 8:16, 8:16], first[..., 8:16, 8:16])


def test_the_curves_of_a_training(tmp_path: Path) -> None:
    from magiceraser_ref.small.curves import POINTS, smoothed, write_curves

    points = [(float(k), float(k % 2)) for k in range(1, 10 * POINTS + 1)]
    short = smoothed(points)
    assert len(short) == POINTS and short[0] == (5.5, 0.5)
    (tmp_path / "vae").mkdir()
    log = "".join(f'{{"step": {k}, "l1": {1 / k}, "lpips": {2 / k}}}\n' for k in (20, 40, 60))
    (tmp_path / "vae" / "log.jsonl").write_text(log)
    (path,) = write_curves(tmp_path, tmp_path)
    text = path.read_text()
    assert path.name == "small-vae.svg" and text.count("<polyline") == 2 and ">lpips<" in text


@pytest.mark.parametrize("pool", [0, 3])
@pytest.mark.slow
def test_both_stages_run_and_give_a_pipeline(photos: Path, tmp_path: Path, pool: int) -> None:
    pytest.importorskip("lpips", reason="pip install '.[dev]'")
    from magiceraser_ref.small import vae_stage
    from magiceraser_ref.small.base_stage import train_base

    train_on = TrainingPhotos(photos, 64)
    sizes = replace(MICRO, resolution=64)
    short = Schedule(steps=2, batch=2, rate=1e-3, warmup=1)
    vae = vae_stage.train_vae(sizes, train_on, short, Session(tmp_path / "vae", "cpu"), perceptual_loss(LPIPS, "cpu"))
    deviation = vae_stage.latent_deviation(vae, train_on, "cpu")
    assert deviation * vae.config.scaling_factor == pytest.approx(1, rel=1e-3)
    pipeline = train_base(sizes, vae, train_on, short, Session(tmp_path / "base", "cpu"), pool=pool)
    pipeline.set_progress_bar_config(disable=True)
    result = pipeline(
        "A photo of sky",
        image=Pillow.new("RGB", (64, 64)),
        mask_image=Pillow.new("L", (64, 64), 255),
        num_inference_steps=2,
        height=64,
        width=64,
        output_type="np",
    ).images
    assert result.shape == (1, 64, 64, 3) and np.isfinite(result).all()


@pytest.mark.slow
def test_a_pool_holds_what_encoding_would_give(photos: Path, tmp_path: Path) -> None:
    from magiceraser_ref.small.base_stage import Holes
    from magiceraser_ref.small.latents import Encoder, LatentPool

    pipeline = build_pipeline(MICRO)
    samples = Holes(TrainingPhotos(photos, 32), 32, 4, pipeline.tokenizer, seed=5)
    encoder = Encoder(pipeline.vae.eval(), "cpu")
    pool = LatentPool(samples, encoder, 6, tmp_path)
    seen = []
    for n in range(12):
        item = pool[n]
        found = [
            k
            for k in range(6)
            for clean, masked in [encoder(samples[k]["pixels"][None], samples[k]["hole"][None])]
            if torch.allclose(clean[0], item["clean"], atol=0.02)  # bfloat16, then float16
            and torch.allclose(masked[0], item["masked"], atol=0.02)
            and torch.equal(samples[k]["hole"], item["hole"])
        ]
        assert len(found) == 1
        seen += found
    assert sorted(seen[:6]) == sorted(seen[6:]) == list(range(6))
    assert seen[:6] != seen[6:]  # another order in the next round
    (file,) = tmp_path.glob("pool-*.npy")
    made = file.stat().st_mtime_ns
    again = LatentPool(samples, encoder, 6, tmp_path)
    assert file.stat().st_mtime_ns == made
    assert torch.equal(again[3]["clean"], pool[3]["clean"])
    LatentPool(samples, encoder, 5, tmp_path)
    assert len(list(tmp_path.glob("pool-*.npy"))) == 2


@pytest.mark.slow
def test_what_ships_is_a_model_that_needs_no_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from magiceraser_ref.erase.pipeline import MagicEraser
    from magiceraser_ref.small import __main__ as stages

    build_pipeline(MICRO).save_pretrained(tmp_path / "pipeline")
    words = ["small", "ship", "--out", str(tmp_path), "--to", str(tmp_path / "to"), "--size", "micro"]
    monkeypatch.setattr("sys.argv", words)
    assert stages.main() == 0
    model = MagicEraser.from_pretrained(tmp_path / "to", device="cpu")
    assert model.settings.resolution == 64 and model.settings.initializer == "patchmatch"
    photo = np.full((32, 32, 3), 90, np.uint8)
    mask = np.zeros((32, 32), np.bool_)
    mask[8:20, 8:20] = True
    (clean,) = model.erase([photo], [mask], steps=20)
    assert clean.shape == photo.shape and np.array_equal(clean[~mask], photo[~mask])
