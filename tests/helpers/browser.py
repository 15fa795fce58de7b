"""A headless Chromium for tests of pages, or the reason why there is none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """The browser's path: the variable CHROMIUM, else the first of NAMES on the PATH. Skips without."""
    named = os.environ.get("CHROMIUM")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(
            f"no Chromium: CHROMIUM={named} is no program"
            if named
            else f"no Chromium: set CHROMIUM, or install one of {', '.join(NAMES)}"
        )
    return found


@contextmanager
def browser() -> Iterator[Any]:
    """A Playwright browser that runs the Chromium of this machine."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()
