"""`--dry-run`: the expected size and time of a build, from a sample of its photos. Nothing is written."""

from __future__ import annotations

import time
from typing import Any

from olrd.builder.units import plan_units
from olrd.config import BuildConfig
from olrd.dataset.shards import added_bytes
from olrd.sources import open_source
from olrd.triplets.makers import maker_of
from olrd.triplets.tally import Tally

SAMPLE = 24


def estimate(config: BuildConfig, workers: int) -> dict[str, Any]:
    """Expected triplets, bytes, shards and seconds, extrapolated from evenly spaced photos."""
    source = open_source(config.source)
    units = plan_units(source, config)
    photos = [index for unit in units for index in unit.photos]
    step = max(1, len(photos) // SAMPLE)
    sample = sorted(photos)[::step][:SAMPLE]
    maker, tally = maker_of(source, config), Tally()
    shared: set[str] = set()
    started, size = time.perf_counter(), 0
    for index in sample:
        size += sum(added_bytes(row, shared) for row in maker.photo(index, tally))
    factor = len(photos) / max(len(sample), 1)
    seconds = (time.perf_counter() - started) * factor / max(1, workers)
    total = int(size * factor)
    return {
        "photos": len(photos),
        "splits": {split: sum(len(u.photos) for u in units if u.split == split) for split, _ in config.splits},
        "units": len(units),
        "sampled_photos": len(sample),
        "triplets": round(tally.triplets * factor),
        "bytes": total,
        "shards": -(-total // config.shard_bytes),
        "seconds": round(seconds, 1),
        "photos_rejected_in_sample": dict(tally.photos_rejected),
        "objects_rejected_in_sample": dict(tally.objects_rejected),
    }
