"""The texts that commands print: the result of a build, what it left out, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from olrd.dataset.seen_words import without
from olrd.errors import ALL_REASONS, NOTES
from olrd.progress import size_text
from olrd.trust import counted, one_line, printable


def histogram(counts: Mapping[str, int]) -> list[str]:
    """Lines `  count  code  meaning`, most frequent first."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [f"  {count:>9,}  {code:<20} {ALL_REASONS[code]}" for code, count in ranked]


def build_summary(build: Mapping[str, Any]) -> str:
    """The closing summary of a build (the content of build.json)."""
    totals = build["totals"]
    # The photos that the objects are pasted into are not counted here.
    used = "used for their objects" if build["config"].get("donor") == "other" else "used"
    lines = [
        f"{counted(totals['triplets'], 'triplet')} in {counted(len(build['shards']), 'shard')}, "
        f"{size_text(sum(shard['bytes'] for shard in build['shards']))}",
        "",
        f"photos read {totals['photos_read']:,}: {totals['photos_used']:,} {used}, "
        f"{totals['photos_without_triplet']:,} {without(build['source']['background_kind'])}, "
        f"{sum(totals['photos_rejected'].values()):,} rejected",
        *histogram(totals["photos_rejected"]),
        f"segments read {totals['objects_read']:,}: {totals['objects_used']:,} used, "
        f"{sum(totals['objects_rejected'].values()):,} left out",
        *histogram(totals["objects_rejected"]),
    ]
    if totals.get("notes"):
        lines.append("noted (nothing is left out because of it)")
    for name, count in totals.get("notes", {}).items():
        number, noun = counted(count, "segment" if name.startswith("segments") else "photo").split()
        lines.append(f"  {number:>9}  {noun}: {NOTES.get(name, name)}")
    for failure in totals["failures"][:5]:
        lines.append(printable(f"  {failure['code']}: {failure['message']}"))
    if len(totals["failures"]) > 5:
        lines.append(f"  ... and {len(totals['failures']) - 5} more in build.json (totals.failures)")
    return "\n".join(lines)


def estimate_summary(estimate: Mapping[str, Any]) -> str:
    """The text of `--dry-run`."""
    minutes = estimate["seconds"] / 60
    return (
        f"{counted(estimate['photos'], 'photo')} in {counted(estimate['units'], 'unit')}; from a sample of "
        f"{estimate['sampled_photos']}: about {counted(estimate['triplets'], 'triplet')}, "
        f"{size_text(estimate['bytes'])} in {counted(estimate['shards'], 'shard')}, "
        f"{minutes:.1f} minutes. Nothing was written."
    )


def publish_summary(result: Mapping[str, Any]) -> str:
    """The text of `olrd publish`: what was sent, or would be sent."""
    lines = [
        f"{'sent to' if result['sent'] else 'would be sent to'} {result['repo']} ({result['revision']}): "
        f"{counted(result['triplets'], 'triplet')} as {result['form']}, {counted(len(result['files']), 'file')}, "
        f"{size_text(result['bytes'])}",
        *(f"  {size_text(size):>9}  {name}" for name, size in list(result["files"].items())[-20:]),
        "licences of the photos:",
        *(f"  {count:>9,}  {printable(one_line(code))}" for code, count in result["licenses"].items()),
    ]
    return "\n".join(lines)
