"""The plot and table of several robustness tracks."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from olrd.errors import UsageError
from perf.robustness import plot, read_tracks, table

HEAD = "method,fingerprint,protocol,seed,disturbance,kind,level,score,value"


def track(folder: Path, method: str, values: dict[str, float | str], protocol: str = "small-1") -> Path:
    """A track's table: values by disturbance, empty for none."""
    folder.mkdir()
    lines = [HEAD]
    for name, value in values.items():
        kind, _, level = name.partition(":")
        for score, shown in (("lpips-alex/mask/raw", value), ("psnr/mask/raw", 20)):
            place = "none,," if name == "none" else f"{name},{kind},{level}"
            lines.append(f"{method},beef,{protocol},0,{place},{score},{shown}")
    (folder / "robustness.csv").write_text("\n".join(lines) + "\n")
    return folder


def tracks(folder: Path) -> list[Path]:
    a = track(folder / "a", "telea", {"none": 0.4, "erode:1": 0.5, "erode:8": 0.8, "jpeg:50": 0.45, "jpeg:5": 0.6})
    return [a, track(folder / "b", "patchmatch", {"none": 0.2, "erode:8": 0.7, "erode:30": ""})]


def test_methods_are_columns_and_what_was_not_run_is_a_dash(tmp_path: Path) -> None:
    assert table(read_tracks(tracks(tmp_path), "lpips-alex/mask/raw")).splitlines() == [
        "| given | `telea` | `patchmatch` |",
        "| --- | ---: | ---: |",
        "| exact mask | 0.400 | 0.200 |",
        "| erode:1 | 0.500 | - |",
        "| erode:8 | 0.800 | 0.700 |",
        "| jpeg:50 | 0.450 | - |",
        "| jpeg:5 | 0.600 | - |",
        "| erode:30 | - | - |",
    ]


def test_each_kind_has_a_panel_with_its_levels_from_weak_to_strong(tmp_path: Path) -> None:
    drawn = plot(read_tracks(tracks(tmp_path), "lpips-alex/mask/raw"), "lpips-alex/mask/raw")
    words = [element.text for element in ElementTree.fromstring(drawn).iter() if element.text]
    assert words.count("exact") == 2
    assert [word for word in words if re.fullmatch(r"\d+", word)] == ["1", "8", "30", "50", "5"]
    ways = re.findall(r'<polyline points="([^"]*)"', drawn)
    assert [len(way.split()) for way in ways] == [3, 2, 3]  # a method without a level of a kind has no line there
    first, last = (float(point.split(",")[1]) for point in ways[0].split()[::2])
    assert last < first  # more is further up


def test_tracks_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    some = tracks(tmp_path)
    with pytest.raises(UsageError, match="no score ssim"):
        read_tracks(some, "ssim/mask/raw")
    other = track(tmp_path / "c", "other", {"none": 0.4}, "small-2")
    with pytest.raises(UsageError, match="differ in protocol: small-1, small-2"):
        read_tracks([*some, other], "lpips-alex/mask/raw")
