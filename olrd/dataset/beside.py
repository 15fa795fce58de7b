"""Where a tool writes what it makes from a dataset: beside it, never inside it."""

from __future__ import annotations

from pathlib import Path

from olrd.dataset.folder import Dataset
from olrd.errors import UsageError
from olrd.storage.remote import Remote


def dataset_name(dataset: Dataset) -> str:
    """The last name of the dataset's folder."""
    home = dataset.folder
    return home.name if isinstance(home, Remote) else home.resolve().name


def beside(dataset: Dataset, suffix: str, out: Path | str | None) -> Path:
    """`out`, or `<folder><suffix>` beside the dataset (in the current folder if the dataset is at a URL).

    Raises `UsageError` for a place inside the dataset.
    """
    home = dataset.folder
    folder = Path.cwd() if isinstance(home, Remote) else home.resolve().parent
    target = folder / f"{dataset_name(dataset)}{suffix}" if out is None else Path(out)
    if isinstance(home, Path) and target.resolve().is_relative_to(home.resolve()):
        raise UsageError(
            f"expected a place outside {dataset.folder}, got {target}: the dataset's own folder is "
            "covered by hashes; choose another --out"
        )
    return target
