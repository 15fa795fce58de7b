"""Where maps come from: given, a network's, none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
from micro_model import CATEGORIES, SHEEP, drawn, meadow

from baselines.eraser import WeightsMissingError
from magiceraser_ref.erase.segmentation import Segmenter
from olrd.arrays import Ids, Image
from olrd.errors import SourceError, UsageError
from olrd.panoptic import Category, Segment


class Answer(NamedTuple):
    ids: Ids
    segments: tuple[Segment, ...]


class Meadows:
    """A network that sees a meadow everywhere."""

    def __init__(self) -> None:
        self.asked = 0

    @property
    def categories(self) -> list[Category]:
        return list(CATEGORIES.values())

    def segment(self, photos: Sequence[Image]) -> list[Answer]:
        self.asked += len(photos)
        return [Answer(*meadow(*photo.shape[:2])) for photo in photos]


def test_given_maps_are_used_and_missing_ones_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    segmenter = Segmenter("given")
    first, second = segmenter.maps([drawn(9, 9), drawn(30, 40)], [None, meadow(30, 40)], CATEGORIES)
    assert first.panoptic is None and second.panoptic is not None
    assert second.categories[SHEEP].name == "sheep"
    segmenter.say_once()
    segmenter.say_once()
    said = capsys.readouterr()
    assert said.err.count("no panoptic map") == 1 and said.out == ""


def test_categories_may_differ_by_photo() -> None:
    maps = [meadow(30, 40), None]
    first, second = Segmenter().maps([drawn(30, 40)] * 2, maps, [CATEGORIES, None])
    assert first.categories is CATEGORIES and second.categories == {}
    with pytest.raises(UsageError, match="needs categories"):
        Segmenter().maps([drawn(30, 40)] * 2, maps, [None, None])


def test_none_ignores_what_is_given() -> None:
    (found,) = Segmenter("none").maps([drawn(30, 40)], [meadow(30, 40)], CATEGORIES)
    assert found.panoptic is None


def test_the_network_is_opened_once_and_asked_only_where_no_map_is_given() -> None:
    network, opened = Meadows(), []

    def open_network() -> Meadows:
        opened.append(1)
        return network

    segmenter = Segmenter("mask2former", open_network=open_network)
    given = meadow(30, 40)
    segmenter.maps([drawn(30, 40)], [given], CATEGORIES)
    assert not opened
    own, found = segmenter.maps([drawn(30, 40), drawn(12, 16)], [given, None], CATEGORIES)
    assert own.panoptic is given and network.asked == 1
    assert found.panoptic is not None and found.panoptic.ids.shape == (12, 16)
    assert np.unique(found.panoptic.ids).size > 1 and found.categories[SHEEP].isthing
    segmenter.maps([drawn(12, 16)], None, None)
    assert len(opened) == 1 and network.asked == 2


def test_an_unknown_segmenter_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no segmenter is called 'mask2fromer'\. Did you mean"):
        Segmenter("mask2fromer")


def test_missing_weights_stop_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(**_: object) -> None:
        raise SourceError("not there")

    monkeypatch.setattr("olrd.models.mask2former.Mask2FormerSegmenter", missing)
    with pytest.raises(WeightsMissingError, match="hf download facebook/mask2former"):
        Segmenter("mask2former").maps([drawn(9, 9)], None, None)
