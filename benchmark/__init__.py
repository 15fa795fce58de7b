"""Scores for erasers: `run` one on a data set, `compare` two runs, `score` one picture.

>>> import benchmark
>>> run = benchmark.run("mean-fill", limit=2, device="cpu")
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
