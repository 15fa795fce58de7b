"""The page that compares erasers: what is written, and how it works in a browser."""

from __future__ import annotations

import html
import io
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from browser import browser
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from baselines.photos.page import SMALLEST, Comparison, Shown, view, write_page
from olrd.errors import UsageError
from olrd.panoptic import Box

RED, GREEN, BLUE, GREY, PINK = (230, 30, 30), (30, 170, 60), (40, 60, 220), (128, 128, 128), (255, 45, 120)
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
WIDTH, HEIGHT = 400, 300
HOLE = Box(240, 60, 80, 60)


def one(**changes: Any) -> Comparison:
    values = {
        "title": "street.jpg",
        "photo": "photo.png",
        "mask_outline": "outline.png",
        "size": (WIDTH, HEIGHT),
        "box": HOLE,
        "results": (Shown("lama", "lama.png", 0.5, ""),),
    }
    return Comparison(**(values | changes))


def payload(folder: Path) -> list[dict[str, Any]]:
    """The data of the page, found as a browser finds them: up to the first closing tag."""
    text = (folder / "index.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script', text, re.DOTALL)
    assert found
    comparisons: list[dict[str, Any]] = json.loads(found[1])["comparisons"]
    return comparisons


def test_the_data_are_what_was_given(tmp_path: Path) -> None:
    results = (Shown("lama", "a/lama.png", 0.25, "é & <b>"), Shown("mat", "", None, "out of memory"))
    write_page(tmp_path / "new" / "folder", [one(results=results), one(title="2", mask_outline=None)])
    first, second = payload(tmp_path / "new" / "folder")
    assert (first["title"], first["photo"], first["outline"]) == ("street.jpg", "photo.png", "outline.png")
    assert (first["size"], first["box"]) == ([WIDTH, HEIGHT], list(HOLE))
    assert [tuple(r.values()) for r in first["results"]] == [tuple(r) for r in results]
    assert (second["title"], second["outline"]) == ("2", None)
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == ["index.html"]


def test_texts_of_strangers_stay_texts(tmp_path: Path) -> None:
    name = "\ud800 __DATA__ __POLICY__ \u202egnp"
    write_page(tmp_path, [one(title=HOSTILE, results=(Shown(name, "a.png", 1, HOSTILE),))])
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert text.count("<script") == 2 and 'onerror="' not in text
    (found,) = payload(tmp_path)
    assert found["title"] == found["results"][0]["note"] == HOSTILE
    assert found["results"][0]["name"] == "\ud800 __DATA__ __POLICY__ ?gnp"


def test_no_folder_of_the_machine_is_told(tmp_path: Path) -> None:
    note = f"no weights at {tmp_path}/secret/lama.pt: fetch them"
    write_page(tmp_path, [one(title=str(tmp_path / "my photo.jpg"), results=(Shown("lama", "", None, note),))])
    assert str(tmp_path.parent) not in (tmp_path / "index.html").read_text(encoding="utf-8")
    (found,) = payload(tmp_path)
    assert found["title"] == "my photo.jpg"
    assert found["results"][0]["note"] == "no weights at lama.pt: fetch them"


BAD_URLS = [
    "",
    ".",
    "../photo.png",
    "a/../../photo.png",
    "%2e%2e/photo.png",
    "a/%2E./photo.png",
    "..%2fphoto.png",
    "..%5Cphoto.png",
    "/photo.png",
    "//host/photo.png",
    "https://host/photo.png",
    "javascript:alert(1)",
    "data:image/png;base64,AAAA",
    "C:/photo.png",
    "a\\photo.png",
    "a//photo.png",
    "a b.png",
    "é.png",
    "a.png?x",
    "a.png#x",
    "%zz.png",
    "a%00.png",
    "a%0a.png",
    "a.png\n",
    '"onerror=',
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_urls_stay_in_the_folder(url: str, tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [{"photo": url}, {"mask_outline": url}]
    if url:  # a result without a picture is allowed
        changes.append({"results": (Shown("lama", url, None, ""),)})
    for change in changes:
        with pytest.raises(UsageError, match="not a relative URL"):
            write_page(tmp_path, [one(**change)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a b.png", "é & #1?.png", "100%.png", "a/b+c (1).png", "..png", ".a/b"])
def test_quoted_names_are_taken(name: str, tmp_path: Path) -> None:
    write_page(tmp_path, [one(photo=quote(name))])
    assert payload(tmp_path)[0]["photo"] == quote(name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": (0, 300)}, "at least 1 x 1"),
        ({"box": Box(-1, 0, 10, 10)}, "not inside the photo of 400 x 300"),
        ({"box": Box(391, 0, 10, 10)}, "not inside"),
        ({"box": Box(0, 291, 10, 10)}, "not inside"),
        ({"box": Box(10, 10, -5, 5)}, "not inside"),
        ({"results": ()}, "at least one method"),
        ({"results": (Shown("lama", "a.png", math.nan, ""),)}, "'lama' took nan s"),
        ({"results": (Shown("lama", "a.png", math.inf, ""),)}, "finite time"),
        ({"results": (Shown("lama", "a.png", -1.0, ""),)}, "finite time"),
    ],
)
def test_impossible_values_are_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        write_page(tmp_path, [one(**change)])
    assert "street.jpg" in str(caught.value)


def test_nothing_to_compare_is_an_error_and_keeps_the_old_page(tmp_path: Path) -> None:
    write_page(tmp_path, [one()])
    before = (tmp_path / "index.html").read_bytes()
    for wrong in ([], [one(), one(results=())]):
        with pytest.raises(UsageError):
            write_page(tmp_path, wrong)
    assert (tmp_path / "index.html").read_bytes() == before


def naive_view(box: Box, size: tuple[int, int]) -> tuple[set[int], set[int]]:
    """The columns and rows within half of the box's longer side of the box, counted one by one."""
    reach = max(box.w, box.h) / 2
    found = []
    for start, length, limit in ((box.x, box.w, size[0]), (box.y, box.h, size[1])):
        found.append({k for k in range(limit) if start - math.ceil(reach) <= k < start + length + math.ceil(reach)})
    return found[0], found[1]


@given(st.data())
def test_the_crop_is_the_box_with_half_its_side_around_it(data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 300), st.integers(1, 300)))
    x, y = data.draw(st.integers(0, size[0] - 1)), data.draw(st.integers(0, size[1] - 1))
    box = Box(x, y, data.draw(st.integers(1, size[0] - x)), data.draw(st.integers(1, size[1] - y)))
    found = view(box, size)
    columns, rows = naive_view(box, size)
    assert set(range(found.x, found.x + found.w)) >= columns and set(range(found.y, found.y + found.h)) >= rows
    assert found.x >= 0 and found.y >= 0 and found.x + found.w <= size[0] and found.y + found.h <= size[1]
    for length, seen, expected in ((box.w, found.w, columns), (box.h, found.h, rows)):
        if length + 2 * math.ceil(max(box.w, box.h) / 2) >= SMALLEST:
            assert seen == len(expected)
        else:
            assert seen <= SMALLEST + 1


def test_small_and_empty_places() -> None:
    assert view(Box(200, 100, 2, 2), (400, 300)) == Box(169, 69, 64, 64)
    assert view(Box(200, 100, 0, 0), (400, 300)) == Box(0, 0, 400, 300)
    assert view(Box(0, 0, 400, 300), (400, 300)) == Box(0, 0, 400, 300)


# In a browser


def flat(colour: tuple[int, int, int], hole: tuple[int, int, int]) -> Pillow.Image:
    pixels = np.full((HEIGHT, WIDTH, 3), colour, np.uint8)
    pixels[HOLE.crop()] = hole
    return Pillow.fromarray(pixels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos: grey with a red object, erased green by `lama` and blue by a method with a hostile name; one that
    `lama` failed on; one of another size without an outline whose result is missing on the disk."""
    out = tmp_path_factory.mktemp("page")
    flat(GREY, RED).save(out / "photo.png")
    flat(GREY, GREEN).save(out / "a b.png")
    flat(GREY, BLUE).save(out / "blue.png")
    line = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    line[HOLE.crop()] = (*PINK, 255)
    Pillow.fromarray(line).save(out / "outline.png")
    Pillow.new("RGB", (100, 200), GREY).save(out / "tall.png")
    lama, blue = Shown("lama", "a%20b.png", 0.456, ""), Shown(HOSTILE, "blue.png", 123.4, "a <b>note</b>")
    write_page(
        out,
        [
            one(results=(lama, blue)),
            one(title=HOSTILE, results=(lama._replace(file="", seconds=None, note="out of memory"), blue)),
            Comparison("tall", "tall.png", None, (100, 200), Box(0, 0, 0, 0), (Shown("lama", "lost.png", 1.0, ""),)),
        ],
    )
    return out


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    with browser() as found:
        tab = found.new_page(viewport={"width": 1440, "height": 900})
        tab.complaints, tab.loaded = [], []
        tab.on("console", lambda m: tab.complaints.append(m.text) if m.type != "log" else None)
        tab.on("pageerror", lambda error: tab.complaints.append(str(error)))
        tab.on("request", lambda r: tab.loaded.append(r.url))
        yield tab


@pytest.fixture
def tab(opened: Any, folder: Path) -> Iterator[Any]:
    """The page at its first photo, 1440 x 900 and light. A complaint of the browser fails the test."""
    opened.complaints.clear()
    opened.loaded.clear()
    opened.set_viewport_size({"width": 1440, "height": 900})
    opened.emulate_media(color_scheme="light")
    visit(opened, folder)
    yield opened
    assert opened.complaints == []


def visit(tab: Any, folder: Path, photo: int = 1) -> None:
    tab.goto("about:blank")
    tab.goto(f"{(folder / 'index.html').as_uri()}#{photo}")
    settle(tab)


def settle(tab: Any) -> None:
    """Wait for the pictures. Playwright's own wait evaluates inside the page, whose policy forbids it."""
    for _ in range(200):
        if tab.evaluate("[...document.querySelectorAll('main img[src]')].every(i => i.complete)"):
            return
        tab.wait_for_timeout(25)
    raise AssertionError("a picture is still loading")


def colour(tab: Any, x: float, y: float) -> tuple[int, ...]:
    """The colour on the stage at a share of its width and height."""
    settle(tab)
    shot = Pillow.open(io.BytesIO(tab.locator("#stage").screenshot())).convert("RGB")
    return tuple(shot.getpixel((int(x * shot.width), int(y * shot.height))))


def near(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= 12 for a, b in zip(found, expected, strict=True))


def cut(tab: Any) -> float:
    return float(tab.locator("#cut").input_value())


def tags(tab: Any) -> list[str]:
    return [tab.locator(f"#tag-{side}").text_content() for side in ("left", "right")]


@pytest.mark.slow
def test_the_page_opens_on_the_crop_of_the_photo_and_the_first_result(tab: Any, folder: Path) -> None:
    assert tags(tab) == ["photo", "lama"]
    assert cut(tab) == pytest.approx(50)
    # The box is the middle half of the crop; left of the slider there is the photo, right of it the result.
    assert near(colour(tab, 0.3, 0.6), RED) and near(colour(tab, 0.7, 0.6), GREEN)
    seen = view(HOLE, (WIDTH, HEIGHT))
    left, top = (HOLE.x - seen.x) / seen.w, (HOLE.y - seen.y) / seen.h
    for x, y, expected in (
        (left - 0.02, 0.6, GREY),
        (left + 0.02, 0.6, RED),
        (0.4, top - 0.03, GREY),
        (0.4, top + 0.03, RED),
    ):
        assert near(colour(tab, x, y), expected)
    assert tab.loaded and all(url.startswith((folder.as_uri(), "about:")) for url in tab.loaded)
    assert tab.locator("#tiles .tile").count() == 3
    texts = tab.locator("#tiles .tile").all_inner_texts()
    assert "0.46 s" in texts[1] and "123 s" in texts[2] and "a <b>note</b>" in texts[2]


@pytest.mark.slow
def test_names_are_not_run_or_parsed(tab: Any, folder: Path) -> None:
    visit(tab, folder, 2)
    assert tab.locator("h1").text_content() == HOSTILE
    assert HOSTILE in tab.locator("#tiles .tile").nth(2).inner_text()
    assert tab.locator("script").count() == 2 and tab.locator("img[onerror], main b").count() == 0
    assert tab.title() == "3 photos, erased"


@pytest.mark.slow
def test_the_policy_runs_no_other_code(tab: Any, folder: Path) -> None:
    """Even a text that became markup would not run: the policy allows the page's own code only."""
    page = (folder / "index.html").read_text(encoding="utf-8")
    rules = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])  # type: ignore[index]
    assert "unsafe" not in rules and "http" not in rules and "*" not in rules
    bad = "<script>document.title = 'owned'</script><img src='https://example.invalid/a.png' onerror=\"document.title = 'owned'\">"
    (folder / "smuggled.html").write_text(page.replace("</main>", f"{bad}</main>"), encoding="utf-8")
    tab.goto((folder / "smuggled.html").as_uri())
    tab.wait_for_timeout(100)
    assert tab.title() == "3 photos, erased"
    refused = [text for text in tab.complaints if "Content Security Policy" in text]
    assert any("inline script" in text for text in refused) and any("inline event handler" in text for text in refused)
    assert any("loading the image 'https://example.invalid" in text.lower() for text in refused)
    tab.complaints.clear()


@pytest.mark.slow
def test_the_slider_moves_by_mouse_range_and_keys(tab: Any) -> None:
    box = tab.locator("#stage").bounding_box()
    tab.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 80)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 20, steps=3)
    tab.mouse.up()
    assert cut(tab) == pytest.approx(90, abs=0.5)
    assert near(colour(tab, 0.7, 0.6), RED)
    tab.mouse.move(box["x"] + 5, box["y"] + 20)  # not pressed
    assert cut(tab) == pytest.approx(90, abs=0.5)
    tab.locator("#cut").fill("10")
    assert near(colour(tab, 0.3, 0.6), GREEN)
    for key, expected in (("ArrowRight", 12), ("Shift+ArrowRight", 22), ("ArrowLeft", 20)):
        tab.keyboard.press(key)
        assert cut(tab) == pytest.approx(expected)
    tab.locator("#cut").focus()  # the same step when the slider itself has the focus
    tab.keyboard.press("ArrowRight")
    assert cut(tab) == pytest.approx(22)
    for _ in range(12):
        tab.keyboard.press("Shift+ArrowLeft")
    assert cut(tab) == 0
    assert tab.locator("#tag-left").is_hidden() and tab.locator("#tag-right").is_visible()


@pytest.mark.slow
def test_methods_are_chosen_by_menu_tile_and_keys(tab: Any) -> None:
    tab.keyboard.press("ArrowDown")
    assert tags(tab) == ["photo", HOSTILE] and near(colour(tab, 0.7, 0.6), BLUE)
    tab.keyboard.press("ArrowDown")  # there is no further one
    assert tags(tab) == ["photo", HOSTILE]
    tab.keyboard.press("Shift+ArrowDown")
    assert tags(tab) == ["lama", HOSTILE] and near(colour(tab, 0.3, 0.6), GREEN)
    assert tab.locator("#said").text_content() == f"lama on the left, {HOSTILE} on the right"
    assert [tab.locator(f"#{side}").input_value() for side in ("left", "right")] == ["1", "2"]
    tab.locator("#left").select_option("2")
    tab.locator("#right").select_option("0")
    assert tags(tab) == [HOSTILE, "photo"]
    assert near(colour(tab, 0.3, 0.6), BLUE) and near(colour(tab, 0.7, 0.6), RED)
    tab.locator(".tile").nth(1).click()
    assert tags(tab) == [HOSTILE, "lama"]
    pressed = [tile.get_attribute("aria-pressed") for tile in tab.query_selector_all(".tile")]
    assert pressed == ["false", "true", "false"]


@pytest.mark.slow
def test_f_shows_the_whole_photo_and_o_the_outline(tab: Any) -> None:
    tab.keyboard.press("f")
    box = tab.locator("#stage").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(WIDTH / HEIGHT, rel=0.01)
    assert cut(tab) == pytest.approx(100 * (HOLE.x + HOLE.w / 2) / WIDTH)
    middle = (HOLE.y + HOLE.h * 0.8) / HEIGHT
    for x, expected in ((0.59, GREY), (0.62, RED), (0.78, GREEN), (0.82, GREY)):
        assert near(colour(tab, x, middle), expected)
    assert tab.locator("#whole").get_attribute("aria-pressed") == "true"
    tab.keyboard.press("o")
    assert near(colour(tab, 0.62, middle), PINK) and near(colour(tab, 0.59, middle), GREY)
    assert tab.locator("#lined").get_attribute("aria-pressed") == "true"
    tab.keyboard.press("o")
    assert near(colour(tab, 0.62, middle), RED)
    tab.locator("#whole").click()
    assert near(colour(tab, 0.3, 0.6), RED)
    tab.keyboard.press("Control+f")  # the browser's own
    assert tab.locator("#whole").get_attribute("aria-pressed") == "false"


@pytest.mark.slow
def test_several_photos(tab: Any, folder: Path) -> None:
    """The list, the keys and the address lead to each; a method stays chosen; what failed says why."""
    entries = tab.locator("#photos a")
    assert entries.count() == 3 and entries.nth(0).get_attribute("aria-current") == "page"
    tab.keyboard.press("Shift+ArrowDown")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("n")
    tab.wait_for_timeout(50)
    assert tab.url.endswith("#2") and tags(tab) == ["lama", HOSTILE]
    tab.keyboard.press("Shift+ArrowUp")
    assert "out of memory" in tab.locator(".tile").nth(1).inner_text()
    tab.keyboard.press("ArrowUp")
    assert tab.locator("#why").inner_text() == "lama: out of memory"
    tab.keyboard.press("ArrowDown")
    assert tab.locator("#why").is_hidden()
    entries.nth(2).click()
    tab.wait_for_timeout(200)
    assert tab.locator("h1").text_content() == "tall" and entries.nth(2).get_attribute("aria-current") == "page"
    assert tab.locator("#lined").is_disabled()
    assert tab.locator("#why").inner_text() == "lama: lost.png cannot be loaded"
    assert "cannot be loaded" in tab.locator(".tile").nth(1).inner_text()
    tab.keyboard.press("o")
    assert tab.locator("#line").is_hidden()
    tab.go_back()
    tab.wait_for_timeout(50)
    assert tab.locator("h1").text_content() == HOSTILE
    for address, title in (("#99", "tall"), ("#0", "street.jpg"), ("#x", "street.jpg")):
        tab.goto("about:blank")
        tab.goto((folder / "index.html").as_uri() + address)
        tab.wait_for_timeout(50)
        assert tab.locator("h1").text_content() == title
    tab.wait_for_timeout(100)
    assert all("ERR_FILE_NOT_FOUND" in text for text in tab.complaints)
    tab.complaints.clear()


@pytest.mark.slow
def test_everything_is_reached_by_the_keyboard(tab: Any) -> None:
    """Each control has a name and shows the focus."""
    reached = []
    for _ in range(11):
        tab.keyboard.press("Tab")
        reached.append(
            tab.evaluate(
                "(() => { const n = document.activeElement; return [n.id || n.className || n.tagName, "
                "n.getAttribute('aria-label') || n.innerText, getComputedStyle(n).outlineStyle]; })()"
            )
        )
    assert [name for name, _, _ in reached] == ["A", "A", "A", "left", "right", "whole", "lined", "cut", *["tile"] * 3]
    assert all(label.strip() and style == "solid" for _, label, style in reached)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(320, 640), (390, 844), (820, 1180), (1440, 900)])
def test_nothing_is_wider_than_the_screen(tab: Any, folder: Path, width: int, height: int) -> None:
    tab.set_viewport_size({"width": width, "height": height})
    for photo in (1, 2):
        visit(tab, folder, photo)
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        stage, nav = tab.locator("#stage").bounding_box(), tab.locator("#photos").bounding_box()
        assert stage["x"] >= 0 and stage["x"] + stage["width"] <= width
        if width > 1000:  # the list is beside the picture, else above it
            assert nav["x"] + nav["width"] <= stage["x"]
        else:
            assert nav["y"] + nav["height"] <= stage["y"]
        assert stage["height"] >= 120 and stage["y"] + stage["height"] <= height


@pytest.mark.slow
def test_dark(tab: Any) -> None:
    tab.emulate_media(color_scheme="dark")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 17, 19)"


@pytest.mark.slow
def test_one_photo_needs_no_list(opened: Any, folder: Path) -> None:
    write_page(folder / "single", [one(results=(Shown("lama", "", None, ""),))])
    (folder / "single" / "photo.png").write_bytes((folder / "photo.png").read_bytes())
    opened.goto((folder / "single" / "index.html").as_uri())
    assert opened.locator("#photos").is_hidden() and opened.locator("#key-photo").is_hidden()
    assert opened.title() == "street.jpg, erased"
    assert opened.locator("#why").inner_text() == "lama: no picture"
