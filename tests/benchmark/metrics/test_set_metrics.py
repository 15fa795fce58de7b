"""FID, KID, CMMD and MIND: their mathematics against SciPy and plain loops, their networks against others'."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg

from baselines.eraser import WeightsMissingError
from benchmark.metrics import PairedSetMetric, Score, open_metric
from benchmark.metrics.fidelity import (
    compared,
    frechet,
    gaussian_distance,
    kernel_distance,
    paired_kernel_distance,
    sliced_distance,
)
from benchmark.metrics.pictures import resize_float
from olrd.errors import SourceError, UsageError

torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
from small_encoders import clip_folder, draw, inception_file, one_thread, sam_folder  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def single_thread() -> Iterator[None]:
    with one_thread():
        yield


def two_sets(n: int = 60, m: int = 45, d: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n * d)
    mix = rng.normal(size=(d, d))
    return rng.normal(size=(n, d)) @ mix, rng.normal(size=(m, d)) @ mix * 1.2 + 0.3


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    return float((x @ y / len(x) + 1) ** 3)


def gaussian(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.exp(-((x - y) ** 2).sum() / (2 * 10.0**2)))


@pytest.mark.parametrize(("n", "m", "d"), [(60, 45, 12), (300, 13, 12), (8, 9, 30), (40, 9, 30)])
def test_frechet_is_that_of_the_matrix_root(n: int, m: int, d: int) -> None:
    a, b = two_sets(n, m, d)
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    traces = sum(np.trace(c) for c in covariances) - 2 * np.trace(root).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + traces
    # The matrix root of a singular product is itself good to half the digits only.
    assert frechet(a, b) == pytest.approx(expected, rel=1e-9 if min(n, m) > d else 1e-5)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_of_known_distributions() -> None:
    """Axes apart: |difference of means|^2 + sum of squared differences of deviations."""
    signs = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, -1).T * np.sqrt(7 / 8)
    a, b = signs * [1, 2, 3], signs * [2, 2, 1] + [5, 0, 0]
    assert frechet(a, b) == pytest.approx(25 + 1 + 0 + 4)


def test_kid_is_that_of_a_plain_double_loop() -> None:
    a, b = two_sets(13, 9, 5)

    def within(x: np.ndarray) -> float:
        return float(np.mean([kernel(p, q) for i, p in enumerate(x) for j, q in enumerate(x) if i != j]))

    across = np.mean([kernel(p, q) for p in a for q in b])
    assert kernel_distance(a, b) == pytest.approx(within(a) + within(b) - 2 * across)


PHOTOS = list("aabcccdefghhi")


def test_paired_kid_is_that_of_a_plain_double_loop() -> None:
    a, b = two_sets(13, 13, 5)
    apart = [(i, j) for i in range(13) for j in range(13) if PHOTOS[i] != PHOTOS[j]]

    def mean(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean([kernel(x[i], y[j]) for i, j in apart]))

    expected = mean(a, a) + mean(b, b) - 2 * mean(a, b)
    assert paired_kernel_distance(a, b, PHOTOS) == pytest.approx(expected)
    order = np.random.default_rng(0).permutation(13)
    turned = paired_kernel_distance(a[order], b[order], [PHOTOS[k] for k in order])
    assert turned == pytest.approx(expected)
    assert paired_kernel_distance(b, a, PHOTOS) == pytest.approx(expected)


def test_what_truth_scores_on_paired_data(monkeypatch: pytest.MonkeyPatch) -> None:
    """0 for all but the published KID, whose pairs i = j count across the sets and not within."""
    truth, _ = two_sets(13, 2, 5)
    assert paired_kernel_distance(truth, truth.copy(), PHOTOS) == 0
    assert frechet(truth, truth) == pytest.approx(0, abs=1e-9)
    assert gaussian_distance(truth, truth, 10) == pytest.approx(0, abs=1e-9)
    within = np.mean([kernel(p, q) for i, p in enumerate(truth) for j, q in enumerate(truth) if i != j])
    alone = np.mean([kernel(p, p) for p in truth])
    assert kernel_distance(truth, truth) == pytest.approx(2 * (within - alone) / 13)
    assert kernel_distance(truth, truth) < -0.1
    monkeypatch.setattr("benchmark.metrics.fidelity.BLOCK", 4)
    assert paired_kernel_distance(truth, truth.copy(), PHOTOS) == 0


def test_a_pair_of_one_photo_only_has_no_paired_kid() -> None:
    metric = open_metric("kid-alex-box")
    assert isinstance(metric, PairedSetMetric)
    truth, output = two_sets(4, 4, 5)
    assert metric.compare_paired(output, truth, ["a"] * 4) == Score(None, "one_photo")
    assert metric.compare_paired(output[:1], truth[:1], ["a"]) == Score(None, "too_few")
    assert metric.compare_paired(truth, truth, list("aabb")) == Score(0.0)


@pytest.mark.slow
def test_paired_kid_is_unbiased_and_the_published_one_is_not() -> None:
    """Outputs are their truths and noise, so pairs i = j across are alike. Photos have two samples that share most. The
    expectation comes from many photos."""

    def drawn(rng: np.random.Generator, photos: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        truth = (rng.normal(size=(photos, 1, 3)) + 0.3 * rng.normal(size=(photos, 2, 3))).reshape(-1, 3)
        return truth * 0.8 + 0.4, truth, [str(k // 2) for k in range(2 * photos)]

    rng = np.random.default_rng(0)
    known = paired_kernel_distance(*drawn(rng, 1000))
    small = [drawn(rng, 6) for _ in range(500)]
    paired = [paired_kernel_distance(*given) or 0.0 for given in small]
    published = [kernel_distance(a, b) for a, b, _ in small]
    error = float(np.std(paired) / np.sqrt(len(paired)))
    assert abs(np.mean(paired) - known) < 4 * error
    assert np.mean(published) < known - 8 * error


def test_cmmd_is_that_of_a_plain_double_loop() -> None:
    a, b = two_sets(13, 9, 5)

    def mean(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean([gaussian(p, q) for p in x for q in y]))

    expected = mean(a, a) + mean(b, b) - 2 * mean(a, b)
    assert gaussian_distance(a, b, 10.0) == pytest.approx(expected, rel=1e-9)


def unit_rows(count: int, width: int) -> np.ndarray:
    drawn = np.random.default_rng(count).normal(size=(count, width))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize(("n", "m"), [(13, 13), (12, 8), (7, 5), (1, 6)])
def test_mind_is_that_of_a_plain_loop(n: int, m: int) -> None:
    """Sets of different sizes are as both repeated to one size: that does not change a distribution."""
    a, b = two_sets(n, m, 5)
    directions = unit_rows(9, 5)
    size = np.lcm(n, m)
    found = []
    for direction in directions:
        x, y = (sorted(float(row @ direction) for row in rows for _ in range(size // len(rows))) for rows in (a, b))
        found.append(sum((p - q) ** 2 for p, q in zip(x, y, strict=True)) / size)
    assert sliced_distance(a, b, directions) == pytest.approx(15 * np.mean(found), rel=1e-9)
    assert sliced_distance(a, a.copy(), directions) == 0


def test_mind_of_a_shifted_set_is_three_times_the_squared_shift() -> None:
    """On average over directions, (u.s)^2 is |s|^2 / d."""
    a, _ = two_sets(50, 2, 12)
    shift = np.arange(12) / 4
    assert sliced_distance(a, a + shift, unit_rows(20_000, 12)) == pytest.approx(3 * shift @ shift, rel=0.02)


@pytest.mark.slow
def test_mind_has_the_directions_of_torch_fidelity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its formula and usual seed, in float32 as there; its release 0.4.0 does not have MIND yet."""
    monkeypatch.setenv("FID_INCEPTION", str(inception_file(tmp_path)))
    a, b = two_sets(40, 40, 64)
    generator = torch.Generator().manual_seed(2020)
    drawn = torch.randn(1000, 64, generator=generator)
    x, y = (
        (torch.from_numpy(rows).float() @ (drawn / drawn.norm(dim=1, keepdim=True)).T).sort(0)[0] for rows in (a, b)
    )
    expected = 3 * 64 * float((x - y).square().mean())
    for name in ("mind", "mind-box"):
        assert open_metric(name, "cpu").compare(a, b).value == pytest.approx(expected, rel=1e-5)
        assert open_metric(name, "cpu").compare(a, a) == Score(0.0)
        assert open_metric(name, "cpu").compare(a[:1], b[:1]) == Score(None, "too_few")


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = two_sets()
    before = kernel_distance(a, b), gaussian_distance(a, b, 10.0)
    monkeypatch.setattr("benchmark.metrics.fidelity.BLOCK", 7)
    assert (kernel_distance(a, b), gaussian_distance(a, b, 10.0)) == pytest.approx(before)


@pytest.mark.parametrize(
    "distance",
    [
        frechet,
        kernel_distance,
        lambda a, b: gaussian_distance(a, b, 10),
        lambda a, b: sliced_distance(a, b, unit_rows(30, a.shape[1])),
    ],
)
def test_rows_in_any_order_and_either_set_first(distance: Callable[..., float]) -> None:
    a, b = two_sets()
    assert distance(a[::-1], b) == pytest.approx(distance(a, b), rel=1e-9)
    assert distance(b, a) == pytest.approx(distance(a, b), rel=1e-9)


def test_kid_of_one_distribution_is_about_zero_at_any_n_and_fid_is_not() -> None:
    rng = np.random.default_rng(0)
    for n, fid_above in ((20, 350), (100, 200), (300, 90)):
        a, b = rng.normal(size=(2, n, 256))
        assert abs(kernel_distance(a, b)) < 0.1 and frechet(a, b) > fid_above


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance`")
def test_torchmetrics_agrees() -> None:
    """Its classes with features of ours as the network."""
    image = pytest.importorskip("torchmetrics.image", reason="pip install '.[dev]'")
    a, b = (rows.astype(np.float32) for rows in two_sets(60, 60, 12))

    class Given(torch.nn.Module):  # type: ignore[misc]
        num_features = 12

        def forward(self, x: Any) -> Any:
            return x.reshape(len(x), -1)[:, :12]

    pictures = [torch.from_numpy(rows).reshape(-1, 3, 2, 2) for rows in (a, b)]
    try:
        fid = image.FrechetInceptionDistance(feature=Given(), input_img_size=(3, 2, 2))
        kid = image.KernelInceptionDistance(feature=Given(), subsets=1, subset_size=60)
    except ModuleNotFoundError as error:  # torch-fidelity
        pytest.skip(str(error))
    fid.set_dtype(torch.float64)
    for metric in (fid, kid):
        metric.update(pictures[0].to(fid.dtype if metric is fid else torch.float32), real=True)
        metric.update(pictures[1].to(fid.dtype if metric is fid else torch.float32), real=False)
    assert frechet(a.astype(float), b.astype(float)) == pytest.approx(float(fid.compute()), rel=1e-4)
    assert kernel_distance(a.astype(float), b.astype(float)) == pytest.approx(float(kid.compute()[0]), rel=1e-4)


def test_features_that_do_not_fit_are_refused() -> None:
    a, b = two_sets()
    with pytest.raises(UsageError, match="12 and 5"):
        compared("fid", a, b[:, :5], frechet)
    with pytest.raises(UsageError, match="finite"):
        compared("fid", a, b * np.nan, frechet)
    assert compared("fid", a[:1], b, frechet) == Score(None, "too_few")


# The networks -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inception_file(tmp_path_factory.mktemp("inception"))


@pytest.mark.slow
def test_inception_is_that_of_torch_fidelity(inception: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 299 x 299, where neither resizes."""
    monkeypatch.setenv("FID_INCEPTION", str(inception))
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", reason="pip install '.[dev]'")
    theirs = module.FeatureExtractorInceptionV3("i", ["2048"], str(inception))
    images = list(np.random.default_rng(0).integers(0, 256, (2, 299, 299, 3), dtype=np.uint8))
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))[0].numpy()
    found = open_metric("fid", "cpu").features(images)
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_small_sets_are_marked(inception: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FID_INCEPTION", str(inception))
    a, b = two_sets(8, 9, 30)
    assert open_metric("fid").compare(a, b).reason == "biased below n=2048"
    assert open_metric("kid").compare(a, b).reason == ""
    assert open_metric("fid").compare(a[:1], b) == Score(None, "too_few")


def test_resizing_is_antialiased_and_not_rounded() -> None:
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize_float(stripes, (100, 100))
    assert small.dtype == np.float32 and small.shape == (100, 100, 3)
    assert np.abs(small[:, 2:-2] - 127.5).max() < 1 and small[50, 50, 0] % 1 != 0


@pytest.mark.slow
def test_cmmd_features_are_unit_embeddings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transformers = pytest.importorskip("transformers", reason="pip install '.[models]'")
    folder = clip_folder(tmp_path)
    monkeypatch.setenv("CMMD_MODEL", str(folder))
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = open_metric("cmmd", "cpu").features([image])
    model = transformers.CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    pixels = transformers.CLIPImageProcessor(do_resize=False, do_center_crop=False)(image, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**pixels).image_embeds
    expected = expected / expected.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    revision = open_metric("cmmd").info.revision
    draw(model, seed=1).save_pretrained(folder)
    assert open_metric("cmmd").info.revision != revision


def test_whole_checkpoints_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CLIP with its text half and SAM with its decoder, as they lie on the hub."""
    transformers = pytest.importorskip("transformers", reason="pip install '.[models]'")
    vision = transformers.CLIPVisionModelWithProjection.from_pretrained(clip_folder(tmp_path)).config
    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 99}
    clip = transformers.CLIPConfig(vision_config=vision.to_dict(), text_config=text, projection_dim=16)
    sam = transformers.SamConfig(
        vision_config=transformers.SamVisionModel.from_pretrained(sam_folder(tmp_path)).config.to_dict(),
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 8},
        mask_decoder_config={"hidden_size": 16, "num_attention_heads": 2, "mlp_dim": 32},
    )
    whole_clip, whole_sam = transformers.CLIPModel(clip), transformers.SamModel(sam)
    for variable, whole in (("CMMD_MODEL", whole_clip), ("REMOVE_MODEL", whole_sam)):
        draw(whole).save_pretrained(tmp_path / variable)
        monkeypatch.setenv(variable, str(tmp_path / variable))
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert open_metric("cmmd", "cpu").features([picture]).shape == (1, 16)
    (score,) = open_metric("remove", "cpu").scores([picture], picture[..., 0] > 128, None)
    assert score.value is not None


@pytest.mark.parametrize(
    ("name", "variable", "said"),
    [
        ("fid", "FID_INCEPTION", "pytorch-fid"),
        ("kid", "FID_INCEPTION", "pytorch-fid"),
        ("cmmd", "CMMD_MODEL", "CMMD_MODEL=FOLDER"),
        ("remove", "REMOVE_MODEL", "REMOVE_MODEL=FOLDER"),
    ],
)
def test_missing_weights_say_what_to_do(
    name: str, variable: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLRD_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv(variable, "")
    with pytest.raises(WeightsMissingError, match=said):
        open_metric(name)
    if name in ("cmmd", "remove"):
        monkeypatch.setenv(variable, str(tmp_path))
        with pytest.raises(WeightsMissingError, match=r"config\.json"):
            open_metric(name)
        monkeypatch.setenv(variable, "no such/name/at all")
        with pytest.raises(UsageError, match="neither a folder"):
            open_metric(name)


def test_another_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "other.pth"
    torch.save({"fc.weight": torch.zeros(3)}, path)
    monkeypatch.setenv("FID_INCEPTION", str(path))
    with pytest.raises(SourceError, match="pt_inception"):
        open_metric("fid", "cpu").features([np.zeros((9, 9, 3), np.uint8)])
