"""Write everything that a board puts on the Hub into one new folder. Nothing is uploaded."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from benchmark.hub.eval_files import HubNames, write_eval_files
from benchmark.hub.space import write_space
from olrd.errors import OutputError
from olrd.storage.files import disk_errors, staging


def export(board: Path, out: Path, title: str, dataset: str = "", names: HubNames | None = None) -> list[Path]:
    """Write the Space of a board, and the Hub's files of one of its datasets. The folder appears complete or not at all.

    Args:
        board: the folder of the board.
        out: the folder to write; it does not exist yet, or is empty.
        title: of the Space.
        dataset, names: a dataset of the board, and what it is called on the Hub; without them only the Space is written.

    Returns:
        The paths of the files, without records and rows.

    Raises:
        OutputError: `out` holds files.
        SourceError: the board has no records.
        UsageError: the board has no such dataset or method.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is there already: give another --to, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = staging(out)
    try:
        with disk_errors(out):
            written = write_space(board, unfinished / "space", title)
            if names is not None:
                written += write_eval_files(board, dataset, names, unfinished)
            os.replace(unfinished, out)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return [out / path.relative_to(unfinished) for path in written]
