"""Comparing and running whole builds."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from olrd.builder.finish import write_record
from olrd.dataset.folder import Dataset
from olrd.storage.remote import Remote, location
from olrd.triplets.tally import Tally
from perf.faults.scene import digest as digest


def command(*words: object, module: str = "olrd.cli.build") -> subprocess.CompletedProcess[str]:
    """Run one of the commands as a user does, in a separate process."""
    argv = [sys.executable, "-m", module, *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)


def emptied(folder: Path) -> Path:
    """Turn a built folder into one without a triplet, as another program may write it; returns `folder`."""
    dataset = Dataset(folder)
    totals, units = dataset.record.totals, dataset.record.units
    nothing = Tally(totals.photos_read, photos_rejected=Counter(license_refused=totals.photos_read))
    nothing.objects_read = totals.objects_read
    nothing.objects_rejected = Counter(photo_rejected=totals.objects_read)
    none = tuple(
        replace(unit, rows=0, failures=0, tally=nothing if k == 0 else Tally()) for k, unit in enumerate(units)
    )
    for shard in dataset.shards:
        shard.unlink()
    write_record(folder, replace(dataset.record, shards=(), totals=nothing, units=none))
    return folder


def stored(url: str) -> dict[str, str]:
    """The sha256 of every file below a URL, as `digest`."""
    out = location(url)
    assert isinstance(out, Remote)
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in out.walk_names()}
