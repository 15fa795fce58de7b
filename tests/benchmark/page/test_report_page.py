"""The report in a browser: it renders, compares, sorts, links and loads full pictures when asked."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import browser
from PIL import Image as Pillow
from synthetic_runs import COUNT, World

from benchmark.page.report import anchor

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def opened(page: Path) -> Iterator[Any]:
    """The page in a browser of 1400 x 900, from disk, with all its requests and complaints."""
    with browser() as found:
        tab = found.new_page(viewport={"width": 1400, "height": 900})
        tab.complaints, tab.loaded = [], []
        tab.on("console", lambda m: tab.complaints.append(m.text) if m.type != "log" else None)
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.on("requestfailed", lambda r: tab.complaints.append(f"failed {r.url[:80]}"))
        tab.on("request", lambda r: tab.loaded.append(r.url))
        yield tab


@pytest.fixture
def tab(opened: Any, page: Path) -> Iterator[Any]:
    opened.complaints.clear()
    opened.loaded.clear()
    opened.goto("about:blank")
    opened.goto(page.as_uri())
    yield opened
    assert opened.complaints == []


def until(tab: Any, expression: str) -> None:
    """Wait until it is true. Playwright's own wait evaluates inside the page, whose policy forbids it."""
    for _ in range(200):
        if tab.evaluate(expression):
            return
        tab.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def ids(tab: Any) -> list[str]:
    found: list[str] = tab.eval_on_selector_all("article h2", "n => n.map(x => x.textContent)")
    return found


def remote(tab: Any) -> list[str]:
    return [url for url in tab.loaded if not url.startswith(("data:", "about:"))]


def test_the_page_renders_everything(tab: Any, world: World, page: Path) -> None:
    assert ids(tab) == world.data.ids()
    assert tab.locator("#tables table").count() == 4
    assert "<i>made</i>" in tab.locator("#tables").inner_text()
    assert tab.locator("main i, main b b").count() == 0
    for card in tab.query_selector_all("article"):
        card.scroll_into_view_if_needed()
    until(tab, "[...document.querySelectorAll('.tiles img')].every(i => i.naturalWidth > 0)")
    assert tab.locator(".tiles figure").count() == COUNT * 6
    assert tab.locator(".tiles figure.failed").count() == 2
    assert "failed: ResultError" in tab.locator(".tiles figure.failed").first.inner_text()
    assert "= truth" in tab.locator("article").nth(2).inner_text()
    assert remote(tab) == [page.as_uri()]
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_slider_moves(tab: Any, world: World) -> None:
    stage = tab.locator(".stage").first
    before = stage.evaluate("n => n.style.getPropertyValue('--cut')")
    entry = tab.evaluate("data.samples[0].centre")
    assert float(before.rstrip("%")) == pytest.approx(entry)
    box = stage.bounding_box()
    tab.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 20)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 20, steps=3)
    tab.mouse.up()
    after = float(stage.evaluate("n => n.style.getPropertyValue('--cut')").rstrip("%"))
    assert after == pytest.approx(25, abs=1)
    assert float(tab.locator(".tools input").first.input_value()) == pytest.approx(25, abs=1)
    # What is seen follows: left of the cut the method's picture, right of it the truth.
    tab.locator("#lined").uncheck()
    tab.locator("#left").select_option("0")
    until(tab, "document.querySelector('.stage img').complete")

    def colour(at: float) -> np.ndarray:
        shot = Pillow.open(io.BytesIO(stage.screenshot())).convert("RGB")
        return np.asarray(shot)[int(shot.height * 0.45), int(shot.width * at)].astype(int)

    inside = 0.7
    tab.locator(".tools input").first.fill("90")
    red = colour(inside)
    tab.locator(".tools input").first.fill("10")
    grey = colour(inside)
    assert red[0] - red[1] > 150 and abs(grey[0] - grey[1]) < 60
    # From the keyboard too.
    slider = tab.locator(".tools input").first
    slider.focus()
    tab.keyboard.press("ArrowRight")
    assert float(slider.input_value()) == pytest.approx(10.1)


def scores_of(world: World, k: int) -> dict[str, float]:
    """psnr/mask/raw per sample of run k; infinite where it equals the truth, NaN where it failed."""
    found = {}
    for row in world.runs[k].samples().to_dict("records"):
        value = row["psnr/mask/raw"]
        if row["status"] == "ok" and (value is None or math.isnan(value)):
            value = math.inf
        found[str(row["id"])] = float("nan") if row["status"] != "ok" else float(value)
    return found


def test_sorting_sorts(tab: Any, world: World) -> None:
    telea, made = scores_of(world, 0), scores_of(world, 2)
    tab.locator("#order").select_option("worst")
    assert ids(tab) == sorted(telea, key=lambda name: telea[name])
    tab.locator("#order").select_option("best")
    assert ids(tab) == sorted(telea, key=lambda name: -telea[name])
    tab.locator("#method").select_option("2")  # one equals the truth, two failed
    assert ids(tab)[0] == world.data.ids()[2]
    assert ids(tab)[-2:] == [world.data.ids()[1], world.data.ids()[4]]
    tab.locator("#order").select_option("worst")
    worst = [made[name] for name in ids(tab)]
    assert worst[:5] == sorted(worst[:5]) and all(map(math.isnan, worst[5:]))
    tab.locator("#column").select_option("change/outside/raw")  # lower is better
    tab.locator("#method").select_option("0")
    assert ids(tab) == world.data.ids()  # all equal: the order of the data
    assert "change/outside/raw" in tab.locator("figcaption .by").first.inner_text()
    tab.locator("#broken").check()
    assert ids(tab) == [world.data.ids()[1], world.data.ids()[4]]
    assert tab.locator("#place").inner_text() == f"2 of {COUNT}"
    tab.locator("#broken").uncheck()
    tab.locator("#text").fill("PHOTO 3")
    assert ids(tab) == ["photo 3"]
    tab.locator("#text").fill("nothing like it")
    assert "No sample matches" in tab.locator("#list").inner_text()


def test_an_anchor_leads_to_its_sample(tab: Any, page: Path, world: World) -> None:
    name = world.data.ids()[5]
    tab.goto("about:blank")
    tab.goto(f"{page.as_uri()}#{anchor(name)}")

    def top(k: int) -> float:
        return float(tab.locator("article").nth(k).bounding_box()["y"])

    bar = tab.locator("#bar").bounding_box()
    assert bar["y"] + bar["height"] <= top(5) < 200
    assert tab.locator("article.here h2").inner_text() == name
    # A link on the page, also to a sample that a filter hides.
    tab.locator("#text").fill("photo 3")
    other = world.data.ids()[4]
    tab.evaluate(f"location.hash = '#{anchor(other)}'")
    until(tab, f"document.querySelector('article.here h2').textContent === '{other}'")
    assert len(ids(tab)) == COUNT and top(4) < 200
    tab.locator("article").nth(0).locator("h2 a").click()
    assert tab.url.endswith(f"#{anchor(world.data.ids()[0])}")


def test_full_size_is_loaded_when_asked_for(tab: Any, page: Path, world: World) -> None:
    card = tab.locator("article").last  # the name that is neither ASCII nor safe in a URL
    card.scroll_into_view_if_needed()
    assert remote(tab) == [page.as_uri()]
    card.locator("button").click()
    until(
        tab,
        "[...document.querySelectorAll('article:last-of-type .stage img:not(.outline)')]"
        ".every(i => i.src.startsWith('file:') && i.complete && i.naturalWidth === 96)",
    )
    full = [url for url in remote(tab) if url != page.as_uri()]
    assert sorted(url.rpartition("/")[2] for url in full) == ["1-opencv-telea.webp", "truth.webp"]
    card.locator("figure", has_text="mean-fill").click()
    until(tab, "document.querySelector('article:last-of-type .stage img').src.includes('2-mean-fill')")
    card.locator("button").click()
    assert card.locator(".stage img").first.get_attribute("src").startswith("data:")


def test_tiles_and_menus_choose_what_is_compared(tab: Any) -> None:
    card = tab.locator("article").nth(1)
    assert card.locator(".tag").all_inner_texts() == ["opencv-telea", "ground truth"]
    card.locator("figure.failed").click()
    assert "holds no" in card.locator(".why").inner_text()
    tab.locator("#left").select_option("3")
    tab.locator("#right").select_option("0")
    for k in (0, 1):
        tags = tab.locator("article").nth(k).locator(".tag").all_inner_texts()
        assert tags == ["mean-fill", "input"]
    assert card.locator(".why").inner_text() == ""


def test_dark_and_narrow(opened: Any, page: Path) -> None:
    opened.complaints.clear()
    opened.set_viewport_size({"width": 420, "height": 900})
    opened.emulate_media(color_scheme="dark")
    opened.goto(page.as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 17, 19)"
    opened.set_viewport_size({"width": 1400, "height": 900})
    opened.emulate_media(color_scheme="light")
    assert opened.complaints == []
