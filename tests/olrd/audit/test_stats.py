"""`olrd stats`: counts against plain loops, and a page that shows a stranger's names as text."""

from __future__ import annotations

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from synthetic_dataset import write_dataset

from olrd.audit.distributions import AREA_EDGES
from olrd.audit.stats import POSITIONS, stats
from olrd.audit.stats_page import stats_page
from olrd.cli.main import main
from olrd.dataset.folder import Dataset
from olrd.errors import IntegrityError, SourceError, UsageError

HOSTILE = '</style><script>alert(1)</script><img src=x onerror="alert(2)">__PLOTS__'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared: do not write into it."""
    return write_dataset(tmp_path_factory.mktemp("stats") / "set", photos=5, per_photo=2)


@pytest.fixture(scope="module")
def found(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return stats(folder, tmp_path_factory.mktemp("page") / "page.html")


class Page(HTMLParser):
    """The tags, texts and addresses of a page, as a browser's parser would cut them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.addresses: list[str | None] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.addresses += [value for name, value in attrs if name in ("src", "href") or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_counts_are_those_of_plain_loops(folder: Path, found: dict[str, Any]) -> None:
    rows = list(Dataset(folder).rows())
    assert found["triplets"] == len(rows) and found["photos"] == len({row["image_id"] for row in rows})
    assert found["categories"] == Counter(row["category"] for row in rows)
    assert list(found["categories"].values()) == sorted(found["categories"].values(), reverse=True)
    assert found["splits"] == {
        name: {
            "triplets": sum(row["split"] == name for row in rows),
            "photos": len({row["image_id"] for row in rows if row["split"] == name}),
        }
        for name in ("train", "test")
    }
    for name, line in found["cells"].items():
        for number, count in enumerate(line):
            low, high = AREA_EDGES[number : number + 2]
            inside = [row for row in rows if row["category"] == name and low <= row["mask_area"] < high]
            assert count == len(inside)
    assert found["area"]["counts"] == [sum(column) for column in zip(*found["cells"].values(), strict=True)]
    for name, labels in found["category_backgrounds"].items():
        assert labels == Counter(one for row in rows if row["category"] == name for one in row["background_labels"])
    grid = Counter(
        (int((y + h / 2) / row["height"] * POSITIONS), int((x + w / 2) / row["width"] * POSITIONS))
        for row in rows
        for x, y, w, h in [row["bbox"]]
    )
    assert found["positions"] == [[grid[i, k] for k in range(POSITIONS)] for i in range(POSITIONS)]
    shifts = [(row["shift"][0] ** 2 + row["shift"][1] ** 2) ** 0.5 / (180**2 + 128**2) ** 0.5 for row in rows]
    assert found["shift"]["counts"] == [sum(int(10 * s) == k for s in shifts) for k in range(int(10 * max(shifts)) + 1)]
    assert found["triplets_per_photo"] == {"2": 5}
    assert "too few" in found["edge_leak"]["note"]


def test_the_page_needs_no_network_and_no_script(found: dict[str, Any]) -> None:
    text = Path(found["page"]).read_text(encoding="utf-8")
    page = Page(text)
    assert not page.addresses and not page.tags.keys() & {"script", "img", "link", "iframe"}
    assert "default-src 'none'" in text and "__" not in text and "url(" not in text
    assert page.tags["section"] == 11
    for name, count in found["categories"].items():
        assert name in page.texts and f"{count:,}" in page.texts


def test_names_of_a_stranger_are_text(found: dict[str, Any]) -> None:
    """Every text that a row or build.json holds: names of classes, labels, licences, splits, folder and command."""
    hostile = {HOSTILE: 3}
    broken = found | {
        "name": HOSTILE,
        "command": HOSTILE,
        "form": HOSTILE,
        "splits": {HOSTILE: {"triplets": 1, "photos": 1}},
        "categories": hostile,
        "background_labels": hostile,
        "licenses": hostile,
        "triplets_per_photo": hostile,
        "cells": {HOSTILE: [1] * (len(AREA_EDGES) - 1)},
        "category_backgrounds": {HOSTILE: hostile},
        "left_out": {"photos": hostile, "objects": {}},
        "edge_leak": found["edge_leak"] | {"note": HOSTILE},
    }
    page, plain = Page(stats_page(broken)), Page(Path(found["page"]).read_text(encoding="utf-8"))
    assert not page.addresses and page.tags.keys() <= plain.tags.keys() | {"td", "th", "tr"}
    assert page.tags["section"] == plain.tags["section"] and page.tags["style"] == 1
    assert any("<script>" in text for text in page.texts)


def test_recipes_have_counts_and_no_leak(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_dataset(tmp_path / "set", photos=2, form="recipes")
    assert main(["stats", str(folder), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["edge_leak"] is None and result["triplets"] == 4
    assert result["page"] == str(tmp_path / "set-stats.html")
    assert "recipes hold no pixels" in Path(result["page"]).read_text(encoding="utf-8")
    assert main(["stats", str(folder), "--no-leak"]) == 0
    assert capsys.readouterr().out.startswith("4 triplets of 2 photos (train 2, test 2)")


def test_what_cannot_be_counted_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a place outside"):
        stats(folder, folder / "page.html")
    with pytest.raises(SourceError, match="holds no finished build"):
        stats(tmp_path)
    broken = write_dataset(tmp_path / "broken", photos=1, meta={"bbox": [-4, 0, 3, 3]})
    with pytest.raises(IntegrityError, match="lacks a value or holds a wrong one"):
        stats(broken)
    assert not (tmp_path / "broken-stats.html").exists()


@pytest.mark.parametrize("command", [["stats", "--no-leak"], ["croissant"]])
def test_an_out_that_cannot_be_written_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (tmp_path / "file").touch()
    for out, why in ((tmp_path, "is a folder"), (tmp_path / "file" / "page", "cannot be written")):
        assert main([command[0], str(folder), *command[1:], "--out", str(out)]) == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith(f"error: {out} {why}") and "choose another --out" in last and ".tmp" not in last


def test_two_bars_are_to_scale(found: dict[str, Any]) -> None:
    """Heights and widths follow the counts: a browser may not squeeze a bar."""
    text = Path(found["page"]).read_text(encoding="utf-8")
    heights = [float(one) for one in re.findall(r'<i style="height:([\d.]+)px">', text)][: len(AREA_EDGES) - 1]
    counts = found["area"]["counts"]
    assert heights == [pytest.approx(max(heights) * n / max(counts), abs=0.1) for n in counts]
