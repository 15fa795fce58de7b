"""The eraser that a request opens: the results that a dataset names are read by `folder`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from drawn_pairs import three, truth_of, write, write_pairs
from PIL import Image as Pillow

from benchmark.runner.request import Request
from benchmark.runner.run import run
from olrd.errors import UsageError
from olrd.storage.files import to_json


def request(root: Path, method: str, **data_options: str) -> Request:
    (root / "small.json").write_text(to_json({"name": "small", "version": 1, "metrics": ["psnr"], "bootstrap": 20}))
    given: dict[str, Any] = {"dataset": "pairs", "root": str(root), "data_options": data_options}
    return Request(method=method, **given, protocol=str(root / "small.json"))


def test_the_results_that_a_dataset_names_are_scored(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", three("image/s/{}.png", "mask/s/{}.png", "gt/s/{}.png"))
    for seed in (1, 2, 3):
        write(root / "theirs" / "s" / f"{seed}.png", truth_of(seed))
    done = run(request(root, "folder", results="theirs"), tmp_path / "out").summary
    assert done.n == 3 and done.method.name == "theirs"
    assert done.scores["psnr/mask/raw"].without == {"identical": 3}


def test_results_and_a_method_that_makes_its_own_are_a_contradiction(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", three())
    with pytest.raises(UsageError, match="blur-fill makes its own: use --method folder"):
        run(request(root, "blur-fill", results="theirs"), tmp_path / "out")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "CMYK"])
def test_photos_and_results_of_any_mode_are_read(tmp_path: Path, mode: str) -> None:
    """As screenshots, editors and closed products save them: an opaque alpha channel is no reason to refuse."""
    root = write_pairs(tmp_path / "data", three())
    for seed in (1, 2, 3):
        for path in (root / "image" / f"{seed}.png", root / "theirs" / f"{seed}.png"):
            path.parent.mkdir(exist_ok=True)
            whole = Pillow.fromarray(truth_of(seed))
            (whole.quantize(256) if mode == "P" else whole.convert(mode)).save(
                path, "TIFF" if mode == "CMYK" else "PNG"
            )
    done = run(request(root, "folder", results="theirs"), tmp_path / "out").summary
    assert (done.n, done.n_failed) == (3, 0)


def test_a_transparent_result_fails_only_its_own_sample(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", three())
    for seed in (1, 2, 3):
        write(root / "theirs" / f"{seed}.png", truth_of(seed))
    clear = Pillow.fromarray(truth_of(2)).convert("RGBA")
    clear.putalpha(99)
    clear.save(root / "theirs" / "2.png")
    done = run(request(root, "folder", results="theirs"), tmp_path / "out").summary
    assert (done.n, done.n_failed) == (2, 1)
