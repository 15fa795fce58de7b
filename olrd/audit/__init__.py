"""Auditing a dataset: edge leak, near duplicates, distributions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def audit(folder: Path | str, against: Sequence[Path | str] = (), flips: bool = True, seed: int = 0) -> dict[str, Any]:
    """Audit a built dataset; plain values, ready for JSON.

    against: other datasets, Parquet folders or image folders to look for shared photos in. flips:
    mirrored copies count as near duplicates. Returns `folder`, `edge_leak` (None in recipes form,
    which has no pixels; see `olrd.audit.edge_leak.LeakResult`), `duplicates` (see
    `olrd.audit.duplicates.duplicates`), `distributions`.
    """
    from olrd.audit.distributions import distributions
    from olrd.audit.duplicates import duplicates
    from olrd.audit.edge_leak import edge_leak, leak_pairs
    from olrd.dataset.folder import Dataset

    dataset = Dataset(folder)
    full = dataset.form == "full"
    return {
        "folder": str(folder),
        "edge_leak": edge_leak(leak_pairs(dataset, seed=seed), seed).to_json() if full else None,
        "duplicates": duplicates(dataset, against, flips),
        "distributions": distributions(dataset),
    }


def format_audit(result: dict[str, Any]) -> str:
    """The audit as one screen of text."""
    from olrd.audit.report import audit_text

    return audit_text(result)
