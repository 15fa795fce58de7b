"""Write the inputs of a dataset as files, for programs that this package cannot call.

`--method folder` scores the results of such a program.
"""

from __future__ import annotations

from pathlib import Path

from benchmark.datasets import DataSet, check_file_names
from benchmark.protocol import Protocol
from benchmark.scoring import prepared
from olrd.arrays import encode_mask, encode_png
from olrd.progress import progress_bar
from olrd.storage.files import file_name_of, write_atomic


def export(data: DataSet, protocol: Protocol, out: Path, limit: int | None = None) -> int:
    """Write `image/<id>.png` and `mask/<id>.png` (white = erase) at the protocol's size. The truth is not written.

    Returns:
        The number of samples.

    Raises:
        UsageError: two samples would share a file name.
    """
    ids = data.ids()[:limit]
    check_file_names(ids)
    for name in ("image", "mask"):
        (out / name).mkdir(parents=True, exist_ok=True)
    with progress_bar(f"exporting {data.name}", len(ids)) as bar:
        for index, name in enumerate(ids):
            sample = prepared(data.sample(index), protocol)
            stem = file_name_of(name)
            write_atomic(out / "image" / f"{stem}.png", encode_png(sample.image), durable=False)
            write_atomic(out / "mask" / f"{stem}.png", encode_mask(sample.mask), durable=False)
            bar.update()
    return len(ids)
