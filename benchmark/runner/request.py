"""What a user asks for. Every option of `benchmark run` and of its relatives is described here, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from olrd.options import KEY_VALUES, check, option

METHOD, DATA, RUNNING = "method", "data", "running"
"""The headings of `--help`."""


@dataclass(frozen=True, kw_only=True)
class DataChoice:
    """A dataset: its name, its folder or hub id, and its own settings."""

    dataset: str = option("olrd", "a dataset; `benchmark list` shows all", metavar="NAME", group=DATA)
    root: str | None = option(
        None, "its folder or hub id (olrd without it: the embedded photos)", metavar="DIR", group=DATA
    )
    data_options: Mapping[str, str] = option(
        {},
        "a setting of the dataset; repeatable",
        flag="--data-option",
        metavar="KEY=VALUE",
        group=DATA,
        kind=KEY_VALUES,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class SampleChoice(DataChoice):
    """The samples of a dataset, as a protocol prepares them."""

    protocol: str = option("native", "a protocol's name, or a JSON file", metavar="NAME", group=DATA)
    limit: int | None = option(None, "use the first N samples only", metavar="N", group=DATA, least=1)


@dataclass(frozen=True, kw_only=True)
class Request(SampleChoice):
    """What to run. `batch` changes the speed of a run, not its results."""

    method: str = option(..., "an eraser; `benchmark list` shows all", metavar="NAME", group=METHOD)
    options: Mapping[str, str] = option(
        {}, "a setting of the eraser; repeatable", flag="--option", metavar="KEY=VALUE", group=METHOD, kind=KEY_VALUES
    )
    seed: int | None = option(None, "seed of the eraser's draws (default: the protocol's)", metavar="N", group=METHOD)
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps", metavar="NAME", group=RUNNING)
    batch: int = option(1, "samples per call of the eraser", metavar="N", group=RUNNING, least=1)
    save: bool = option(False, "keep the erased pictures in OUT/outputs", group=RUNNING)

    @property
    def folder(self) -> Path:
        """Where the run goes unless a folder is named."""
        return Path("runs") / self.dataset / Path(self.protocol).stem / self.method
