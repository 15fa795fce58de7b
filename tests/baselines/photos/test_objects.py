"""Objects by name, from a drawn map."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from baselines.eraser import WeightsMissingError
from baselines.photos.objects import Mapped, ObjectFinder, class_of_all, listing, mask_of, things_of
from baselines.photos.panoptic_file import read_map
from olrd.arrays import Ids, encode_ids
from olrd.errors import SourceError, UsageError
from olrd.models.mask2former import CHECKPOINT
from olrd.panoptic import Box, Category, PanopticMap, Segment

CATEGORIES = {
    1: Category(1, "person", "person", True),
    2: Category(2, "dog", "animal", True),
    9: Category(9, "grass", "plant", False),
}


@pytest.fixture
def mapped() -> Mapped:
    ids = np.full((20, 20), 7, np.uint32)
    ids[2:6, 2:6], ids[10:18, 2:8], ids[3:5, 12:16], ids[12:14, 12:14] = 1, 2, 3, 4
    segments = (
        Segment(1, 1, 16, Box(2, 2, 4, 4)),
        Segment(2, 1, 48, Box(2, 10, 6, 8)),
        Segment(3, 2, 8, Box(12, 3, 4, 2)),
        Segment(4, 1, 4, Box(12, 12, 2, 2), True),
        Segment(7, 9, 324, Box(0, 0, 20, 20)),
    )
    return Mapped(PanopticMap(ids, segments), CATEGORIES)


def test_things_are_numbered_by_size_without_crowds_and_stuff(mapped: Mapped) -> None:
    assert [(thing.name, thing.id) for thing in things_of(mapped)] == [("person:1", 2), ("person:2", 1), ("dog:1", 3)]
    lines = listing(mapped).splitlines()
    assert lines[0].split()[0] == "person:1" and "12.0 %" in lines[0] and len(lines) == 3


@pytest.mark.parametrize(
    ("names", "ids"), [(["person"], {1, 2}), (["person:2"], {1}), (["dog", "person:1"], {2, 3}), (["dog:1"], {3})]
)
def test_a_name_means_its_objects(mapped: Mapped, names: list[str], ids: set[int]) -> None:
    assert (mask_of(mapped, names) == np.isin(mapped.panoptic.ids, list(ids))).all()


@pytest.mark.parametrize(("name", "nearest"), [("persn", "person"), ("person:3", "person:"), ("grass", "")])
def test_an_unknown_name_is_an_error_with_the_nearest(mapped: Mapped, name: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"object in the photo.*{name}.*{nearest}"):
        mask_of(mapped, [name])


def test_one_class_is_told_to_the_eraser_and_several_are_not() -> None:
    assert class_of_all(["person", "person:2"]) == "person"
    assert class_of_all(["person", "dog"]) is None and class_of_all([]) is None


def test_without_weights_the_message_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> None:
        raise SourceError("no files")

    monkeypatch.setattr("olrd.models.mask2former.Mask2FormerSegmenter", missing)
    with pytest.raises(WeightsMissingError, match=r"hf download .*--panoptic"):
        ObjectFinder("cpu").map_of(np.zeros((4, 4, 3), np.uint8))


@pytest.mark.slow
@pytest.mark.parametrize("partly", [False, True])
def test_no_network_is_asked_for_weights(partly: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """partly: the cache holds the configuration, but neither the processor nor the weights."""
    pytest.importorskip("transformers", reason="pip install '.[models]'")
    asked: list[object] = []

    def refuse(*address: object, **_: object) -> None:
        asked.append(address)
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    if partly:
        repository = tmp_path / f"models--{CHECKPOINT.replace('/', '--')}"
        (repository / "snapshots" / "c0ffee").mkdir(parents=True)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("c0ffee")
        (repository / "snapshots" / "c0ffee" / "config.json").write_text('{"model_type": "mask2former"}')
    said = "cannot be loaded" if partly else "is not in the hub's cache on this machine. Get them with"
    with pytest.raises(WeightsMissingError, match=said):
        ObjectFinder("cpu").map_of(np.zeros((4, 4, 3), np.uint8))
    assert not asked


def written(folder: Path, ids: Ids, listed: list[dict[str, int]]) -> tuple[Path, Path]:
    (folder / "map.png").write_bytes(encode_ids(ids))
    (folder / "map.json").write_text(json.dumps(listed))
    return folder / "map.png", folder / "map.json"


def test_areas_and_boxes_are_those_of_the_map(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 80, (13, 17)).astype(np.uint32)
    found, _ = read_map(*written(tmp_path, ids, [{"id": number, "category_id": 1} for number in range(1, 99)]))
    assert {segment.id for segment in found.segments} == set(ids.ravel().tolist())
    for segment in found.segments:
        rows, columns = np.nonzero(ids == segment.id)
        left, top = columns.min(), rows.min()
        assert segment.area == len(rows)
        assert segment.bbox == (left, top, columns.max() - left + 1, rows.max() - top + 1)


@pytest.mark.slow
def test_a_map_of_thousands_of_segments_is_read_in_one_pass(tmp_path: Path) -> None:
    half = np.arange(1, 40_001, dtype=np.uint32).reshape(100, 400).repeat(3, axis=0)
    ids = np.concatenate([half, half[::-1]])  # each segment is spread over the map, so that its box is large
    began = time.process_time()
    read_map(*written(tmp_path, ids, [{"id": number, "category_id": 1} for number in range(1, 40_001)]))
    assert time.process_time() - began < 1.5, "a pass for each segment takes ten times as long"


def test_an_id_that_is_listed_twice_and_another_size_are_refused(tmp_path: Path) -> None:
    files = written(tmp_path, np.ones((4, 5), np.uint32), [{"id": 1, "category_id": 1}, {"id": 1, "category_id": 2}])
    with pytest.raises(SourceError, match="segment 1 is listed twice"):
        read_map(*files)
    with pytest.raises(SourceError, match=r"map.png is 5 x 4 pixels, the photo is 4 x 5"):
        read_map(*files, (4, 5))
