"""Published results of others beside their photos and masks: scored by one command, no file renamed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from drawn_pairs import mask_of, photo_of, truth_of
from PIL import Image as Pillow

from benchmark.cli import main


def write_migan(root: Path, white_is_hole: bool) -> Path:
    """The folders of MI-GAN's examples: JPEG or PNG photos, masks as PNG in grey or RGB, results that keep the photo.

    Its free-form masks are white where the photo is known; those of `places2_512_object` are white in the hole.
    """
    for folder in ("images", "masks", "results/migan"):
        (root / folder).mkdir(parents=True)
    for seed in (1, 2, 3):
        name = f"{seed}" if white_is_hole else f"Places365_val_0000026{seed}"
        photo = Pillow.fromarray(photo_of(seed))
        photo.save(root / "images" / f"{name}{'.png' if white_is_hole else '.jpg'}")
        stored = np.asarray(Pillow.open(next((root / "images").glob(f"{name}.*"))))
        mask = Pillow.fromarray(mask_of(seed) == white_is_hole)
        mask.convert("RGB" if white_is_hole and seed == 2 else "L").save(root / "masks" / f"{name}.png")
        result = np.where(mask_of(seed)[..., None], truth_of(seed), stored)
        Pillow.fromarray(result).save(root / "results" / "migan" / f"{name}.png")
    return root


@pytest.mark.slow
@pytest.mark.parametrize("white_is_hole", [True, False])
def test_migans_examples_are_scored_as_they_are_published(
    white_is_hole: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch", reason="pip install '.[benchmark]'")
    monkeypatch.chdir(tmp_path)
    root = write_migan(tmp_path / "examples", white_is_hole)
    words = ["run", "--method", "folder", "--dataset", "pairs", "--root", str(root), "--data-option", "layout=mi-gan"]
    words += ["--data-option", "results=results/migan", "--protocol", "no-truth"]
    words += ["--data-option", "invert=no"] * white_is_hole
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["n_failed"], found["method"]["name"]) == (3, 0, "migan")
    assert not found.get("warnings") and not found["dataset"].get("warnings")
    scores = {name: score["mean"] for name, score in found["scores"].items()}
    assert scores["change-max/outside/raw"] == 0 and scores["regrowth-ring/mask/raw"] == 0
    assert {name.partition("/")[0] for name, mean in scores.items() if mean is not None} >= {
        *("regrowth-ring", "seam", "tone", "smoothness")
    }
    assert main(words) == 0  # the finished run is opened; the command that it suggests works too
    said = capsys.readouterr().out
    (suggested,) = (line.split(maxsplit=2)[2] for line in said.splitlines() if line.startswith("next "))
    assert "--method blur-fill" in suggested
    assert main([*shlex.split(suggested), "--limit", "1"]) == 0


def test_the_other_polarity_is_noticed(tmp_path: Path) -> None:
    from benchmark.datasets import open_dataset
    from benchmark.datasets.pair_doubts import data_warnings

    root = write_migan(tmp_path / "examples", white_is_hole=True)
    data = open_dataset("pairs", str(root), {"layout": "mi-gan"})
    (said,) = data_warnings([data.sample(k).facts for k in range(3)])
    assert "over half of the picture in 3 of 3 samples" in said and "invert=no for white" in said
