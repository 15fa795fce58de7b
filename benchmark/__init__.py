"""Score erasers: `run` one on a dataset, `compare` two runs, `score` one picture.

Score an eraser triplet by triplet:

>>> import baselines, benchmark, olrd
>>> triplets = olrd.build("coco", out="triplets/coco", limit=1, size=256)
>>> eraser = baselines.open_eraser("opencv-telea")
>>> for triplet in triplets:
...     result = eraser.erase(triplet.image, triplet.mask)
...     scores = benchmark.score(result, triplet.background, triplet.mask)
...     print(triplet.id, round(scores["psnr/mask/raw"]), "dB")
demo-1-12339170-0 24 dB

Score it on a whole dataset, with intervals:

>>> run = benchmark.run("opencv-telea", limit=2, device="cpu")
>>> run.summary.n
2
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmark.api import compare as compare
    from benchmark.api import run as run
    from benchmark.api import score as score

__all__ = ["compare", "run", "score"]


def __getattr__(name: str) -> Any:
    """The functions of `benchmark.api`, imported on first use so that `benchmark --help` stays light."""
    if name in __all__:
        import benchmark.api

        return getattr(benchmark.api, name)
    raise AttributeError(f"module 'benchmark' has no attribute '{name}'")
