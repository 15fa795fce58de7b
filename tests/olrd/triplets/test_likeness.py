"""How places look, beside a loop over pixels, and which of two places is more like a third one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from synthetic_coco import make_scene

from olrd.arrays import Image, encode_image
from olrd.panoptic import Box
from olrd.triplets.likeness import AROUND, NARROWEST, WEIGHTS, Look, difference, look_around
from olrd.triplets.matching import acutance, grain
from olrd.triplets.photo import working_photo
from olrd.triplets.scene import Scene

BOX = Box(30, 20, 40, 30)
OVAL = (np.arange(30)[:, None] - 14.5) ** 2 / 15**2 + (np.arange(40) - 19.5) ** 2 / 20**2 <= 1


def scene_of(pixels: Image) -> Scene:
    drawn = make_scene(np.ones(pixels.shape[:2]), {1: "grass-merged"})
    return Scene(
        drawn.record, working_photo(encode_image(pixels), "drawn.webp", None), drawn.panoptic, drawn.categories
    )


def noisy(seed: int = 0, low: int = 60, high: int = 180) -> Image:
    return np.random.default_rng(seed).integers(low, high, (96, 128, 3), dtype=np.uint8)


def test_a_look_is_that_of_the_pixels_around_the_object() -> None:
    pixels = noisy()
    reach = max(NARROWEST, round(AROUND * 40))
    reds, blues, greys, chroma = [], [], [], []
    for y in range(BOX.y - reach, BOX.y + BOX.h + reach):
        for x in range(BOX.x - reach, BOX.x + BOX.w + reach):
            inside = 0 <= y - BOX.y < BOX.h and 0 <= x - BOX.x < BOX.w and OVAL[y - BOX.y, x - BOX.x]
            if inside or not (0 <= y < 96 and 0 <= x < 128):
                continue
            r, g, b = (int(v) for v in pixels[y, x])
            reds.append(r)
            blues.append(b)
            greys.append(0.299 * r + 0.587 * g + 0.114 * b)
            chroma.append(max(r, g, b) - min(r, g, b))
    found = look_around(scene_of(pixels), BOX, OVAL)
    assert found.light == pytest.approx(np.mean(greys), abs=0.05)
    assert found.contrast == pytest.approx(np.std(greys), abs=0.05)
    assert found.warmth == sum(reds) / (sum(reds) + sum(blues))
    assert found.colour == pytest.approx(np.mean(chroma), abs=1e-12)
    assert (found.sharpness, found.noise) == (acutance(pixels), grain(pixels))


def test_the_object_itself_does_not_count() -> None:
    pixels = noisy()
    other = pixels.copy()
    other[BOX.crop()][OVAL] = 255
    around = [look_around(scene_of(image), BOX, OVAL) for image in (pixels, other)]
    assert around[0][:4] == around[1][:4]


def test_an_object_that_fills_the_photo_is_compared_itself() -> None:
    whole = Box(0, 0, 128, 96)
    found = look_around(scene_of(noisy()), whole, np.ones((96, 128), np.bool_))
    assert found.light == pytest.approx(noisy().mean(), abs=2) and math.isfinite(difference(found, found))


CHANGES = {
    "darker": lambda image, much: image * (1 - much),
    "flatter": lambda image, much: 120 + (image - 120) * (1 - much),
    "warmer": lambda image, much: image * np.array([1 + much / 2, 1, 1 - much / 2]),
    "greyer": lambda image, much: image + much * (image.mean(axis=2, keepdims=True) - image),
    "blurred": lambda image, much: image + much / 2 * (np.roll(image, 1, 1) - image),
}


@pytest.mark.parametrize("name", CHANGES)
def test_more_change_is_more_difference(name: str) -> None:
    looks = []
    for much in (0.0, 0.3, 0.8):
        changed = np.clip(CHANGES[name](noisy().astype(float), much), 0, 255).astype(np.uint8)
        looks.append(look_around(scene_of(changed), BOX, OVAL))
    none, little, great = (difference(looks[0], look) for look in looks)
    assert none == 0 < little < great


def test_a_difference_is_symmetric_and_limited() -> None:
    black, white = Look(0, 0, 0, 0, 0, 0), Look(255, 127, 1, 255, 2, 60)
    assert difference(black, white) == difference(white, black)
    assert 0.9 * sum(WEIGHTS.values()) < difference(black, white) <= sum(WEIGHTS.values())
    assert difference(black, black) == 0
