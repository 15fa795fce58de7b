"""The interface for programs: `benchmark.run`, `benchmark.compare` and `benchmark.score`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmark.datasets import Sample
from benchmark.protocol import load_protocol
from benchmark.regions import MODES
from benchmark.scoring import CHANGES, Metrics, open_metrics
from benchmark.scoring import score as score_sample
from olrd.arrays import Image, Mask
from olrd.errors import UsageError, did_you_mean
from olrd.options import fitted
from olrd.trust import shown

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.runner.results import Run


def run(
    method: str,
    dataset: str = "olrd",
    root: str | Path | None = None,
    out: str | Path | None = None,
    workers: int = 1,
    **settings: Any,
) -> Run:
    """Erase and score every sample of a dataset, as `benchmark run` does.

    The same call continues an interrupted run. A finished run is opened and not made again.

    Args:
        method: name of an eraser, e.g. `opencv-telea`; `benchmark list` shows all.
        dataset: name of a dataset.
        root: folder or Hub id of the dataset. Without it, `olrd` uses the embedded photos.
        out: folder of the run; by default `runs/DATASET/PROTOCOL/METHOD`, with a suffix for settings that are not at
            their defaults.
        workers: number of processes that erase and score.
        **settings: further fields of `benchmark.runner.request.Request`: `protocol`, `options` (of the eraser),
            `data_options`, `device`, `batch`, `limit`, `save`, `seed`, `disturbance`, `retry_failed`.

    Returns:
        The finished run: `run.summary` holds means and intervals, `run.samples()` a DataFrame with one row per sample.

    Raises:
        olrd.errors.OlrdError: a name is unknown, or weights or data are missing. The message says what to do.

    Example:
        >>> import benchmark
        >>> run = benchmark.run("mean-fill", limit=2, device="cpu")
        >>> run.folder.as_posix()
        'runs/olrd-first2/native/mean-fill'
        >>> run.summary.scores["psnr/mask/raw"].n
        2
        >>> list(run.samples()[["status", "width"]].columns)
        ['status', 'width']
    """
    from benchmark.runner.request import Request
    from benchmark.runner.run import run as run_request
    from olrd.engines import EngineSpec

    known = [field.name for field in fields(Request)]
    if unknown := sorted(settings.keys() - set(known)):
        raise did_you_mean("setting of a run", unknown[0], known)
    request = Request(method=method, dataset=dataset, root=None if root is None else str(root), **settings)
    folder = None if out is None else _folder(out, "the run")
    return run_request(request, folder, EngineSpec(workers=workers))


def compare(
    a: Run | str | Path,
    b: Run | str | Path,
    scores: str | Sequence[str] = (),
    by: str | None = None,
    sizes: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Compare two runs by their paired differences A - B on the same samples, as `benchmark compare` does.

    Args:
        a: a finished run, its folder, or a row of a leaderboard such as `leaderboards/olrd-demo#patchmatch`.
        b: the run to compare with, given in the same way. Protocol, data and metric revisions must be equal.
        scores: columns to compare, e.g. `psnr/mask/raw`; by default the headline scores.
        by: compare within groups of samples: `area`, `category`, `background` or `placement`.
        sizes: the difference for which `photos_needed` is computed, by score or metric, e.g. {"psnr": 0.5}; by default
            the mean difference.

    Returns:
        One row per score (and group): `mean` difference, its 95 % interval (`low`, `high`, or `no_interval`: why there
        is none), `p` of a sign-flip test over source photos (or `no_test`), `n` samples, `clusters` (source photos),
        `p_holm`, corrected over all rows with a test, `verdict` in words, `higher_is_better`, the number of source
        photos (`photos_needed`) that finds a difference of `size`, the difference that these photos find
        (`detectable`), and the names of both sides (`a`, `b`).

    Example:
        >>> import benchmark
        >>> a = benchmark.run("mean-fill", limit=2, device="cpu")
        >>> b = benchmark.run("identity", limit=2, device="cpu")
        >>> table = benchmark.compare(a, b)
        >>> table["score"].tolist()
        ['lpips-alex/mask/raw', 'psnr/mask/raw', 'ssim/mask/raw', 'regrowth/mask/raw', 'change/outside/raw']
        >>> bool(table["mean"][0] < 0)  # a fill is nearer to the truth than the object
        True
    """
    from benchmark.board.compare import compare as compare_runs
    from benchmark.board.compare import usual_scores
    from benchmark.board.published import open_scored
    from benchmark.runner.results import Run

    left = a if isinstance(a, Run) else open_scored(_folder(a, "a run"), b if isinstance(b, Run) else None)
    right = b if isinstance(b, Run) else open_scored(_folder(b, "a run"), left)
    names = (scores,) if isinstance(scores, str) else fitted(tuple[str, ...], scores, "scores")
    return compare_runs(left, right, list(names) or usual_scores(left.summary), by, sizes)


def _folder(where: object, what: str) -> Path:
    if isinstance(where, str | os.PathLike):
        return Path(where)
    raise UsageError(f"expected the folder of {what}, got {shown(where)}")


def score(
    result: Image,
    truth: Image,
    mask: Mask,
    image: Image | None = None,
    metrics: str | Sequence[str] = ("psnr", "ssim", "lpips-alex"),
    device: str = "auto",
) -> dict[str, float]:
    """Score one erased photo against its ground truth.

    Columns and values are those of `samples.parquet` under the protocol `native`.

    Args:
        result: what the eraser returned, uint8 [H, W, 3].
        truth: the photo without the object, uint8 [H, W, 3].
        mask: what was erased, bool [H, W], True = erase.
        image: the photo with the object, uint8 [H, W, 3]. With it, the scores also include those of the composited
            result and the change outside the mask.
        metrics: names of metrics that score single pictures, or one name. `psnr` and `ssim` need no torch.
        device: `auto`, `cpu`, `cuda`, ... for metrics that run a network.

    Returns:
        Scores by column, e.g. `psnr/mask/raw`. A score that is not defined, such as the PSNR of equal pictures, is NaN.

    Raises:
        UsageError: an input is not an array or has a wrong type or shape, or a metric is unknown or scores whole sets.

    Example:
        >>> import benchmark, numpy as np
        >>> truth = np.full((64, 64, 3), 128, np.uint8)
        >>> mask = np.zeros((64, 64), bool)
        >>> mask[16:32, 16:32] = True
        >>> result = np.where(mask[..., None], truth + 10, truth)
        >>> round(benchmark.score(result, truth, mask, metrics=["psnr"])["psnr/mask/raw"], 2)
        28.13
    """
    _check("mask", mask, np.bool_)
    for name, pixels in (("result", result), ("truth", truth), *([] if image is None else [("image", image)])):
        _check(name, pixels, np.uint8, (*mask.shape, 3))
    names = (metrics,) if isinstance(metrics, str) else fitted(tuple[str, ...], metrics, "metrics")
    opened = _metrics(names, fitted(str, device, "device"))
    if image is None and (lost := [m.info.name for m in opened.samples if m.info.needs_image]):
        raise UsageError(f"{lost[0]} compares with the photo with the object: give it as image=")
    # Without the photo, the result stands in for it: then composited equals raw and costs nothing.
    sample = Sample("", "", result if image is None else image, mask, truth)
    values = score_sample(sample, result, opened, load_protocol("native")).values
    if image is None:
        unknown = (f"/{MODES[1]}", *(f"{change}/outside/{MODES[0]}" for change in CHANGES))
        values = {column: value for column, value in values.items() if not column.endswith(unknown)}
    return {column: float("nan") if value is None else value for column, value in values.items()}


@lru_cache(maxsize=8)  # networks are loaded once, not for every picture
def _metrics(names: tuple[str, ...], device: str) -> Metrics:
    opened = open_metrics(replace(load_protocol("native"), metrics=names), device)
    if opened.sets:
        raise UsageError(f"{opened.sets[0].info.name} scores whole sets, not single pictures: use benchmark.run")
    return opened


def _check(name: str, pixels: object, dtype: type[np.generic], shape: tuple[int, ...] | None = None) -> None:
    """Raise `UsageError` unless it is an array of this type and shape, and not empty. shape: None for any [H, W]."""
    if not isinstance(pixels, np.ndarray):
        found = shown(pixels) if pixels is None or isinstance(pixels, str) else f"a {type(pixels).__name__}"
    elif pixels.dtype != dtype or not pixels.size or (pixels.ndim != 2 if shape is None else pixels.shape != shape):
        found = f"{pixels.dtype} {list(pixels.shape)}"
    else:
        return
    wanted = "[H, W]" if shape is None else str(list(shape))
    raise UsageError(f"{name}: expected {np.dtype(dtype).name} {wanted}, got {found}")
