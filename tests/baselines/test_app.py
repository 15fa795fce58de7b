"""The app: the functions behind its buttons, the folders that it hides, and one erasure in a browser."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from browser import browser
from PIL import Image as Pillow

import baselines.app as app
from baselines.app import steps
from baselines.app.addresses import ALIAS, HiddenFolders, cleaned
from baselines.photos.effects import Effects
from baselines.photos.files import PhotoFile
from baselines.photos.objects import Mapped
from olrd.errors import Rejected, UsageError
from olrd.panoptic import Box, Category, PanopticMap, Segment
from olrd.sources.panoptic.coco import DEMO_ROOT

HEIGHT, WIDTH = 90, 120
EXAMPLE = DEMO_ROOT / "demo" / "000000000003.jpg"


def photo(height: int = HEIGHT, width: int = WIDTH) -> PhotoFile:
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    return PhotoFile(pixels, pixels)


def layer(height: int, width: int, *spots: tuple[int, int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    drawn = np.zeros((height, width, 4), np.uint8)
    for row, column, alpha in spots:
        drawn[row, column] = (230, 40, 40, alpha)
    return drawn


def mapped() -> Mapped:
    ids = np.zeros((HEIGHT, WIDTH), np.uint32)
    ids[10:20, 10:30], ids[40:45, 50:60] = 1, 2
    segments = (Segment(1, 1, 200, Box(10, 10, 20, 10), False), Segment(2, 1, 50, Box(50, 40, 10, 5), False))
    return Mapped(PanopticMap(ids, segments), {1: Category(1, "person", "person", True)})


def test_every_touched_pixel_is_marked_however_faint() -> None:
    mask = steps.brushed(
        [layer(HEIGHT, WIDTH, (3, 5, 1), (7, 9, 255)), layer(HEIGHT, WIDTH, (80, 100, 90))], (WIDTH, HEIGHT)
    )
    assert set(zip(*np.nonzero(mask), strict=True)) == {(3, 5), (7, 9), (80, 100)}


def test_a_drawing_on_the_smaller_copy_covers_the_same_place_of_a_large_photo() -> None:
    small = steps.smaller(np.zeros((3000, 4000), np.uint8)).shape
    assert small == (1200, 1600)
    drawing = np.zeros((*small, 4), np.uint8)
    drawing[100:200, 300:500, 3] = 153
    mask = steps.brushed([drawing], (4000, 3000))
    rows, columns = np.nonzero(mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (250, 499, 750, 1249)
    assert mask.sum() == 250 * 500


@pytest.mark.parametrize("shape", [(WIDTH, HEIGHT, 4), (HEIGHT, WIDTH, 3), (HEIGHT, WIDTH + 1, 4), (HEIGHT, WIDTH)])
def test_a_drawing_of_another_form_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="draw it again"):
        steps.brushed([np.full(shape, 255, np.uint8)], (WIDTH, HEIGHT))


def test_brush_and_names_mark_together() -> None:
    mask = steps.marked(photo(), [layer(HEIGHT, WIDTH, (70, 70, 200))], mapped(), ["person:2"])
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[40:45, 50:60] = expected[70, 70] = True
    assert (mask == expected).all()
    assert [name for _, name in steps.listed(mapped())] == ["person:1", "person:2"]


def test_marks_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(UsageError, match="nothing is marked"):
        steps.marked(photo(), [layer(HEIGHT, WIDTH)], None, [])
    with pytest.raises(UsageError, match="another photo"):
        steps.marked(photo(HEIGHT + 1), [], mapped(), ["person"])
    with pytest.raises(UsageError, match="Did you mean 'person'"):
        steps.marked(photo(), [], mapped(), ["persn"])


def test_an_accepted_proposal_holds_for_the_mask_that_was_shown_alone() -> None:
    mask, shadow, none = (np.zeros((HEIGHT, WIDTH), bool) for _ in range(3))
    mask[10:20, 10:20] = shadow[20:24, 10:20] = True
    proposal = steps.Proposal(Effects(shadow, none), steps.digest(mask))
    assert (steps.with_proposal(mask, proposal, True) == (mask | shadow)).all()
    assert (steps.with_proposal(mask, proposal, False) == mask).all()
    changed = mask.copy()
    changed[0, 0] = True
    assert (steps.with_proposal(changed, proposal, False) == changed).all()
    with pytest.raises(UsageError, match="Look again"):
        steps.with_proposal(changed, proposal, True)
    assert "a shadow, blue (0.4 %" in steps.about(proposal)
    picture = steps.drawn(photo(), mask, proposal.effects).astype(int)
    assert picture[11:19, 11:19, 0].mean() > picture[11:19, 11:19, 2].mean() + 60, "the object is red"
    assert picture[21:23, 12:18, 2].mean() > picture[21:23, 12:18, 0].mean() + 60, "the shadow is blue"
    assert (picture[40:] == photo().pixels[40:]).all()


def test_results_change_the_hole_alone_and_keep_size_and_alpha(tmp_path: Path) -> None:
    pixels = photo().pixels
    own = np.dstack([pixels, np.full((HEIGHT, WIDTH), 77, np.uint8)])
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[30:50, 40:70] = True
    file = PhotoFile(pixels, own)
    what = steps.decided(file, mask, 0, ["opencv-telea", "opencv-ns"])
    done = list(steps.results(file, what, ["opencv-telea", "opencv-ns"], steps.Shelf("cpu"), tmp_path, "cat"))
    assert [one.path.name for one in done] == ["cat-opencv-telea.png", "cat-opencv-ns.png"]
    for one in done:
        written = np.asarray(Pillow.open(one.path))
        assert (written[~mask] == own[~mask]).all() and (written[..., 3] == 77).all()
        assert (written[mask] != own[mask]).any(axis=1).mean() > 0.9
        assert steps.caption(one).startswith(f"**{one.name}**, ")
    stored = np.asarray(Pillow.open(steps.write_mask(what, tmp_path, "cat")).convert("L")) > 127
    assert (stored == mask).all()


def test_the_automatic_growth_and_the_limits() -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[20:70, 20:70] = True
    assert steps.decided(photo(), mask, None, ["opencv-telea"]).growth == 2
    assert steps.decided(photo(), mask, 7, ["opencv-telea"]).growth == 7
    with pytest.raises(UsageError, match="at least one"):
        steps.decided(photo(), mask, 0, [])
    with pytest.raises(UsageError, match="at most 4"):
        steps.decided(photo(), mask, 0, list("abcde"))


@pytest.mark.slow
def test_erasers_without_controls_and_a_bounded_shelf(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = steps.Shelf("cpu")
    ready = shelf.ready()
    assert {"opencv-telea", "opencv-ns"} <= set(ready)
    assert not {"ground-truth", "identity", "mean-fill", "blur-fill", "copy-twin", "folder"} & set(ready)
    opened: list[str] = []
    monkeypatch.setattr(steps, "open_eraser", lambda name, device: opened.append(name) or SimpleNamespace(name=name))
    for name in "abcdabcde":
        shelf.take(name)
    assert "".join(opened) == "abcde", "each is opened once"
    shelf.take("a")
    assert "".join(opened) == "abcdea", "the one that was used longest ago has gone"


def test_photos_that_cannot_be_used(tmp_path: Path) -> None:
    for path, error in ((None, "no photo yet"), (str(tmp_path / "gone.jpg"), "drop it again")):
        with pytest.raises(UsageError, match=error):
            steps.opened(path)
    (tmp_path / "text.jpg").write_text("no photo")
    with pytest.raises(Rejected):
        steps.opened(str(tmp_path / "text.jpg"))
    Pillow.new("1", (9000, 8000)).save(tmp_path / "large.png")
    with pytest.raises(Rejected, match="9000 x 8000 is more than"):
        steps.opened(str(tmp_path / "large.png"))


def test_old_results_are_removed_and_names_are_plain(tmp_path: Path) -> None:
    first = steps.new_folder(tmp_path / "results")
    second = steps.new_folder(tmp_path / "results")
    assert first.is_dir() and second.is_dir() and first != second
    third = steps.new_folder(tmp_path / "results", now=lambda: time.time() + steps.KEPT_SECONDS + 60)
    assert not first.exists() and not second.exists() and third.is_dir()
    assert steps.stem_of("/a/b/My <cat> & dog.tar.jpg") == "My--cat----dog-tar"
    assert steps.stem_of("/a/...jpg") == "photo" or "." not in steps.stem_of("/a/...jpg")


def answer(
    folder: str, request: dict[str, Any], body: bytes, reply: list[bytes], kind: str, length: bool = True
) -> Any:
    """Send one request through the middleware: what the app has seen, and what the browser gets."""
    seen: dict[str, Any] = {}
    sent: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        seen.update(
            path=scope["path"], query=scope["query_string"], body=message["body"], headers=dict(scope["headers"])
        )
        headers = [(b"content-type", kind.encode())]
        if length:
            headers.append((b"content-length", str(sum(map(len, reply))).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for number, part in enumerate(reply):
            await send({"type": "http.response.body", "body": part, "more_body": number + 1 < len(reply)})

    parts = [body[: len(body) // 2], body[len(body) // 2 :]]

    async def receive() -> Any:
        return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())],
    }
    asyncio.run(
        HiddenFolders(inner, folder, ["/opt/demo photos"])({**scope, "query_string": b"", **request}, receive, send)
    )
    got = b"".join(one.get("body", b"") for one in sent)
    return seen, got, dict(sent[0]["headers"])


def test_folders_are_hidden_on_the_way_out_and_found_on_the_way_in() -> None:
    folder = "/shared/a b/olrd-app-1"
    body = json.dumps({"path": f"{ALIAS}/x/cat.jpg"}).encode()
    reply = [
        b'{"path": "/shared/a b/olr',
        b'd-app-1/y.png", "url": "/file=/shared/a%20b/olrd-app-1/y.png", "demo": "/opt/demo photos/1"}',
    ]
    request = {"path": f"/gradio_api/file={ALIAS}/y.png", "query_string": b"path=%2Folrd-files%2Fz"}
    seen, got, headers = answer(folder, request, body, reply, "application/json")
    assert seen["path"] == "/gradio_api/file=/shared/a b/olrd-app-1/y.png"
    assert seen["query"] == b"path=%2Fshared%2Fa%20b%2Folrd-app-1%2Fz"
    assert json.loads(seen["body"]) == {"path": "/shared/a b/olrd-app-1/x/cat.jpg"}
    assert int(seen["headers"][b"content-length"]) == len(seen["body"])
    assert json.loads(got) == {"path": f"{ALIAS}/y.png", "url": f"/file={ALIAS}/y.png", "demo": f"{ALIAS}/1"}
    assert int(headers[b"content-length"]) == len(got)


def test_streams_are_sent_at_once_and_pictures_are_not_touched() -> None:
    stream = [b'data: {"path": "/shared/f/1"}\n\n', b'data: {"path": "/shared/f/2"}\n\n']
    _, got, _ = answer("/shared/f", {"path": "/"}, b"{}", stream, "text/event-stream; charset=utf-8", length=False)
    assert got == f'data: {{"path": "{ALIAS}/1"}}\n\ndata: {{"path": "{ALIAS}/2"}}\n\n'.encode()
    picture = [b"\x89PNG/shared/f/1"]
    assert answer("/shared/f", {"path": "/"}, b"{}", picture, "image/png")[1] == picture[0]


@pytest.mark.parametrize(
    ("folder", "others"), [("/", []), ("relative", []), ("/shared/f", "/opt"), ("/shared/f", ["/"])]
)
def test_the_root_and_a_bare_text_are_no_folders_to_hide(folder: str, others: Any) -> None:
    with pytest.raises(ValueError, match="absolute folders"):
        HiddenFolders(lambda *_: None, folder, others)  # type: ignore[arg-type, return-value]


def test_messages_name_no_folder_and_are_no_html() -> None:
    home, temp = str(Path.home()), tempfile.gettempdir()
    text = cleaned(f"{home}/models/big.pt: damaged, see {temp}/x/<b>.png and {temp}")
    assert home not in text and temp not in text and "<b>" not in text
    assert "big.pt: damaged" in text


def test_a_port_or_device_that_cannot_be_used_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(app.AddressError, match="--port"):
            app.serve("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(UsageError, match="from 1 to 65535"):
        app.serve("127.0.0.1", 70_000)
    with pytest.raises(UsageError, match="device"):
        app.serve("127.0.0.1", 7860, "gpu please")


def test_the_same_versions_are_named_everywhere() -> None:
    root = Path(__file__).parents[2]
    pins = re.findall(r"\S+==[\d.]+", app.INSTALL)
    assert len(pins) == 3
    for file in ("Makefile", "docs/install.md", "docs/erasing.md", ".github/workflows/ci.yml"):
        text = (root / file).read_text(encoding="utf-8")
        assert all(pin in text for pin in pins), file


class Drawn:
    """Finds the objects of a map that was drawn by hand."""

    def map_of(self, pixels: Any) -> Mapped:
        assert pixels.shape == (HEIGHT, WIDTH, 3)
        return mapped()


@pytest.mark.slow
def test_the_steps_of_the_buttons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    gradio = pytest.importorskip("gradio", reason=f"Gradio is not installed: {app.INSTALL}")
    from baselines.app.page import DROP, TAKE, Steps, answering

    path = str(tmp_path / "a cat.png")
    Pillow.fromarray(photo().pixels).save(path)
    page = Steps(steps.Shelf("cpu"), Drawn(), tmp_path / "results")  # type: ignore[arg-type]
    found, choices = page.find(path)
    assert [name for _, name in choices.choices] == ["person:1", "person:2"] and choices.visible
    editor = {"background": None, "layers": [layer(HEIGHT, WIDTH, (70, 70, 200))], "composite": None}
    proposal = page.look(True, path, editor, found, ["person:1"])[1]
    assert proposal.of == steps.digest(steps.marked(photo(), editor["layers"], found, ["person:1"]))
    for decision in (TAKE, DROP):
        given = (path, editor, found, ["person:1"], proposal, decision, ["opencv-telea"], False, 0.0)
        _, mask, column, _, text, download, second, *_ = page.erase(*given, progress=lambda *_, **__: None)
        stored = np.asarray(Pillow.open(mask.value["path"]).convert("L")) > 127
        assert stored.sum() == 201, "the named object and one pixel of the brush"
        result = np.asarray(Pillow.open(download.value["path"]))
        assert (result[~stored] == photo().pixels[~stored]).all()
        assert column.visible and not second.visible and text.value.startswith("**opencv-telea**")
    with pytest.raises(gradio.Error, match="draw it again") as caught:
        answering(page.look)(True, path, {"layers": [layer(9, 9)]}, None, [])
    assert str(tmp_path) not in str(caught.value)

    def fails() -> None:
        raise RuntimeError(f"{tmp_path} is secret")

    with pytest.raises(gradio.Error, match="RuntimeError") as caught:
        answering(fails)()
    assert str(tmp_path) not in str(caught.value)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The app in a process of its own: its address."""
    pytest.importorskip("gradio", reason=f"Gradio is not installed: {app.INSTALL}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "baselines.cli.erase", "--app", "--port", str(port), "--device", "cpu"]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    variables = os.environ | {"TMPDIR": str(folder), "HF_HUB_OFFLINE": "1", "PYTHONPATH": paths}
    variables.pop("DISPLAY", None)
    with subprocess.Popen(command, env=variables, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = ""
            while "the app is at" not in said:
                line = process.stderr.readline()
                assert line, f"the app ended: {said}"
                said += line
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.slow
def test_an_object_is_brushed_and_erased_in_a_browser(tmp_path: Path) -> None:
    folder = tmp_path / "temporary-of-ann"
    folder.mkdir()
    private = [str(folder).encode(), str(Path.home()).encode() + b"/", str(DEMO_ROOT.parents[2]).encode()]
    elsewhere: list[str] = []
    answers: list[tuple[str, bytes]] = []

    def seen(response: Any) -> None:
        if any(kind in response.headers.get("content-type", "") for kind in ("json", "html", "event-stream", "plain")):
            with suppress(Exception):  # the body of a stream that is still open
                answers.append((response.url, response.body()))

    with serving(folder) as url, browser() as chromium:
        page = chromium.new_page(viewport={"width": 900, "height": 700})
        page.set_default_timeout(60_000)
        page.on("response", seen)
        page.on(
            "request", lambda one: None if one.url.startswith((url, "data:", "blob:")) else elsewhere.append(one.url)
        )
        for outside in ("/etc/passwd", f"{ALIAS}/../../etc/passwd", f"{ALIAS}/%2e%2e/%2e%2e/etc/passwd"):
            assert page.request.get(f"{url}/gradio_api/file={outside}").status in (403, 404)
        page.goto(url)
        page.locator("#erase").click()
        page.get_by_text("there is no photo yet").wait_for()
        page.locator("#examples button").nth(2).click()
        page.locator("#photo").get_by_text("000000000003").wait_for()
        canvas = page.locator("#editor canvas").first
        canvas.wait_for()
        page.wait_for_timeout(3000)  # the editor fades the photo in
        canvas.scroll_into_view_if_needed()
        box = canvas.bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 80, y + 30, steps=3)
        page.mouse.up()
        page.wait_for_timeout(1500)
        page.locator("#automatic input").uncheck()
        page.locator("#growth").wait_for()
        page.locator("#erasers input").click()
        page.get_by_role("option", name="opencv-telea").click()
        page.locator("#erasers input").press("Escape")
        page.locator("#erasers .token", has_text="patchmatch").locator(".token-remove").click()
        page.locator("#erase").click()
        page.locator("#caption-0", has_text="opencv-telea").wait_for()
        files = {}
        for name in ("#download-0", "#mask"):
            with page.expect_download() as waiting:
                page.locator(name).click()
            files[name] = (waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes())
        page.wait_for_timeout(500)
    assert files["#download-0"][0] == "000000000003-opencv-telea.png"
    result = np.asarray(Pillow.open(io.BytesIO(files["#download-0"][1])))
    mask = np.asarray(Pillow.open(io.BytesIO(files["#mask"][1])).convert("L")) > 127
    original = steps.opened(str(EXAMPLE)).pixels
    assert result.shape == original.shape
    changed = (result != original).any(axis=2)
    assert not (changed & ~mask).any(), "pixels outside the stroke changed"
    assert changed[mask].mean() > 0.9
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    assert 0.001 < mask.mean() < 0.1 and np.ptp(columns) > np.ptp(rows), "the mask is the stroke"
    assert abs(rows.min() - height / 2) < 40 and abs(columns.min() - width / 2) < 40, "it begins in the middle"
    assert not elsewhere, "nothing is loaded from the network"
    assert any(ALIAS.encode() in body for _, body in answers)
    for address, body in answers:
        assert not any(name in body or name in address.encode() for name in private), address
    assert not list(folder.glob("olrd-app-*")), "the app leaves its files behind"
