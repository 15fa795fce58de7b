"""A page that compares the results of several erasers on a few photos, with a slider, around the erased place.

OUT/index.html is one file. It loads nothing but the pictures that it names by relative URLs, so the folder can be moved,
zipped and opened from disk.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from base64 import b64encode
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from olrd.errors import UsageError
from olrd.panoptic import Box
from olrd.storage.files import write_atomic
from olrd.trust import printable, shown, without_folders

CONTEXT = 0.5
"""What the crop shows on each side of the erased place, as a share of the longer side of its box."""
SMALLEST = 64
"""Shortest side of the crop in pixels, before the photo's edges cut it. Less would show single pixels."""

_URL = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=@/-]|%[0-9A-Fa-f]{2})+")
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


class Shown(NamedTuple):
    """The result of one method.

    Attributes:
        name: The method, as it is shown.
        file: The picture, as a URL relative to the page: `/` between folders, other characters as `urllib.parse.quote`
            writes them. Empty if there is none; `note` then says why.
        seconds: Time of the method, or None.
        note: A remark below the picture; may be empty.
    """

    name: str
    file: str
    seconds: float | None
    note: str


class Comparison(NamedTuple):
    """A photo and its results. All pictures show the same scene, and those in one size are compared pixel by pixel.

    Attributes:
        title: The photo's name, as it is shown.
        photo: The photo, as a relative URL.
        mask_outline: A transparent PNG of the photo's size with the outline of the mask, as a relative URL, or None.
        size: Width and height of the photo in pixels.
        box: The erased place. An empty one shows the whole photo.
        results: One per method, in the order of the page.
    """

    title: str
    photo: str
    mask_outline: str | None
    size: tuple[int, int]
    box: Box
    results: tuple[Shown, ...]


def write_page(out: Path, comparisons: Sequence[Comparison]) -> None:
    """Write `out/index.html`, complete or not at all. Makes `out` where it is missing.

    Names may come from strangers: they are shown as text, and absolute paths in them are cut to their last name.

    Args:
        out: Folder of the page. The pictures lie in it or below it; they are not read.
        comparisons: The photos, in the order of the page.

    Raises:
        UsageError: There is nothing to show, a URL leads out of the folder, a size, a box or a time is impossible.
        OutputError: The disk is full.
    """
    if not comparisons:
        raise UsageError("a page of comparisons needs at least one photo, got none")
    values = {"comparisons": [_values(found) for found in comparisons]}
    template = resources.files("baselines.photos").joinpath("page.html").read_text(encoding="utf-8")
    # The policy first: what it allows is the template's own code, whatever the data contain.
    page = template.replace("__POLICY__", policy(template)).replace("__DATA__", _payload(values))
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "index.html", page)


def view(box: Box, size: tuple[int, int]) -> Box:
    """The crop to show: the erased place with `CONTEXT` around it, inside the photo.

    Args:
        box: The erased place, inside the photo; may be empty.
        size: Width and height of the photo.
    """
    width, height = size
    if box.w == 0 or box.h == 0:
        return Box(0, 0, width, height)
    margin = math.ceil(CONTEXT * max(box.w, box.h))
    left, right = _side(box.x, box.w, margin, width)
    top, bottom = _side(box.y, box.h, margin, height)
    return Box(left, top, right - left, bottom - top)


def _side(start: int, length: int, margin: int, limit: int) -> tuple[int, int]:
    """The first pixel of one side of the crop, and the one after its last."""
    margin = max(margin, math.ceil((SMALLEST - length) / 2))
    return max(0, start - margin), min(limit, start + length + margin)


def policy(template: str) -> str:
    """The page's Content-Security-Policy: pictures from the page's own folder, and the template's code by its hash.

    Code that someone smuggled in has another hash, so the browser does not run it.
    """
    rules = ["default-src 'none'", "img-src 'self' file:"]  # 'self' covers a server, file: a page on the disk
    for kind, text in _INLINE.findall(template):
        digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
        rules.append(f"{kind}-src 'sha256-{digest}'")
    return "; ".join([*rules, "base-uri 'none'", "form-action 'none'"])


def _values(found: Comparison) -> dict[str, Any]:
    """A comparison as the page's script reads it."""
    title, width, height = found.title, *found.size
    if width < 1 or height < 1:
        raise UsageError(f"{shown(title)}: expected a size of at least 1 x 1 pixels, got {width} x {height}")
    x, y, w, h = found.box
    if min(x, y, w, h) < 0 or x + w > width or y + h > height:
        raise UsageError(f"{shown(title)}: the box {w} x {h} at {x}, {y} is not inside the photo of {width} x {height}")
    if not found.results:
        raise UsageError(f"{shown(title)}: expected the result of at least one method, got none")
    outline = found.mask_outline
    return {
        "title": _text(title),
        "photo": _url(found.photo, title),
        "outline": None if outline is None else _url(outline, title),
        "size": [width, height],
        "box": [x, y, w, h],
        "view": list(view(found.box, found.size)),
        "results": [_result(result, title) for result in found.results],
    }


def _result(result: Shown, title: str) -> dict[str, Any]:
    seconds = result.seconds
    if seconds is not None and not 0 <= seconds < math.inf:  # also refuses NaN, which JSON does not know
        raise UsageError(f"{shown(title)}: {shown(result.name)} took {seconds} s, expected a finite time or None")
    return {
        "name": _text(result.name),
        "file": _url(result.file, title) if result.file else "",
        "seconds": seconds,
        "note": _text(result.note),
    }


def _text(text: str) -> str:
    """A stranger's text for the page: no folders of this machine, no characters that turn the reading direction."""
    return printable(str(without_folders(text)))


def _url(url: str, title: str) -> str:
    """Check that a URL is relative and stays in the page's folder. Browsers read `%2e%2e` as `..`, so it is decoded."""
    plain = unquote(url)
    inside = not {"", ".", ".."} & set(plain.split("/"))
    if _URL.fullmatch(url) and inside and not re.search(r"[\\\x00-\x1f\x7f]", plain):
        return url
    raise UsageError(
        f"{shown(title)}: {shown(url)} is not a relative URL below the page's folder; expected one such as "
        "lama/photo%201.png (urllib.parse.quote writes it)"
    )


def _payload(values: dict[str, Any]) -> str:
    """The data as JSON. It cannot close the script element around it."""
    return json.dumps(values, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
