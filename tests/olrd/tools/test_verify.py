"""Every invariant has one damage that only its own check can see; `verify` must name it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from row_damages import ROW_DAMAGES, background_changed_under_the_object
from sealed_copy import Copy, Rows, problems

from olrd.dataset.folder import Dataset
from olrd.tools.verify import verified_text, verify


@pytest.mark.parametrize("form", ["full", "recipes", pytest.param("resized", marks=pytest.mark.slow)])
def test_an_intact_dataset_has_no_problem(form: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(form)
    result = verify(folder)
    rows = list(Dataset(folder).rows(["image_id", "donor_image_id"]))
    assert result["problems"] == []
    assert result["triplets"] == len(rows) > 20
    assert result["photos"] == len({photo for row in rows for photo in row.values()})
    assert result["backgrounds"] == len({row["image_id"] for row in rows})
    assert result["shards"] == len(list((folder / "data").iterdir())) >= 3
    assert result["form"] == ("recipes" if form == "recipes" else "full")


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (
            {"photos": 44, "backgrounds": 31},
            "45 triplets of 31 photos, with objects from 13 further photos, in 2 shards",
        ),
        ({"photos": 32, "backgrounds": 31}, "45 triplets of 31 photos, with objects from 1 further photo, in 2 shards"),
        ({"photos": 31, "backgrounds": 31}, "45 triplets of 31 photos in 2 shards"),
        ({"photos": 12, "places": 1}, "45 triplets of 12 photos (1 clip or place) in 2 shards"),
    ],
)
def test_the_text_says_which_photos_are_counted(counts: dict[str, int], said: str) -> None:
    assert verified_text({"triplets": 45, "shards": 2, **counts}) == said


def test_resealing_alone_is_no_damage(copy: Copy) -> None:
    """The tool of these tests is itself harmless: an unchanged rewrite is accepted."""
    copy.edit(lambda rows: None)
    assert problems(copy.folder) == []


@pytest.mark.parametrize("name", ROW_DAMAGES)
@pytest.mark.slow
def test_a_damaged_row_is_found(name: str, copy: Copy) -> None:
    damage, said = ROW_DAMAGES[name]
    victims: list[str] = []

    def change(rows: Rows) -> None:
        victims.append(rows[1]["id"])
        damage(rows[1])

    try:
        copy.edit(change)
    except pa.ArrowNotImplementedError as error:
        pytest.skip(f"this pyarrow cannot write the damage: {error}")
    found = problems(copy.folder)
    assert found
    assert not any("its bytes are not those that were written" in p for p in found)
    assert all(p.startswith(victims[0]) or "splits" in p for p in found), found
    assert any(re.search(said, p) for p in found), found


def test_a_resized_background_changed_under_the_object_is_found(resized: Path, tmp_path: Path) -> None:
    """A resized background has no photo's bytes to be compared with; the ground truth under the
    object still needs a witness."""
    copy = Copy(Path(shutil.copytree(resized, tmp_path / "out")))
    copy.edit(lambda rows: background_changed_under_the_object(rows[0]))
    assert problems(copy.folder) != []
