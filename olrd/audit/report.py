"""The audit as one screen of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from olrd.dataset.seen_words import places
from olrd.trust import counted

_LINES = (
    ("auc", "AUC per patch"),
    ("context", "  of it from the surroundings alone"),
    ("auc_objects", "AUC per object"),
    ("pairs_won", "paste scores above its twin"),
)


def audit_text(result: dict[str, Any]) -> str:
    """Edge leak, duplicates and distributions as text. result: of `olrd.audit.audit`."""
    blocks = [
        _leak(result["edge_leak"]),
        _duplicates(result["duplicates"]),
        _contents(result["distributions"], result["background_kind"]),
    ]
    return "\n\n".join(f"{title}\n" + "\n".join(f"  {line}" for line in lines) for title, lines in blocks)


def _leak(leak: dict[str, Any] | None) -> tuple[str, list[str]]:
    title = "edge leak (0.5: the rim of a paste cannot be told from that of an untouched object)"
    if leak is None:
        return title, ["not measured: recipes hold no pixels; `olrd rebuild` first"]
    if leak["note"]:
        return title, [f"not measured: {leak['note']}"]
    lines = [
        f"{text:<38} {leak[key]['value']:.3f}   95 % {leak[key]['low']:.3f} to {leak[key]['high']:.3f}"
        for key, text in _LINES
    ]
    return title, [*lines, leak_sizes(leak)]


def leak_sizes(leak: Mapping[str, Any]) -> str:
    """What the edge leak was measured on."""
    return ", ".join(
        (
            counted(leak["patches"], "patch", "patches"),
            counted(leak["objects"], "object"),
            counted(leak["photos"], "photo"),
        )
    )


def _duplicates(found: dict[str, Any]) -> tuple[str, list[str]]:
    within = found["within"]
    lines = [
        f"{counted(found['photos'], 'photo')}; {found['low_information']['count']} too flat to compare",
        f"in two splits: {_named(within['shared_by_splits'])}",
        f"near duplicates across splits: {_named(within['near_across_splits'])}",
        f"near duplicates in one split: {_named(within['near_same_split'])}",
    ]
    for other in found["against"]:
        lines += [
            f"against {other['path']} ({other['kind']}, {counted(other['pictures'], 'picture')}, "
            f"{other['unreadable']} unreadable)",
            f"  same bytes {_named(other['same_bytes'])}",
            f"  same id {_named(other['same_id'])}",
            f"  same file name {_named(other['same_file_name'])}",
            f"  near duplicates {_named(other['near'])}",
        ]
    return "duplicates", lines


def _named(finding: dict[str, Any]) -> str:
    """The count and the first example."""
    if not finding["count"]:
        return "0"
    first = finding["examples"][0]
    other = f" = {first['other']}" if "other" in first else f" in {', '.join(first['splits'])}"
    return f"{finding['count']} (first: {first['name']}{other})"


def _contents(parts: dict[str, Any], background_kind: str) -> tuple[str, list[str]]:
    whole = parts["all"]
    splits = ", ".join(f"{name} {part['triplets']}" for name, part in parts.items() if name != "all")
    lines = [f"{counted(whole['triplets'], 'triplet')} of {places(whole['photos'], background_kind)} ({splits})"]
    if whole["triplets"]:
        area, shift = whole["area"]["quantiles"], whole["shift"]["quantiles"]
        lines += [
            f"mask area: median {100 * area['50']:.1f} %, 90 % of them from {100 * area['5']:.1f} "
            f"to {100 * area['95']:.1f} % of the picture",
            f"shift: median {100 * shift['50']:.0f} % of the diagonal",
            "mask centres, 3 x 3: " + " | ".join(" ".join(map(str, row)) for row in whole["position"]),
            *(
                f"{name.replace('_', ' ')}: {_top(whole[name])}"
                for name in ("categories", "background_labels", "licenses")
            ),
        ]
    return "contents", lines


def _top(counts: dict[str, int], most: int = 6) -> str:
    """The most frequent values, and the number of others."""
    shown = ", ".join(f"{name or '(none)'} {count}" for name, count in list(counts.items())[:most])
    return shown + (f", {len(counts) - most} more" if len(counts) > most else "")
