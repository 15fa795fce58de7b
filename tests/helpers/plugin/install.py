"""Makes the toys an installed distribution, as pip would: a module and its entry points."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from places import REPOSITORY

POINTS = """[baselines.erasers]
toy-stamp = toy_bench:open_stamp
toy-absent = no_such_module_at_all:open_it
identity = toy_bench:open_stamp

[benchmark.metrics]
toy-darkness = toy_bench:open_darkness

[benchmark.datasets]
toy-noise = toy_bench:open_noise
"""


def install(site: Path) -> dict[str, str]:
    """Install into the folder `site`; the environment in which a process finds it."""
    info = site / "toy_bench-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("toy_bench.py"), site)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-bench\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(POINTS)
    root = REPOSITORY
    return os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{root}"}
