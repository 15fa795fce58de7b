"""The options of the smaller subcommands. Those of `benchmark run` are described in `benchmark.runner.request`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from benchmark.runner.request import DATA, METHOD, DataChoice, Request
from olrd.errors import UsageError
from olrd.options import KEY_NUMBERS, KEY_VALUES, Kind, check, option

PICTURES = "pictures"
"""A heading of `--help`."""
REPEATED = Kind(lambda flag, texts: tuple(texts), list, repeated=True)


def groupings() -> Sequence[str]:
    """What samples can be grouped by."""
    from benchmark.groups import GROUPINGS  # it loads pandas, which --help does not need

    return GROUPINGS


@dataclass(frozen=True)
class CompareOptions:
    """What `benchmark compare` shows."""

    score: tuple[str, ...] = option(
        (),
        "a score to show, e.g. psnr/mask/raw; repeatable (default: the headline scores)",
        metavar="COLUMN",
        kind=REPEATED,
    )
    by: str | None = option(
        None,
        "show the differences, or the scores of A alone, by group: area, category, background or placement",
        metavar="NAME",
        choices=groupings,
        what="breakdown",
    )
    size: Mapping[str, float] = option(
        {},
        "difference in a score or metric, e.g. psnr=0.5, for which `needed` is the number of photos that finds it "
        "(default: the measured difference); repeatable",
        metavar="COLUMN=NUMBER",
        kind=KEY_NUMBERS,
    )

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True, kw_only=True)
class RobustnessOptions(Request):
    """What `benchmark robustness` runs: everything that a run has, and the disturbances."""

    disturb: tuple[str, ...] = option(
        (),
        "kind of disturbance, such as erode, or one level of it, such as erode:4; repeatable (default: all kinds that fit)",
        metavar="KIND[:LEVEL]",
        group=METHOD,
        kind=REPEATED,
    )

    @property
    def request(self) -> Request:
        """The undisturbed run."""
        return Request(**{one.name: getattr(self, one.name) for one in fields(Request)})


@dataclass(frozen=True, kw_only=True)
class ReportOptions(DataChoice):
    """The dataset that runs were made on, and how much of it a report shows and keeps."""

    dataset: str = option("", "dataset of the runs (default: that of the first run)", metavar="NAME", group=DATA)
    limit: int = option(200, "largest number of samples to show", metavar="N", group=DATA, least=1)
    pictures: str = option(
        "crops",
        "pictures to store: crops (around the mask, and small whole photos), all (also every whole photo in full size), "
        "none (scores only; the runs need no --save)",
        metavar="WHAT",
        group=PICTURES,
        choices=("crops", "all", "none"),
    )
    quality: int = option(
        90, "WebP quality of the pictures, 1 to 100; 100 is lossless", metavar="N", group=PICTURES, least=1, most=100
    )
    crop_side: int = option(
        1024,
        "longest side of a crop; larger ones are reduced, and the page says by how much",
        metavar="PX",
        group=PICTURES,
        least=64,
        most=16383,
    )


@dataclass(frozen=True, kw_only=True)
class LeaderboardOptions(DataChoice):
    """Where a leaderboard is, and the dataset of the runs that thumbnails are made of."""

    board: str = option("leaderboards", "folder of the leaderboard", metavar="DIR")
    thumbnails: bool = option(
        False, "show three samples of each run (made with --save); check that you may publish the dataset's photos"
    )
    dataset: str = option("", "with --thumbnails: the dataset (default: that of each run)", metavar="NAME", group=DATA)


@dataclass(frozen=True, kw_only=True)
class VerifyOptions(DataChoice):
    """What submissions are compared with."""

    dataset: str = option(
        "", "score the pictures again on this dataset (default: olrd, if --root is given)", metavar="NAME", group=DATA
    )
    board: str = option("", "compare the samples with those of this leaderboard", metavar="DIR", group=DATA)
    device: str = option(
        "cpu", "device for metrics that run a network: auto, cpu, cuda, cuda:1, mps", metavar="NAME", group=DATA
    )


@dataclass(frozen=True, kw_only=True)
class HubOptions(LeaderboardOptions):
    """What a board is called on the Hugging Face Hub."""

    title: str = option("Object removal leaderboard", "title of the Space", metavar="TEXT")
    dataset: str = option("", "also write eval.yaml and .eval_results for this dataset of the board", metavar="NAME")
    dataset_id: str = option("", "the dataset's repository on the Hub", metavar="NAME/SET")
    config: str = option("default", "the dataset's configuration on the Hub", metavar="NAME")
    split: str = option("test", "the dataset's split on the Hub", metavar="NAME")
    dataset_revision: str = option("", "the commit of the dataset's repository", metavar="SHA")
    source_url: str = option("", "address that the results link to, e.g. of the Space", metavar="URL")
    model: Mapping[str, str] = option(
        {},
        "repository of a method; repeatable (default: all methods, in folders named after them)",
        metavar="METHOD=NAME/MODEL",
        kind=KEY_VALUES,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.dataset) != bool(self.dataset_id):
            raise UsageError(
                "--dataset names a dataset of the board and --dataset-id its repository: give both or none"
            )
