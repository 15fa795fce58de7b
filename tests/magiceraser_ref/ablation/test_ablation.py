"""The ablation: its rows, its commands, its table from finished runs. Nothing is trained or scored."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from magiceraser_ref.ablation.rows import FREE, LADDER, TRAININGS, Ablation, plan, run_folder
from magiceraser_ref.ablation.run import CommandError, as_markdown, execute, run_ablation, write_table
from olrd.errors import IntegrityError, OutputError, UsageError

SCORE = "psnr/mask/composited"


class Fake:
    """Replaces the commands: writes the files that they would write, with numbers that depend on the row."""

    def __init__(self) -> None:
        self.words: list[Sequence[str]] = []

    def __call__(self, words: Sequence[str]) -> str:
        self.words.append(words)
        if words[1] == "compare":
            scores = [words[k + 1] for k, word in enumerate(words) if word == "--score"]
            one = {"mean": 1.0, "low": 0.5, "high": 1.5, "p": 0.01, "p_holm": 0.02, "n": 4}
            return json.dumps([{"score": name} | one for name in scores])
        out = Path(words[words.index("--out") + 1])
        out.mkdir(parents=True)
        if words[1] == "train":
            (out / "done.json").write_text("{}")
            return ""
        seed = int(words[words.index("--seed") + 1])
        found = {"mean": 20.0 + seed, "low": 19.0 + seed, "high": 21.0 + seed, "n": 4}
        summary = {
            "scores": {SCORE: found, "ssim/mask/composited": dict.fromkeys(found)},
            "sets": {"kid/composited": {"value": 0.1 * (seed + 1)}},
            "n": 4,
            "n_failed": 0,
            "dataset": {"name": "toy"},
            "protocol": {"id": "native-1"},
        }
        (out / "summary.json").write_text(json.dumps(summary))
        return ""


def test_the_ladder_is_the_papers() -> None:
    assert [row.name for row in LADDER] == ["random-masks", "olrd", "content", "refocus", "prompt-tuning", "all"]
    assert [row.reported.psnr for row in LADDER if row.reported] == [21.331, 22.130, 22.891, 23.277, 23.311, 23.620]
    assert all(row.free for row in FREE)
    assert [row.name for row in LADDER if row.free] == ["content", "refocus"]
    last = LADDER[-1]
    assert last.content and last.refocus and last.token
    for row in LADDER:
        assert row.token == (row.weights == "olrd-token")


def test_the_plan_trains_first_and_passes_every_switch(tmp_path: Path) -> None:
    ablation = Ablation("base", "triplets", rows="ladder", seeds=(0, 1), train=("--steps", "5"), data={"maps": "coco"})
    commands = plan(ablation, tmp_path)
    kinds = [command.words[1] for command in commands]
    assert kinds == ["train"] * 3 + ["run"] * 12
    assert "--no-token" in commands[0].words and "random" in commands[0].words
    assert all("--steps" in command.words for command in commands[:3])
    refocus = next(c for c in commands if c.row == "refocus" and c.seed == 1)
    for option in ("content=on", "refocus=on", "token=off", "maps=coco"):
        assert option in refocus.words
    assert f"model={tmp_path}/trained/olrd-seed-0/model" in refocus.words
    seeds = plan(Ablation("base", "t", rows="ladder", seeds=(0, 1), train_seeds=True), tmp_path)
    assert [command.words[1] for command in seeds].count("train") == 6


def test_the_training_free_rows_need_no_triplets(tmp_path: Path) -> None:
    commands = plan(Ablation("base", rows="free", seeds=(3,)), tmp_path)
    assert [command.words[1] for command in commands] == ["run"] * 4
    assert all("model=base" in command.words for command in commands)
    assert all("lora=off" in command.words for command in commands)  # the base may have a LoRA
    with pytest.raises(UsageError, match="--triplets"):
        Ablation("base")
    given = dict.fromkeys(TRAININGS, "weights")
    assert all(c.words[1] == "run" for c in plan(Ablation("base", models=given), tmp_path))


def test_it_runs_collects_and_goes_on(tmp_path: Path) -> None:
    ablation, fake = Ablation("base", "triplets", seeds=(0, 1)), Fake()
    table = run_ablation(ablation, tmp_path, runner=fake)
    row = table["rows"][2]
    assert row["row"] == "content" and row["training_free"]
    assert row["scores"][SCORE] == {"mean": 20.5, "low": 19.5, "high": 21.5, "seed_min": 20.0, "seed_max": 21.0}
    assert row["scores"]["kid/composited"]["mean"] == pytest.approx(0.15)
    assert row["differences"]["olrd"][SCORE]["p_holm"] == 0.02
    assert set(table["rows"][4]["differences"]) == {"refocus", "content"}
    text = (tmp_path / "table.md").read_text()
    assert "| content | training-free | 20.5 [19.5, 21.5] {20 to 21}" in text
    assert "22.891 / 0.84 / 0.109 / 48.91" in text and text == as_markdown(table)
    lines = list(csv.DictReader(io.StringIO((tmp_path / "table.csv").read_text())))
    assert {"row": "olrd", "score": SCORE, "reported": "22.13"}.items() <= lines[3].items()
    again = Fake()
    assert run_ablation(ablation, tmp_path, runner=again) == table
    assert {words[1] for words in again.words} == {"compare"}


def test_another_ablation_in_the_folder_is_refused(tmp_path: Path) -> None:
    run_ablation(Ablation("base", rows="free", seeds=(0,)), tmp_path, runner=Fake())
    run_ablation(Ablation("base", rows="free", seeds=(0, 1)), tmp_path, runner=Fake())  # more seeds
    with pytest.raises(OutputError, match="another ablation"):
        run_ablation(Ablation("base2", rows="free", seeds=(0,)), tmp_path, runner=Fake())


FREE_ROWS = Ablation("base", rows="free", seeds=(0,))


def test_a_table_of_someone_else_is_kept(tmp_path: Path) -> None:
    (tmp_path / "table.md").write_text("precious")
    for run in (run_ablation, write_table):
        with pytest.raises(OutputError, match="so that it is kept"):
            run(FREE_ROWS, tmp_path, runner=Fake())
    assert (tmp_path / "table.md").read_text() == "precious" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(OutputError, match="cannot be used"):
        run_ablation(FREE_ROWS, tmp_path / "table.md" / "inside", runner=Fake())


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 3}', "[" * 100_000])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "ablation.json").write_text(text)
    with pytest.raises(OutputError, match=r"ablation\.json"):
        run_ablation(FREE_ROWS, tmp_path, runner=Fake())
    (tmp_path / "ablation.json").write_text("")  # the machine lost power
    run_ablation(FREE_ROWS, tmp_path, runner=Fake())


@pytest.mark.parametrize("value", [None, "", "x", [], {"a": 3}, "cut", "missing"])
@pytest.mark.parametrize("name", ["scores", "sets", "n", "dataset", "protocol"])
def test_a_damaged_summary_is_named(tmp_path: Path, name: str, value: object) -> None:
    run_ablation(FREE_ROWS, tmp_path, runner=Fake())
    path = run_folder(tmp_path, "base+content", 0) / "summary.json"
    whole = path.read_text()
    path.write_text(json.dumps(json.loads(whole) | {name: value}))
    if value == "cut":
        path.write_text(whole[:20])
    if value == "missing":
        path.unlink()
    with pytest.raises(IntegrityError, match=r"content/seed-0/summary\.json"):
        write_table(FREE_ROWS, tmp_path, runner=Fake())


@pytest.mark.slow
def test_a_failing_command_is_named_and_what_was_done_stays(tmp_path: Path) -> None:
    fake = Fake()

    def failing(words: Sequence[str]) -> str:
        if "base+refocus" in " ".join(words):
            raise CommandError("no")
        return fake(words)

    ablation = Ablation("base", rows="free", seeds=(0,))
    with pytest.raises(CommandError):
        run_ablation(ablation, tmp_path, runner=failing)
    assert (run_folder(tmp_path, "base", 0) / "summary.json").is_file()
    with pytest.raises(CommandError, match="exit code 2"):
        execute(["benchmark", "run", "--method", "nothing-of-this-name"])


def test_bad_settings_are_named() -> None:
    with pytest.raises(UsageError, match="Did you mean 'ladder'"):
        Ablation("base", rows="lader")
    with pytest.raises(UsageError, match="Did you mean 'olrd-token'"):
        Ablation("base", models={"olrd-tokn": "x"})
    with pytest.raises(UsageError, match="--seeds"):
        Ablation("base", rows="free", seeds=(1, 1))
