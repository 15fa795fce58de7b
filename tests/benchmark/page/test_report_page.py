"""The report in a browser at three widths: crops, slider, sorting, filters, keys, the large view, no network."""

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

from benchmark.page.pictures import Keep
from benchmark.page.report import anchor, report

pytestmark = pytest.mark.slow

WIDE, TABLET, PHONE = (1440, 900), (820, 1180), (390, 844)


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    """A tab with all its requests and complaints. One browser serves all tests."""
    with browser() as found:
        tab = found.new_page(viewport={"width": WIDE[0], "height": WIDE[1]})
        tab.complaints, tab.loaded = [], []
        tab.on("console", lambda m: tab.complaints.append(m.text) if m.type != "log" else None)
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.on("requestfailed", lambda r: tab.complaints.append(f"failed {r.url[:80]}"))
        tab.on("request", lambda r: tab.loaded.append(r.url))
        yield tab


def visit(tab: Any, page: Path, size: tuple[int, int] = WIDE, fragment: str = "") -> None:
    tab.set_viewport_size({"width": size[0], "height": size[1]})
    tab.complaints.clear()
    tab.loaded.clear()
    tab.goto("about:blank")
    tab.goto(page.as_uri() + fragment)


@pytest.fixture
def tab(opened: Any, page: Path) -> Iterator[Any]:
    """The page from disk in a wide window."""
    visit(opened, page)
    yield opened
    assert opened.complaints == []


def until(tab: Any, expression: str) -> None:
    """Wait until it is true. Playwright's own wait evaluates inside the page, whose policy forbids it."""
    for _ in range(200):
        if tab.evaluate(expression):
            return
        tab.wait_for_timeout(25)
    raise AssertionError(f"never true: {expression}")


def shows(place: Any, text: str) -> None:
    """Wait until the place shows the text: a row is filled when it comes into view."""
    place.filter(has_text=text).wait_for()


def ids(tab: Any) -> list[str]:
    found: list[str] = tab.eval_on_selector_all("article h2", "n => n.map(x => x.textContent)")
    return found


def current(tab: Any) -> str:
    found: str = tab.evaluate("document.querySelector('article.here h2').textContent")
    return found


def pair(tab: Any) -> list[str]:
    found: list[str] = tab.evaluate("[tagA.textContent, tagB.textContent]")
    return found


def at(tab: Any) -> float:
    return float(tab.evaluate("parseFloat(stage.style.getPropertyValue('--cut'))"))


def press(tab: Any, *keys: str) -> None:
    for key in keys:
        tab.keyboard.press(key)


def test_the_page_shows_crops_and_every_score(tab: Any, world: World, page: Path) -> None:
    assert ids(tab) == world.data.ids()
    assert tab.locator("#tables table").count() == 4
    assert "<i>made</i>" in tab.locator("#tables").text_content()
    assert tab.locator("main i:not(.letter), #tables i, main b, #scores i:not(.letter)").count() == 0
    assert tab.locator(".tile").count() == COUNT * 5
    assert tab.locator(".tile.failed").count() == 2
    shows(tab.locator(".tile.failed").first, "failed: ResultError")
    tab.locator("article").nth(2).scroll_into_view_if_needed()
    shows(tab.locator("article").nth(2), "= truth")
    for number in range(COUNT):
        tab.locator("article").nth(number).scroll_into_view_if_needed()
    until(tab, "[...document.querySelectorAll('.tile .crop')].every(i => i.complete && i.naturalWidth === 64)")
    # Whole photos are loaded when they are shown, and nothing comes from elsewhere.
    beside = (page.parent / "pictures").as_uri()
    assert tab.loaded[1:] and all(url.startswith((beside, "about:")) for url in tab.loaded if url != page.as_uri())
    assert not any("/whole-" in url for url in tab.loaded if "whole-input" not in url)
    path = tab.evaluate("document.querySelector('.tile .line .over').getAttribute('d')")
    assert path.startswith("M") and path.endswith("Z")


def test_the_slider_moves_over_the_crop(tab: Any) -> None:
    stage = tab.locator("#stage")
    assert at(tab) == 50
    box = stage.bounding_box()
    tab.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 60)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 60, steps=3)
    tab.mouse.up()
    assert at(tab) == pytest.approx(25, abs=1)
    assert float(tab.locator("#slider").input_value()) == pytest.approx(25, abs=1)
    # What is seen follows: left of the line picture A, right of it picture B.
    tab.locator(".tools [data-toggle=outlined]").click()
    tab.locator("#left").select_option("0")

    def colour() -> np.ndarray:
        until(tab, "[...document.querySelectorAll('#stage .crop')].every(i => i.complete && i.naturalWidth > 0)")
        shot = Pillow.open(io.BytesIO(stage.screenshot())).convert("RGB")
        return np.asarray(shot)[int(shot.height * 0.45), int(shot.width * 0.5)].astype(int)

    tab.locator("#slider").fill("90")
    red = colour()
    tab.locator("#slider").fill("10")
    grey = colour()
    assert red[0] - red[1] > 150 and abs(grey[0] - grey[1]) < 60
    # With the keyboard: on the slider itself, and anywhere else.
    tab.locator("#slider").focus()
    press(tab, "ArrowRight")
    assert at(tab) == 10.5
    tab.evaluate("document.activeElement.blur()")
    press(tab, "ArrowRight", "Shift+ArrowRight", "ArrowLeft")
    assert at(tab) == 20.5
    press(tab, "b")
    assert at(tab) == 100
    press(tab, "b")
    assert at(tab) == 0


def scores_of(world: World, k: int) -> dict[str, float]:
    """psnr/mask/raw per sample of run k; infinite where it equals the truth, NaN where it failed."""
    found = {}
    for row in world.runs[k].samples().to_dict("records"):
        value = row["psnr/mask/raw"]
        if row["status"] == "ok" and (value is None or math.isnan(value)):
            value = math.inf
        found[str(row["id"])] = float("nan") if row["status"] != "ok" else float(value)
    return found


def test_sorting_by_a_score(tab: Any, world: World) -> None:
    telea, made = scores_of(world, 0), scores_of(world, 2)
    assert tab.locator("#column").is_visible() and not tab.locator("#method").is_visible()
    tab.locator("#order").select_option("worst")
    assert ids(tab) == sorted(telea, key=lambda name: telea[name])
    assert current(tab) == ids(tab)[0]
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
    shows(tab.locator(".key").first, "opencv-telea 0.00")


def test_sorting_by_the_difference_of_two_methods(tab: Any, world: World) -> None:
    telea, fill, made = (scores_of(world, k) for k in range(3))
    tab.locator("#order").select_option("ahead")
    assert tab.locator("#other").is_visible()
    gap = {name: telea[name] - fill[name] for name in telea}
    assert ids(tab) == sorted(gap, key=lambda name: -gap[name])
    assert pair(tab) == ["opencv-telea", "mean-fill"]  # the viewer compares them, too
    first = ids(tab)[0]
    shows(tab.locator(".key").first, f"opencv-telea better by {gap[first]:.2f}")
    tab.locator("#order").select_option("behind")
    assert ids(tab) == sorted(gap, key=lambda name: gap[name])
    tab.locator("#other").select_option("2")
    tab.locator("#order").select_option("apart")
    apart = {name: abs(telea[name] - made[name]) for name in telea if not math.isnan(made[name])}
    assert ids(tab)[:5] == sorted(apart, key=lambda name: -apart[name])
    tab.locator(".key").last.scroll_into_view_if_needed()
    shows(tab.locator(".key").last, "no difference")


def test_filters(tab: Any, world: World) -> None:
    failed = [world.data.ids()[1], world.data.ids()[4]]
    assert not tab.locator("#category").is_visible()  # this dataset knows none
    assert not tab.locator("#area").is_visible()  # all masks are of one size
    tab.locator("#status").select_option("failed")
    assert ids(tab) == failed and tab.locator("#place").inner_text() == f"2 of {COUNT}"
    assert current(tab) == failed[0]
    tab.locator("#status").select_option("")
    tab.locator("#text").fill("PHOTO 3")
    assert ids(tab) == ["photo 3"]
    tab.locator("#text").fill("nothing like it")
    shows(tab.locator("#list"), "No sample matches")
    assert not tab.locator("#viewer").is_visible()
    tab.locator("#text").fill("")
    # With categories and several sizes of masks.
    tab.evaluate(
        "data.samples.forEach((s, k) => { s.category = k < 3 ? '<b>cat</b>' : ''; s.share = k / 100; });"
        "menus(); arrange()"
    )
    assert tab.locator("#category option").all_inner_texts() == ["any", "unknown (4)", "<b>cat</b> (3)"]
    tab.locator("#category").select_option("=<b>cat</b>")
    assert ids(tab) == world.data.ids()[:3]
    tab.locator("#area").select_option("1")  # 1 to 3 %
    assert ids(tab) == world.data.ids()[1:3]
    tab.locator("#category").select_option("")
    tab.locator("#area").select_option("")
    tab.locator("#order").select_option("large")
    assert ids(tab) == world.data.ids()[::-1]
    assert tab.locator("#controls").is_visible() and tab.locator(".tile.control").first.is_visible()
    tab.locator("#controls").uncheck()
    assert not tab.locator(".tile.control").first.is_visible()


def test_an_anchor_leads_to_its_sample(opened: Any, page: Path, world: World) -> None:
    name, other = world.data.ids()[5], world.data.ids()[4]
    visit(opened, page, fragment=f"#{anchor(name)}")
    assert current(opened) == name
    bar = opened.locator("#bar").bounding_box()
    top = opened.locator("article.here").bounding_box()["y"]
    assert bar["y"] + bar["height"] <= top + 1 and top < WIDE[1] / 2 + 100
    # A link on the page, also to a sample that a filter hides.
    opened.locator("#text").fill("photo 3")
    opened.evaluate(f"location.hash = '#{anchor(other)}'")
    until(opened, f"document.querySelector('article.here h2').textContent === '{other}'")
    assert len(ids(opened)) == COUNT
    opened.locator("article").nth(0).locator("h2 a").click()
    assert opened.url.endswith(f"#{anchor(world.data.ids()[0])}")
    assert opened.complaints == []


def test_tiles_and_menus_choose_what_is_compared(tab: Any) -> None:
    assert pair(tab) == ["opencv-telea", "ground truth"]
    row = tab.locator("article").nth(1)
    row.locator(".tile.failed").click()
    assert pair(tab) == ["<i>made</i>", "ground truth"]
    shows(tab.locator("#first .why"), "holds no")
    assert current(tab) == "photo 1" and not tab.locator("#large").is_visible()
    row.locator(".tile", has_text="mean-fill").click(modifiers=["Shift"])
    assert pair(tab) == ["<i>made</i>", "mean-fill"]
    tab.locator("#left").select_option("0")
    tab.locator("#swap").click()
    assert pair(tab) == ["mean-fill", "input"]
    tab.locator("#scores tbody tr").first.click()
    assert pair(tab) == ["opencv-telea", "input"]
    tab.locator("article").nth(3).scroll_into_view_if_needed()
    shows(tab.locator("article").nth(3).locator(".isA"), "opencv-telea")


def test_the_keyboard_reaches_everything(tab: Any, world: World) -> None:
    names = world.data.ids()
    press(tab, "ArrowDown", "j")
    assert current(tab) == names[2]
    assert tab.evaluate("document.activeElement === document.querySelector('article.here')")
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press(tab, "k", "2", "Shift+Digit1")
    assert current(tab) == names[1] and pair(tab) == ["mean-fill", "opencv-telea"]
    press(tab, "i", "T", "x")
    assert pair(tab) == ["ground truth", "input"]
    press(tab, "]", "{")
    assert pair(tab) == ["opencv-telea", "<i>made</i>"]
    # From tile to tile, and the same tile of the next sample.
    press(tab, "Tab", "Tab", "ArrowRight", "ArrowRight", "ArrowDown")
    assert tab.evaluate(
        "[document.activeElement.k, document.activeElement.closest('article') === document.querySelector('.here')]"
    ) == [2, True]
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    press(tab, "Enter", "ArrowRight", "Shift+Enter")
    assert pair(tab) == ["opencv-telea", "mean-fill"]
    # Only the tiles of the current sample are on the way of Tab.
    assert tab.evaluate("document.querySelectorAll('main [tabindex=\"0\"]').length") == 1 + 1 + 5
    press(tab, "/")
    tab.keyboard.type("photo 1 w?")
    assert tab.locator("#text").input_value() == "photo 1 w?"  # letters are no keys here
    tab.locator("#text").fill("")
    press(tab, "Escape", "s")
    assert tab.evaluate("document.activeElement.id") == "order"
    press(tab, "Escape", "?")
    assert tab.locator("#help").is_visible() and "swap A and B" in tab.locator("#help").inner_text()
    press(tab, "Escape")
    assert not tab.locator("#help").is_visible()
    wide = tab.locator(".tile").first.bounding_box()["width"]
    press(tab, "+", "+", "+")
    assert tab.locator(".tile").first.bounding_box()["width"] > wide
    press(tab, "p")
    assert tab.evaluate("getComputedStyle(document.querySelector('#stage .crop')).imageRendering") == "pixelated"
    press(tab, "o")
    assert not tab.locator("#stage .line .over").is_visible()


def test_one_key_shows_the_whole_photo(tab: Any) -> None:
    def ratio(selector: str) -> float:
        box = tab.locator(selector).first.bounding_box()
        return float(box["width"] / box["height"])

    assert ratio("#stage") == pytest.approx(1, abs=0.02) and ratio(".tile .frame") == pytest.approx(1, abs=0.02)
    press(tab, "w")
    assert ratio("#stage") == pytest.approx(1.5, abs=0.02) and ratio(".tile .frame") == pytest.approx(1.5, abs=0.03)
    until(tab, "[...document.querySelectorAll('#stage .base, article.here .base')].every(i => i.naturalWidth === 96)")
    # The crop lies at its place in the photo.
    stage, crop = tab.locator("#stage").bounding_box(), tab.locator("#first .crop").bounding_box()
    x, _, w, _ = tab.evaluate("data.samples[0].box")
    assert crop["x"] - stage["x"] == pytest.approx(stage["width"] * x / 96, abs=1)
    assert crop["width"] == pytest.approx(stage["width"] * w / 96, abs=1)
    assert tab.locator("#bar [data-toggle=whole]").get_attribute("aria-pressed") == "true"
    press(tab, "w", "z")
    assert tab.locator("#stage").bounding_box()["width"] == pytest.approx(
        64
    )  # one pixel of the photo, one of the screen
    press(tab, "z")
    assert tab.locator("#stage").bounding_box()["width"] == pytest.approx(128)


def test_the_large_view(tab: Any, world: World) -> None:
    small = tab.locator("#stage").bounding_box()["width"]
    press(tab, "ArrowDown", "Enter")
    large = tab.locator("#stage").bounding_box()["width"]
    assert tab.locator("#large").is_visible() and large > small
    press(tab, "ArrowDown", "3", "ArrowRight")
    assert tab.locator("#which").inner_text() == world.data.ids()[2] and pair(tab)[0] == "<i>made</i>"
    assert at(tab) == 52
    tab.locator("#next").click()
    assert tab.locator("#which").inner_text() == world.data.ids()[3]
    press(tab, "Escape")
    tab.locator("#dock #viewer").wait_for()  # a dialog tells of its end a moment later
    assert not tab.locator("#large").is_visible()
    assert tab.evaluate("document.activeElement.id") == anchor(world.data.ids()[3])
    tab.locator("#grow").click()
    tab.locator("#shut").click()
    assert not tab.locator("#large").is_visible()


@pytest.mark.parametrize("size", [TABLET, PHONE])
def test_narrow_windows(opened: Any, page: Path, world: World, size: tuple[int, int]) -> None:
    visit(opened, page, size)

    def fits() -> bool:
        return bool(opened.evaluate("document.documentElement.scrollWidth <= innerWidth"))

    assert fits() and not opened.locator("#dock").is_visible() and not opened.locator("#panel").is_visible()
    assert len({t.bounding_box()["y"] for t in opened.locator("article").first.locator(".tile").all()}) <= 2
    # By pointer: sort, then open a tile and step through the samples.
    opened.locator("#more").click()
    opened.locator("#order").select_option("worst")
    assert opened.locator("#method").is_visible() and fits()
    opened.locator("#more").click()
    opened.locator("article").first.locator(".tile").nth(3).click()
    assert opened.locator("#large").is_visible() and pair(opened)[0] == "mean-fill" and fits()
    stage = opened.locator("#stage").bounding_box()
    assert stage["x"] >= 0 and stage["x"] + stage["width"] <= size[0] and stage["width"] > 0.75 * size[0]
    for part in ("#left", "#right", "#slider", "#shut", "#next"):
        box = opened.locator(part).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= size[0] and box["y"] + box["height"] <= size[1]
    opened.mouse.click(stage["x"] + stage["width"] * 0.8, stage["y"] + 50)
    assert at(opened) == pytest.approx(80, abs=1)
    opened.locator("#next").click()
    assert opened.locator("#which").inner_text() == ids(opened)[1]
    opened.locator("#shut").click()
    # By keyboard: the search opens its panel, Enter opens the viewer.
    press(opened, "/")
    opened.keyboard.type("photo 5")
    press(opened, "Escape")
    press(opened, "Enter", "2", "x", "w")
    assert opened.locator("#large").is_visible() and pair(opened)[1] == "mean-fill"
    assert opened.locator("#which").inner_text() == "photo 5" and fits()
    press(opened, "Escape")
    assert not opened.locator("#large").is_visible()
    assert opened.complaints == []


def test_scores_without_pictures_in_dark_colours(opened: Any, world: World, tmp_path: Path) -> None:
    opened.emulate_media(color_scheme="dark")
    visit(opened, report(world.runs, world.data, tmp_path, keep=Keep("none")))
    assert ids(opened) == world.data.ids() and opened.locator("img").count() == 0
    assert opened.locator(".score").first.is_visible() and opened.locator("#scores table").is_visible()
    for part in ("#stage", ".pair", "#slider", ".tools", "#bar [data-toggle]"):
        assert not opened.locator(part).is_visible()
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 17, 19)"
    opened.emulate_media(color_scheme="light")
    opened.locator("#order").select_option("apart")
    press(opened, "Escape", "ArrowDown", "Enter", "w", "x", "3")
    assert opened.locator("#large").is_visible()
    press(opened, "Escape")
    assert opened.complaints == []
