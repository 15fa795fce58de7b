"""Makes the toys an installed distribution, as pip would: a module and its entry points."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from places import REPOSITORY

POINTS = """[baselines.erasers]
toy-stamp = toy_bench:open_stamp
toy-absent = no_such_module_at_all:open_it
toy-nothing = toy_bench:open_nothing
toy-misnamed = toy_bench:open_misnamed_eraser
identity = toy_bench:open_stamp

[benchmark.metrics]
toy-darkness = toy_bench:open_darkness
toy-misnamed = toy_bench:open_darkness
toy-nothing = toy_bench:open_nothing

[benchmark.datasets]
toy-noise = toy_bench:open_noise
toy-nothing = toy_bench:open_nothing

[olrd.sources]
toy-misnamed = toy_bench:open_misnamed_source
toy-nothing = toy_bench:open_nothing
"""


def install(site: Path) -> dict[str, str]:
    """Install the toys into the folder `site`; the environment in which a process finds them."""
    code = Path(__file__).with_name("toy_bench.py").read_text("utf-8")
    return _install(site, "toy_bench", code, POINTS)


def install_module(site: Path, name: str, code: str, project: str) -> dict[str, str]:
    """Install a module `name` with the entry points that the text of a pyproject.toml declares."""
    declared = tomllib.loads(project)["project"]["entry-points"]
    lines = []
    for group, points in declared.items():
        lines += [f"[{group}]", *(f"{point} = {target}" for point, target in points.items())]
    return _install(site, name, code, "\n".join(lines) + "\n")


def _install(site: Path, name: str, code: str, points: str) -> dict[str, str]:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (site / f"{name}.py").write_text(code, "utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)
    return os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{REPOSITORY}"}
