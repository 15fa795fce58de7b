"""Sets written by the exporters of other projects, which are installed apart.

OLRD_EXPORTERS_PYTHON names an interpreter that has them: `python -m venv apart && apart/bin/pip install datumaro`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from drawn_instances import spec_of

from olrd.errors import UsageError
from olrd.panoptic import check_panoptic
from olrd.sources import open_source

PYTHON = os.environ.get("OLRD_EXPORTERS_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="OLRD_EXPORTERS_PYTHON names no interpreter with the exporters"),
]

DATUMARO = """
import sys
import numpy as np
from datumaro.components.annotation import Mask, Polygon
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image

block = np.zeros((180, 240), bool)
block[60:100, 30:80] = True
items = [
    DatasetItem(
        id=name,
        subset=subset,
        media=Image.from_numpy(data=np.random.default_rng(k).integers(0, 255, (180, 240, 3), dtype=np.uint8)),
        annotations=[
            Polygon([100.0, 20, 160, 20, 160, 70, 100, 70], label=0, id=1, group=1),
            Mask(block, label=1, id=2, group=2),
        ],
        attributes={"id": k + 1},
    )
    for k, (name, subset) in enumerate([("a/one", "train"), ("a/two", "train"), ("one", "val")])
]
Dataset.from_iterable(items, categories=["dog", "ball"]).export(sys.argv[1], sys.argv[2], save_media=True)
"""


@pytest.mark.parametrize("form", ["coco", "coco_instances"])
def test_datumaros_coco_is_read(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLRD_CACHE", str(tmp_path / "cache"))
    subprocess.run([PYTHON, "-c", DATUMARO, str(tmp_path / "set"), form], check=True, capture_output=True, timeout=120)
    with pytest.raises(UsageError, match=r"choose one with --subset \{train,val\}"):
        open_source(spec_of(tmp_path / "set"))
    for subset, names in (("train", ["a/one.jpg", "a/two.jpg"]), ("val", ["one.jpg"])):
        source = open_source(spec_of(tmp_path / "set", subset))
        assert [source.record(k).file_name for k in range(len(source))] == names
        for k in range(len(source)):
            record = source.record(k)
            assert source.photo_bytes(record)[:2] == b"\xff\xd8"
            panoptic = source.panoptic(record, 240, 180)
            checked = check_panoptic(record.file_name, panoptic, (240, 180), source.categories)
            areas = {source.categories[s.category_id].name: s.area for s in checked.segments}
            assert areas == {"dog": 3000, "ball": 2000, "background": 240 * 180 - 5000}
            block = np.zeros((180, 240), bool)
            block[60:100, 30:80] = True
            (ball,) = [s.id for s in checked.segments if source.categories[s.category_id].name == "ball"]
            assert np.array_equal(panoptic.ids == ball, block)
