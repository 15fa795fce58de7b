"""What a user asks for. Every option of `benchmark run` and of its relatives is described here, once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.protocol import load_protocol
from olrd.options import KEY_VALUES, check, option
from olrd.storage.files import file_name_of, sha256

METHOD, DATA, RUNNING = "method", "data", "running"
"""The headings of `--help`."""
WORDS = 40
"""Most characters of settings in the name of a folder."""


@dataclass(frozen=True, kw_only=True)
class DataChoice:
    """A dataset: its name, its folder or hub id, and its own settings."""

    dataset: str = option("olrd", "a dataset; `benchmark list` shows all", metavar="NAME", group=DATA)
    root: str | None = option(
        None, "folder or Hub id of the dataset (default for olrd: the embedded photos)", metavar="DIR", group=DATA
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

    protocol: str = option("native", "name of a protocol, or a JSON file", metavar="NAME", group=DATA)
    limit: int | None = option(None, "use the first N samples only", metavar="N", group=DATA, least=1)


@dataclass(frozen=True, kw_only=True)
class Request(SampleChoice):
    """What to run. `batch` changes the speed of a run, not its results."""

    method: str = option(..., "an eraser; `benchmark list` shows all", metavar="NAME", group=METHOD)
    options: Mapping[str, str] = option(
        {}, "a setting of the eraser; repeatable", flag="--option", metavar="KEY=VALUE", group=METHOD, kind=KEY_VALUES
    )
    seed: int | None = option(
        None, "seed of the eraser's random numbers (default: the protocol's)", metavar="N", group=METHOD
    )
    disturbance: str = option(
        "",
        "give the eraser a disturbed mask or panoptic map, e.g. erode:4, and score with the true mask; `benchmark "
        "robustness --dry-run` lists all",
        metavar="KIND:LEVEL",
        group=METHOD,
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps", metavar="NAME", group=RUNNING)
    batch: int = option(1, "samples per call of the eraser", metavar="N", group=RUNNING, least=1)
    save: bool = option(False, "keep the erased pictures in OUT/outputs", group=RUNNING)
    retry_failed: bool = option(False, "try the samples again that failed, even in a finished run", group=RUNNING)

    @property
    def folder(self) -> Path:
        """Where the run goes unless a folder is named: `runs/DATASET/PROTOCOL/METHOD`.

        Where data, protocol or method are not at their defaults, words and six digits of a hash are added. Other data,
        settings or options therefore have another folder: `runs/olrd-coco-1f0e3d/native/opencv-telea-radius_3-9c5a21`.
        Runs that can be compared lie beside each other.
        """
        return Path("runs") / _data_name(self) / _protocol_name(self.protocol) / _method_name(self)


def _data_name(choice: SampleChoice) -> str:
    root = choice.root
    if root is not None and Path(root).exists():
        root = str(Path(root).absolute())  # the same folder has one name
    settings = [("root", root)] if root else []
    settings += sorted(choice.data_options.items())
    limited = f"-first{choice.limit}" if choice.limit else ""
    words = [Path(root).name] if root else []
    words += [_word(*pair) for pair in sorted(choice.data_options.items())]
    return _named(choice.dataset, words, settings) + limited


def _protocol_name(protocol: str) -> str:
    """A protocol of ours by its name, one from a file by its id, which follows from its content."""
    return file_name_of(load_protocol(protocol).id) if Path(protocol).suffix == ".json" else protocol


def _method_name(request: Request) -> str:
    words = [_word(*pair) for pair in sorted(request.options.items())]
    seed = "" if request.seed is None else f"-seed{request.seed}"
    disturbed = f"-{file_name_of(request.disturbance.replace(':', '-'))}" if request.disturbance else ""
    return _named(request.method, words, sorted(request.options.items())) + seed + disturbed


def _word(key: str, value: str) -> str:
    """A setting for the name of a folder; of a path only the last part."""
    return f"{key}_{Path(value).name}"


def _named(name: str, words: Sequence[str], settings: Sequence[tuple[str, str]]) -> str:
    """A name; if there are settings, with words for people and a hash of the settings."""
    if not settings:
        return name
    readable = file_name_of("-".join(words))[:WORDS].strip("-._")
    digest = sha256(json.dumps(settings).encode())[:6]
    return "-".join(part for part in (name, readable, digest) if part)
