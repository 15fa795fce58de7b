"""Annotation files that are not what they should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bad_folder import Folder, config_of

from olrd.builder.build import build
from olrd.errors import SourceError


def _drop(key: str) -> Callable[[Folder], None]:
    def damage(folder: Folder) -> None:
        del folder.image[key]

    damage.__name__ = f"image_without_{key}"
    return damage


def image_listed_twice(folder: Folder) -> None:
    folder.images.append(dict(folder.image))


def annotated_twice(folder: Folder) -> None:
    folder.document["annotations"].append(folder.note)


def box_beyond_32_bits(folder: Folder) -> None:
    folder.things[0]["bbox"][0] = 1 << 60


def width_is_text(folder: Folder) -> None:
    folder.image["width"] = "wide"


def category_without_name(folder: Folder) -> None:
    del folder.document["categories"][0]["name"]


def annotation_is_text(folder: Folder) -> None:
    folder.document["annotations"][0] = "broken"


def box_is_null(folder: Folder) -> None:
    folder.things[0]["bbox"] = None


@pytest.mark.parametrize(
    "damage",
    [
        *map(_drop, ("id", "file_name", "width")),
        image_listed_twice,
        annotated_twice,
        box_beyond_32_bits,
        width_is_text,
        category_without_name,
        annotation_is_text,
        box_is_null,
    ],
    ids=lambda damage: damage.__name__,
)
def test_an_annotation_file_that_is_none_is_named(
    damage: Callable[[Folder], None], folder: Folder, tmp_path: Path
) -> None:
    damage(folder)
    with pytest.raises(SourceError, match=r"panoptic_train2017\.json"):
        build(config_of(folder.save()), tmp_path / "out")
