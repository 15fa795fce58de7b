"""The worker of a build: it builds a unit or a piece of one, and writes its part files and its done-mark."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from olrd.builder.join import join_if_complete
from olrd.builder.parts import write_mark
from olrd.builder.units import Piece, Task
from olrd.config import BuildConfig
from olrd.dataset.schema import optional_columns
from olrd.dataset.shards import ShardWriter, numbered
from olrd.errors import IntegrityError, OutputError
from olrd.sources import open_source, source_info
from olrd.storage.remote import Remote, location
from olrd.triplets.makers import Maker, maker_of
from olrd.triplets.tally import Tally


@dataclass
class UnitBuilder:
    """Builds units and pieces into the folder or URL `parts` (see `olrd.engines.Worker`)."""

    IMPORTS: ClassVar = "olrd.builder.imports"

    config: BuildConfig
    parts: str
    _maker: Maker = field(init=False, repr=False)
    _folder: Path | Remote = field(init=False, repr=False)
    _optional: tuple[str, ...] = field(init=False, repr=False)

    def start(self) -> None:
        """Open the source. Raises `OutputError` if this machine does not see `parts`."""
        import cv2

        self._folder = location(self.parts)
        if isinstance(self._folder, Path) and not self._folder.is_dir():
            raise OutputError(
                f"{self.parts} is not there on {platform.node()}: all machines must see --out under one path"
            )
        cv2.setNumThreads(1)  # units run in parallel, so that more threads would compete for the cores
        source = open_source(self.config.source)
        self._maker = maker_of(source, self.config)
        self._optional = optional_columns(self.config, source_info(source))

    def __call__(self, task: Task) -> tuple[Task, Tally]:
        """Build a unit or a piece. The done-mark is written last, after the files that it names.

        After the last piece of a unit, the unit is joined.
        """
        tally = Tally()
        writer = ShardWriter(self._folder, self.config.form, self.config.shard_bytes, self._optional)
        rows = (row for index in task.photos for row in self._maker.photo(index, tally))
        files = writer.write(rows, numbered(task.name))
        if not tally.balanced():
            raise IntegrityError(f"the counts of {task.name} do not add up: {tally}")
        write_mark(self._folder, task, files, tally)
        if isinstance(task, Piece):
            join_if_complete(self._folder, task, self.config, self._optional)
        return task, tally
