"""Which maker fits a source: one that pastes objects, or one that uses what was seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, cast

from olrd.config import BuildConfig
from olrd.sources import SEEN, Source
from olrd.sources.seen import SeenSource
from olrd.triplets.maker import TripletMaker
from olrd.triplets.seen_maker import SeenMaker, check_nothing_pasted
from olrd.triplets.tally import Tally


class Maker(Protocol):
    """Makes the triplets of a source's photos, in any order and in any process."""

    def photo(self, index: int, tally: Tally) -> Iterator[dict[str, Any]]:
        """The rows of photo `index`. Counts everything in `tally`."""


def maker_of(source: Source | SeenSource, config: BuildConfig) -> Maker:
    """The maker for a source."""
    if source.background_kind == SEEN:
        return SeenMaker(cast(SeenSource, source), config)
    return TripletMaker(cast(Source, source), config)


def check_options(source: Source | SeenSource, config: BuildConfig) -> None:
    """Refuse options that have no effect on this source. Raises `UsageError`."""
    if source.background_kind == SEEN:
        check_nothing_pasted(cast(SeenSource, source), config)
