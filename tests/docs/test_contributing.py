"""The examples of CONTRIBUTING.md are complete: each is installed as a plug-in and its commands are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from places import REPOSITORY
from plugin.install import install_module
from shell_blocks import command_folder

PAGE = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
EXAMPLE = re.compile(
    r"^## (?P<title>[^\n]+)\n(?:(?!^## ).)*?^`(?P<file>\w+)\.py`:\n\n```python\n(?P<code>.*?)^```\n\n"
    r"```toml\n(?P<points>.*?)^```\n(?:(?!^## ).)*?```sh\n(?P<commands>.*?)^```\n",
    re.MULTILINE | re.DOTALL,
)
EXAMPLES = {found["title"]: found.groupdict() for found in EXAMPLE.finditer(PAGE)}


def test_there_is_an_example_of_every_kind() -> None:
    assert list(EXAMPLES) == ["A source", "A blend", "An eraser", "A metric", "A dataset"]


def draw_inputs(folder: Path) -> None:
    """What the examples read: `photos/` for the source, `pictures/` for the dataset."""
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    for number in range(3):
        photo = rng.integers(100, 140, (120, 200, 3), dtype=np.uint8)
        mask = np.zeros((120, 200), bool)
        mask[50:80, 40 + number : 70] = True
        photo[mask] //= 2
        Pillow.fromarray(photo).save(folder / "photos" / f"{number}.jpg")
        Pillow.fromarray(mask).save(folder / "photos" / f"{number}.png")
        parts = folder / "pictures" / str(number)
        parts.mkdir(parents=True)
        truth = photo.copy()
        truth[mask] = 120
        for name, picture in (("input", photo), ("mask", mask), ("truth", truth)):
            Pillow.fromarray(picture).save(parts / f"{name}.png")


@pytest.mark.slow
@pytest.mark.parametrize("title", EXAMPLES)
def test_the_example_runs_as_a_plug_in(title: str, tmp_path: Path) -> None:
    example = EXAMPLES[title]
    draw_inputs(tmp_path)
    if "benchmark" in example["commands"]:
        pytest.importorskip("torch", reason="the benchmark's scores need torch: pip install 'olrd[benchmark]'")
    environment = install_module(tmp_path / "site", example["file"], example["code"], example["points"])
    environment["PATH"] = f"{command_folder(tmp_path)}{os.pathsep}{environment['PATH']}"
    result = subprocess.run(
        ["bash", "-eu", "-c", example["commands"]], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    check = {"A source": "triplets of 3 photos", "A blend": "every invariant", "A metric": "mae"}
    assert check.get(title, "samples") in result.stdout, result.stdout


def test_python_of_the_examples_is_formatted(tmp_path: Path) -> None:
    pytest.importorskip("ruff", reason="ruff is one of the developers' tools")
    for example in EXAMPLES.values():
        (tmp_path / f"{example['file']}.py").write_text(example["code"])
    words = [sys.executable, "-m", "ruff", "format", "--check", "--config", str(REPOSITORY / "pyproject.toml")]
    result = subprocess.run([*words, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
