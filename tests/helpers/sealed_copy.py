"""A finished dataset that tests damage and seal again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from synthetic_coco import write_coco

from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.dataset.shards import ROW_GROUP, open_writer, to_table
from olrd.sources import SourceSpec
from olrd.storage.files import sha256_file
from olrd.tools.verify import verify

Row = dict[str, Any]
Rows = list[Row]


@dataclass
class Copy:
    """A finished dataset to be damaged. `seal` makes shard hashes and sizes fit again, so that a
    damage is seen by the check that it is meant for and by no other."""

    folder: Path

    @property
    def build(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.folder / "build.json").read_text())
        return value

    def save(self, build: dict[str, Any]) -> None:
        (self.folder / "build.json").write_text(json.dumps(build))

    def shard(self, number: int = 0) -> Path:
        return self.folder / str(self.build["shards"][number]["file"])

    def edit(self, change: Callable[[Rows], None], number: int = 0) -> None:
        """Rewrite a shard with changed rows."""
        path = self.shard(number)
        rows = pq.read_table(path).to_pylist()
        change(rows)
        schema = pq.read_schema(path)
        with open_writer(path, schema) as writer:
            writer.write_table(to_table(rows, schema), row_group_size=ROW_GROUP)
        self.seal()

    def seal(self) -> None:
        build = self.build
        for shard in build["shards"]:
            path = self.folder / shard["file"]
            shard |= {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        self.save(build)


def built(factory: pytest.TempPathFactory, name: str, **change: Any) -> Path:
    root = write_coco(factory.mktemp(f"photos-{name}"), count=16, seed=3)
    out = factory.mktemp(name) / "out"
    spec = SourceSpec("coco", str(root))
    build(BuildConfig(spec, per_object=1, shard_bytes=400_000, **change), out)
    return out


def problems(folder: Path) -> list[str]:
    found: list[str] = verify(folder)["problems"]
    return found
