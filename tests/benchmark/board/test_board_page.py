"""The page of a leaderboard in a browser, on three widths: it sorts, plots and filters, by mouse and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import browser
from scipy import stats
from synthetic_records import record, score, summary_of

from benchmark.board.page import page
from benchmark.board.ranking import sections
from benchmark.board.records import key_of
from benchmark.board.samples import samples_of

pytestmark = pytest.mark.slow

WIDTHS = {1440: 900, 820: 1100, 390: 844}
EYE, PIXELS = "lpips-alex/mask/raw", "psnr/mask/raw"
SIZE, PHOTOS = 60, 20
SCORES = {"sharp": (23.8, 0.17), "middle": (23.9, 0.30), "smooth": (24.2, 0.42), "blur-fill": (24.3, 0.44)}
"""PSNR and LPIPS; what PSNR ranks first is what people like least."""


def rows_of(name: str) -> pd.DataFrame:
    """Rows of a run: 60 samples of 20 photos. On large masks `smooth` beats `sharp`."""
    generator = np.random.Generator(np.random.Philox(sum(name.encode())))
    number = np.arange(SIZE)
    psnr, lpips = SCORES[name]
    large = number >= 40
    values = lpips + generator.normal(0, 0.02, SIZE) + np.where(large, {"sharp": 0.5, "smooth": -0.3}.get(name, 0), 0)
    return pd.DataFrame(
        {
            "id": [f"s{k:02}" for k in number],
            "cluster": [f"p{k % PHOTOS}" for k in number],
            "status": "ok",
            "category": np.where(number % 3 == 0, "dog", "<b>cat"),
            "mask_share": np.where(large, 0.3, 0.03),
            EYE: values,
            PIXELS: psnr + generator.normal(0, 1, SIZE),
        }
    )


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with three methods, two controls and rows of all but one."""
    summaries = []
    for name, (psnr, lpips) in SCORES.items():
        made = record(name, psnr, method__control=name == "blur-fill", times__median_seconds=psnr - 23)
        made["scores"][EYE] = score(lpips, 0.05)
        summaries.append(summary_of(made))
    summaries.append(summary_of(record("ground-truth", None, method__control=True)))
    rows = {key_of(one): rows_of(one.method.name) for one in summaries[:-1]}
    path = tmp_path_factory.mktemp("board") / "toy.html"
    path.write_text(page(sections(summaries), rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def chrome() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture(params=WIDTHS)
def tab(request: pytest.FixtureRequest, chrome: Any, board: Path) -> Iterator[Any]:
    """The page from disk, in each width. It loads nothing else and complains of nothing."""
    width = request.param
    tab = chrome.new_page(viewport={"width": width, "height": WIDTHS[width]})
    complaints: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda sent: complaints.append(sent.url) if sent.url != board.as_uri() else None)
    tab.goto(board.as_uri())
    yield tab
    assert complaints == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    tab.close()


def methods(tab: Any) -> list[str]:
    """The methods of the first table, from top to bottom."""
    found = tab.locator("table").first.locator("td.name").all_inner_texts()
    return [re.sub(r"(?s)^method\s+|\s*control.*| *\n.*", "", text).strip() for text in found]


def narrow(tab: Any) -> bool:
    return bool(tab.viewport_size["width"] < 700)


def choose(tab: Any, label: str, number: int) -> None:
    """Choose an entry of a menu by keyboard."""
    menu = tab.locator("label", has_text=re.compile(f"^{label}")).locator("select").first
    menu.focus()
    tab.keyboard.press("Home")
    for _ in range(number):
        tab.keyboard.press("ArrowDown")
    assert menu.input_value() == str(number)


def test_rows_sort_by_mouse_keyboard_and_menu(tab: Any) -> None:
    ranked = ["ground-truth", "sharp", "middle", "smooth", "blur-fill"]
    assert methods(tab) == ranked
    if narrow(tab):  # rows are cards, and the menu sorts them
        assert not tab.locator("thead").first.is_visible()
        heads = tab.locator("label", has_text="sort by").locator("option").all_inner_texts()
        choose(tab, "sort by", heads.index("psnr/mask/raw, dB ↑"))
        assert methods(tab) == ["ground-truth", "blur-fill", "smooth", "middle", "sharp"]
        choose(tab, "sort by", 0)
        assert methods(tab) == ranked
        return
    head = tab.locator("th", has_text="psnr/mask/raw").first
    head.locator("button").click()  # the best first
    assert methods(tab) == ["ground-truth", "blur-fill", "smooth", "middle", "sharp"]
    assert head.get_attribute("aria-sort") == "descending"
    chosen = tab.locator("label", has_text="sort by").locator("select")
    assert chosen.evaluate("menu => menu.selectedOptions[0].text") == "psnr/mask/raw, dB ↑"
    head.locator("button").focus()
    tab.keyboard.press("Enter")
    assert methods(tab) == ["sharp", "middle", "smooth", "blur-fill", "ground-truth"]
    assert head.get_attribute("aria-sort") == "ascending"
    by = tab.locator("th", has_text="by PSNR").locator("button")
    by.focus()
    tab.keyboard.press("Space")
    assert methods(tab)[:3] == ["smooth", "middle", "sharp"]  # controls have no rank and stay last
    assert tab.locator("th[aria-sort]").count() == 1
    tab.locator("th", has_text="method").first.locator("button").click()
    assert methods(tab) == sorted(ranked)


def test_a_reader_sees_where_psnr_and_the_eye_part(tab: Any) -> None:
    assert "sharp is 1 here and 3 by PSNR" in tab.locator("main").inner_text()
    assert tab.locator("td .up").all_inner_texts() == ["↑ 2"]
    assert tab.locator("td .down").all_inner_texts() == ["↓ 2"]
    # Across PSNR, up LPIPS: the best of one is not the best of the other.
    assert tab.locator(".chart").get_attribute("aria-label") == f"{EYE} ↓ against {PIXELS}, dB ↑"


def test_the_plot_shows_any_two_scores_and_the_front(tab: Any) -> None:
    chart = tab.locator(".chart")
    assert chart.locator(".mark").count() == 4
    assert chart.locator(".mark.control").count() == 1  # the truth has no finite PSNR
    assert "Without one of the scores: ground-truth" in tab.locator(".said").inner_text()
    box = chart.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= tab.viewport_size["width"]
    names = tab.locator("label", has_text="across").locator("option").all_inner_texts()
    choose(tab, "across", names.index("seconds per image ↓"))
    assert chart.get_attribute("aria-label").endswith("against seconds per image ↓")
    front = chart.locator("polyline").get_attribute("points").split()
    assert len(front) == 1  # `sharp` is fastest and best
    mark = chart.locator(".mark").first
    mark.focus()
    assert mark.get_attribute("aria-label") == tab.locator(".said").inner_text()
    if narrow(tab):
        return
    other = chart.locator(".mark[aria-label^=smooth] circle")
    other.hover()
    assert tab.locator(".said").inner_text().startswith("smooth: seconds per image ↓ 1.2000")


def test_the_filter_gives_the_means_of_its_samples(tab: Any) -> None:
    before = tab.locator("table").first.inner_text()
    assert tab.locator("label", has_text="area").locator("option").all_inner_texts() == [
        "every mask",
        "mask 3 to 10 % (40)",
        "mask 30 % and more (20)",
    ]
    choose(tab, "area", 2)
    assert "20 of 60 samples, 20 photos" in tab.locator("output").inner_text()
    assert methods(tab) == ["smooth", "middle", "blur-fill", "sharp", "ground-truth"]
    cell = tab.locator("tr", has_text="smooth").first.locator("td.n").first
    values = rows_of("smooth")[EYE][40:]
    reach = stats.t.ppf(0.975, 19) * values.std(ddof=1) / np.sqrt(20)  # one sample a photo: the ordinary interval
    shown = re.findall(r"-?\d+\.\d+", cell.inner_text().replace(f"{EYE} ↓", ""))
    assert [float(text) for text in shown] == pytest.approx(
        [values.mean(), values.mean() - reach, values.mean() + reach], abs=6e-4
    )
    # The plot follows. What has no rows has no mark.
    assert tab.locator(".chart .mark").count() == 4
    choose(tab, "category", 2)
    assert "6 of 60 samples, 6 photos" in tab.locator("output").inner_text()  # too few for an interval
    assert "(" not in tab.locator("tr", has_text="middle").first.locator("td.n").first.inner_text()
    assert "<b>cat (40)" in tab.locator("label", has_text="category").locator("option").all_inner_texts()
    choose(tab, "category", 0)
    choose(tab, "area", 0)
    assert tab.locator("table").first.inner_text() == before


def test_a_method_that_equals_the_truth_stays_first_under_a_filter(chrome: Any, tmp_path: Path) -> None:
    """It has no finite PSNR in any sample."""
    only = {"protocol__metrics": ["psnr"]}
    summaries = [summary_of(record("perfect", None, **only)), summary_of(record("sharp", 23.8, **only))]
    rows = {key_of(one): rows_of("sharp") for one in summaries}
    rows[key_of(summaries[0])] = rows_of("sharp").assign(**{PIXELS: np.nan})
    (tmp_path / "toy.html").write_text(page(sections(summaries), rows), encoding="utf-8")
    tab = chrome.new_page()
    tab.goto((tmp_path / "toy.html").as_uri())
    choose(tab, "area", 2)
    assert methods(tab) == ["perfect", "sharp"]
    assert tab.locator("table").first.locator("td.rank").all_inner_texts() == ["1", "2"]
    tab.close()


@pytest.mark.parametrize("uneven", [False, True])
def test_intervals_against_the_plain_jackknife(uneven: bool, chrome: Any, board: Path) -> None:
    """The page's interval against leaving out each photo, and against traces of the matrices for the degrees of freedom."""
    tab = chrome.new_page()
    tab.goto(board.as_uri())
    generator = np.random.Generator(np.random.Philox(3))
    values, photos = generator.normal(0, 1, 60), generator.integers(0, 14, 60)
    photos[20:] = 0 if uneven else photos[20:]
    texts = [None if k % 9 == 0 else float(value) for k, value in enumerate(values)]
    settings = "JSON.parse(document.querySelector('section script').textContent).samples"
    found = tab.evaluate(f"([values, photos]) => estimate(values, photos, {settings})", [texts, photos.tolist()])
    kept = np.array([text is not None for text in texts])
    names, mean = np.unique(photos[kept]), values[kept].mean()
    error = np.sqrt(sum((values[kept & (photos != photo)].mean() - mean) ** 2 for photo in names))
    p = np.array([(kept & (photos == photo)).sum() for photo in names]) / kept.sum()
    residual = np.eye(len(p)) - np.outer(p, np.ones(len(p)))  # sums - counts * mean
    # The samples of a photo count as equal, so its sum has the variance p^2.
    inner = np.diag((1 - p) ** -2.0) @ (residual * p**2 @ residual.T)
    reach = stats.t.ppf(0.975, np.trace(inner) ** 2 / np.trace(inner @ inner)) * error
    assert found == pytest.approx([mean, mean - reach, mean + reach], rel=2e-3)
    assert tab.evaluate(f"estimate([1, null], [0, 1], {settings})") == [1, None, None]
    tab.close()


def test_large_sets_have_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    one = summary_of(record("sharp"))
    (section,) = sections([one])
    rows = {key_of(one): rows_of("sharp")}
    found = samples_of(section, rows)
    assert found is not None and len(found["photo"]) == SIZE
    assert [group["by"] for group in found["groups"]] == ["area", "category", "background", "placement"]
    assert [group["names"] for group in found["groups"]][1:] == [["<b>cat", "dog"], ["unknown"], ["unknown"]]
    assert found["groups"][0]["of"] == [0] * 40 + [1] * 20
    assert samples_of(section, {}) is None
    monkeypatch.setattr("benchmark.board.samples.MOST", 10)
    assert samples_of(section, rows) is None
