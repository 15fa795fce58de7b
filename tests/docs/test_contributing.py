"""The examples of CONTRIBUTING.md are complete: each is installed as a plug-in and its commands are run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow
from places import REPOSITORY
from shell_blocks import blocks

PAGE = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
EXAMPLE = re.compile(
    r"^## (?P<title>[^\n]+)\n(?:(?!^## ).)*?^`(?P<file>\w+)\.py`:\n\n```python\n(?P<code>.*?)^```\n"
    r"(?:(?!^## ).)*?```sh\n(?P<commands>.*?)^```\n",
    re.MULTILINE | re.DOTALL,
)
EXAMPLES = {found["title"]: found.groupdict() for found in EXAMPLE.finditer(PAGE)}
(PROJECT,) = blocks(PAGE, "toml")
INSTALL, *LISTINGS = next(block for block in blocks(PAGE, "sh") if block.startswith("pip install")).splitlines()
LISTED = blocks(PAGE, "text")


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


def installed(folder: Path, site: Path) -> dict[str, str]:
    """Install what the page prints, as it says, but into `site` and without the network; the environment that finds it."""
    pytest.importorskip("setuptools", minversion="77", reason="pip builds the examples with setuptools")
    folder.mkdir()
    (folder / "pyproject.toml").write_text(PROJECT, "utf-8")
    for example in EXAMPLES.values():
        (folder / f"{example['file']}.py").write_text(example["code"], "utf-8")
    offline = ["--no-index", "--no-build-isolation", "--target", str(site)]
    words = [sys.executable, "-m", *shlex.split(INSTALL), *offline]
    result = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (site, REPOSITORY, REPOSITORY / "tests" / "helpers")))}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the commands of each example print, or how they fail. One process runs all of them."""
    pytest.importorskip("torch", reason="the benchmark's scores need torch: pip install '.[benchmark]'")
    folder = tmp_path_factory.mktemp("examples")
    draw_inputs(folder)
    environment = installed(folder / "plug-ins", folder / "site")
    commands = {title: example["commands"] for title, example in EXAMPLES.items()} | {one: one for one in LISTINGS}
    words = [sys.executable, "-m", "shell_blocks"]
    result = subprocess.run(
        words, cwd=folder, env=environment, input=json.dumps(commands), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, str] = json.loads(result.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("title", EXAMPLES)
def test_the_example_runs_as_a_plug_in(title: str, printed: dict[str, str]) -> None:
    check = {"A source": "triplets of 3 photos", "A blend": "every invariant", "A metric": "mae"}
    assert "FAILED" not in printed[title] and check.get(title, "samples") in printed[title], printed[title]


@pytest.mark.slow
@pytest.mark.parametrize(("command", "block"), list(zip(LISTINGS, LISTED, strict=True)), ids=LISTINGS)
def test_the_lists_show_what_the_page_says(command: str, block: str, printed: dict[str, str]) -> None:
    lines = printed[command].splitlines()
    places = [lines.index(line) for line in block.splitlines()]
    assert places == sorted(places)


def test_python_of_the_examples_is_formatted(tmp_path: Path) -> None:
    pytest.importorskip("ruff", reason="ruff is one of the developers' tools")
    for example in EXAMPLES.values():
        (tmp_path / f"{example['file']}.py").write_text(example["code"])
    words = [sys.executable, "-m", "ruff", "format", "--check", "--config", str(REPOSITORY / "pyproject.toml")]
    result = subprocess.run([*words, str(tmp_path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
