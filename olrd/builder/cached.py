"""Builds kept in the user's cache: made once, found again by everything that decides their bytes."""

from __future__ import annotations

from pathlib import Path

from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.progress import say
from olrd.sources import SourceSpec, open_source
from olrd.storage.files import cache_folder


def demo_triplets() -> Path:
    """The embedded demo's triplets, built once into the user's cache."""
    return built_once(BuildConfig(SourceSpec("coco")), "demo-triplets")


def built_once(config: BuildConfig, stem: str) -> Path:
    """The folder of a build in the user's cache, named by everything that decides its bytes."""
    identity = config.hash(open_source(config.source).fingerprint)
    folder = cache_folder() / f"{stem}-{identity[:16]}"
    if not (folder / "build.json").is_file():
        say(f"building {stem} in {folder}")
        build(config, folder)
    return folder
