"""The index of an annotation file: large ones cost little memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import REPOSITORY

MEASURE = """
import re, sys
from pathlib import Path
import ijson, pyarrow
from olrd.sources.panoptic.index import panoptic_index

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

panoptic_index(Path(sys.argv[1]))
before = peak()
table = panoptic_index(Path(sys.argv[2]))
print(table.num_rows, len(table["segments"][-1]), (peak() - before) // 1024)
"""


def write_large(path: Path, photos: int, each: int) -> None:
    """A JSON with that many photos, in the other order than their annotations."""
    segments = ",".join(
        f'{{"id":{number * 7919 + 1},"category_id":{number % 90 + 1},"iscrowd":0,'
        f'"bbox":[{number},12,40,50],"area":{number + 900}}}'
        for number in range(each)
    )
    with path.open("w") as file:
        file.write('{"licenses":[],"categories":[{"id":1,"name":"a","isthing":1}],"images":[')
        file.write(
            ",".join(
                f'{{"id":{k},"file_name":"{k:012d}.jpg","width":640,"height":480,"license":1,'
                f'"coco_url":"http://images.cocodataset.org/train2017/{k:012d}.jpg"}}'
                for k in range(photos)
            )
        )
        file.write('],"annotations":[')
        for k in range(photos - 1, -1, -1):
            note = f'{{"image_id":{k},"file_name":"{k:012d}.png","segments_info":[{segments}]}}'
            file.write(note + ("," if k else ""))
        file.write("]}")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.slow
def test_a_large_json_is_indexed_in_little_memory(tmp_path: Path) -> None:
    """From 15,000 to 90,000 segments, in a separate process: under 25 MB more.

    Held as Python objects the difference would be over 30 MB.
    """
    small, large = tmp_path / "panoptic_small.json", tmp_path / "panoptic_large.json"
    write_large(small, 1_000, 15)
    write_large(large, 4_500, 20)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(small), str(large)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OLRD_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(REPOSITORY)},
    )
    rows, segments, megabytes = map(int, done.stdout.split())
    assert (rows, segments) == (4_500, 20)
    assert megabytes < 25
