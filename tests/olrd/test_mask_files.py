"""Masks as people save them: one reader, what it takes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from mask_forms import FORMS, RED, Bits, coloured, disc, file_of, grey, photo, strokes
from PIL import Image as Pillow
from property_examples import examples

from olrd.errors import Rejected, UsageError
from olrd.mask_files import SPREAD, MaskChoice, read_mask


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_every_form_that_people_save_is_read_exactly(form: str, kind: str) -> None:
    draw, expected = FORMS[form]
    mask = disc()
    read = read_mask(file_of(draw(mask), kind))
    assert np.array_equal(read.mask, mask)
    assert read.mask.dtype == np.bool_ and read.mask.flags.c_contiguous
    assert read.kind == expected
    assert read.taken == f"{expected}, {100 * mask.mean():.1f} % of the photo"
    assert read.warnings == ()


@pytest.mark.parametrize("form", ["grey 0/255", "RGB", "red on black", "opaque RGBA"])
@pytest.mark.parametrize(("kind", "quality"), [("JPEG", 60), ("JPEG", 90), ("WEBP", 60)])
def test_lossy_files_are_thresholded_at_half(form: str, kind: str, quality: int) -> None:
    mask = disc()
    image = FORMS[form][0](mask)
    image = image.convert("RGB") if kind == "JPEG" and image.mode == "RGBA" else image
    read = read_mask(file_of(image, kind, quality=quality))
    assert (read.mask != mask).mean() < 0.02


@pytest.mark.parametrize("form", ["grey 0/255", "RGB", "red on black", "strokes", "opaque RGBA"])
def test_soft_edges_are_thresholded_at_half(form: str) -> None:
    mask = np.asarray(Pillow.fromarray(disc()).resize((320, 240), Pillow.Resampling.NEAREST))
    soft = FORMS[form][0](mask).resize((80, 60), Pillow.Resampling.BICUBIC)
    assert (read_mask(file_of(soft)).mask != disc()).mean() < 0.02


@examples(30)
@given(npst.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))), st.sampled_from(sorted(FORMS)))
def test_any_mask_is_read_exactly_or_refused(mask: Bits, form: str) -> None:
    """A mask of one value has no second level that tells which one it is.

    What is left of a photo around its hole has to look like one: a single colour is taken for strokes.
    """
    if form == "hole" and (mask.all() or np.ptp(photo(*mask.shape)[~mask], axis=0).max() <= SPREAD):
        return
    try:
        read = read_mask(file_of(FORMS[form][0](mask)))
    except Rejected:
        assert mask.all() or not mask.any() or form in ("hole", "strokes as LA", "strokes", "black strokes")
        return
    if mask.any() and not mask.all():
        assert np.array_equal(read.mask, mask)


def test_a_mask_with_two_meanings_is_refused_with_both_and_the_option() -> None:
    mask, other = disc(), np.zeros((60, 80), np.bool_)
    other[5:20, 5:20] = True
    both = np.dstack([*[np.where(mask, 255, 0).astype(np.uint8)] * 3, np.where(other, 255, 200).astype(np.uint8)])
    with pytest.raises(Rejected, match="--mask-from alpha or --mask-from luminance"):
        read_mask(file_of(Pillow.fromarray(both)))
    assert np.array_equal(read_mask(file_of(Pillow.fromarray(both)), choice=MaskChoice("luminance")).mask, mask)
    both[..., 3] = np.where(other, 255, 0)
    assert np.array_equal(read_mask(file_of(Pillow.fromarray(both)), choice=MaskChoice("alpha")).mask, other)


@pytest.mark.parametrize("values", [(0, 1, 2), (0, 3, 255), (1, 2, 3)])
def test_labels_are_not_guessed(values: tuple[int, int, int]) -> None:
    labels = np.full((60, 80), values[0], np.uint8)
    labels[disc()], labels[40:, :30] = values[1], values[2]
    with pytest.raises(Rejected, match="--mask-from index:N"):
        read_mask(file_of(Pillow.fromarray(labels)))
    read = read_mask(file_of(Pillow.fromarray(labels)), choice=MaskChoice(f"index:{values[1]}"))
    assert np.array_equal(read.mask, labels == values[1])


def test_palette_entries_and_colours_of_several_classes_are_not_joined() -> None:
    labels = np.zeros((60, 80), np.uint8)
    labels[disc()], labels[40:, :30] = 1, 15
    image = Pillow.fromarray(labels, "P")
    image.putpalette([0, 0, 0, *RED, *[192, 128, 128] * 254])
    with pytest.raises(Rejected, match="palette entries 1, 15"):
        read_mask(file_of(image))
    assert np.array_equal(read_mask(file_of(image), choice=MaskChoice("index:15")).mask, labels == 15)
    with pytest.raises(Rejected, match="several classes"):
        read_mask(file_of(image.convert("RGB").point(lambda level: min(255, level * 2))))


def test_strokes_of_a_half_transparent_brush_are_read() -> None:
    """With soft edges, and where two strokes cross. A faint stroke beside an opaque one is not guessed."""
    mask, other = disc(), np.roll(disc(), -20, axis=1)
    for alpha in (np.where(mask, 100, 0), np.where(mask & other, 192, 128 * (mask | other))):
        wide = np.kron(alpha, np.ones((4, 4))).astype(np.uint8)
        soft = np.asarray(Pillow.fromarray(wide).resize((80, 60), Pillow.Resampling.BOX))
        read = read_mask(file_of(Pillow.fromarray(np.dstack([np.full((60, 80, 3), 9, np.uint8), soft]))))
        assert np.array_equal(read.mask, soft > soft.max() // 2) and read.mask[25, 50]
    faint = np.where(mask, 255, np.where(np.roll(mask, -45, axis=1), 60, 0)).astype(np.uint8)
    with pytest.raises(Rejected, match="several opacities, from 60 to 255"):
        read_mask(file_of(Pillow.fromarray(np.dstack([np.full((60, 80, 3), 9, np.uint8), faint]))))


def test_what_is_no_mask_is_refused() -> None:
    with pytest.raises(Rejected, match="is a photo and no mask"):
        read_mask(file_of(Pillow.fromarray(photo())))
    with pytest.raises(Rejected, match="transparent everywhere"):
        read_mask(file_of(strokes(np.zeros((60, 80), np.bool_))))
    with pytest.raises(Rejected, match="needs a grey or palette picture"):
        read_mask(file_of(coloured(disc())), choice=MaskChoice("index:1"))
    with pytest.raises(Rejected, match="expected an alpha channel"):
        read_mask(file_of(grey(disc())), choice=MaskChoice("alpha"))
    with pytest.raises(Rejected, match="not a readable image"):
        read_mask(b"no picture")


@pytest.mark.parametrize("part", ["red", "index:", "index:-1", "index:x", ""])
def test_a_part_that_does_not_exist_is_a_usage_error(part: str) -> None:
    with pytest.raises(UsageError, match="alpha, luminance or index:N"):
        MaskChoice(part)


def test_a_mask_of_another_size_is_fitted_and_of_another_shape_is_refused() -> None:
    read = read_mask(file_of(grey(disc())), size=(160, 120))
    assert read.mask.shape == (120, 160) and read.kind == "grey, resized from 80 x 60"
    with pytest.raises(Rejected, match="80 x 60 pixels, the photo 100 x 100"):
        read_mask(file_of(grey(disc())), size=(100, 100))


def test_an_orientation_is_applied_as_to_a_photo() -> None:
    image = grey(disc()).convert("RGB")
    exif = image.getexif()
    exif[0x0112] = 6
    read = read_mask(file_of(image, "JPEG", quality=95, exif=exif))
    assert (read.mask != np.rot90(disc(), -1)).mean() < 0.02


def test_a_mask_that_is_probably_not_meant_is_said() -> None:
    mask = disc()
    assert "covers nothing" in read_mask(file_of(grey(np.zeros_like(mask)))).warnings[0]
    assert "whole photo" in read_mask(file_of(grey(np.ones_like(mask)))).warnings[0]
    assert "of the photo, with its border" in read_mask(file_of(grey(~mask))).warnings[0]
    read = read_mask(file_of(grey(~mask)), choice=MaskChoice(invert=True))
    assert read.warnings == () and np.array_equal(read.mask, mask) and read.kind == "grey, inverted"


def test_an_explicit_threshold_counts() -> None:
    ramp = Pillow.fromarray(np.tile(np.arange(256, dtype=np.uint8), (4, 1)))
    assert read_mask(file_of(ramp), choice=MaskChoice(threshold=200)).mask.sum() == 4 * 55


def test_a_small_share_is_not_shown_as_nothing() -> None:
    mask = np.zeros((100, 100), np.bool_)
    assert read_mask(file_of(grey(mask))).taken == "grey, 0.0 % of the photo"
    mask[3, 4:6] = True
    assert read_mask(file_of(grey(mask))).taken == "grey, 0.02 % of the photo"


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_one_flat_colour_on_black_is_a_mask_however_large_and_dark(share: float) -> None:
    mask = np.zeros((100, 100), np.bool_)
    mask[: int(100 * share)] = True
    for colour in (RED, (0, 0, 255), (60, 90, 60)):
        assert np.array_equal(read_mask(file_of(coloured(mask, colour))).mask, mask)
