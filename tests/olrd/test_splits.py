"""Splits by source photo."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olrd.config import parse_splits
from olrd.errors import UsageError
from olrd.splits import split_of

USUAL = (("train", 0.8), ("validation", 0.1), ("test", 0.1))


def test_the_shares_are_kept() -> None:
    names = [split_of(str(k), USUAL) for k in range(20_000)]
    for name, share in USUAL:
        assert names.count(name) / 20_000 == pytest.approx(share, abs=0.012)


def test_the_split_of_a_photo_is_frozen() -> None:
    """A change of these moves photos between the splits of published datasets."""
    photos = ["139", "285", "632", "724", "776", "785", "802", "872", "885", "1000", "1268", "1296"]
    expected = ["tr", "tr", "tr", "tr", "va", "te", "tr", "tr", "va", "tr", "tr", "tr"]
    assert [split_of(photo, USUAL)[:2] for photo in photos] == expected


@given(st.permutations([str(k) for k in range(30)]))
def test_order_does_not_matter(photos: list[str]) -> None:
    alone = {photo: split_of(photo, USUAL) for photo in map(str, range(30))}
    assert {photo: split_of(photo, USUAL) for photo in photos} == alone


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.text())
def test_every_photo_has_a_split(weights: list[int], photo: str) -> None:
    text = ",".join(f"s{k}={weight}" for k, weight in enumerate(weights))
    splits = parse_splits(text)
    assert split_of(photo, splits) in {name for name, _ in splits}


@given(st.text(), st.floats(0.05, 0.9))
def test_a_larger_first_share_only_moves_photos_into_it(photo: str, share: float) -> None:
    small = split_of(photo, (("a", share), ("b", 1 - share)))
    large = split_of(photo, (("a", share + 0.05), ("b", 0.95 - share)))
    assert small == "b" or large == "a"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("train=0.8,test=0.2", (("train", 0.8), ("test", 0.2))),
        ("train=3,test=1", (("train", 0.75), ("test", 0.25))),
        ("all", (("all", 1.0),)),
        ("a, b", (("a", 0.5), ("b", 0.5))),
        ("a=1,b=0", (("a", 1.0),)),
    ],
)
def test_what_a_list_means(text: str, expected: tuple[tuple[str, float], ...]) -> None:
    assert parse_splits(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a=1,a=1",
        "a=x",
        "a=-1,b=2",
        "a=0",
        "a b=1",
        "../x=1",
        "a=1,,b=1",
        "a=nan",
        "a=nan,b=1",
        "a=inf",
        "a=inf,b=1",
    ],
)
def test_a_list_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--splits"):
        parse_splits(text)
