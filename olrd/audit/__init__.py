"""Auditing a dataset: edge leak, near duplicates, distributions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def audit(folder: Path | str, against: Sequence[Path | str] = (), flips: bool = True, seed: int = 0) -> dict[str, Any]:
    """Audit a built dataset.

    Args:
        folder: of the dataset.
        against: other datasets, Parquet folders or image folders in which to look for the same photos.
        flips: count mirrored copies as near duplicates.
        seed: of the sample and the classifiers.

    Returns:
        JSON values: `folder`, `background_kind` (as in build.json), `edge_leak` (see `olrd.audit.edge_leak.LeakResult`; None for recipes, which have no
        pixels), `duplicates` (see `olrd.audit.duplicates.duplicates`) and `distributions`.
    """
    from olrd.audit.distributions import distributions
    from olrd.audit.duplicates import duplicates
    from olrd.audit.edge_leak import dataset_leak
    from olrd.dataset.folder import Dataset

    dataset = Dataset(folder)
    dataset.need_triplets()
    full = dataset.form == "full"
    return {
        "folder": str(folder),
        "background_kind": dataset.record.source.background_kind,
        "edge_leak": dataset_leak(dataset, seed).to_json() if full else None,
        "duplicates": duplicates(dataset, against, flips),
        "distributions": distributions(dataset),
    }


def format_audit(result: dict[str, Any]) -> str:
    """The audit as one screen of text."""
    from olrd.audit.report import audit_text

    return audit_text(result)
