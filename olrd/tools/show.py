"""`olrd show`: a contact sheet (PNG) and a self-contained page (HTML) of a dataset."""

from __future__ import annotations

import base64
import io
import json
import math
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from olrd.arrays import MAX_PIXELS
from olrd.dataset.beside import beside, dataset_name
from olrd.dataset.folder import Dataset, row_triplet
from olrd.dataset.sampling import pick_evenly, rows_at
from olrd.dataset.schema import ALL_PICTURES, MASKS
from olrd.dataset.sheet import ACCENT, EFFECT_ACCENT, area_averaged, contact_sheet
from olrd.errors import UsageError
from olrd.masks import outline
from olrd.options import fitted
from olrd.progress import progress_bar
from olrd.storage.files import atomic_path, write_atomic
from olrd.storage.outputs import writing_to

_PAGE_SIDE = 640
"""Longest side of the pictures on the page, in pixels."""


def show(
    folder: Path | str,
    out: Path | str | None = None,
    count: int = 8,
    limit: int = 60,
    seed: int = 0,
    max_pixels: int = MAX_PIXELS,
) -> dict[str, str]:
    """Write `contact.png` and `page.html`. Their rows are spread evenly over the dataset.

    Args:
        folder: of the dataset.
        out: the folder to write to; by default `<folder>-show` beside the dataset, or in the current folder if the
            dataset is at a URL. It may not be inside the dataset.
        count: triplets on the contact sheet.
        limit: triplets on the page.
        seed: picks other rows.
        max_pixels: larger pictures are refused.

    Returns:
        The paths of the two files.

    Raises:
        UsageError: a number is under 1, or `out` is inside the dataset.
        IntegrityError: a row or a picture is damaged.
    """
    for flag, number in (("--count", count), ("--page-limit", limit)):
        if fitted(int, number, flag) < 1:
            raise UsageError(f"{flag} is a number of triplets from 1, got {number}")
    dataset = Dataset(folder, max_pixels=max_pixels)
    _need_pictures(dataset)
    target = beside(dataset, "-show", out)
    with writing_to(target, "--out"):
        target.mkdir(parents=True, exist_ok=True)
    contact, page = target / "contact.png", target / "page.html"
    rows = rows_at(dataset, pick_evenly(len(dataset), count, seed))
    sheet = contact_sheet(rows, max_pixels=max_pixels)
    with atomic_path(contact) as temporary:
        Pillow.fromarray(sheet).save(temporary, "PNG", optimize=True)
    write_page(dataset, page, limit, seed)
    return {"contact": str(contact), "page": str(page)}


def _need_pictures(dataset: Dataset) -> None:
    dataset.need_triplets()
    if dataset.form != "full":
        raise UsageError(
            f"{dataset.folder} holds recipes, not pictures: run `olrd rebuild` first and show the folder that it writes"
        )


def write_page(dataset: Dataset, path: Path, limit: int = 60, seed: int = 0) -> None:
    """Write a page with `limit` triplets that opens from disk without a network.

    Pictures are small WebP copies in data URIs. Metadata is JSON with every `<` escaped. The page shows it as text, so
    that it cannot become markup.
    """
    _need_pictures(dataset)
    numbers = pick_evenly(len(dataset), limit, seed)
    entries = []
    with progress_bar("page", len(numbers)) as bar:
        for row in rows_at(dataset, numbers):
            entries.append(_entry(row, dataset.max_pixels))
            bar.update()
    name = dataset_name(dataset)
    payload = json.dumps({"name": name, "total": len(dataset), "rows": entries}, ensure_ascii=True)
    template = resources.files("olrd.tools").joinpath("page.html").read_text(encoding="utf-8")
    write_atomic(path, template.replace("__DATA__", payload.replace("<", "\\u003c")))


def _entry(row: dict[str, Any], max_pixels: int) -> dict[str, Any]:
    """A row for the page: its metadata and three data URIs of equal size."""
    image, mask, background, effect, _ = row_triplet(row, max_pixels)
    scale = min(1.0, _PAGE_SIDE / max(mask.shape))
    size = max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale))
    line = Pillow.new("RGBA", size, (*ACCENT, 0))
    line.putalpha(area_averaged(outline(mask, 1.6 / scale), size))
    if effect is not None:
        rim = area_averaged(outline(effect, 1.6 / scale), size)
        around = Pillow.new("RGBA", size, (*EFFECT_ACCENT, 0))
        around.putalpha(rim)
        line = Pillow.alpha_composite(around, line)
    return {
        "meta": {name: _finite(value) for name, value in row.items() if name not in (*ALL_PICTURES, MASKS)},
        "composite": _data_uri(area_averaged(image, size), "WEBP", quality=80),
        "truth": _data_uri(area_averaged(background, size), "WEBP", quality=80),
        "outline": _data_uri(line, "PNG", optimize=True),
    }


def _finite(value: Any) -> Any:
    """The value; None for a number that JSON does not have."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _data_uri(picture: Pillow.Image, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
