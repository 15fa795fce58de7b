"""MagicEraser behind the eraser protocol; the conformance suite is in tests/baselines/test_erasers.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from micro_model import CATEGORIES, box_mask, drawn, meadow, write_model, write_plain

from baselines import ERASERS, open_eraser
from baselines.eraser import Hints, WeightsMissingError
from magiceraser_ref.eraser import BOUNDS, default_text
from magiceraser_ref.model import locate as checkpoint_files
from olrd.errors import MissingExtraError, SourceError, UsageError

MASK = box_mask(60, 80, (12, 32, 8, 10))
PHOTO = drawn(60, 80)
MAPPED = Hints(panoptic=meadow(60, 80), categories=CATEGORIES, category="sheep")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared: do not write into it."""
    return write_model(tmp_path_factory.mktemp("registered") / "micro")


@pytest.fixture(scope="module")
def usual(model: Path) -> bytes:
    """The result without options."""
    return painted(model)


def painted(model: Path, hint: Hints = MAPPED, seed: int = 0, **options: str) -> bytes:
    given = {"model": str(model), "steps": "3"} | options
    opened = open_eraser("magiceraser", given, "cpu", seed)
    return opened.erase([PHOTO], [MASK], [hint])[0].tobytes()


@pytest.mark.slow
def test_the_package_imports_no_torch_before_magiceraser_is_used() -> None:
    code = (
        "import sys, magiceraser_ref; assert 'torch' not in sys.modules\n"
        "from magiceraser_ref import MagicEraser; assert MagicEraser.from_pretrained"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_is_registered_from_above_baselines() -> None:
    assert ERASERS.targets()["magiceraser"] == "magiceraser_ref.eraser:open_magiceraser"
    assert "magiceraser" not in ERASERS.builtin


@pytest.mark.parametrize(
    "change",
    [
        {"refocus": "off"},
        {"lambda_pos": "0.9"},
        {"lambda_neg": "0"},
        {"content": "off"},
        {"token": "off"},
        {"lora": "off"},
        {"composite": "off"},
        {"segmenter": "none"},
        {"strength": "0.5"},
        {"guidance": "2"},
        {"negative": "a cow"},
        {"initializer": "mean-fill"},
        {"margin": "2"},
        {"dilate": "3"},
    ],
    ids=str,
)
@pytest.mark.slow
def test_each_option_changes_the_result(model: Path, usual: bytes, change: dict[str, str]) -> None:
    assert painted(model, **change) != usual


@pytest.mark.slow
def test_it_listens_to_the_hints(model: Path, usual: bytes) -> None:
    assert painted(model, seed=1) != usual
    assert painted(model, Hints("k", panoptic=MAPPED.panoptic, categories=CATEGORIES)) != usual
    named = Hints(prompt="A photo of R* sea", caption="A wide sea.")
    assert painted(model, named) == painted(model, named, prompt="short") != painted(model, Hints())
    assert painted(model, named, prompt="caption") != painted(model, named)
    assert painted(model, named, prompt="labels") == painted(model, Hints(), prompt="labels")
    odd = Hints(panoptic=MAPPED.panoptic, categories=CATEGORIES, category="no such thing")
    assert painted(model, odd) == painted(model, Hints(panoptic=odd.panoptic, categories=CATEGORIES))


def test_its_record_says_what_ran(model: Path, tmp_path: Path) -> None:
    info = open_eraser("magiceraser", {"model": str(model)}, "cpu").info
    assert info.license == "MIT" and len(info.revision) == 12 and info.options is not None
    assert info.options["steps"] == "4" and info.options["initializer"] == "opencv-telea"
    assert info.options["initializer_revision"].startswith("opencv-")
    assert info.wants == {"panoptic"}
    assert "refine" not in info.options  # as in earlier records
    refined = open_eraser("magiceraser", {"model": str(model), "refine": "auto"}, "cpu").info.options or {}
    assert refined["refine"] == "auto" and "resolution" not in refined
    off = open_eraser("magiceraser", {"model": str(model), "refocus": "off"}, "cpu").info
    assert off.wants == frozenset() and off.revision == info.revision
    plain = {"model": str(write_plain(tmp_path / "plain")), "initializer": "mean-fill"}
    other = open_eraser("magiceraser", plain, "cpu").info
    assert other.license == "see the checkpoint" and other.revision != info.revision


def test_empty_masks_load_no_network(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = open_eraser("magiceraser", {"model": str(model)}, "cpu")
    monkeypatch.setattr("magiceraser_ref.erase.pipeline.load", None)
    (out,) = opened.erase([PHOTO], [np.zeros_like(MASK)])
    assert np.array_equal(out, PHOTO) and not np.shares_memory(out, PHOTO)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("refocus", "maybe", "no refocus is called 'maybe'"),
        ("segmenter", "sam", "no segmenter is called 'sam'"),
        ("prompt", "long", "no prompt is called 'long'"),
        ("composite", "1", "composite is on or off, not '1'"),
        ("steps", "many", "steps expects a whole number, got 'many'"),
        ("steps", "0", "--steps must be between 1 and 1000, got 0"),
        ("guidance", "nan", "--guidance must be between"),
        ("batch", "0", "--batch must be at least 1"),
        ("lambda_pos", "7", "lambda_pos must be"),
        ("rule", "simlar", "Did you mean 'similar'"),
        ("dtype", "half", "no dtype is called 'half'"),
        ("initializer", "magiceraser", "its own initializer"),
        ("initializer", "lamma", "Did you mean 'lama'"),
        ("modle", "x", "Did you mean 'model'"),
        ("strength", "0.01", "leave none to run"),
    ],
)
def test_a_wrong_option_is_refused_when_it_is_opened(model: Path, option: str, value: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_eraser("magiceraser", {"model": str(model), option: value}, "cpu")


def test_missing_weights_say_what_to_do(model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checkpoint_files, "SHIPPED_FOLDER", tmp_path / "none")
    monkeypatch.delenv("LAMA_MODEL", raising=False)
    with pytest.raises(WeightsMissingError, match=r"install the package again.*--option model=FOLDER"):
        open_eraser("magiceraser")
    with pytest.raises(WeightsMissingError, match=r"--option model=FOLDER"):
        open_eraser("magiceraser", {"model": str(tmp_path / "gone")})
    with pytest.raises(WeightsMissingError, match=r"the initializer lama cannot run.*patchmatch needs no weights"):
        open_eraser("magiceraser", {"model": str(model), "initializer": "lama"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="is not a model"):
        open_eraser("magiceraser", {"model": str(tmp_path / "empty")})


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [("magiceraser", "peft", r"olrd\[magiceraser\]"), ("sd-inpainting", "diffusers", r"olrd\[sd\]")],
)
def test_a_missing_library_is_named_with_its_extra(
    name: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=extra):
        open_eraser(name)


def test_opening_and_listing_load_no_torch(model: Path) -> None:
    code = (
        "import sys, magiceraser_ref.erase.pipeline, magiceraser_ref.eraser, magiceraser_ref.model.checkpoint\n"
        "assert 'torch' not in sys.modules and 'diffusers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_options_of_stored_runs_keep_their_names_and_defaults() -> None:
    """They are part of run.json and leaderboards, where a changed text would be another method."""
    empty = "revision initializer steps guidance strength negative refocus lambda_pos lambda_neg margin"
    later = {"refine": "off", "refine_strength": "0.3", "residual": "", "resolution": ""}
    assert {name: default_text(bound) for name, bound in BOUNDS.items()} == later | dict.fromkeys(empty.split(), "") | {
        "model": "small",
        "rule": "similar",
        "segmenter": "given",
        "prompt": "short",
        "content": "on",
        "token": "on",
        "lora": "on",
        "composite": "on",
        "dilate": "0",
        "dtype": "auto",
        "batch": "1",
    }
