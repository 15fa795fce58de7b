"""What a build wrote: recipes, `build.json`, shards, the card."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from random import Random
from typing import Any

from perf.fuzz.harness import Example
from perf.fuzz.mutate import TEXTS, damaged_bytes, damaged_json, damaged_value
from perf.fuzz.targets.register import NotCleanError, copied, target

_FENCED = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)


@target("recipe")
def recipe(honest: Path, scratch: Path) -> Example:
    """Recipes: read, checked against their row, and rendered."""
    from olrd.dataset.folder import Dataset
    from olrd.dataset.render import Renderer
    from olrd.tools.verify import row_problems
    from olrd.triplets.recipe import Recipe

    rows = list(Dataset(honest / "recipes").rows())
    renderer = Renderer(honest / "coco")

    def example(random: Random) -> None:
        row = random.choice(rows)
        text = damaged_json(json.loads(row["recipe"]), random).decode("utf-8", "replace")
        list(row_problems(row | {"recipe": text}, "recipes"))
        renderer.render(Recipe.from_json(text))

    return example


@target("seen-recipe")
def seen_recipe(honest: Path, scratch: Path) -> Example:
    """Recipes of triplets whose background was seen: read, checked against their row, and rendered."""
    from olrd.dataset.folder import Dataset
    from olrd.dataset.render import Renderer
    from olrd.tools.verify import row_problems
    from olrd.triplets.seen_recipe import read_recipe

    rows = list(Dataset(honest / "seen").rows())
    renderer = Renderer(honest / "clip")

    def example(random: Random) -> None:
        row = random.choice(rows)
        text = damaged_json(json.loads(row["recipe"]), random).decode("utf-8", "replace")
        text = text.replace('"kind": "seen"', '"kind":"seen"')  # as recipes are written; others are read as of pastes
        list(row_problems(row | {"recipe": text}, "recipes"))
        renderer.render(read_recipe(text))

    return example


@target("build.json")
def build_json(honest: Path, scratch: Path) -> Example:
    """The record of a build: its settings, its check, and making it again from its recipes."""
    from olrd.dataset.folder import Dataset
    from olrd.tools.rebuild import rebuild
    from olrd.tools.verify import verify

    folder = copied(honest, scratch, "recipes")
    file = folder / "build.json"
    values = json.loads(file.read_text())

    def example(random: Random) -> None:
        file.write_bytes(damaged_json(values, random))
        dataset = Dataset(folder)
        json.dumps(dataset.record.to_json())
        verify(folder)
        list(dataset.rows_from(1))
        if random.random() < 0.2:  # it takes ten times as long as the rest
            shutil.rmtree(scratch / "rebuilt", ignore_errors=True)
            rebuild(folder, honest / "coco", scratch / "rebuilt")

    return example


@target("shard")
def shard(honest: Path, scratch: Path) -> Example:
    """The Parquet files of a build."""
    from olrd.dataset.folder import Dataset
    from olrd.tools.verify import verify

    folder = copied(honest, scratch, "full")
    file = next(iter(sorted((folder / "data").iterdir())))
    data = file.read_bytes()

    def example(random: Random) -> None:
        file.write_bytes(damaged_bytes(data, random))
        verify(folder)
        list(Dataset(folder))

    return example


@target("card")
def card(honest: Path, scratch: Path) -> Example:
    """The card of a build whose texts are a stranger's: it keeps its form."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import yaml  # type: ignore[import-untyped]

    from olrd.dataset.card import card_text
    from olrd.dataset.folder import Dataset

    folder = copied(honest, scratch, "recipes")
    file = next(iter(sorted((folder / "data").iterdir())))
    build_file = folder / "build.json"
    values, table = json.loads(build_file.read_text()), pq.read_table(file)
    texts = [field.name for field in table.schema if field.type == pa.string() and field.name != "recipe"]
    keys, headings = _form(card_text(Dataset(folder)), yaml)

    def example(random: Random) -> None:
        name = random.choice(texts)
        cells = [random.choice([text for text in TEXTS if "\ud800" not in text]) for _ in range(len(table))]
        column = table.schema.get_field_index(name)
        pq.write_table(table.set_column(column, table.schema.field(name), pa.array(cells, pa.string())), file)
        changed = values if random.random() < 0.5 else damaged_value(json.loads(json.dumps(values)), random)
        build_file.write_text(json.dumps(changed))
        text = card_text(Dataset(folder))
        found, lines = _form(text, yaml)
        # A section without content, such as the one of rejected objects, is left out.
        # Markup inside a block of code, such as the command, is shown as it is.
        if "<script>" in _FENCED.sub("", text) or found != keys or len(lines) > len(headings):
            raise NotCleanError(f"a stranger's text, in column {name} or build.json, changes the card: {found} {lines}")

    return example


def _form(text: str, yaml: Any) -> tuple[list[str], list[str]]:
    """The keys of a card's front matter, and its headings except the title."""
    _, head, body = text.split("---\n", 2)
    lines = [line.split(" ")[0] for line in body.splitlines() if line.startswith("#")]
    return list(yaml.safe_load(head)), lines
