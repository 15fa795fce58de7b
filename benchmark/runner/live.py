"""What a run says while it goes on: one live line with the running means, and a word at the first failure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from benchmark.protocol import Protocol
from olrd.progress import MESSAGES
from olrd.trust import counted, one_line, printable

MOST = 4
"""Means on the line."""


class LiveLine:
    """Follows the rows of a run on a progress bar.

    Args:
        bar: the bar; it counts samples.
        protocol: its first metrics are shown, in the mask, or of the whole picture if they have no regions.
        columns: the score columns of the run.
    """

    def __init__(self, bar: tqdm[Any], protocol: Protocol, columns: Sequence[str]) -> None:
        self._bar = bar
        self._sums: dict[str, list[float]] = {}
        for name in protocol.metrics:
            forms = [form for region in ("mask", "full") if (form := f"{name}/{region}/raw") in columns]
            self._sums |= {form: [0.0, 0.0] for form in forms[:1]}
        self._failed = 0

    def start(self, rows: Sequence[dict[str, Any]]) -> None:
        """Take in the rows that an earlier attempt left."""
        for row in rows:
            self._take(row)
        if self._failed:
            them = "it" if self._failed == 1 else "them"
            self._say(f"{counted(self._failed, 'sample')} failed before; --retry-failed erases {them} again")

    def add(self, row: dict[str, Any]) -> None:
        """Show a row that was made now. The first one that failed is named at once."""
        if row["status"] != "ok" and not self._failed:
            self._say(
                f"{row['id']} failed: {row['reason']} (the run goes on; --retry-failed erases such samples again)"
            )
        self._take(row)
        self._bar.update()

    def _take(self, row: dict[str, Any]) -> None:
        self._failed += row["status"] != "ok"
        for column, sums in self._sums.items():
            value = row.get(column)
            if value is not None and math.isfinite(value):
                sums[0] += value
                sums[1] += 1
        self._bar.set_postfix_str(self._text(), refresh=False)

    def _text(self) -> str:
        """E.g. `psnr/mask 23.57, lpips-alex/mask 0.4190, 2 failed`."""
        means = [
            f"{column.removesuffix('/raw')} {total / count:.4g}"
            for column, (total, count) in self._sums.items()
            if count
        ]
        return ", ".join([*means[:MOST], *([f"{self._failed} failed"] if self._failed else [])])

    def _say(self, text: str) -> None:
        self._bar.write(printable(one_line(text)), file=MESSAGES)
