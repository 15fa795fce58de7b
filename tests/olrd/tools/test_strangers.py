"""Whatever a stranger's build.json or recipes hold: an error with a type, or a result; nothing is written elsewhere."""

from __future__ import annotations

import copy
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from drawn_sets import DrawnSets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealed_copy import Copy

from olrd.audit.stats import counts_of
from olrd.audit.stats_page import stats_page
from olrd.cli.texts import build_summary
from olrd.config import BuildConfig
from olrd.dataset.card import card_text
from olrd.dataset.folder import Dataset
from olrd.errors import OlrdError
from olrd.sources import SourceSpec
from olrd.tools.diff import diff, diff_text
from olrd.tools.rebuild import rebuild
from olrd.tools.verify import verify
from olrd.triplets.recipe import Recipe

pytestmark = pytest.mark.usefixtures("no_sample_sheets")

VALUES = [
    None,
    "",
    [],
    {},
    -1,
    0,
    1.5,
    float("inf"),
    float("nan"),
    10**30,
    "../x",
    "x" * 300,
    True,
    [None],
    {"a": None},
]
DELETE = object()
slow_fixture = settings(suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def root(drawn: DrawnSets) -> Path:
    return drawn.photos(4, 9)


@pytest.fixture(scope="module")
def recipes(root: Path, drawn: DrawnSets) -> Path:
    return drawn.built(BuildConfig(SourceSpec("coco", str(root)), per_object=1, max_per_photo=1, form="recipes"))


def paths(value: Any, above: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value inside JSON values."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield (*above, name)
        yield from paths(one, (*above, name))


def mutated(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    found = copy.deepcopy(value)
    home = found
    for part in path[:-1]:
        home = home[part]
    if new is DELETE:
        del home[path[-1]]
    else:
        home[path[-1]] = new
    return found


def tried(*actions: Callable[[], object]) -> None:
    """Each action gives a result, or an error that says what is wrong."""
    for action in actions:
        try:
            action()
        except OlrdError as error:
            assert str(error)


def listing(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def check_folder(folder: Path, root: Path, rebuilds: bool) -> None:
    """All that reads a folder, with the rest of the disk watched around it."""
    with tempfile.TemporaryDirectory() as outer:
        home = Path(outer) / "a" / "b"
        home.mkdir(parents=True)
        before = listing(folder.parent)
        tried(
            lambda: len(Dataset(folder)),
            lambda: verify(folder),
            lambda: card_text(Dataset(folder)),
            lambda: build_summary(Dataset(folder).record.to_json()),
            lambda: stats_page(counts_of(Dataset(folder))),
            lambda: diff_text(diff(folder, folder)),
            lambda: rebuild(folder, root, home / "out") if rebuilds else None,
        )
        assert listing(folder.parent) == before
        assert all(str(home / "out") in path or path in (str(home), str(home.parent)) for path in listing(Path(outer)))


@pytest.fixture
def mine(recipes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(recipes, tmp_path / "mine"))


@pytest.mark.slow
def test_any_value_of_a_record_is_read_or_refused(mine: Path, recipes: Path, root: Path) -> None:
    honest = json.loads((recipes / "build.json").read_text())
    places = sorted(paths(honest), key=str)

    @slow_fixture
    @given(st.sampled_from(places), st.sampled_from([*VALUES, DELETE]))
    def check(place: tuple[str | int, ...], value: Any) -> None:
        (mine / "build.json").write_text(json.dumps(mutated(honest, place, value)))
        check_folder(mine, root, rebuilds=True)

    check()


@pytest.mark.slow
def test_every_field_of_a_record_may_be_anything(
    recipes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them, without a rebuild."""
    monkeypatch.setattr("olrd.registry.entry_points", lambda group: ())  # no plug-ins: looking for them takes long
    honest = json.loads((recipes / "build.json").read_text())
    for name in ("shards", "units"):
        del honest[name][1:]
    file = tmp_path / "build.json"
    for place in paths(honest):
        for value in (*VALUES, DELETE):
            file.write_text(json.dumps(mutated(honest, place, value)))
            tried(
                lambda: Dataset(tmp_path).record.check_settings(),
                lambda: build_summary(Dataset(tmp_path).record.to_json()),
            )


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_record_is_refused(share: float, mine: Path) -> None:
    data = (mine / "build.json").read_bytes()
    (mine / "build.json").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(OlrdError, match=r"build\.json"):
        verify(mine)


def test_every_field_of_a_recipe_may_be_anything(recipes: Path) -> None:
    text = next(Dataset(recipes).rows())["recipe"]
    honest = json.loads(text)
    for place in paths(honest):
        for value in (*VALUES, DELETE):
            changed = json.dumps(mutated(honest, place, value))
            tried(lambda changed=changed: Recipe.from_json(changed).to_json())  # type: ignore[misc]
    for end in range(0, len(text), 7):
        with pytest.raises(OlrdError):
            Recipe.from_json(text[:end])


@pytest.mark.slow
def test_any_value_of_a_recipe_is_rendered_or_refused(mine: Path, recipes: Path, root: Path) -> None:
    honest = json.loads(next(Dataset(recipes).rows())["recipe"])
    places = sorted(paths(honest), key=str)
    whole = (mine / "build.json").read_text(), Copy(mine).shard().read_bytes()

    @slow_fixture
    @given(st.sampled_from(places), st.sampled_from([*VALUES, DELETE]))
    def check(place: tuple[str | int, ...], value: Any) -> None:
        (mine / "build.json").write_text(whole[0])
        copied = Copy(mine)
        copied.shard().write_bytes(whole[1])
        changed = json.dumps(mutated(honest, place, value))
        copied.edit(lambda rows: rows[0].update(recipe=changed))
        check_folder(mine, root, rebuilds=True)

    check()
