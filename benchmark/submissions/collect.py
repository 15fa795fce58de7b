"""Add the submissions of many people to a board."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from benchmark.board.record_rows import portable_rows
from benchmark.board.records import add_record, check_follows, put_record
from benchmark.runner.results import Run
from benchmark.submissions.folder import ROWS, Submission, is_submission
from benchmark.submissions.verify import verify
from olrd.errors import IntegrityError

SHOWN = 5
"""Problems that a message lists."""


def add_all(folders: Iterable[Path], board: Path) -> list[Path]:
    """Add runs and submissions to a board. All are verified first; if one fails, nothing is added.

    Args:
        folders: of runs, of submissions, and folders that hold submissions.
        board: the folder of the board.

    Returns:
        The paths of the records.

    Raises:
        IntegrityError: a run or a submission does not follow from its rows, or a submission was made on other samples
            than the board's.
        OutputError: the board holds other results of the same method, revision, options, data and protocol.
    """
    found = [one for folder in folders for one in expanded(folder)]
    refused = []
    for folder in found:
        if not is_submission(folder):
            check_follows(Run(folder))
        elif problems := verify(folder, board).problems:
            more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            refused.append(f"{folder} is refused: {'; '.join(problems[:SHOWN])}{more}")
    if refused:
        raise IntegrityError("\n".join([*refused, "nothing was added to the board"]))
    return [_add(folder, board) for folder in found]


def expanded(folder: Path) -> list[Path]:
    """A folder, or the submissions in it if it holds nothing else that is known."""
    if is_submission(folder) or (folder / "summary.json").is_file() or not folder.is_dir():
        return [folder]
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and is_submission(path)]
    return inside or [folder]


def _add(folder: Path, board: Path) -> Path:
    if not is_submission(folder):
        return add_record(Run(folder), board)
    submission = Submission(folder)
    return put_record(submission.record, portable_rows(folder / ROWS), board)
