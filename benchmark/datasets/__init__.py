"""Data sets to score on. To add one: write one file, add one line to `DATASETS` (or, from another
distribution, one entry point in the group `benchmark.datasets`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol

from olrd.arrays import Image, Mask
from olrd.errors import UsageError
from olrd.panoptic import Box, Category, PanopticMap
from olrd.registry import Registry
from olrd.storage.files import file_name_of

DATASETS = Registry(
    "data set",
    "benchmark.datasets",
    {
        "olrd": "benchmark.datasets.olrd:open_olrd",
        "openimages-original": "benchmark.datasets.openimages:open_original",
        "openimages-shift": "benchmark.datasets.openimages:open_shift",
        "pairs": "benchmark.datasets.pairs:open_pairs",
        "realhm": "benchmark.datasets.realhm:open_realhm",
    },
)


class Annotated(NamedTuple):
    """A panoptic map of a sample's photo, and what its category numbers mean."""

    panoptic: PanopticMap
    categories: Mapping[int, Category]


@dataclass(frozen=True)
class Sample:
    """One photo to erase in.

    id: unique in its set. cluster: the source photo; samples of one cluster are not independent.
    image: uint8 [H, W, 3]. mask: bool [H, W], True = erase. truth: the photo without the object, uint8
    [H, W, 3], or None. category: of the object. background: what lies under it. twin: where the same
    object stands untouched. facts: numbers that belong to the sample and are reported beside its
    scores (e.g. how far input and truth differ outside the mask). annotated: reads the panoptic map of
    the photo without the object, of the size that the sample was read in; only asked by a run whose
    eraser wants it.
    """

    id: str
    cluster: str
    image: Image
    mask: Mask
    truth: Image | None
    category: str = ""
    background: str = ""
    prompt: str | None = None
    caption: str | None = None
    twin: Box | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    annotated: Callable[[], Annotated | None] | None = field(default=None, compare=False)


class DataSet(Protocol):
    """Samples in a fixed order."""

    name: str
    fingerprint: str
    """A hash of what is scored: two runs with equal ones saw the same samples."""
    warnings: tuple[str, ...]
    """What every table of its results must say."""

    def ids(self) -> list[str]:
        """All sample ids in order. Opens no picture."""

    def sample(self, index: int) -> Sample:
        """Sample `index`. Raises `olrd.errors.Rejected` or `IntegrityError` if it cannot be read."""


@dataclass(frozen=True)
class DataSpec:
    """What a data set is opened with. root: its folder or hub id. options: its own settings."""

    kind: ClassVar[str] = "data set"
    name: str
    root: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


def open_dataset(name: str, root: str | None = None, options: Mapping[str, str] | None = None) -> DataSet:
    """Open a data set by name. Raises `UsageError` or `SourceError`, which say how to get it."""
    data: DataSet = DATASETS.get(name)(DataSpec(name, root, options or {}))
    return data


def check_file_names(ids: Iterable[str]) -> None:
    """`UsageError` if two samples would share a file (see `baselines.folder.file_name_of`)."""
    if shared := duplicates(file_name_of(name) for name in ids):
        raise UsageError(
            f"several samples would share the file name {shared[0]}: their ids must differ in letters, "
            "digits, '.', '-' or '_'"
        )


def duplicates(ids: Iterable[str]) -> list[str]:
    """Ids that occur more than once."""
    seen: set[str] = set()
    return sorted({i for i in ids if i in seen or seen.add(i)})  # type: ignore[func-returns-value]
