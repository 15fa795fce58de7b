"""The folder of a training: what is trained, its checkpoints, and the file that marks it as finished.

OUT/run.json                      what is trained on what; another training in the folder is refused
OUT/checkpoints/step-00000500.pt  everything that is needed to continue
OUT/losses.csv                    one row per step
OUT/validation/step-00000500/     validation pictures, if requested
OUT/model/                        the trained model
OUT/done.json                     the summary, written last
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

from olrd.errors import IntegrityError, OutputError
from olrd.storage.files import atomic_path, to_json, write_atomic

RUN_FILE, DONE_FILE = "run.json", "done.json"
OURS = {RUN_FILE, DONE_FILE, "checkpoints", "losses.csv", "validation", "model", "tensorboard"}


def begin(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Prepare the folder of a training.

    Returns:
        The content of done.json if the training is finished, otherwise None.

    Raises:
        OutputError: If the folder contains another training or other files.
    """
    out.mkdir(parents=True, exist_ok=True)
    mark = out / RUN_FILE
    for leftover in [*out.glob(".*.tmp"), *out.glob("checkpoints/.*.tmp")]:  # a killed run left them
        leftover.unlink(missing_ok=True)
    if mark.is_file():
        if differing := differences(json.loads(mark.read_text()), identity):
            raise OutputError(
                f"{out} contains another training ({', '.join(differing)} differ): give another --out, "
                "or delete that folder first"
            )
    else:
        strangers = sorted(p.name for p in out.iterdir() if not p.name.startswith("."))
        if strangers:
            raise OutputError(f"{out} is not empty and contains no training: {strangers[:3]}")
        write_atomic(mark, to_json(identity))
    done = out / DONE_FILE
    return json.loads(done.read_text()) if done.is_file() else None


def differences(stored: dict[str, Any], wanted: dict[str, Any], path: str = "") -> list[str]:
    """List the names at which two nested records differ, such as `config.rank`."""
    found: list[str] = []
    for name in sorted({*stored, *wanted}):
        one, other = stored.get(name), wanted.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            found += differences(one, other, f"{path}{name}.")
        elif one != other:
            found.append(f"{path}{name}")
    return found


def finish(out: Path, record: dict[str, Any]) -> None:
    """Write done.json."""
    write_atomic(out / DONE_FILE, to_json(record))


class Checkpoints:
    """The checkpoints of one training. kept: Number of newest checkpoints to keep."""

    def __init__(self, out: Path, kept: int) -> None:
        self.folder, self.kept = out / "checkpoints", kept

    def all(self) -> list[Path]:
        """List the checkpoints, oldest first."""
        return sorted(self.folder.glob("step-*.pt"))

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Write a checkpoint and delete the oldest ones."""
        import torch

        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"step-{step:08d}.pt"
        with atomic_path(path) as temporary:
            torch.save({"step": step, **state}, temporary)
        for old in self.all()[: -self.kept]:
            old.unlink()
        return path

    def latest(self) -> dict[str, Any] | None:
        """Read the newest checkpoint with tensors on the CPU; None if there is none.

        Raises `IntegrityError` for a damaged one.
        """
        import torch

        if not (paths := self.all()):
            return None
        try:
            state: dict[str, Any] = torch.load(paths[-1], map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
            raise IntegrityError(
                f"{paths[-1]} is damaged ({error}): delete it to continue from the checkpoint before it"
            ) from error
        return state
