"""Which mask and truth belong to which photo, for any names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olrd.sources.pairs.names import with_masks, with_truths

FOLDER = Path("set")
STEMS = st.sets(st.text("ab1_-. m", min_size=1, max_size=6).filter(lambda text: text.strip(" .") == text), min_size=1)
ADDED = ["{}_mask", "{}_mask001", "{}-mask", "{}.mask", "{}/0", "mask_{}"]


def files(names: list[str]) -> dict[str, Path]:
    return {name: FOLDER / f"{name}.png" for name in names}


@given(STEMS)
def test_equal_names_belong_together_whatever_they_are(stems: set[str]) -> None:
    names = sorted(stems)
    pairs, _ = with_masks(FOLDER, files(names), files(names), beside=False)
    assert pairs == [(name, name, name) for name in names]
    assert with_truths(FOLDER, files(names), files(names), pairs) == files(names)


@given(st.sets(st.text("abx", min_size=1, max_size=4), min_size=1), st.sampled_from(ADDED), st.sampled_from(ADDED))
def test_a_word_that_is_added_changes_nothing(stems: set[str], mask: str, truth: str) -> None:
    names = sorted(stems)
    masks = {mask.format(name): name for name in names}
    pairs, warnings = with_masks(FOLDER, files(names), files(sorted(masks)), beside=False)
    assert [(name, photo, masks[key]) for name, photo, key in pairs] == [(name, name, name) for name in names]
    assert warnings == []
    truths = {truth.replace("mask", "gt").format(name): name for name in names}
    found = with_truths(FOLDER, files(names), files(sorted(truths)), pairs)
    assert {name: truths[path.relative_to(FOLDER).with_suffix("").as_posix()] for name, path in found.items()} == {
        name: name for name in names
    }


@pytest.mark.parametrize("beside", [False, True])
@given(stems=st.sets(st.text("ab1", min_size=1, max_size=3), min_size=1), count=st.integers(1, 3))
def test_every_mask_of_a_photo_is_a_sample(beside: bool, stems: set[str], count: int) -> None:
    names = sorted(stems)
    masks = [f"{name}_mask{k:03d}" for name in names for k in range(count)]
    pairs, _ = with_masks(FOLDER, files(names), files(masks), beside)
    assert sorted(key for _, _, key in pairs) == sorted(masks)
    assert all(key.startswith(f"{photo}_mask") for _, photo, key in pairs)
    assert len({name for name, _, _ in pairs}) == len(masks)
