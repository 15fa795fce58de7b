"""Looking at a dataset: one contact sheet (PNG) and one self-contained page (HTML)."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from olrd.arrays import Image, Mask
from olrd.audit.sampling import pick_evenly, rows_at
from olrd.candidates import disc
from olrd.dataset import Dataset, row_triplet
from olrd.errors import UsageError
from olrd.files import atomic_path, write_atomic
from olrd.progress import progress_bar
from olrd.remote import Remote
from olrd.schema import PICTURES

_PAPER, _TILE, _INK, _MUTED = (255, 255, 255), (243, 244, 246), (24, 24, 27), (113, 113, 122)
_ACCENT = (255, 45, 120)
_HEADINGS = ("composite", "mask", "ground truth")
_MARGIN, _GUTTER, _GAP = 32, 36, 6
_PAGE_SIDE = 640
"""Longest side of the page's pictures, in pixels. They are for looking only."""


def show(
    folder: Path | str,
    out: Path | str | None = None,
    count: int = 8,
    limit: int = 60,
    seed: int = 0,
) -> dict[str, str]:
    """Write `contact.png` (`count` triplets) and `page.html` (`limit` triplets); returns their paths.

    out: a folder, by default `<folder>-show` beside the dataset (here, if that lies at a URL). It may not lie inside the dataset,
    whose content is hashed. The rows are spread evenly over the dataset; `seed` picks others.
    """
    dataset = Dataset(folder)
    _need_pictures(dataset)
    home = dataset.folder
    beside = Path.cwd() if isinstance(home, Remote) else home.resolve().parent
    target = beside / f"{_name(dataset)}-show" if out is None else Path(out)
    if isinstance(home, Path) and target.resolve().is_relative_to(home.resolve()):
        raise UsageError(
            f"expected a folder outside {dataset.folder}, got {target}: the dataset's own folder is "
            "covered by hashes; choose another --out"
        )
    target.mkdir(parents=True, exist_ok=True)
    contact, page = target / "contact.png", target / "page.html"
    sheet = contact_sheet(rows_at(dataset, pick_evenly(len(dataset), count, seed)))
    with atomic_path(contact) as temporary:
        Pillow.fromarray(sheet).save(temporary, "PNG", optimize=True)
    write_page(dataset, page, limit, seed)
    return {"contact": str(contact), "page": str(page)}


def _name(dataset: Dataset) -> str:
    home = dataset.folder
    return home.name if isinstance(home, Remote) else home.resolve().name


def _need_pictures(dataset: Dataset) -> None:
    if dataset.form != "full":
        raise UsageError(
            f"{dataset.folder} holds recipes, not pictures: run `olrd rebuild` first and show the "
            "folder that it writes"
        )


def contact_sheet(rows: Iterable[dict[str, Any]], columns: int = 2, width: int = 1320) -> Image:
    """Triplets on one sheet: composite with the mask's outline, mask, ground truth, a caption.

    rows: full rows (see `olrd.schema`). columns: triplets side by side. width: of the sheet, in
    pixels. Returns uint8 [H, width, 3]. Tiles are 4 : 3; pictures keep their aspect in them.
    """
    tile_width = ((width - 2 * _MARGIN - (columns - 1) * _GUTTER) // columns - 2 * _GAP) // 3
    size = tile_width, tile_width * 3 // 4
    cell = size[1] + 62
    drawn = list(rows)
    head = _MARGIN + 24
    height = head + cell * math.ceil(len(drawn) / columns) + _MARGIN - 18
    sheet = Pillow.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    stride = 3 * tile_width + 2 * _GAP + _GUTTER
    for number in range(min(columns, len(drawn))):
        for part, heading in enumerate(_HEADINGS):
            x = _MARGIN + number * stride + part * (tile_width + _GAP)
            draw.text((x, head - 10), heading, _MUTED, ImageFont.load_default(13), anchor="ls")
    for number, row in enumerate(drawn):
        x, y = _MARGIN + number % columns * stride, head + number // columns * cell
        for part, picture in enumerate(_tiles(row, size)):
            sheet.paste(picture, (x + part * (tile_width + _GAP), y))
        _caption(draw, (x, y + size[1]), stride - _GUTTER, row)
    return np.asarray(sheet)


def _tiles(row: dict[str, Any], size: tuple[int, int]) -> list[Pillow.Image]:
    """The three tiles of a row, each of exactly `size` (width, height)."""
    image, mask, background = row_triplet(row)
    scale = min(size[0] / mask.shape[1], size[1] / mask.shape[0])
    inner = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
    outlined = _resized(image, inner)
    outlined.paste(_ACCENT, mask=_resized(outline(mask, 1.6 / scale), inner))
    tiles = []
    for picture in (outlined, _resized(mask, inner).convert("RGB"), _resized(background, inner)):
        tile = Pillow.new("RGB", size, _TILE)
        tile.paste(picture, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
        tiles.append(tile)
    return tiles


def outline(mask: Mask, thickness: float) -> Mask:
    """The pixels just outside bool [H, W] `mask`, up to `thickness` (at least 1) pixels from it."""
    grown = cv2.dilate(mask.view(np.uint8), disc(max(1, round(thickness))))
    line: Mask = grown.view(np.bool_) & ~mask
    return line


def _resized(pixels: npt.NDArray[Any], size: tuple[int, int]) -> Pillow.Image:
    """Area-averaged to (width, height); masks become grey."""
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    return Pillow.fromarray(pixels).resize(size, Pillow.Resampling.BOX)


def _caption(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], width: int, row: dict[str, Any]
) -> None:
    """Two lines under a triplet: what it is, and its prompt with the blend at the right."""
    x, y = corner
    big, small = ImageFont.load_default(15), ImageFont.load_default(12)
    draw.text((x, y + 20), row["category"], _INK, big, anchor="ls")
    draw.text((x + width, y + 20), f"{row['blend']} blend", _MUTED, small, anchor="rs")
    used = draw.textlength(row["category"], big) + 10
    room = width - used - draw.textlength(f"{row['blend']} blend", small) - 10
    draw.text((x + used, y + 20), _fitted(draw, row["id"], small, room), _MUTED, small, anchor="ls")
    text = row["prompt"] or ", ".join(row["background_labels"])
    draw.text((x, y + 37), _fitted(draw, text, small, width), _MUTED, small, anchor="ls")


def _fitted(draw: ImageDraw.ImageDraw, text: str, font: Any, room: float) -> str:
    """`text`, shortened with an ellipsis until it is at most `room` pixels wide."""
    text = " ".join(text.split())
    if draw.textlength(text, font) <= room:
        return text
    while text and draw.textlength(text + "...", font) > room:
        text = text[:-1]
    return text.rstrip() + "..."


def write_page(dataset: Dataset, path: Path, limit: int = 60, seed: int = 0) -> None:
    """Write a page that opens from disk without a network and shows `limit` triplets.

    Pictures are small WebP copies embedded as data URIs. Metadata travels as JSON with every `<`
    escaped and is set as text, never as markup, so no metadata can become part of the page.
    """
    _need_pictures(dataset)
    numbers = pick_evenly(len(dataset), limit, seed)
    entries = []
    with progress_bar("page", len(numbers)) as bar:
        for row in rows_at(dataset, numbers):
            entries.append(_entry(row))
            bar.update()
    name = _name(dataset)
    payload = json.dumps({"name": name, "total": len(dataset), "rows": entries}, ensure_ascii=True)
    template = resources.files("olrd").joinpath("page.html").read_text(encoding="utf-8")
    write_atomic(path, template.replace("__DATA__", payload.replace("<", "\\u003c")))


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    """A row for the page: its metadata and three data URIs of equal size."""
    image, mask, background = row_triplet(row)
    scale = min(1.0, _PAGE_SIDE / max(mask.shape))
    size = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
    line = Pillow.new("RGBA", size, (*_ACCENT, 0))
    line.putalpha(_resized(outline(mask, 1.6 / scale), size))
    return {
        "meta": {name: value for name, value in row.items() if name not in PICTURES},
        "composite": _data_uri(_resized(image, size), "WEBP", quality=80),
        "truth": _data_uri(_resized(background, size), "WEBP", quality=80),
        "outline": _data_uri(line, "PNG", optimize=True),
    }


def _data_uri(picture: Pillow.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
