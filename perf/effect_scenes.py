"""Rendered photos of one object with a known cast shadow or reflection, and the same photos without it.

A scene is drawn by its number: ground, object, light and noise depend on nothing else. The picture is composed in linear
light, so that a shadow is a factor, as in a photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image, Mask
from olrd.draws import digest

Floats = npt.NDArray[np.float32]

HEIGHT, WIDTH = 240, 320
GROUNDS = "asphalt", "grass", "tiles", "boards", "plain"
OBJECTS = "ellipse", "polygon", "figure", "box"
DISTRACTIONS = "none", "patch", "neighbour", "strip", "texture"
"""What a scene without an effect shows besides the object: a dark patch that is not attached, a dark object beside it,
a dark strip of ground behind it, or a ground with twice the contrast."""


@dataclass(frozen=True)
class Scene:
    """One rendered photo.

    Attributes:
        image: uint8 [H, W, 3].
        mask: bool [H, W], the object.
        shadow: bool [H, W], pixels outside the mask that the shadow darkens by more than half of its depth.
        reflection: bool [H, W], pixels outside the mask that show the mirrored object.
        name: what was drawn.
    """

    image: Image
    mask: Mask
    shadow: Mask
    reflection: Mask
    name: str


def shadow_scene(number: int) -> Scene:
    """An object that casts a shadow of a drawn direction, softness and strength."""
    return _on_ground(number, effect=True, distraction="none")


def reflection_scene(number: int) -> Scene:
    """An object at the edge of water, mirrored, rippled and darkened."""
    return _at_water(number, effect=True)


def plain_scene(number: int) -> Scene:
    """A scene without an effect. One in six is at water; the others have the distractions in turn."""
    if number % 6 == 5:
        return _at_water(number, effect=False)
    return _on_ground(number, effect=False, distraction=DISTRACTIONS[number % 6])


def _on_ground(number: int, effect: bool, distraction: str) -> Scene:
    rng = np.random.Generator(np.random.PCG64(digest("effects", "ground", number)))
    kind = GROUNDS[int(rng.integers(len(GROUNDS)))]
    ground = _ground(rng, kind, contrast=2.0 if distraction == "texture" else 1.0)
    mask, colours, name, foot = _object(rng, OBJECTS[int(rng.integers(len(OBJECTS)))], rng.integers(60, 110))
    light = np.ones((HEIGHT, WIDTH, 3), np.float32)
    shadow = np.zeros(mask.shape, np.bool_)
    if effect:
        cover = _cast(rng, mask, foot)
        strength = rng.uniform(0.25, 0.6)
        light -= cover[..., None] * (1 - strength * np.float32([1.0, rng.uniform(1.0, 1.05), rng.uniform(1.0, 1.15)]))
        shadow = (cover > 0.5) & ~mask
    _distract(rng, ground, mask, foot, distraction)
    pixels = np.where(mask[..., None], colours, ground * light)
    return Scene(_photo(rng, pixels), mask, shadow, np.zeros_like(mask), f"{kind}, {name}, {distraction}")


def _at_water(number: int, effect: bool) -> Scene:
    rng = np.random.Generator(np.random.PCG64(digest("effects", "water", number)))
    shore = _ground(rng, GROUNDS[int(rng.integers(len(GROUNDS)))], contrast=1.0)
    mask, colours, name, foot = _object(rng, OBJECTS[int(rng.integers(len(OBJECTS)))], rng.integers(60, 90))
    water = np.float32(rng.uniform(0.05, 0.3, 3)) * (1 + 0.1 * _ripples(rng)[..., None])
    above = np.where(mask[..., None], colours, shore)
    pixels, line = above.copy(), foot + 1
    pixels[line:] = water[line:]
    reflection = np.zeros(mask.shape, np.bool_)
    if effect:
        rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
        amplitude = rng.uniform(0.5, 2.5)
        across = columns + amplitude * _ripples(rng) * np.clip((rows - foot) / 20, 0, 1)
        up = 2 * line - 1 - rows + 0.5 * amplitude * _ripples(rng) * np.clip((rows - foot) / 20, 0, 1)
        mirrored = cv2.remap(above, across, up, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mirrored = cv2.GaussianBlur(mirrored, (0, 0), sigmaX=0.6, sigmaY=rng.uniform(0.8, 2.5))
        where = cv2.remap(mask.astype(np.float32), across, up, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        share = np.float32(rng.uniform(0.4, 0.8))
        pixels[line:] = share * mirrored[line:] * 0.8 + (1 - share) * water[line:]
        reflection[line:] = where[line:] > 0.5
    # At water the object's lower edge is the water's line: what is below is water.
    seen = mask.copy()
    seen[line:] = False
    return Scene(_photo(rng, pixels), seen, np.zeros_like(mask), reflection & ~seen, f"water, {name}")


def _noise(rng: np.random.Generator, sigma: float, stretch: float = 1.0) -> Floats:
    """Normal noise, blurred by `sigma` pixels (`stretch` times more across), with deviation 1."""
    drawn = rng.standard_normal((HEIGHT, WIDTH), np.float32)
    if sigma > 0:
        drawn = cv2.GaussianBlur(drawn, (0, 0), sigmaX=sigma * stretch, sigmaY=sigma)
    return drawn / drawn.std()


def _ripples(rng: np.random.Generator) -> Floats:
    return _noise(rng, 1.5, stretch=6)


def _ground(rng: np.random.Generator, kind: str, contrast: float) -> Floats:
    """The lit ground, float32 [H, W, 3] in linear light, under a wall or sky."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    tint = np.float32(rng.uniform(0.85, 1.15, 3))
    if kind == "asphalt":
        albedo = 0.35 * (1 + contrast * (0.12 * _noise(rng, 0.7) + 0.05 * _noise(rng, 12)))[..., None] * tint
    elif kind == "grass":
        blades = 1 + contrast * (0.2 * _noise(rng, 0.9) + 0.08 * _noise(rng, 8))
        albedo = blades[..., None] * np.float32([0.22, 0.34, 0.1]) * tint
    elif kind == "tiles":
        side = float(rng.uniform(18, 40))
        each = (rows // (side * 0.6)).astype(int) * 31 + (columns // side).astype(int)
        shade = rng.uniform(1 - 0.12 * contrast, 1 + 0.12 * contrast, each.max() + 1).astype(np.float32)[each]
        joint = (rows % (side * 0.6) < 1.5) | (columns % side < 1.5)
        albedo = (0.4 * shade * np.where(joint, 0.6, 1) * (1 + 0.03 * _noise(rng, 0.7)))[..., None] * tint
    elif kind == "boards":
        each = (rows // rng.uniform(10, 20)).astype(int)
        shade = rng.uniform(1 - 0.15 * contrast, 1 + 0.15 * contrast, each.max() + 1).astype(np.float32)[each]
        albedo = (shade * (1 + 0.08 * contrast * _noise(rng, 0.8, stretch=8)))[..., None] * np.float32(
            [0.45, 0.3, 0.18]
        )
    else:
        albedo = np.full((HEIGHT, WIDTH, 1), rng.uniform(0.25, 0.6), np.float32) * tint
    slope = 1 + np.float32(rng.uniform(-0.25, 0.25)) * (columns / WIDTH - 0.5) + 0.2 * (rows / HEIGHT - 0.5)
    scene = albedo * slope[..., None]
    horizon = int(rng.integers(20, 90))
    backdrop = np.float32(rng.uniform(0.1, 0.8, 3)) * (1 + 0.15 * _noise(rng, 10)[..., None])
    scene[:horizon] = backdrop[:horizon]
    return np.clip(scene, 0.005, 1).astype(np.float32)


def _object(rng: np.random.Generator, kind: str, size: int) -> tuple[Mask, Floats, str, int]:
    """The object's mask, its colours (float32 [H, W, 3], linear), its kind and the row of its feet."""
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    x, foot = int(rng.integers(110, 210)), int(rng.integers(135, 175))
    half = size // 3
    if kind == "ellipse":
        cv2.ellipse(drawn, (x, foot - size // 2), (half, size // 2), 0, 0, 360, 1, -1)
    elif kind == "polygon":
        angles = np.sort(rng.uniform(0, 2 * np.pi, 8))
        far = rng.uniform(0.7, 1.0, 8)
        points = np.stack([x + half * far * np.cos(angles), foot - size / 2 + size / 2 * far * np.sin(angles)], axis=1)
        cv2.fillPoly(drawn, [np.rint(points).astype(np.int32)], 1)
    elif kind == "figure":
        head = max(4, size // 9)
        cv2.circle(drawn, (x, foot - size + head), head, 1, -1)
        cv2.ellipse(drawn, (x, foot - int(size * 0.6)), (size // 7, size // 4), 0, 0, 360, 1, -1)
        for side in (-1, 1):
            cv2.line(drawn, (x, foot - size // 2), (x + side * size // 6, foot - 3), 1, max(5, size // 12))
            cv2.line(drawn, (x, foot - int(size * 0.75)), (x + side * size // 4, foot - size // 2), 1, size // 14)
    else:
        cv2.rectangle(drawn, (x - half, foot - size // 2), (x + half, foot), 1, -1)
        cv2.rectangle(drawn, (x - half // 2, foot - size), (x + half // 2, foot - size // 2), 1, -1)
    mask: Mask = drawn > 0
    foot = int(np.nonzero(mask.any(axis=1))[0][-1])
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    bands = ((foot - rows) // rng.uniform(12, 30)).astype(int).clip(0, 15)
    palette = rng.uniform(0.03, 0.8, (16, 3)).astype(np.float32)
    shading = 0.75 + 0.5 * ((columns - x) / (2 * half) + 0.5).clip(0, 1)
    spots = np.where(_noise(rng, size / 20) > 1, 0.4, 1.0)
    colours = palette[bands] * (shading * spots * (1 + 0.05 * _noise(rng, 0.7)))[..., None]
    return mask, np.clip(colours, 0.005, 1).astype(np.float32), kind, foot


def _cast(rng: np.random.Generator, mask: Mask, foot: int) -> Floats:
    """The share of the light that the object takes, float32 [H, W]: its outline, laid on the ground."""
    area = np.count_nonzero(mask)
    while True:
        lean, flat = rng.uniform(-1.4, 1.4), rng.uniform(-0.6, 0.4)
        # A point `up` above the foot falls on the ground at (x + lean * up, foot - flat * up).
        if abs(flat) < 0.12:
            continue
        there = np.float32([[1, lean / -1, lean * foot], [0, flat, foot * (1 - flat)]])
        outline = cv2.warpAffine(mask.astype(np.float32), there, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
        if np.count_nonzero((outline > 0.5) & ~mask) >= 0.15 * area:
            break
    near, far = rng.uniform(0.5, 1.5), rng.uniform(1.0, 5.0)
    distance = np.abs(np.arange(HEIGHT, dtype=np.float32) - foot)[:, None] / max(1.0, abs(flat) * 80)
    share = np.clip(distance, 0, 1)
    return cv2.GaussianBlur(outline, (0, 0), near) * (1 - share) + cv2.GaussianBlur(outline, (0, 0), far) * share


def _distract(rng: np.random.Generator, ground: Floats, mask: Mask, foot: int, kind: str) -> None:
    """Draw the distraction into `ground`."""
    columns = np.nonzero(mask.any(axis=0))[0]
    left, right = int(columns[0]), int(columns[-1])
    if kind == "patch":
        drawn = np.zeros(mask.shape, np.float32)
        x = right + 45 if right + 75 < WIDTH else left - 45
        cv2.ellipse(drawn, (x, foot + int(rng.integers(-10, 20))), (25, 12), 0, 0, 360, 1.0, -1)
        ground *= (1 - 0.6 * cv2.GaussianBlur(drawn, (0, 0), 1.5))[..., None]
    elif kind == "neighbour":
        drawn = np.zeros(mask.shape, np.uint8)
        x = right + 14 if right + 40 < WIDTH else left - 14
        cv2.ellipse(drawn, (x, foot - 25), (18, 28), 0, 0, 360, 1, -1)
        colour = np.float32(rng.uniform(0.02, 0.12, 3)) * (1 + 0.2 * _noise(rng, 2)[..., None])
        ground[drawn > 0] = np.clip(colour, 0.005, 1)[drawn > 0]
    elif kind == "strip":
        top = foot - int(rng.integers(0, 20))
        ground[top : top + int(rng.integers(15, 40))] *= np.float32(rng.uniform(0.3, 0.6))


def _photo(rng: np.random.Generator, linear: Floats) -> Image:
    """8-bit sRGB pixels as a camera would take: a little blur, noise and JPEG."""
    soft = cv2.GaussianBlur(np.clip(linear, 0, 1), (0, 0), 0.5)
    encoded = np.where(soft <= 0.0031308, 12.92 * soft, 1.055 * np.power(soft, 1 / 2.4) - 0.055) * 255
    noisy = encoded + rng.uniform(0.5, 3.0) * rng.standard_normal(encoded.shape, np.float32)
    pixels = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    _, file = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(80, 97))])
    return np.ascontiguousarray(cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1])
