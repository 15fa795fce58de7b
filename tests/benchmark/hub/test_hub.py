"""The Hub's files: its own library reads them, and every value is the record's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_records import board_of, record

from benchmark.board.published import open_scored
from benchmark.cli import main
from benchmark.hub.eval_files import HubNames
from benchmark.hub.export import export
from benchmark.hub.yaml_text import to_yaml
from olrd.errors import OlrdError, OutputError, SourceError, UsageError

yaml = pytest.importorskip("yaml", reason="pip install '.[dev]'")
hub = pytest.importorskip("huggingface_hub")

HOSTILE = '<script>alert(1)</script> "a": b\n--- \u2028 {{x}}'
NAMES = HubNames("me/toy", source="https://huggingface.co/spaces/me/board")


@pytest.fixture
def board(tmp_path: Path) -> Path:
    return board_of(
        tmp_path,
        record("a", 20.0),
        record("b", 25.0),
        record("b", 26.0, method__options={"k": "2"}),
        record("control", 30.0, method__control=True),
        record("partial", 40.0, n=9, n_failed=1, failures={"x": 1}),
    )


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def test_a_space_is_static_and_opens_at_its_index(board: Path, tmp_path: Path) -> None:
    space = export(board, tmp_path / "hub", "Erasers")[0].parent
    card = hub.SpaceCard.load(space / "README.md").data.to_dict()
    assert (card["sdk"], card["app_file"], card["title"], card["emoji"]) == (
        "static",
        "index.html",
        "Erasers",
        "\U0001f4ca",
    )
    index = (space / "index.html").read_text("utf-8")
    assert '<a href="toy.html">toy</a>' in index and (space / "toy.html").is_file()
    assert "http" not in index.replace("https://huggingface.co", "")


def test_a_space_is_a_board(board: Path, tmp_path: Path) -> None:
    space = export(board, tmp_path / "hub", "Erasers")[0].parent
    assert open_scored(space / "toy#a").samples().equals(open_scored(board / "toy#a").samples())


def test_the_thumbnails_of_a_board_travel_with_its_pages(board: Path, tmp_path: Path) -> None:
    strip = board / "pictures/toy/p-1-cafe-f00d/a-1.webp"
    strip.parent.mkdir(parents=True)
    strip.write_bytes(b"picture")
    space = export(board, tmp_path / "hub", "Erasers")[0].parent
    assert (space / strip.relative_to(board)).read_bytes() == b"picture"


def test_eval_yaml_has_a_task_per_headline_score(board: Path, tmp_path: Path) -> None:
    export(board, tmp_path / "hub", "x", "toy", NAMES)
    values = loaded(tmp_path / "hub/dataset/eval.yaml")
    assert sorted(values) == ["description", "evaluation_framework", "name", "tasks"]
    assert values["tasks"] == [
        {"id": f"p-1-{score}", "config": "default", "split": "test"}
        for score in ("change-outside-raw", "fid-raw", "lpips-alex-mask-raw", "psnr-mask-raw")
    ]
    assert "p-1-lpips-alex-mask-raw: lower is better" in values["description"]
    assert "p-1-psnr-mask-raw: dB, higher is better" in values["description"]


def test_results_are_read_by_the_hubs_library(board: Path, tmp_path: Path) -> None:
    if not hasattr(hub, "parse_eval_result_entries"):
        pytest.skip("this huggingface_hub does not know .eval_results")
    export(board, tmp_path / "hub", "x", "toy", NAMES)
    values = loaded(tmp_path / "hub/models/a/.eval_results/toy.yaml")
    entries = hub.parse_eval_result_entries(values)
    assert hub.eval_result_entries_to_yaml(entries) == values
    by_task = {entry.task_id: entry for entry in entries}
    tasks = {task["id"] for task in loaded(tmp_path / "hub/dataset/eval.yaml")["tasks"]}
    assert set(by_task) == tasks
    psnr = by_task["p-1-psnr-mask-raw"]
    assert (psnr.dataset_id, psnr.value, psnr.source_url) == ("me/toy", 20.0, NAMES.source)
    assert psnr.notes == "n = 10; 95 % interval 19.5 to 20.5; a (1), protocol p-1-cafe"


def test_controls_and_incomplete_runs_have_no_results_and_settings_have_files_of_their_own(
    board: Path, tmp_path: Path
) -> None:
    export(board, tmp_path / "hub", "x", "toy", NAMES)
    assert sorted(path.name for path in (tmp_path / "hub/models").iterdir()) == ["a", "b"]
    first, second = sorted((tmp_path / "hub/models/b/.eval_results").iterdir())
    assert {first.name, second.name} > {"toy.yaml"}
    notes = [value["notes"] for path in (first, second) for value in loaded(path)]
    assert sum("k=2" in text for text in notes) == len(notes) / 2


def test_methods_get_the_repositories_that_are_named(board: Path, tmp_path: Path) -> None:
    words = ["--dataset", "toy", "--dataset-id", "me/toy", "--model", "a=me/eraser", "--dataset-revision", "abc"]
    assert main(["hub", "--board", str(board), "--to", str(tmp_path / "hub"), *words]) == 0
    (file,) = (tmp_path / "hub/models").rglob("*.yaml")
    assert file.relative_to(tmp_path / "hub/models").as_posix() == "me/eraser/.eval_results/toy.yaml"
    assert {value["dataset"]["revision"] for value in loaded(file)} == {"abc"}


@pytest.mark.parametrize(
    ("dataset", "models", "message"),
    [
        ("tov", {}, "no dataset of this board is called 'tov'. Did you mean 'toy'"),
        ("toy", {"partial": "me/p"}, "no complete method on toy is called 'partial'"),
        ("toy", {"a": "me/x", "b": "me/x"}, "two methods have one repository"),
    ],
)
def test_names_that_do_not_fit_are_said_and_nothing_is_written(
    dataset: str, models: dict[str, str], message: str, board: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        export(board, tmp_path / "hub", "x", dataset, HubNames("me/toy", models=models))
    assert not (tmp_path / "hub").exists()


@pytest.mark.parametrize("names", [{"dataset": "bad"}, {"dataset": "me/toy", "models": {"a": "me/../b"}}])
def test_a_name_that_no_repository_has_is_refused(names: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"on the Hub: expected OWNER/NAME, got '(bad|me/\.\./b)'"):
        HubNames(**names)


def test_a_task_never_means_two_things(tmp_path: Path) -> None:
    board = board_of(tmp_path, record("a"), record("b", dataset__fingerprint="beef"))
    with pytest.raises(UsageError, match="2 sections of toy under the protocol p-1"):
        export(board, tmp_path / "hub", "x", "toy", NAMES)


def test_a_folder_with_files_and_a_board_without_records_are_errors(board: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("a")
    with pytest.raises(OutputError, match="is there already"):
        export(board, tmp_path / "mine", "x")
    with pytest.raises(SourceError, match="holds no records"):
        export(tmp_path / "mine", tmp_path / "hub", "x")


def test_texts_of_strangers_stay_texts(tmp_path: Path) -> None:
    board = board_of(tmp_path, record(HOSTILE, method__revision=HOSTILE, dataset__name=HOSTILE))
    try:
        export(board, tmp_path / "hub", HOSTILE, HOSTILE, NAMES)
    except OlrdError as error:
        pytest.fail(str(error))
    assert "<script>alert" not in (tmp_path / "hub/space/index.html").read_text("utf-8")
    assert "<script>alert" not in (tmp_path / "hub/space/README.md").read_text("utf-8").partition("---\n\n")[2]
    assert loaded(tmp_path / "hub/dataset/eval.yaml")["name"] == HOSTILE
    assert hub.SpaceCard.load(tmp_path / "hub/space/README.md").data.to_dict()["sdk"] == "static"


PLAIN = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), st.booleans(), st.integers(-(10**9), 10**9))
KEY = st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(
    lambda key: key not in ("y", "n", "yes", "no", "on", "off", "null", "true", "false")
)


@pytest.mark.slow
@given(st.dictionaries(KEY, PLAIN | st.lists(st.dictionaries(KEY, PLAIN, min_size=1), min_size=1), min_size=1))
def test_yaml_gives_back_what_was_written(values: dict[str, Any]) -> None:
    assert yaml.safe_load(to_yaml(values)) == values
