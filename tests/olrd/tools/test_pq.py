"""Our panoptic ids against panopticapi's, and panoptic quality against hand counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from places import SAMPLES
from property_examples import examples

from olrd.arrays import decode_ids, encode_ids
from olrd.errors import SourceError, UsageError

REASON = "panopticapi is absent: pip install --no-deps panopticapi-lite"
utils = pytest.importorskip("panopticapi.utils", reason=REASON)

from olrd.tools.pq import MissingPanopticApiError, panoptic_quality  # noqa: E402

COCO = SAMPLES / "data" / "coco" / "annotations"
CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person", "isthing": 1},
    {"id": 2, "name": "car", "supercategory": "vehicle", "isthing": 1},
    {"id": 187, "name": "sky-other-merged", "supercategory": "sky", "isthing": 0},
]


@examples(60)
@given(
    arrays_of.arrays(np.uint32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, (1 << 24) - 1))
)
def test_ids_are_panopticapis(ids: Any) -> None:
    from io import BytesIO

    from PIL import Image

    written = encode_ids(ids)
    rgb = np.asarray(Image.open(BytesIO(written)))
    np.testing.assert_array_equal(rgb, utils.id2rgb(ids.copy()))
    np.testing.assert_array_equal(decode_ids(written), utils.rgb2id(rgb))
    np.testing.assert_array_equal(decode_ids(written), ids)


def write_annotations(folder: Path, name: str, maps: dict[int, np.ndarray], kinds: dict[int, int], **more: Any) -> Path:
    """Write maps (image id to ids) in COCO panoptic format; `kinds`: segment id to category id."""
    (folder / name).mkdir(parents=True)
    notes = []
    for image, ids in maps.items():
        (folder / name / f"{image}.png").write_bytes(encode_ids(ids.astype(np.uint32)))
        segments = [
            {
                "id": int(number),
                "category_id": kinds[int(number)],
                "iscrowd": int(int(number) in more.get("crowd", ())),
                "area": int((ids == number).sum()),
                "bbox": [0, 0, 1, 1],
            }
            for number in np.unique(ids[ids > 0])
        ]
        notes.append({"image_id": image, "file_name": f"{image}.png", "segments_info": segments})
    document = {
        "images": [{"id": image} for image in maps],
        "annotations": notes,
        "categories": more.get("categories", CATEGORIES),
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    return path


def test_class_0_without_isthing_and_ids_as_text(tmp_path: Path) -> None:
    """Train ids of Cityscapes count from 0: road is a class, and the names decide which classes are things."""
    kinds = [{"id": number, "name": name} for number, name in enumerate(("road", "car", "sky"))]
    ids = np.full((10, 10), 3)
    ids[:, :5], ids[0:2, 5:] = 1, 2
    numbers = {1: 0, 2: 1, 3: 2}
    truth = write_annotations(tmp_path, "truth", {7: ids}, numbers, categories=kinds)
    predicted = write_annotations(tmp_path, "predicted", {7: ids}, numbers, categories=kinds)
    document = json.loads(predicted.read_text())
    document["annotations"][0]["image_id"] = "7"
    predicted.write_text(json.dumps(document))
    found = panoptic_quality(truth, predicted)
    assert {name: found[name]["n"] for name in ("All", "Things", "Stuff")} == {"All": 3, "Things": 1, "Stuff": 2}
    assert found["All"]["pq"] == 1 and found["per_class"]["road"]["pq"] == 1


def test_hand_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """10 x 10. Truth: person left half (50), car 10, sky 40. Prediction: person 40 of its 50
    (IoU 0.8, found), car not found, sky all 40 and the car's 10 (IoU 0.8, found), void 10."""
    truth = np.full((10, 10), 3)
    truth[:, :5] = 1
    truth[0:2, 5:] = 2
    guess = np.full((10, 10), 30)
    guess[:, :4] = 10
    guess[:, 4] = 0
    predicted = write_annotations(tmp_path, "guess", {7: guess}, {10: 1, 30: 187})
    true = write_annotations(tmp_path, "truth", {7: truth}, {1: 1, 2: 2, 3: 187})
    found = panoptic_quality(predicted, true)
    # Per class: person 0.8 / 1, car 0 / 0.5 (one miss), sky 0.8 / 1.
    assert found["per_class"]["person"] == pytest.approx({"pq": 0.8, "sq": 0.8, "rq": 1.0})
    assert found["per_class"]["car"] == {"pq": 0.0, "sq": 0.0, "rq": 0.0}
    assert found["Things"] == pytest.approx({"pq": 0.4, "sq": 0.4, "rq": 0.5, "n": 2})
    assert found["Stuff"] == pytest.approx({"pq": 0.8, "sq": 0.8, "rq": 1.0, "n": 1})
    assert found["All"] == pytest.approx({"pq": 1.6 / 3, "sq": 1.6 / 3, "rq": 2 / 3, "n": 3})
    assert capsys.readouterr().out == ""  # stdout is data


def test_false_positive_and_direction(tmp_path: Path) -> None:
    """A segment that only one side has is a miss one way and a false alarm the other: same RQ."""
    one, two = np.zeros((8, 8), int), np.zeros((8, 8), int)
    one[:4] = two[:4] = 1
    two[4:] = 2
    one[4:] = 1
    a = write_annotations(tmp_path, "a", {1: one}, {1: 1})
    b = write_annotations(tmp_path, "b", {1: two}, {1: 1, 2: 2})
    # IoU of the person is exactly 0.5: not above it, so nothing matches.
    assert panoptic_quality(a, b)["All"]["pq"] == 0.0
    two[4, :] = 1
    c = write_annotations(tmp_path, "c", {1: two}, {1: 1, 2: 2})
    found, back = panoptic_quality(a, c)["per_class"], panoptic_quality(c, a)["per_class"]
    assert found["person"] == back["person"]
    assert found["person"]["pq"] == pytest.approx(40 / 64)
    assert found["car"] == back["car"] == {"pq": 0.0, "sq": 0.0, "rq": 0.0}


def test_absent_is_none_not_zero(tmp_path: Path) -> None:
    path = write_annotations(tmp_path, "a", {1: np.ones((4, 4), int)}, {1: 1})
    found = panoptic_quality(path, path)
    assert found["Stuff"] == {"pq": None, "sq": None, "rq": None, "n": 0}
    assert found["per_class"]["car"] == {"pq": None, "sq": None, "rq": None}
    assert found["All"] == {"pq": 1.0, "sq": 1.0, "rq": 1.0, "n": 1}
    json.dumps(found, allow_nan=False)


def test_crowds_are_ignored(tmp_path: Path) -> None:
    ids = np.ones((4, 4), int)
    ids[2:] = 2
    truth = write_annotations(tmp_path, "a", {1: ids}, {1: 1, 2: 1}, crowd=(2,))
    guess = write_annotations(tmp_path, "b", {1: ids}, {1: 1, 2: 1})
    assert panoptic_quality(guess, truth)["All"] == {"pq": 1.0, "sq": 1.0, "rq": 1.0, "n": 1}


@examples(20)
@given(data=st.data())
def test_identical_is_one(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    element = st.integers(0, 5).map(lambda n: n * 70_001)
    maps = data.draw(arrays_of.arrays(np.int64, shape, elements=element))
    kinds = {n * 70_001: data.draw(st.sampled_from([1, 2, 187])) for n in range(1, 6)}
    path = write_annotations(tmp_path_factory.mktemp("same"), "a", {5: maps}, kinds)
    found = panoptic_quality(path, path)
    assert found["All"]["pq"] == (1.0 if maps.any() else None)


@pytest.mark.slow
def test_real_coco_and_workers() -> None:
    if not (COCO / "panoptic_train2017.json").exists():
        pytest.skip(f"the sample data is not at {COCO} (OLRD_TEST_DATA names its folder)")
    path = COCO / "panoptic_train2017.json"
    found = panoptic_quality(path, path)
    assert (found["All"]["pq"], found["Things"]["rq"], found["Stuff"]["sq"]) == (1.0, 1.0, 1.0)
    assert found["All"]["n"] == found["Things"]["n"] + found["Stuff"]["n"] > 60
    assert panoptic_quality(path, path, workers=2) == found


def test_clear_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.ones((4, 4), int)
    one = write_annotations(tmp_path, "one", {1: ids}, {1: 1})
    two = write_annotations(tmp_path, "two", {1: ids, 2: ids}, {1: 1})
    with pytest.raises(SourceError, match=r"no prediction for 1 of the 2 .*image 2"):
        panoptic_quality(one, two)
    assert panoptic_quality(two, one)["All"]["n"] == 1  # the other way nothing is missing
    with pytest.raises(SourceError, match="cannot be scored"):
        panoptic_quality(write_annotations(tmp_path, "big", {1: np.ones((5, 4))}, {1: 1}), one)
    with pytest.raises(SourceError, match="unknown category_id 9"):
        panoptic_quality(write_annotations(tmp_path, "odd", {1: ids}, {1: 9}), one)
    with pytest.raises(SourceError, match="no such folder"):
        panoptic_quality(one, one, predicted_folder=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="workers"):
        panoptic_quality(one, one, workers=0)
    broken = tmp_path / "broken.json"
    broken.write_text('{"annotations": [')
    with pytest.raises(SourceError, match=r"broken\.json is not valid JSON"):
        panoptic_quality(broken, one)
    broken.write_text('{"annotations": []}')
    with pytest.raises(SourceError, match="not a COCO panoptic JSON"):
        panoptic_quality(one, broken)
    monkeypatch.setitem(__import__("sys").modules, "panopticapi.evaluation", None)
    with pytest.raises(MissingPanopticApiError, match="pip install --no-deps panopticapi-lite"):
        panoptic_quality(one, one)
