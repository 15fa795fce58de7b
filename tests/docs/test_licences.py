"""The package's metadata name the licence of everything that ships."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from places import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
SHIPPED = sorted(
    {
        path.relative_to(REPOSITORY)
        for kind in ("*.safetensors", "*.jpg")
        for package in ("olrd", "baselines", "magiceraser_ref", "benchmark")
        for path in (REPOSITORY / package).rglob(kind)
    }
)


def test_weights_and_photos_ship() -> None:
    assert {path.suffix for path in SHIPPED} == {".safetensors", ".jpg"}


@pytest.mark.parametrize("path", SHIPPED, ids=str)
def test_every_shipped_file_has_a_licence_in_the_wheel(path: Path) -> None:
    files = [REPOSITORY / name for name in PROJECT["license-files"]]
    above = [file for file in files if file.parent in (REPOSITORY / path).parents and file.parent != REPOSITORY]
    assert above, f"no file of license-files stands in a folder above {path}"
    text = "".join(file.read_text("utf-8") for file in above)
    assert path.name in text or any(f"`{part}`" in text for part in path.parts)


@pytest.mark.parametrize(
    ("licence", "file", "words"),
    [
        ("Apache-2.0", "LICENSE", "Apache License"),
        ("BSD-2-Clause", "benchmark/weights/LICENSES.md", "BSD 2-Clause"),
        ("BSD-3-Clause", "benchmark/weights/LICENSES.md", "BSD 3-Clause"),
        ("MIT", "benchmark/weights/LICENSES.md", "MIT"),
        ("LicenseRef-olrd-research-use", "magiceraser_ref/weights/LICENSES.md", "LicenseRef-olrd-research-use"),
        ("CC0-1.0", "olrd/sources/demo_photos/ATTRIBUTION.md", "publicdomain/zero/1.0"),
        ("CC-BY-2.0", "olrd/sources/demo_photos/ATTRIBUTION.md", "licenses/by/2.0"),
        ("CC-BY-4.0", "olrd/sources/demo_photos/ATTRIBUTION.md", "licenses/by/4.0"),
        ("LicenseRef-public-domain", "olrd/sources/demo_photos/ATTRIBUTION.md", "publicdomain/mark/1.0"),
    ],
)
def test_the_expression_names_each_licence(licence: str, file: str, words: str) -> None:
    assert licence in PROJECT["license"].split(" AND ")
    assert file in PROJECT["license-files"]
    assert words in (REPOSITORY / file).read_text("utf-8")
