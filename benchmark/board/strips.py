"""Thumbnails of three samples per method, as one strip, and the strips that a page shows.

    BOARD/pictures/<dataset>/<protocol id>-<fingerprint>/input.webp, truth.webp
    BOARD/pictures/<dataset>/<protocol id>-<fingerprint>/<method>-<hash>.webp      the hash is of the method's identity

The samples are the same for all methods: those whose masks are at a sixth, a half and five sixths of all masks by area.
Each thumbnail is a square around the mask. They are made from a run's saved pictures, and only on request, because they
are pictures of the dataset's photos, which not every licence lets publish.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image as Pillow

from benchmark.board.ranking import Section, settings_of
from benchmark.board.records import portable, safe_name
from benchmark.crops import crop_box
from benchmark.datasets import DataSet, open_dataset
from benchmark.runner.outputs import check_saved, saved_output
from benchmark.runner.request import DataChoice
from benchmark.runner.results import Run
from benchmark.scoring import prepared
from olrd.arrays import Image, decode_photo
from olrd.dataset.sheet import ACCENT
from olrd.errors import IntegrityError, OlrdError, UsageError
from olrd.masks import outline
from olrd.panoptic import Box
from olrd.storage.files import read_regular, sha256, write_atomic

SHOWN = 3
SIDE, GAP = 160, 4
"""Sides of a thumbnail and the space between two, in pixels."""
WIDTH = SHOWN * SIDE + (SHOWN - 1) * GAP
"""Of a strip."""
CONTEXT, SMALLEST = 1.8, 96
"""Side of the square around a mask in sides of the mask's box, and its least number of pixels."""
QUALITY = 78
MAX_BYTES = 200_000
"""Largest file of a strip. Our own have about 15 kB."""
INPUT, TRUTH = "input", "truth"


def add_all_strips(folders: Sequence[Path], board: Path, choice: DataChoice) -> list[Path]:
    """Write the strips of runs to a board; submissions among the folders are left out.

    Args:
        folders: of runs and others.
        board: the folder of the board.
        choice: the dataset of the runs; without a name that of each run.

    Raises:
        UsageError: none of the folders is a run.
        OlrdError: as `add_strips`.
    """
    runs = [Run(folder) for folder in folders if (folder / "summary.json").is_file()]
    if not runs:
        raise UsageError("--thumbnails needs the folder of at least one run that was made with --save")
    opened: dict[str, DataSet] = {}
    written = []
    for run in runs:
        name = choice.dataset or run.summary.request.dataset
        if name not in opened:
            opened[name] = open_dataset(name, choice.root, choice.data_options)
        written += add_strips(run, opened[name], board)
    return list(dict.fromkeys(written))


def add_strips(run: Run, data: DataSet, board: Path) -> list[Path]:
    """Write the strip of a run to a board, and those of its inputs and truths.

    Args:
        run: a run with saved pictures.
        data: the dataset of the run.
        board: the folder of the board.

    Returns:
        The paths of the strips.

    Raises:
        UsageError: the dataset is another one.
        SourceError: the run has no saved pictures.
        IntegrityError: a saved picture is not the one that was scored.
    """
    record = portable(run.summary)
    if data.fingerprint != record.dataset.fingerprint:
        raise UsageError(
            f"{run.folder} was made on data with the fingerprint {record.dataset.fingerprint}, {data.name} has "
            f"{data.fingerprint}: give --dataset, --root and --data-option of that run"
        )
    check_saved(run)
    frame = run.samples().drop_duplicates("id").set_index("id")
    numbers = {name: k for k, name in enumerate(data.ids())}
    parts: dict[str, list[Image | None]] = {INPUT: [], TRUTH: [], "output": []}
    for name in chosen(frame):
        sample = prepared(data.sample(numbers[name]), record.protocol)
        box, row = crop_box(sample.mask, CONTEXT, 0, SMALLEST), frame.loc[name]
        output = saved_output(run, name, row.output_sha256) if row.status == "ok" else None
        marked = sample.image.copy()
        marked[outline(sample.mask, max(1.0, max(box.w, box.h) / SIDE))] = ACCENT
        for part, pixels in ((INPUT, marked), (TRUTH, sample.truth), ("output", output)):
            parts[part].append(None if pixels is None else thumbnail(pixels, box))
    method = record.method
    identity = method.name, method.revision, settings_of(record), method.device
    folder = folder_of(board, record.dataset.name, record.protocol_id, record.dataset.fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    files = {INPUT: f"{INPUT}.webp", TRUTH: f"{TRUTH}.webp", "output": file_of(*identity)}
    written = []
    for part, pictures in parts.items():
        if any(picture is not None for picture in pictures):
            written.append(folder / files[part])
            write_atomic(written[-1], encoded(pictures))
    return written


def chosen(frame: pd.DataFrame) -> list[str]:
    """The ids of the samples to show, small masks first. frame: the rows of a run by id."""
    areas = sorted((float(share), str(name)) for name, share in frame.mask_share.items() if share > 0)
    if len(areas) <= SHOWN:
        return [name for _, name in areas]
    return [areas[len(areas) * (2 * k + 1) // (2 * SHOWN)][1] for k in range(SHOWN)]


def thumbnail(pixels: Image, box: Box) -> Image:
    """The square around a box of a photo, [SIDE, SIDE, 3]. What lies outside the photo repeats its edge."""
    side = max(box.w, box.h)
    left, top = box.x + (box.w - side) // 2, box.y + (box.h - side) // 2
    rows = np.arange(top, top + side).clip(0, pixels.shape[0] - 1)
    columns = np.arange(left, left + side).clip(0, pixels.shape[1] - 1)
    cut = np.ascontiguousarray(pixels[rows[:, None], columns])
    return np.asarray(cv2.resize(cut, (SIDE, SIDE), interpolation=cv2.INTER_AREA if side > SIDE else cv2.INTER_CUBIC))


def encoded(pictures: Sequence[Image | None]) -> bytes:
    """A strip as WebP. A picture that is missing is grey."""
    strip = np.full((SIDE, WIDTH, 3), 255, np.uint8)
    for k in range(SHOWN):
        at = k * (SIDE + GAP)
        found = pictures[k] if k < len(pictures) else None
        strip[:, at : at + SIDE] = 128 if found is None else found
    buffer = io.BytesIO()
    Pillow.fromarray(strip).save(buffer, "WEBP", quality=QUALITY, method=4)
    return buffer.getvalue()


def strips_of(section: Section, board: Path) -> dict[str, str]:
    """The strips of a section as data URIs: `input`, `truth`, and those of runs by `Row.key`, where there are some.

    Raises:
        IntegrityError: a file is no strip.
    """
    folder = folder_of(board, section.dataset, section.protocol, section.fingerprint)
    files = {INPUT: f"{INPUT}.webp", TRUTH: f"{TRUTH}.webp"}
    files |= {row.key: file_of(row.method, row.revision, row.settings, row.device) for row in section.ranked}
    found = {name: folder / file for name, file in files.items() if (folder / file).exists()}
    return {name: _uri(path, board) for name, path in found.items()}


def folder_of(board: Path, dataset: str, protocol: str, fingerprint: str) -> Path:
    """The folder of the strips of one set of samples."""
    return board / "pictures" / safe_name(dataset) / safe_name(f"{protocol}-{fingerprint}")


def file_of(method: str, revision: str, settings: str, device: str) -> str:
    """The name of a run's strip. Scores have no part in it, so a strip stays when a metric changes."""
    digest = sha256(json.dumps([method, revision, settings, device]).encode())[:8]
    return f"{safe_name(method)[:40]}-{digest}.webp"


def captioned(section: Section, strips: Mapping[str, str], names: Sequence[str]) -> list[tuple[str, str]]:
    """A caption and a data URI for each strip, in the order of the page. A control whose pictures are the truth is not
    shown a second time. names: of the ranked rows."""
    shown = [("the photo, with the outline of what is erased", INPUT), ("ground truth", TRUTH)]
    for row, name in zip(section.ranked, names, strict=True):
        if not (row.control and strips.get(row.key) == strips.get(TRUTH)):
            shown.append((f"{row.rank}. {name}" if row.rank else f"{name} (control)", row.key))
    return [(caption, strips[key]) for caption, key in shown if key in strips]


def _uri(path: Path, board: Path) -> str:
    """A strip as data URI. A board may come from a stranger, so the file is decoded and must have a strip's size."""
    try:
        data = read_regular(path, board, MAX_BYTES)
        pixels = decode_photo(data, path.name, max_pixels=SIDE * WIDTH).pixels
    except (OSError, OlrdError) as error:
        raise IntegrityError(f"{path} is no strip of thumbnails: {error}; remove it, or add the run again") from error
    if pixels.shape != (SIDE, WIDTH, 3) or data[8:12] != b"WEBP":
        raise IntegrityError(f"{path} is no strip of thumbnails, which is WebP of {SHOWN} squares; remove it")
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"
