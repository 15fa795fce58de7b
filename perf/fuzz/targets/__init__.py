"""The readers, and how each is fed: `TARGETS` has one function per reader.

A function takes the folder of the honest inputs and an empty folder, and returns what runs one example.
"""

from perf.fuzz.targets import annotations, builds, folders, pictures, runs
from perf.fuzz.targets.register import TARGETS

__all__ = ["TARGETS", "annotations", "builds", "folders", "pictures", "runs"]
