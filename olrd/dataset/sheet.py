"""The contact sheet: triplets side by side on one picture."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from olrd.arrays import MAX_PIXELS, Image
from olrd.dataset.folder import row_triplet
from olrd.masks import outline
from olrd.triplets.seen_maker import NO_BLEND
from olrd.trust import one_line, printable

ACCENT = (255, 45, 120)
"""The colour of a mask's outline."""
EFFECT_ACCENT = (30, 120, 255)
"""The colour of an effect's outline."""
_PAPER, _TILE, _INK, _MUTED = (255, 255, 255), (243, 244, 246), (24, 24, 27), (113, 113, 122)
_HEADINGS = ("composite", "mask", "ground truth")
_MARGIN, _GUTTER, _GAP = 32, 36, 6
_LONGEST = 500


def contact_sheet(
    rows: Iterable[dict[str, Any]], columns: int = 2, width: int = 1320, max_pixels: int = MAX_PIXELS
) -> Image:
    """Triplets on one sheet: composite with the mask's outline, mask, ground truth and a caption.

    Tiles are 4 : 3; pictures keep their aspect in them.

    Args:
        rows: full rows (see `olrd.dataset.schema`).
        columns: triplets side by side.
        width: of the sheet, in pixels.
        max_pixels: larger pictures are refused.

    Returns:
        uint8 [H, width, 3].
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
        for part, picture in enumerate(_tiles(row, size, max_pixels)):
            sheet.paste(picture, (x + part * (tile_width + _GAP), y))
        _caption(draw, (x, y + size[1]), stride - _GUTTER, row)
    return np.asarray(sheet)


def _tiles(row: dict[str, Any], size: tuple[int, int], max_pixels: int) -> list[Pillow.Image]:
    """The three tiles of a row, each of exactly `size` (width, height)."""
    image, mask, background, effect, _ = row_triplet(row, max_pixels)
    scale = min(size[0] / mask.shape[1], size[1] / mask.shape[0])
    inner = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
    outlined = area_averaged(image, inner)
    outlined.paste(ACCENT, mask=area_averaged(outline(mask, 1.6 / scale), inner))
    shown = area_averaged(mask, inner)
    if effect is not None:
        outlined.paste(EFFECT_ACCENT, mask=area_averaged(outline(effect, 1.6 / scale), inner))
        shown = area_averaged(mask * np.uint8(127) + effect * np.uint8(128), inner)
    tiles = []
    for picture in (outlined, shown.convert("RGB"), area_averaged(background, inner)):
        tile = Pillow.new("RGB", size, _TILE)
        tile.paste(picture, ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
        tiles.append(tile)
    return tiles


def area_averaged(pixels: npt.NDArray[Any], size: tuple[int, int]) -> Pillow.Image:
    """Resize to (width, height) by area averaging. Masks become grey."""
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    return Pillow.fromarray(pixels).resize(size, Pillow.Resampling.BOX)


def _caption(draw: ImageDraw.ImageDraw, corner: tuple[int, int], width: int, row: dict[str, Any]) -> None:
    """Write two lines under a triplet: class, id and blend; then the prompt."""
    x, y = corner
    big, small = ImageFont.load_default(15), ImageFont.load_default(12)
    category = _words(row["category"])
    blend = "as photographed" if row["blend"] == NO_BLEND else f"{_words(row['blend'])} blend"
    draw.text((x, y + 20), category, _INK, big, anchor="ls")
    draw.text((x + width, y + 20), blend, _MUTED, small, anchor="rs")
    used = draw.textlength(category, big) + 10
    room = width - used - draw.textlength(blend, small) - 10
    draw.text((x + used, y + 20), _fitted(draw, _words(row["id"]), small, room), _MUTED, small, anchor="ls")
    text = row["prompt"] or ", ".join(map(str, row["background_labels"] or ()))
    draw.text((x, y + 37), _fitted(draw, _words(text), small, width), _MUTED, small, anchor="ls")


def _words(value: object) -> str:
    """A text of a row as one line that is short enough to be measured."""
    return one_line(printable(str("" if value is None else value)[:_LONGEST]))


def _fitted(draw: ImageDraw.ImageDraw, text: str, font: Any, room: float) -> str:
    """`text`, shortened with an ellipsis to at most `room` pixels."""
    if draw.textlength(text, font) <= room:
        return text
    while text and draw.textlength(text + "...", font) > room:
        text = text[:-1]
    return text.rstrip() + "..."
