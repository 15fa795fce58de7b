"""Inputs for programs that cannot be called from here: the way out and back keeps every score."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from seven_pairs import STEMS, request, samples

import benchmark.export as exporter
from benchmark.cli import main
from benchmark.datasets import open_dataset
from benchmark.protocol import Protocol, load_protocol
from benchmark.runner.run import run
from benchmark.scoring import prepared
from olrd.arrays import MAX_PIXELS, decode_mask, decode_photo
from olrd.errors import UsageError


@pytest.mark.parametrize("size", [0, 16])
def test_photos_and_masks_are_those_that_a_run_erases(size: int, root: Path, tmp_path: Path) -> None:
    small = load_protocol(str(root / "small.json"))
    protocol = replace(small, resize="short" if size else "none", size=size, mask_dilate=1)
    data = open_dataset("pairs", str(root))
    assert exporter.export(data, protocol, tmp_path / "out") == 7
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["image", "mask"]  # no truth
    for index, stem in enumerate(STEMS):
        one = prepared(data.sample(index), protocol)
        photo, mask = ((tmp_path / "out" / kind / f"{stem}.png").read_bytes() for kind in ("image", "mask"))
        assert np.array_equal(decode_photo(photo, stem).pixels, one.image)
        assert np.array_equal(decode_mask(mask, stem, MAX_PIXELS), one.mask)


def test_what_comes_back_untouched_scores_as_identity(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    words = ["export", "--dataset", "pairs", "--root", str(root), "--out", str(out), "--json"]
    assert main([*words, "--limit", "3"]) == 0
    assert json.loads(capsys.readouterr().out) == {"samples": 3, "out": str(out)}
    assert sorted(p.stem for p in (out / "mask").iterdir()) == sorted(STEMS[:3])
    shutil.copytree(out / "image", back)
    run(request(root, "identity", limit=3), tmp_path / "identity")
    done = run(request(root, "folder", options={"path": str(back), "name": "x"}, limit=3), tmp_path / "x")
    rows, expected = (samples(tmp_path / name).drop(columns="facts") for name in ("x", "identity"))
    assert rows.equals(expected)
    # `identity` is a control and known to change nothing; of a method it is said.
    assert done.summary.warnings == ("3 of 3 outputs equal the input inside the mask: nothing was erased there",)


def test_samples_that_would_share_a_file_are_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = open_dataset("pairs", str(root))
    monkeypatch.setattr(data, "ids", lambda: ["a/1", "a_1"])
    with pytest.raises(UsageError, match="would share the file name a_1"):
        exporter.export(data, Protocol("p", 1), tmp_path / "out")
    assert not (tmp_path / "out").exists()
