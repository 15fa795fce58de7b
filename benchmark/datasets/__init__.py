"""Datasets to score on.

To add a dataset, write one file and add one line to `DATASETS`, or, in another distribution, one entry point in the
group `benchmark.datasets`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol

from olrd.arrays import Image, Mask
from olrd.errors import IntegrityError, UsageError
from olrd.panoptic import Box, Category, PanopticMap
from olrd.registry import Registry, check_opened
from olrd.sources.pairs.names import duplicates
from olrd.storage.files import file_name_of

DATASETS = Registry(
    "dataset",
    "benchmark.datasets",
    {
        "olrd": "benchmark.datasets.olrd:open_olrd",
        "openimages-original": "benchmark.datasets.openimages:open_original",
        "openimages-shift": "benchmark.datasets.openimages:open_shift",
        "pairs": "benchmark.datasets.pairs:open_pairs",
        "realhm": "benchmark.datasets.realhm:open_realhm",
    },
)


class AlteredError(IntegrityError):
    """A sample differs from the one that is part of its dataset's fingerprint. Scores would be wrong: a run stops."""


class Annotated(NamedTuple):
    """A panoptic map of a sample's photo, and its categories by number."""

    panoptic: PanopticMap
    categories: Mapping[int, Category]


@dataclass(frozen=True)
class Sample:
    """A photo in which an object is erased.

    Attributes:
        id: unique in its dataset.
        cluster: the source photo. Samples of one cluster are not independent.
        image: the photo, uint8 [H, W, 3].
        mask: bool [H, W], True = erase.
        truth: the photo without the object, uint8 [H, W, 3], or None.
        category: of the object.
        background: labels of the background under the object.
        placement: how the object was placed, e.g. `uniform`; empty if the photo was taken with it.
        prompt, caption: short and long description of the background.
        twin: the box of the untouched original of the object in the same photo.
        effect: where the object's shadow or reflection is, bool [H, W]; it may cover the object too. A set that has
            such masks (`effects = True`) gives one to every sample, empty where there is no effect.
        facts: numbers that are reported with the scores, e.g. the difference of input and truth outside the mask.
        annotated: reads the panoptic map of the photo without the object, in the size of `image`. It is called only for
            erasers that use maps.
    """

    id: str
    cluster: str
    image: Image
    mask: Mask
    truth: Image | None
    category: str = ""
    background: str = ""
    placement: str = ""
    prompt: str | None = None
    caption: str | None = None
    twin: Box | None = None
    effect: Mask | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    annotated: Callable[[], Annotated | None] | None = field(default=None, compare=False)


class DataSet(Protocol):
    """Samples in a fixed order."""

    name: str
    fingerprint: str
    """A hash of the samples. Runs with equal fingerprints had the same samples."""
    warnings: tuple[str, ...]
    """Warnings that every table of results shows."""

    # A set may have `effects: bool = True`: its samples have masks of shadows and reflections (see `Sample.effect`).

    def ids(self) -> list[str]:
        """All sample ids, in order. Opens no picture."""

    def sample(self, index: int) -> Sample:
        """Read sample `index`.

        Raises:
            olrd.errors.OlrdError: it cannot be read. The sample fails, and the run goes on.
            AlteredError: it is not the sample that the fingerprint stands for. The run stops.
        """


@dataclass(frozen=True)
class DataSpec:
    """What a dataset is opened with. root: its folder or hub id. options: its own settings, as texts."""

    kind: ClassVar[str] = "dataset"
    name: str
    root: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


def open_dataset(name: str, root: str | None = None, options: Mapping[str, str] | None = None) -> DataSet:
    """Open a dataset by name.

    Raises:
        UsageError: a name or a setting is unknown.
        SourceError: the data cannot be found; the message says how to get them.
    """
    data: DataSet = DATASETS.get(name)(DataSpec(name, root, options or {}))
    check_opened("dataset", name, data, name=str, fingerprint=str, warnings=tuple)
    return data


def table_name(text: str) -> str:
    """A dataset's name in tables, as the user gives it. Raises `UsageError` unless it is a plain word."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}", text):
        raise UsageError(f"a dataset's name must consist of letters, digits, '.', '_' and '-', got '{text}'")
    return text


def check_file_names(ids: Iterable[str]) -> None:
    """Raise `UsageError` if two samples would share a file name (see `olrd.storage.files.file_name_of`)."""
    if shared := duplicates(file_name_of(name) for name in ids):
        raise UsageError(
            f"several samples would share the file name {shared[0]}: their ids must differ in letters, "
            "digits, '.', '-' or '_'"
        )
