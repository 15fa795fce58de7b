"""Which objects of a photo give triplets, on the embedded photos. Few of their objects are doubtful, so the limit is lower."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache

import pytest

from olrd.config import DOUBTFUL, BuildConfig, CandidateRules
from olrd.sources import SourceSpec, open_source
from olrd.triplets.candidates import doubtful
from olrd.triplets.maker import TripletMaker
from olrd.triplets.recipe import Recipe
from olrd.triplets.scene import open_scene
from olrd.triplets.tally import Tally

SPEC = SourceSpec("demo")
SOURCE = open_source(SPEC)
CONFIG = BuildConfig(SPEC, form="recipes", rules=CandidateRules(groups=False, cut_objects=False, refine_outlines=False))


@cache
def made(mode: str) -> tuple[dict[str, list[bool]], Tally]:
    """Photo by photo, for every triplet whether its object is doubtful; and the counts."""
    config = replace(CONFIG, rules=replace(CONFIG.rules, doubtful=mode))
    maker, tally = TripletMaker(SOURCE, config), Tally()
    found: dict[str, list[bool]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("olrd.triplets.candidates.MOST_NEIGHBOURS", 2)
        return _made(maker, tally, found)


def _made(maker: TripletMaker, tally: Tally, found: dict[str, list[bool]]) -> tuple[dict[str, list[bool]], Tally]:
    for index in range(len(SOURCE)):
        for row in maker.photo(index, tally):
            scene = open_scene(SOURCE, SOURCE.record(index), None, SPEC.max_pixels)
            recipe = Recipe.from_json(row["recipe"])
            own = [k for k, s in enumerate(scene.panoptic.segments, 1) if s.id == recipe.segment_id]
            mask = scene.panoptic.index[recipe.source_bbox.crop()] == own[0]
            unsure = doubtful(recipe.source_bbox, mask, scene.panoptic.index, own)
            found.setdefault(row["image_id"], []).append(unsure)
    return found, tally


@pytest.mark.parametrize("mode", DOUBTFUL)
def test_every_object_is_used_or_has_its_reason(mode: str) -> None:
    _, tally = made(mode)
    assert tally.objects_used + sum(tally.objects_rejected.values()) == tally.objects_read


def test_doubtful_objects_give_one_triplet_where_there_is_no_other() -> None:
    everything, one, none = (made(mode)[0] for mode in DOUBTFUL)
    assert any(any(flags) for flags in everything.values())
    assert any(flags == [True] for flags in one.values())
    for flags in one.values():
        assert flags == [True] or not any(flags)
    assert none == {photo: flags for photo, flags in one.items() if flags != [True]}


def test_those_left_out_are_counted() -> None:
    reasons = [Counter(made(mode)[1].objects_rejected)["doubtful"] for mode in DOUBTFUL]
    assert reasons[0] == 0 < reasons[1] < reasons[2]
