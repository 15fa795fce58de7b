"""A clock that jumps: in Python's own calls, in the times of files, and in the kernel's since-boot clock."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from perf.faults.processes import kill_build
from perf.faults.scene import FaultError, Scene

YEAR = 365 * 86400
JUMPING = f"""
import random, time
_real, _real_ns = time.time, time.time_ns
_draw = random.Random()
def _jump(): return _draw.uniform(-{10 * YEAR}, {10 * YEAR})
time.time = lambda: _real() + _jump()
time.time_ns = lambda: _real_ns() + int(_jump() * 10**9)
"""
"""Text of a sitecustomize.py with which every call of the wall clock is wrong by up to ten years."""
SHOW = "import time; print(max(time.time() for _ in range(9)) - min(time.time() for _ in range(9)))"


def clock_jumps(scene: Scene, folder: Path, draw: random.Random) -> Path:
    """A build under a jumping wall clock is killed and finished with the clock since boot moved by up to 100 days.

    Before it is finished, all its files and the annotations get times between 1975 and 2095.
    """
    (folder / "clock").mkdir()
    (folder / "clock" / "sitecustomize.py").write_text(JUMPING)
    paths = [str(folder / "clock"), *filter(None, [scene.environment.get("PYTHONPATH")])]
    environment = scene.environment | {"PYTHONPATH": os.pathsep.join(paths)}
    shown = subprocess.run([sys.executable, "-c", SHOW], env=environment, capture_output=True, text=True, check=True)
    if float(shown.stdout) < YEAR:
        raise FaultError("the clock does not jump: another sitecustomize is in the way")
    root = shutil.copytree(scene.root, folder / "photos")
    here, number = replace(scene, root=root, environment=environment), 0
    while not kill_build(here, folder / str(number), draw.uniform(0, scene.seconds)):
        number += 1
    out = folder / str(number)
    for path in [*out.rglob("*"), *(root / "annotations").glob("*.json")]:
        moment = draw.uniform(5 * YEAR, 125 * YEAR)
        os.utime(path, (moment, moment))
    here.must_build(out, before=_since_boot(draw))
    return out


def _since_boot(draw: random.Random) -> tuple[str, ...]:
    """Return the command that moves CLOCK_MONOTONIC and CLOCK_BOOTTIME, or nothing if the machine forbids it."""
    days = str(draw.randrange(1, 100) * 86400)
    words = ("unshare", "--time", "--fork", "--monotonic", days, "--boottime", days)
    if shutil.which("unshare") is None:
        return ()
    tried = subprocess.run([*words, "true"], capture_output=True, check=False)
    return words if tried.returncode == 0 else ()
