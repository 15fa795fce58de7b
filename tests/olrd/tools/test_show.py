"""The contact sheet and the page."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from synthetic_dataset import HEIGHT, WIDTH, write_dataset

from olrd.dataset.folder import Dataset
from olrd.dataset.sampling import pick_evenly, rows_at
from olrd.dataset.sheet import contact_sheet
from olrd.errors import UsageError
from olrd.masks import outline
from olrd.tools.show import show, write_page

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)"><!--'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("show") / "set", photos=7)


class Page(HTMLParser):
    """The page's tags and the text of each script, as a browser's parser would cut them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.urls: list[str] = []
        self.scripts: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.urls += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.scripts:
            self.scripts[-1] += data

    @property
    def payload(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.scripts[0])
        return value


def _content(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def test_show_writes_beside_the_dataset_and_leaves_it_alone(folder: Path) -> None:
    before = _content(folder)
    result = show(folder, count=4, limit=5)
    assert result == {
        "contact": str(folder.resolve().with_name("set-show") / "contact.png"),
        "page": str(folder.resolve().with_name("set-show") / "page.html"),
    }
    assert _content(folder) == before
    assert sorted(p.name for p in Path(result["page"]).parent.iterdir()) == ["contact.png", "page.html"]
    first = _content(Path(result["page"]).parent)
    show(folder, count=4, limit=5)
    assert _content(Path(result["page"]).parent) == first


def test_a_folder_inside_the_dataset_is_refused(folder: Path) -> None:
    with pytest.raises(UsageError, match="outside"):
        show(folder, folder / "look")
    assert not (folder / "look").exists()


def test_recipes_are_refused_with_the_way_out(tmp_path: Path) -> None:
    recipes = write_dataset(tmp_path / "recipes", photos=2, form="recipes")
    with pytest.raises(UsageError, match="olrd rebuild"):
        show(recipes)
    with pytest.raises(UsageError, match="olrd rebuild"):
        write_page(Dataset(recipes), tmp_path / "page.html")


@pytest.mark.parametrize(("count", "columns", "width"), [(1, 1, 700), (3, 2, 1320), (8, 3, 1401)])
def test_contact_sheet_has_the_asked_width_and_all_rows(folder: Path, count: int, columns: int, width: int) -> None:
    rows = list(rows_at(Dataset(folder), range(count)))
    sheet = contact_sheet(rows, columns, width)
    assert sheet.dtype == np.uint8
    assert sheet.shape[1:] == (width, 3)
    taller = contact_sheet(rows + rows[:1] * columns, columns, width)
    assert taller.shape[0] > sheet.shape[0]
    # The paper's margin stays empty on all sides.
    assert (sheet[:, :30] == 255).all() and (sheet[:, -30:] == 255).all()
    assert (sheet[:12] == 255).all() and (sheet[-12:] == 255).all()


def test_contact_sheet_shows_composite_mask_and_truth(folder: Path) -> None:
    """One triplet: the truth's tile holds the truth's colours, the mask's tile its area."""
    row = next(rows_at(Dataset(folder), [3]))
    sheet = contact_sheet([row], 1, 1320)
    tile = ((1320 - 64) - 12) // 3
    y = 56 + np.arange(tile * 3 // 4)
    first, second, third = (sheet[y, 32 + k * (tile + 6) :][:, :tile] for k in range(3))
    inner = (second == 255).all(axis=2) | (second == 0).all(axis=2)
    share = (second[inner] == 255).mean()
    assert share == pytest.approx(row["mask_area"], rel=0.15)
    truth = Pillow.open(io.BytesIO(row["background"]["bytes"])).convert("RGB")
    assert np.abs(third[40:-40, 40:-40].mean() - np.asarray(truth).mean()) < 12
    pink = np.abs(first.astype(int) - (255, 45, 120)).sum(axis=2) < 60
    assert pink.any() and not (np.abs(third.astype(int) - (255, 45, 120)).sum(axis=2) < 60).any()


def test_a_missing_caption_and_a_long_prompt_fit(tmp_path: Path) -> None:
    long = write_dataset(tmp_path / "set", photos=1, per_photo=1, meta={"prompt": "word " * 200})
    assert contact_sheet(rows_at(Dataset(long), [0])).shape[1] == 1320


def test_outline_is_a_thin_band_outside_the_mask() -> None:
    mask = np.zeros((20, 20), np.bool_)
    mask[5:12, 6:15] = True
    line = outline(mask, 1.0)
    assert not (line & mask).any()
    expected = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask), strict=True):
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if not mask[y + dy, x + dx]:
                    expected[y + dy, x + dx] = True
    assert np.array_equal(line, expected)


def test_page_is_self_contained_and_holds_the_rows(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    write_page(Dataset(folder), path, limit=6)
    page = Page(path)
    assert not [url for url in page.urls if url]  # every picture is set from the payload
    assert "connect-src" not in path.read_text() and "default-src 'none'" in path.read_text()
    payload = page.payload
    assert payload["total"] == 14 and len(payload["rows"]) == 6
    numbers = pick_evenly(14, 6)
    for entry, row in zip(payload["rows"], rows_at(Dataset(folder), numbers), strict=True):
        for key in ("id", "category", "background_labels", "license", "source_url", "recipe", "shift"):
            assert entry["meta"][key] == row[key]
        assert not {"image", "mask", "background"} & entry["meta"].keys()
        for part, mode in (("composite", "RGB"), ("truth", "RGB"), ("outline", "RGBA")):
            head, _, data = entry[part].partition(",")
            assert re.fullmatch(r"data:image/(webp|png);base64", head)
            picture = Pillow.open(io.BytesIO(base64.b64decode(data)))
            assert picture.size == (WIDTH, HEIGHT)
            assert picture.mode == mode


def test_metadata_cannot_become_markup(tmp_path: Path) -> None:
    fields = ("category", "prompt", "caption", "author", "license", "source_url", "license_url", "id")
    dataset = write_dataset(tmp_path / "set", photos=1, per_photo=1, meta=dict.fromkeys(fields, HOSTILE))
    clean = write_dataset(tmp_path / "clean", photos=1, per_photo=1)
    write_page(Dataset(dataset), tmp_path / "hostile.html")
    write_page(Dataset(clean), tmp_path / "clean.html")
    hostile = Page(tmp_path / "hostile.html")
    assert hostile.tags == Page(tmp_path / "clean.html").tags
    assert hostile.payload["rows"][0]["meta"]["prompt"] == HOSTILE
    assert "<" not in hostile.scripts[0]


def test_the_template_sets_text_and_never_markup() -> None:
    source = Path(sys.modules["olrd"].__path__[0], "tools", "page.html").read_text(encoding="utf-8")
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert word not in source
    assert source.count("__DATA__") == 1


@given(st.integers(0, 3000), st.integers(1, 200), st.integers(0, 5))
def test_pick_evenly(total: int, count: int, seed: int) -> None:
    picked = pick_evenly(total, count, seed)
    assert picked == sorted(set(picked)) == pick_evenly(total, count, seed)
    assert len(picked) == min(total, count)
    assert all(0 <= number < total for number in picked)
    gaps = np.diff([-1, *picked, total])
    assert gaps.max() <= 2 * np.ceil(max(total, 1) / count) + 1


@given(st.sets(st.integers(0, 13)))
def test_rows_at_gives_exactly_the_rows(folder: Path, numbers: set[int]) -> None:
    dataset = Dataset(folder)
    ids = [row["id"] for row in dataset.rows(["id"])]
    found = [row["id"] for row in rows_at(dataset, sorted(numbers), ["id"])]
    assert found == [ids[number] for number in sorted(numbers)]


@pytest.mark.slow
def test_importing_show_and_audit_stays_light() -> None:
    code = (
        "import sys, olrd.tools.show, olrd.audit; "
        "print([m for m in ('sklearn', 'scipy', 'pandas', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("numbers", [{"count": 0}, {"count": -1}, {"limit": 0}, {"count": 1.5}])
def test_a_wrong_number_of_triplets_is_refused(numbers: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^--(count|page-limit) (is a number of triplets|expects a whole number)"):
        show(tmp_path, **numbers)
