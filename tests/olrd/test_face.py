"""The functions of `import olrd`: their documented examples run, and wrong names get the nearest."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from drawn_sets import DrawnSets

import olrd
from olrd.config import BuildConfig
from olrd.errors import SourceError, UsageError
from olrd.options import from_values
from olrd.sources import SourceSpec
from olrd.storage import remote


@pytest.mark.slow
def test_the_documented_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    result = doctest.testmod(olrd)
    assert result.attempted >= 9 and result.failed == 0


def test_a_wrong_option_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no option is called 'sise'. Did you mean 'size'"):
        olrd.build("coco", sise=256)


def test_a_wrong_value_names_its_option(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--size must be between 16 and 32768, got 3"):
        olrd.build("coco", out=tmp_path / "out", size=3)
    assert not (tmp_path / "out").exists()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"limit": "4"}, "--limit expects a whole number or None, got '4'"),
    ({"limit": 2.5}, "--limit expects a whole number or None, got 2.5"),
    ({"limit": True}, "--limit expects a whole number or None, got True"),
    ({"limit": 10**30}, "--limit expects .* which has more than 63 bits"),
    ({"size": "big"}, "--size expects a whole number or None, got 'big'"),
    ({"size": [256]}, r"--size expects a whole number or None, got \[256\]"),
    ({"size": 256.5}, "--size expects a whole number or None, got 256.5"),
    ({"size": 1_000_000_000}, "--size must be between 16 and 32768"),
    ({"margin": 2.5}, "--margin expects a whole number, got 2.5"),
    ({"margin": None}, "--margin expects a whole number, got None"),
    ({"margin": 100_000_000}, "--margin must be between 0 and 10000"),
    ({"per_object": 1.5}, "--per-object expects a whole number"),
    ({"min_area": "x"}, "--min-area expects a number, got 'x'"),
    ({"min_area": None}, "--min-area expects a number, got None"),
    ({"min_area": float("nan")}, "--min-area expects a number, got nan"),
    ({"max_contact": "a"}, "--max-contact expects a number"),
    ({"max_pixels": "a"}, "--max-pixels expects a whole number"),
    ({"shard_bytes": "x"}, "--shard-bytes expects a whole number"),
    ({"categories": None}, "--categories expects a list of texts, got None"),
    ({"categories": 5}, "--categories expects a list of texts, got 5"),
    ({"categories": ["dog", 5]}, r"--categories expects a list of texts, got \['dog', 5\], in it 5"),
    ({"categories": "dgo"}, "no object class of the source demo is called 'dgo'. Did you mean 'dog'"),
    ({"categories": ("people",)}, r"'person'\?\nSupercategories .*: accessory, animal, .*\nClasses: airplane,"),
    ({"categories": ("buses",)}, "called 'buses'. Did you mean 'bus'"),
    ({"categories": ("road",)}, "no object class of the source demo is called 'road'"),
    ({"categories": ("animals",)}, "no object class of the source demo is called 'animals'. Did you mean 'animal'"),
    ({"scale": (1,)}, r"--scale expects a list of 2 numbers, got \(1,\)"),
    ({"scale": None}, "--scale expects a list of 2 numbers, got None"),
    ({"scale": (1,)}, "--scale expects a list of 2 numbers"),
    ({"scale": (1, 2, 3)}, "--scale expects a list of 2 numbers"),
    ({"scale": "1,2,3"}, "--scale expects LOW,HIGH"),
    ({"splits": 5}, "--splits expects a mapping or a list of pairs, got 5"),
    ({"splits": {"train": "a"}}, "--splits expects a mapping or a list of pairs, got .* in it 'a'"),
    ({"splits": {"train": 0.5}}, "--splits needs shares with the sum 1"),
    ({"licenses": ["any"]}, r"--licenses expects a text, got \['any'\]"),
    ({"licenses": None}, "--licenses expects a text, got None"),
    ({"licenses": ""}, "--licenses names no licence"),
    ({"form": None}, "--form expects a text, got None"),
    ({"on_error": None}, "--on-error expects a text, got None"),
    ({"seed": "a"}, "--seed expects a whole number, got 'a'"),
    ({"seed": float("nan")}, "--seed expects a whole number, got nan"),
    ({"seed": None}, "--seed expects a whole number, got None"),
    ({"seed": 1.5}, "--seed expects a whole number, got 1.5"),
    ({"flip": "yes"}, "--flip expects True or False, got 'yes'"),
    ({"flip": 1}, "--flip expects True or False, got 1"),
    ({"match": "nose"}, "no match is called 'nose'. Did you mean 'noise'"),
    ({"doubtful": "some"}, "no --doubtful word is called 'some'. Did you mean 'one'"),
    ({"mask_style": "bax"}, "no mask style is called 'bax'. Did you mean 'box'"),
    ({"blend": None}, "--blend expects a text, got None"),
    ({"donor": 5}, "--donor expects a text, got 5"),
    ({"blend_param": {"a": None}}, "--blend-param expects a mapping of names to numbers, got .* in it None"),
    ({"source_option": {"a": 1}}, "the source demo takes no --source-option, got 'a=1'"),
    ({"subset": "zz"}, "the source demo takes no --subset, got 'zz'"),
    ({"root": "nope"}, "the source demo takes no --root, got 'nope'"),
    ({"root": 5}, "expected a folder or a URL, got 5"),
    ({"source": "coco", "subset": "zz"}, "--subset 'zz' needs --root"),
    ({"source": None}, "--source expects a text, got None"),
    ({"source": []}, r"--source expects a text, got \[\]"),
    ({"workers": "2"}, "--workers expects a whole number or None, got '2'"),
    ({"workers": 1.5}, "--workers expects a whole number or None, got 1.5"),
    ({"workers": float("nan")}, "--workers expects a whole number or None, got nan"),
    ({"out": "a\0b"}, r"is not the name of a folder: embedded null"),
    ({"out": "x" * 5000}, r"is not the name of a folder: it is too long"),
    ({"out": 5}, "expected a folder or a URL, got 5"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=lambda value: repr(value)[:40])
def test_a_value_of_another_type_names_its_option_and_nothing_is_built(
    options: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said):
        olrd.build(**{"source": "demo"} | options)
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.parametrize(
    ("given", "usual"),
    [
        ({"limit": np.int64(2)}, {"limit": 2}),
        ({"size": np.int64(256)}, {"size": 256}),
        ({"min_area": np.float32(0.25), "max_area": 1.0}, {"min_area": 0.25, "max_area": 1.0}),
        ({"flip": np.bool_(True)}, {"flip": True}),
        ({"scale": [0.5, np.float64(2)]}, {"scale": (0.5, 2.0)}),
        ({"scale": "0.5,2"}, {"scale": (0.5, 2.0)}),
        ({"categories": "dog, cat"}, {"categories": ("dog", "cat")}),
        ({"categories": ["dog"]}, {"categories": ("dog",)}),
        ({"match": "noise"}, {"match": ("noise",)}),
        ({"splits": {"a": 0.5, "b": 0.5}}, {"splits": (("a", 0.5), ("b", 0.5))}),
        ({"splits": [["a", 1]]}, {"splits": (("a", 1),)}),
        ({"splits": "a=1,b=1"}, {"splits": (("a", 0.5), ("b", 0.5))}),
        ({"source_option": {"count": 3}}, {"source_option": {"count": "3"}}),
    ],
    ids=repr,
)
def test_other_forms_of_a_value_give_the_same_build(given: dict[str, Any], usual: dict[str, Any]) -> None:
    one, other = (from_values(BuildConfig, {"source": "demo"} | values) for values in (given, usual))
    assert one == other
    assert one.hash("x") == other.hash("x")


@pytest.fixture(scope="module")
def folder(drawn: DrawnSets) -> Path:
    return drawn.built(BuildConfig(SourceSpec("coco", str(drawn.photos())), size=64, limit=4))


def test_slices_are_lists_of_triplets(folder: Path) -> None:
    dataset = olrd.open(folder)
    ids = [triplet.id for triplet in dataset]
    assert [triplet.id for triplet in dataset[1:3]] == ids[1:3]
    assert [triplet.id for triplet in dataset[::-1]] == ids[::-1]
    assert dataset[np.int64(1)].id == ids[1]
    with pytest.raises(IndexError):
        dataset[len(dataset)]


@pytest.mark.parametrize("number", [None, "0", 1.0, [0, 1], slice("a", None), slice(None, None, 0)], ids=repr)
def test_a_triplet_is_found_by_its_number_alone(folder: Path, number: Any) -> None:
    with pytest.raises(UsageError, match=r"expected a whole number or a slice, got|needs a step other than 0"):
        olrd.open(folder)[number]


@pytest.mark.parametrize("place", [None, 5, b"x", [], "x" * 5000, "a\0b"], ids=lambda value: repr(value)[:10])
def test_what_is_no_folder_is_refused(place: Any) -> None:
    for opened in (olrd.open, olrd.load):
        with pytest.raises(UsageError, match=r"expected a folder or a URL, got|is not the name of a folder"):
            opened(place)


@pytest.mark.parametrize("split", [5, ["train"], "trian"])
def test_a_split_that_is_not_there_is_refused(folder: Path, split: Any) -> None:
    with pytest.raises(UsageError, match=r"split.*Known: "):
        olrd.load(folder, split)


def test_load_takes_an_open_dataset(folder: Path) -> None:
    assert olrd.load(olrd.open(folder)).num_rows == olrd.load(folder).num_rows


def test_a_store_that_cannot_be_reached_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("cannot reach the hub:\noffline mode is enabled")

    monkeypatch.setattr("fsspec.core.url_to_fs", offline)
    with pytest.raises(
        SourceError, match="hf://datasets/x/y cannot be opened: ConnectionError: cannot reach the hub: off"
    ):
        remote.location("hf://datasets/x/y")


def test_a_store_that_is_lost_before_its_first_answer_is_a_typed_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library of the hub asks its server when it is told to forget a listing."""

    class Hub:
        def invalidate_cache(self, path: str) -> None:
            raise ConnectionError("offline mode is enabled")

    monkeypatch.setattr(remote, "PAUSES", ())
    with pytest.raises(SourceError, match=r"hf://datasets/x/y/build\.json cannot be read: ConnectionError: offline"):
        olrd.load(remote.Remote("hf://datasets/x/y", Hub(), "datasets/x/y"))
