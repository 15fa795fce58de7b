"""The rows of the paper's ablation: the weights and switches of each, the paper's numbers, and the commands to run.

Scoring belongs to `benchmark`, which lies above this package, so rows are run as its commands. Three training runs serve
all rows: random masks, OLRD, and OLRD with the token R*. Content initialisation and refocusing need no training: their
rows run the weights of the row before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from olrd.errors import UsageError, did_you_mean
from olrd.options import KEY_VALUES, Kind, check, key_values, names, option

BASE = "base"
TRAININGS: Mapping[str, tuple[str, ...]] = {
    "random": ("--masks", "random", "--no-token"),
    "olrd": ("--masks", "olrd", "--no-token"),
    "olrd-token": ("--masks", "olrd"),
}
"""The options of `magiceraser train`, by the name of the resulting weights."""


class Reported(NamedTuple):
    """What the paper reports for a row, taken over second-hand and unverified: RealHM, protocol unknown.

    These numbers are shown beside ours. They are never a target, and nothing is compared with them.

    Attributes:
        label: The paper's name of the row.
        psnr: In dB.
        ssim: From 0 to 1.
        lpips: Smaller is better.
        fid: Smaller is better.
    """

    label: str
    psnr: float
    ssim: float
    lpips: float
    fid: float

    def scores(self) -> dict[str, float]:
        """The numbers by their names."""
        return {"psnr": self.psnr, "ssim": self.ssim, "lpips": self.lpips, "fid": self.fid}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: Our name of the row.
        weights: `base`, or a name of `TRAININGS`.
        content: Content initialisation.
        refocus: Attention refocusing.
        token: The learned token R* in prompts.
        against: The rows that it is compared with, pair by pair.
        free: Whether what it adds needs no training.
        reported: The paper's numbers, if it has the row.
    """

    name: str
    weights: str
    content: bool = False
    refocus: bool = False
    token: bool = False
    against: tuple[str, ...] = ()
    free: bool = False
    reported: Reported | None = None


LADDER = (
    Row("random-masks", "random", reported=Reported("baseline, random masks", 21.331, 0.815, 0.134, 52.10)),
    Row("olrd", "olrd", against=("random-masks",), reported=Reported("baseline, OLRD", 22.130, 0.834, 0.119, 50.73)),
    Row(
        "content",
        "olrd",
        content=True,
        against=("olrd",),
        free=True,
        reported=Reported("+ content initialisation", 22.891, 0.840, 0.109, 48.91),
    ),
    Row(
        "refocus",
        "olrd",
        content=True,
        refocus=True,
        against=("content",),
        free=True,
        reported=Reported("+ attention refocusing", 23.277, 0.844, 0.110, 48.93),
    ),
    # The paper's gain of this row reads as an addition to `content`, not to `refocus` (inferred).
    Row(
        "prompt-tuning",
        "olrd-token",
        content=True,
        token=True,
        against=("refocus", "content"),
        reported=Reported("+ prompt tuning", 23.311, 0.858, 0.104, 47.94),
    ),
    Row(
        "all",
        "olrd-token",
        content=True,
        refocus=True,
        token=True,
        against=("prompt-tuning",),
        reported=Reported("all", 23.620, 0.861, 0.101, 46.56),
    ),
)
"""The paper's rows; each adds one part of the method."""
FREE = (
    Row("base", BASE, free=True),
    Row("base+content", BASE, content=True, against=("base",), free=True),
    Row("base+refocus", BASE, refocus=True, against=("base",), free=True),
    Row("base+content+refocus", BASE, content=True, refocus=True, against=("base+content",), free=True),
)
"""Our rows: the training-free parts on the base model, without its LoRA."""


def _whole_numbers(flag: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in names(flag, text))
    except ValueError as error:
        raise UsageError(f"{flag} expects whole numbers, comma-separated, got '{text}'") from error


def _train_words(flag: str, texts: list[str]) -> tuple[str, ...]:
    """Turn `lr_lora=1e-3` into the words `--lr-lora 1e-3`."""
    pairs = key_values(flag, texts).items()
    return tuple(word for key, value in pairs for word in (f"--{key.replace('_', '-')}", value))


WHOLE_NUMBERS = Kind(_whole_numbers, lambda values: ",".join(map(str, values)))
TRAIN_WORDS = Kind(_train_words, repeated=True)


@dataclass(frozen=True)
class Ablation:
    """What to train and to score.

    Attributes:
        base: Model to train on and to run.
        triplets: OLRD triplets to train on.
        photos: Folder of the photos, if `triplets` are recipes.
        held_out: Triplets to score on; None for the embedded ones.
        split: Split of `held_out`.
        rows: `all`, `ladder` or `free`.
        seeds: Seeds of the eraser.
        train_seeds: Repeat each training with every seed too.
        protocol: Protocol of the benchmark.
        limit: Largest number of samples to score.
        device: Device of training and scoring.
        models: Finished weights by the name of a training run (`TRAININGS`), which is then left out.
        train: Further words of `magiceraser train`.
        method: Further options of the eraser.
        data: Options of the dataset `held_out`, e.g. maps=COCO.
    """

    base: str = option("small", "model to train and to run; small is the one that ships", metavar="MODEL")
    triplets: str | None = option(None, "triplets to train on: a folder or a hub id", metavar="DIR")
    photos: str | None = option(None, "folder of the photos, if the triplets are recipes", metavar="DIR")
    held_out: str | None = option(
        None, "held-out triplets to score on", flag="--root", metavar="DIR", shown_default="the embedded ones"
    )
    split: str = option("all", "split of the held-out triplets", metavar="NAME")
    rows: str = option(
        "all",
        "rows to run: all, ladder (those of the paper) or free (without training, on the base)",
        metavar="NAME",
        choices=("all", "ladder", "free"),
        what="set of rows",
    )
    seeds: tuple[int, ...] = option((0, 1, 2), "seeds of the eraser", metavar="LIST", kind=WHOLE_NUMBERS)
    train_seeds: bool = option(False, "also repeat each training with every seed")
    protocol: str = option("native", "protocol of the benchmark: a name or a file", metavar="NAME")
    limit: int | None = option(None, "score only the first N samples", metavar="N", least=1)
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps", metavar="NAME")
    models: Mapping[str, str] = option(
        {},
        f"finished weights of {', '.join(TRAININGS)}; repeatable",
        flag="--weights",
        metavar="NAME=DIR",
        kind=KEY_VALUES,
    )
    train: tuple[str, ...] = option(
        (),
        "option of `magiceraser train`, e.g. steps=500; repeatable",
        flag="--train-option",
        metavar="KEY=VALUE",
        kind=TRAIN_WORDS,
    )
    method: Mapping[str, str] = option(
        {},
        "option of the eraser, e.g. steps=20; repeatable",
        flag="--method-option",
        metavar="KEY=VALUE",
        kind=KEY_VALUES,
    )
    data: Mapping[str, str] = option(
        {},
        "option of the held-out triplets, e.g. maps=COCO; repeatable",
        flag="--data-option",
        metavar="KEY=VALUE",
        kind=KEY_VALUES,
    )

    def __post_init__(self) -> None:
        check(self)
        for name in self.models:
            if name not in TRAININGS:
                raise did_you_mean("training", name, TRAININGS)
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise UsageError(f"--seeds needs different whole numbers, got {self.seeds}")
        missing = sorted({r.weights for r in self.chosen} - {BASE, *self.models})
        if missing and self.triplets is None:
            raise UsageError(
                f"the rows need the weights {', '.join(missing)}: give --triplets to train them, or each "
                "as --weights NAME=FOLDER; --rows free needs none"
            )

    @property
    def chosen(self) -> tuple[Row, ...]:
        """The rows to run, in their order."""
        ladder = LADDER if self.rows in ("all", "ladder") else ()
        return ladder + (FREE if self.rows in ("all", "free") else ())


class Command(NamedTuple):
    """One command of an ablation.

    Attributes:
        words: The command; the first word is `magiceraser` or `benchmark`.
        what: What it does, for progress messages.
        out: Folder that it writes to.
        done: File that exists when it is finished.
        row: Row that it scores; empty for a training run.
        seed: Its seed.
    """

    words: tuple[str, ...]
    what: str
    out: str
    done: str
    row: str
    seed: int

    def shown(self) -> dict[str, Any]:
        """Return the command as plain JSON values."""
        return {
            "command": list(self.words),
            "what": self.what,
            "out": self.out,
            "row": self.row,
            "seed": self.seed,
            "finished": Path(self.done).is_file(),
        }


def run_folder(out: Path, row: str, seed: int) -> Path:
    """Return the folder of a row's run with one seed."""
    return out / "runs" / row / f"seed-{seed}"


def plan(ablation: Ablation, out: Path) -> list[Command]:
    """List all commands in an order in which they can run: training runs first."""
    needed = {row.weights for row in ablation.chosen} - {BASE, *ablation.models}
    trained = ablation.seeds if ablation.train_seeds else ablation.seeds[:1]
    commands = [_training(ablation, out, name, seed) for name in TRAININGS if name in needed for seed in trained]
    return commands + [_run(ablation, out, row, seed) for row in ablation.chosen for seed in ablation.seeds]


def _trained(out: Path, name: str, seed: int) -> Path:
    return out / "trained" / f"{name}-seed-{seed}"


def _training(ablation: Ablation, out: Path, name: str, seed: int) -> Command:
    folder = _trained(out, name, seed)
    words = ["magiceraser", "train", "--triplets", str(ablation.triplets), "--base", ablation.base]
    words += ["--out", str(folder), "--seed", str(seed), *TRAININGS[name], *ablation.train]
    words += ["--photos", ablation.photos] if ablation.photos else []
    words += ["--device", "cpu"] if ablation.device == "cpu" else []
    return Command(
        words=tuple(words),
        what=f"train {name}, seed {seed}",
        out=str(folder),
        done=str(folder / "done.json"),
        row="",
        seed=seed,
    )


def _run(ablation: Ablation, out: Path, row: Row, seed: int) -> Command:
    folder = run_folder(out, row.name, seed)
    if row.weights == BASE:
        model = ablation.base
    elif row.weights in ablation.models:
        model = ablation.models[row.weights]
    else:
        own = seed if ablation.train_seeds else ablation.seeds[0]
        model = str(_trained(out, row.weights, own) / "model")
    switches = {name: "on" if getattr(row, name) else "off" for name in ("content", "refocus", "token")}
    if row.weights == BASE:  # the base may have a LoRA
        switches["lora"] = "off"
    words = ["benchmark", "run", "--method", "magiceraser", "--out", str(folder), "--seed", str(seed)]
    for key, value in {"model": model, **switches, **ablation.method}.items():
        words += ["--option", f"{key}={value}"]
    words += ["--protocol", ablation.protocol, "--device", ablation.device]
    if ablation.held_out is not None:
        words += ["--root", ablation.held_out]
    split = {"split": ablation.split} if ablation.split != "all" else {}
    for key, value in {**split, **ablation.data}.items():
        words += ["--data-option", f"{key}={value}"]
    words += ["--limit", str(ablation.limit)] if ablation.limit else []
    what = f"score {row.name}, seed {seed}" + (" (training-free)" if row.free else "")
    return Command(
        words=tuple(words), what=what, out=str(folder), done=str(folder / "summary.json"), row=row.name, seed=seed
    )
