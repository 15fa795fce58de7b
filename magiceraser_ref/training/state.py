"""The folder of a training run: what is trained, its checkpoints, and the file that marks it as finished.

OUT/run.json                      what is trained on what; another training run in the folder is refused
OUT/checkpoints/step-00000500.pt  everything that is needed to continue
OUT/losses.csv                    one row per step
OUT/validation/step-00000500/     validation pictures, if requested
OUT/model/                        the trained model
OUT/done.json                     the summary, written last
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from olrd.errors import IntegrityError, OutputError
from olrd.progress import say
from olrd.storage.files import atomic_path, to_json, write_atomic
from olrd.trust import one_line, parse_json, shown

RUN_FILE, DONE_FILE = "run.json", "done.json"
MODEL = "model"
_LEFTOVER = re.compile(
    r"\.(?:run\.json|done\.json|losses\.csv|step-\d{8,}\.pt)\.[0-9a-f]+\.tmp|\.model\.[0-9a-f]+\.(?:tmp|old)"
)
"""The names of what a killed training leaves: files that were not complete, and the model's folder."""
_STEP = re.compile(r"step-\d{8,}\.pt")
_PARTS = frozenset({"trained", "optimizer", "scaler", "ema", "fixed_before"})


def begin(out: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """Prepare the folder of a training run. Nothing in a folder of another kind is changed.

    Returns:
        The content of done.json if the training is finished, otherwise None.

    Raises:
        OutputError: If the folder contains another training run or other files.
    """
    check_owner(out, identity)
    mark = out / RUN_FILE
    try:
        out.mkdir(parents=True, exist_ok=True)
        if _has_content(mark):
            _remove_leftovers([*out.iterdir(), *out.glob("checkpoints/.*")])
        else:
            write_atomic(mark, to_json(identity))
    except OSError as error:
        raise OutputError(f"{out} cannot be used as the folder of a training run: {error}") from error
    return finished(out)


def check_owner(out: Path, identity: dict[str, Any]) -> None:
    """Raise `OutputError` unless the folder is empty, does not exist, or contains this training run. Only reads."""
    mark = out / RUN_FILE
    try:
        if _has_content(mark):
            stored = parse_json(mark.read_bytes(), mark, OutputError)
            if not isinstance(stored, dict) or not stored.keys() & identity.keys():
                raise OutputError(f"{mark} is not the record of a training run: give another --out")
            if differing := differences(stored, identity):
                raise OutputError(
                    f"{out} contains another training run ({', '.join(differing)} differ): give another --out, "
                    "or delete that folder first"
                )
            return
        # An empty record is left by a machine that lost power when the training began.
        others = sorted(p.name for p in out.iterdir() if p.name[0] != "." and p != mark) if out.is_dir() else []
    except OSError as error:
        raise OutputError(f"{out} cannot be used as the folder of a training run: {error}") from error
    if others:
        raise OutputError(f"{out} is not empty and contains no training: {others[:3]}")


def _has_content(mark: Path) -> bool:
    return mark.is_file() and mark.stat().st_size > 0


def _remove_leftovers(paths: Iterable[Path]) -> None:
    for path in paths:
        if not _LEFTOVER.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def finished(out: Path) -> dict[str, Any] | None:
    """Return the content of done.json; None if the training run is not finished.

    A damaged done.json, or one without its model, is reported, and the last steps are done again.
    """
    done, model = out / DONE_FILE, out / MODEL
    if not done.is_file():
        return None
    try:
        record = parse_json(done.read_bytes(), done)
    except (IntegrityError, OSError) as error:
        say(f"{one_line(str(error))}: the last steps of the training run are done again")
        return None
    if not _is_summary(record):
        say(f"{done} is not the summary of a training run: the last steps of the training run are done again")
        return None
    if not (model / "magiceraser.json").is_file():
        say(f"{model} does not contain the trained model: it is written again")
        return None
    found: dict[str, Any] = record
    return found


def _is_summary(record: Any) -> bool:
    if not isinstance(record, dict) or not isinstance(losses := record.get("fixed_loss"), dict):
        return False
    numbers = (record.get("steps"), losses.get("before"), losses.get("after"))
    return record.get("model") == MODEL and all(isinstance(n, int | float) for n in numbers)


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
    """The checkpoints of one training run. kept: Number of newest checkpoints to keep."""

    def __init__(self, out: Path, kept: int) -> None:
        self.folder, self.kept = out / "checkpoints", kept

    def all(self) -> list[Path]:
        """List the checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step-*.pt") if _STEP.fullmatch(path.name))

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

        A damaged one is reported, and the one before it is read.

        Raises `IntegrityError` if all are damaged.
        """
        paths = self.all()
        for path in reversed(paths):
            try:
                return _read(path)
            except IntegrityError as error:
                say(f"{error}; trying the checkpoint before it")
        if paths:
            raise IntegrityError(
                f"{self.folder}: every checkpoint is damaged ({', '.join(path.name for path in paths)}): delete them to "
                "begin again, and check the disk"
            )
        return None


def _read(path: Path) -> dict[str, Any]:
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of errors for damaged bytes
        raise IntegrityError(f"{path} is damaged ({shown(one_line(str(error)))})") from error
    number = int(path.stem.removeprefix("step-"))
    if not isinstance(state, dict) or state.get("step") != number or not state.keys() >= _PARTS:
        raise IntegrityError(f"{path} is not a checkpoint of step {number}")
    trained = state["trained"]
    if not isinstance(trained, list) or not all(isinstance(v, torch.Tensor) and v.isfinite().all() for v in trained):
        raise IntegrityError(f"{path} has weights that are not numbers")
    return state
