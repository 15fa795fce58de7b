"""The interface for programs: the examples in its docstrings run, and wrong arguments are named."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from seven_pairs import STEMS, request, samples

import benchmark
import benchmark.api
from benchmark.datasets import open_dataset
from benchmark.runner.run import run
from olrd.errors import UsageError


@pytest.mark.parametrize("module", [benchmark, benchmark.api], ids=["benchmark", "benchmark.api"])
@pytest.mark.slow
def test_the_examples_in_the_docstrings_run(module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(module)
    assert found.attempted > 0 and found.failed == 0


def test_a_score_is_the_one_in_samples_parquet(root: Path, plain: Path, tmp_path: Path) -> None:
    """For a method that changes pixels outside the mask too."""
    data = open_dataset("pairs", str(root), {"cluster": "prefix"})
    noise = np.random.default_rng(1)
    (tmp_path / "made").mkdir()
    results = {}
    for k, name in enumerate(STEMS):
        one = data.sample(k)
        drawn = noise.integers(0, 256, one.image.shape, dtype=np.uint8)
        results[name] = drawn if one.mask.any() else one.image  # erasers return the photo if nothing is masked
        Pillow.fromarray(results[name]).save(tmp_path / "made" / f"{name}.png")
    run(request(root, "folder", options={"path": str(tmp_path / "made"), "name": "noise"}), tmp_path / "out")
    rows = samples(tmp_path / "out").set_index("id")
    columns = [name for name in rows.columns if "/" in name]
    for k, name in enumerate(STEMS):
        one, metrics = data.sample(k), ("psnr", "ssim")
        assert one.truth is not None
        found = benchmark.score(results[name], one.truth, one.mask, one.image, metrics)
        assert sorted(found) == sorted(columns)
        np.testing.assert_array_equal([found[c] for c in columns], rows.loc[name, columns].to_numpy(np.float64))
        raw = benchmark.score(results[name], one.truth, one.mask, metrics=metrics)
        assert sorted(raw) == sorted(c for c in columns if c.endswith("/raw") and not c.startswith("change"))
        np.testing.assert_array_equal([raw[c] for c in raw], [found[c] for c in raw])


def test_runs_are_compared_by_folder_or_object(root: Path, plain: Path, tmp_path: Path) -> None:
    data, protocol = {"cluster": "prefix"}, str(root / "small.json")
    settings = {"protocol": protocol, "data_options": data, "device": "cpu"}
    other = benchmark.run("mean-fill", "pairs", root, tmp_path / "out", **settings)
    assert other.folder == tmp_path / "out" and other.summary.n == 7
    by_object, by_folder = benchmark.compare(other, plain), benchmark.compare(str(other.folder), plain)
    assert by_object.equals(by_folder)
    assert benchmark.compare(other, plain, ["psnr/full/raw"])["score"].tolist() == ["psnr/full/raw"]


def test_wrong_arrays_and_names_are_refused_with_what_was_expected() -> None:
    picture, mask = np.zeros((8, 9, 3), np.uint8), np.ones((8, 9), bool)
    for wrong, said in (
        ({"mask": mask.astype(np.uint8)}, r"mask: expected bool \[H, W\], got uint8"),
        ({"result": picture / 255}, r"result: expected uint8 \[8, 9, 3\], got float64"),
        ({"truth": picture[:4]}, r"truth: expected uint8 \[8, 9, 3\], got uint8 \[4, 9, 3\]"),
        ({"image": picture[..., 0]}, r"image: expected .*got uint8 \[8, 9\]"),
        ({"result": None}, r"result: expected uint8 \[8, 9, 3\], got None"),
        ({"truth": None}, r"truth: expected uint8 \[8, 9, 3\], got None"),
        ({"truth": "truth.png"}, "truth: expected .* got 'truth.png'"),
        ({"truth": picture.tolist()}, "truth: expected .* got a list"),
        ({"result": Pillow.fromarray(picture)}, "result: expected .* got a Image"),
        ({"image": 5}, "image: expected .* got a int"),
        ({"mask": None}, r"mask: expected bool \[H, W\], got None"),
        ({"mask": mask[:0]}, r"mask: expected bool \[H, W\], got bool \[0, 9\]"),
        ({"mask": mask[0]}, r"mask: expected bool \[H, W\], got bool \[9\]"),
        ({"metrics": None}, "metrics expects a list of texts, got None"),
        ({"metrics": 5}, "metrics expects a list of texts, got 5"),
        ({"metrics": [5]}, r"metrics expects a list of texts, got \[5\], in it 5"),
        ({"metrics": "psnrr"}, "Did you mean 'psnr'"),
        ({"device": None}, "device expects a text, got None"),
        ({"metrics": ["kid-alex-box"]}, "scores whole sets"),
        ({"metrics": ["psnrr"]}, "Did you mean 'psnr'"),
    ):
        values: dict[str, Any] = {"result": picture, "truth": picture, "mask": mask, "metrics": ["psnr"]} | wrong
        with pytest.raises(UsageError, match=said):
            benchmark.score(**values)
    with pytest.raises(UsageError, match="Did you mean 'limit'"):
        benchmark.run("identity", limits=3)


def test_a_metric_that_looks_at_the_photo_asks_for_it() -> None:
    truth, mask = np.full((40, 40, 3), 90, np.uint8), np.zeros((40, 40), bool)
    mask[10:20, 10:20] = True
    image = np.where(mask[..., None], np.uint8(200), truth)
    with pytest.raises(UsageError, match="regrowth-colour compares with the photo with the object"):
        benchmark.score(truth, truth, mask, metrics="regrowth-colour")
    assert benchmark.score(image, truth, mask, image, "regrowth-colour")["regrowth-colour/mask/raw"] == 1
    assert benchmark.score(truth, truth, mask, image, "regrowth-colour")["regrowth-colour/mask/raw"] == 0
    assert benchmark.score(truth, truth, mask, metrics="tone")["tone/ring/raw"] == 0


def test_the_name_of_one_metric_is_enough() -> None:
    picture, mask = np.zeros((8, 9, 3), np.uint8), np.ones((8, 9), bool)
    one, many = (benchmark.score(picture + 1, picture, mask, metrics=names) for names in ("psnr", ["psnr"]))
    np.testing.assert_equal(one, many)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"method": None}, "--method expects a text, got None"),
        ({"method": []}, r"--method expects a text, got \[\]"),
        ({"limit": "3"}, "--limit expects a whole number or None, got '3'"),
        ({"seed": 1.5}, "--seed expects a whole number or None, got 1.5"),
        ({"batch": None}, "--batch expects a whole number, got None"),
        ({"options": 5}, "--option expects a mapping of names to texts, got 5"),
        ({"options": {"radius": None}}, "--option expects a mapping of names to texts, got .* in it None"),
        ({"save": "no"}, "--save expects True or False, got 'no'"),
        pytest.param({"workers": "2"}, "--workers expects a whole number or None, got '2'", marks=pytest.mark.slow),
        ({"out": 5}, "expected the folder of the run, got 5"),
    ],
)
def test_a_setting_of_another_type_is_named(
    settings: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        benchmark.run(**{"method": "identity", "limit": 1, "device": "cpu"} | settings)
    assert not list(tmp_path.rglob("summary.json"))


def test_what_is_no_run_is_refused(plain: Path) -> None:
    for wrong in (None, 5, [plain]):
        with pytest.raises(UsageError, match="expected the folder of a run, got"):
            benchmark.compare(plain, wrong)
    with pytest.raises(UsageError, match="scores expects a list of texts, got 5"):
        benchmark.compare(plain, plain, 5)
    assert len(benchmark.compare(plain, plain, "psnr/full/raw")) == 1


@pytest.mark.slow
def test_importing_and_scoring_psnr_needs_no_torch() -> None:
    code = (
        "import sys, benchmark\nassert 'numpy' not in sys.modules\nimport numpy as np\n"
        "sys.modules['torch'] = None\n"
        "x, mask = np.zeros((16, 16, 3), np.uint8), np.ones((16, 16), bool)\n"
        "print(benchmark.score(x + 1, x, mask, metrics=['psnr', 'ssim'])['psnr/mask/raw'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(20 * np.log10(255))
