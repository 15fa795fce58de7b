"""Records of a training run: losses as CSV, TensorBoard logs if it is installed, and pictures."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from baselines.finite import to_uint8
from olrd.arrays import Image, encode_png
from olrd.progress import say
from olrd.storage.files import file_name_of, write_atomic

COLUMNS = ("step", "loss", "grad_norm", "lr_lora", "lr_token", "fixed_loss", "seconds")
"""Columns of losses.csv.

step: Number of finished steps. loss: Mean over the step's batch. fixed_loss: Loss on the fixed batch, only at
checkpoints. seconds: Time since the process began; the only column that differs between repeated training runs."""


class LossLog:
    """Writes losses.csv, one row per step, and TensorBoard logs.

    Rows after step `start` are removed first: a run that was killed after its last checkpoint wrote them. So are rows
    that cannot be read.
    """

    def __init__(self, out: Path, start: int, tensorboard: bool) -> None:
        self.path = out / "losses.csv"
        kept = [row for row in read_losses(self.path) if int(row["step"]) <= start]
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        write_atomic(self.path, text.getvalue())
        self._file = self.path.open("a", newline="")
        self._writer = csv.DictWriter(self._file, COLUMNS, restval="", lineterminator="\n")
        self.board = _board(out / "tensorboard", start) if tensorboard else None

    def __enter__(self) -> LossLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if self.board is not None:
            self.board.close()

    def add(self, step: int, **values: float) -> None:
        """Record a finished step."""
        shown = {name: f"{value:.6g}" for name, value in values.items()}
        self._writer.writerow({"step": step, **shown})
        self._file.flush()
        if self.board is not None:
            for name, value in values.items():
                if name != "seconds":
                    self.board.add_scalar(f"train/{name}", value, step)

    def picture(self, step: int, name: str, pixels: Image) -> None:
        """Record a validation picture in TensorBoard."""
        if self.board is not None:
            self.board.add_image(f"validation/{name}", pixels, step, dataformats="HWC")


def read_losses(path: Path) -> list[dict[str, str]]:
    """Read the rows of losses.csv. An incomplete last line, which a killed run leaves, is ignored.

    Other lines that cannot be read are left out too, and their number is reported.
    """
    if not path.is_file():
        return []
    text = path.read_text("utf-8", errors="replace")
    lines = text[: text.rfind("\n") + 1].split("\n")[:-1]
    head = ",".join(COLUMNS)
    found = [dict(zip(COLUMNS, line.split(","), strict=False)) for line in lines if line != head and _is_row(line)]
    if damaged := len([line for line in lines if line != head]) - len(found):
        say(f"{path} is damaged: {damaged} of its lines cannot be read and are left out")
    return found


def _is_row(line: str) -> bool:
    step, *values = cells = line.split(",")
    try:
        _ = [float(value) for value in values if value]
    except ValueError:
        return False
    return len(cells) == len(COLUMNS) and step.isascii() and step.isdigit()


def _board(folder: Path, start: int) -> Any:
    """Return a TensorBoard writer, or None with a message if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        say("TensorBoard is not installed: losses go to losses.csv alone")
        return None
    return SummaryWriter(str(folder), purge_step=start)


def write_strips(folder: Path, strips: dict[str, Image]) -> None:
    """Write validation pictures as <name>.png. A name may come from a stranger's file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in strips.items():
        write_atomic(folder / f"{file_name_of(name)}.png", encode_png(pixels), durable=False)


def strip(masked: np.ndarray, result: np.ndarray, target: np.ndarray) -> Image:
    """Put the photo with its hole, the result and the truth side by side, uint8 [S, 3 S, 3].

    Args:
        masked: float [3, S, S] in -1..1.
        result: float [S, S, 3] in 0..1.
        target: float [3, S, S] in -1..1.

    Raises `NotFiniteError` for values that are not finite.
    """
    parts = [masked.transpose(1, 2, 0) / 2 + 0.5, result, target.transpose(1, 2, 0) / 2 + 0.5]
    return to_uint8(np.concatenate(parts, axis=1) * 255, "a validation picture")
