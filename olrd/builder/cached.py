"""Builds in the user's cache, found by the hash of everything that decides their bytes."""

from __future__ import annotations

from pathlib import Path

from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.progress import say
from olrd.sources import SourceSpec, open_source
from olrd.storage.files import cache_folder


def demo_triplets() -> Path:
    """The triplets of the embedded photos, built once into the user's cache."""
    return built_once(BuildConfig(SourceSpec("coco")), "demo-triplets")


def built_once(config: BuildConfig, stem: str) -> Path:
    """The folder of a build in the user's cache. It is built if it does not exist."""
    identity = config.hash(open_source(config.source).fingerprint)
    folder = cache_folder() / f"{stem}-{identity[:16]}"
    if not (folder / "build.json").is_file():
        say(f"building {stem} in {folder}")
        build(config, folder)
    return folder
