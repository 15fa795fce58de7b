"""The two commands as a user meets them: light, clear, with the promised exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from built_folders import command
from drawn_pairs import three, write_pairs
from drawn_sets import DrawnSets

import olrd
from olrd.cli.build import main as olrd_build
from olrd.cli.main import main as olrd_main
from olrd.cli.texts import build_summary
from olrd.config import BuildConfig
from olrd.dataset.folder import Dataset
from olrd.sources import SourceSpec, open_source

BUILD, MAIN = "olrd.cli.build", "olrd.cli.main"
HEAVY = ("torch", "pandas", "cv2", "sklearn", "datasets", "pyarrow", "transformers", "scipy", "ray")


@pytest.fixture(scope="module")
def root(drawn: DrawnSets) -> Path:
    return drawn.photos(6, 1)


@pytest.fixture(scope="module")
def full(root: Path, drawn: DrawnSets) -> Path:
    return drawn.built(BuildConfig(SourceSpec("coco", str(root))))


def words(root: Path, out: Path, *more: object) -> list[str]:
    return ["--source", "coco", "--root", str(root), "--out", str(out), "--workers", "1", *map(str, more)]


# --- light ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [BUILD, MAIN])
def test_help_imports_nothing_heavy(module: str) -> None:
    code = (
        f"import sys, {module} as m\n"
        "try: m.main(['--help'])\n"
        "except SystemExit as done: assert done.code == 0\n"
        f"sys.stderr.write(' '.join(n for n in {HEAVY!r} if n in sys.modules))"
    )
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("usage: olrd")


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, olrd; print(*(n for n in ('numpy', *{HEAVY!r}) if n in sys.modules))"
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("module", [BUILD, MAIN])
def test_help_takes_under_half_a_second_of_cpu(module: str) -> None:
    """User and system time of the child: a requirement of the issue."""
    for _ in range(3):  # a busy machine may count more than the command takes
        argv = [sys.executable, "-m", module, "--help"]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL) as child:
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        assert child.returncode == 0
        if (took := usage.ru_utime + usage.ru_stime) < 0.5:
            break
    assert took < 0.5


@pytest.mark.parametrize("module", [BUILD, MAIN])
def test_version(module: str) -> None:
    done = command("--version", module=module)
    assert (done.returncode, done.stdout) == (0, f"olrd {olrd.__version__}\n")


def test_installed_commands_are_these() -> None:
    from importlib.metadata import entry_points

    scripts = {point.name: point.value for point in entry_points(group="console_scripts")}
    assert scripts["olrd"] == f"{MAIN}:main"
    assert scripts["olrd-build"] == f"{BUILD}:main"


# --- usage errors: exit code 2, one line, the nearest name ---------------------------------------


@pytest.mark.parametrize(
    ("option", "wrong", "meant"),
    [
        ("--source", "cocoo", "coco"),
        ("--source", "openimage", "openimages"),
        ("--blend", "poison", "poisson"),
        ("--placement", "suported", "supported"),
        ("--donor", "othr", "other"),
        ("--form", "recipe", "recipes"),
        ("--licenses", "cc-byy", "cc-by"),
        ("--licenses", "4,permisive", "permissive"),
        ("--match", "noize", "noise"),
        ("--match", "noise,sharp", "sharpness"),
        ("--subset", "train2071", "train2017"),
        ("--on-error", "skp", "skip"),
        ("--blend-param", "feater=1", ""),
    ],
)
def test_a_wrong_name_gets_the_nearest(
    option: str, wrong: str, meant: str, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert olrd_build([*words(root, out), option, wrong]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    last = printed.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert wrong.split(",")[-1].split("=")[0] in last
    assert "Known: " in last
    if meant:
        assert f"Did you mean '{meant}'?" in last
    assert not out.exists() or not any(out.iterdir())


def test_a_blend_parameter_gets_the_nearest(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from olrd.config import BLENDS

    name = next(iter(BLENDS.get("feather").defaults))
    more = ["--blend", "feather", "--blend-param", f"{name[:-1]}=2"]
    assert olrd_build([*words(root, tmp_path / "out"), *more]) == 2
    assert f"Did you mean '{name}'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more",
    [
        ["--scale", "big"],
        ["--scale", "2,1"],
        ["--scale", "nan,nan"],
        ["--size", "4"],
        ["--limit", "0"],
        ["--margin", "-1"],
        ["--per-object", "0"],
        ["--min-area", "0.9"],
        ["--min-area", "nan"],
        ["--splits", "train=x"],
        ["--splits", "train=1,train=1"],
        ["--splits", "train=nan,test=1"],
        ["--splits", "train=inf"],
        ["--blend-param", "5"],
        ["--blend-param", "radius=wide"],
        ["--source-option", "checkpoint=x"],
        ["--source-option", "nothing"],
        ["--licenses", "gpl"],
        ["--shard-bytes", "0"],
        ["--max-contact", "nan"],
        ["--max-pixels", "0"],
    ],
    ids=" ".join,
)
def test_a_wrong_value_is_a_usage_error(
    more: list[str], root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert olrd_build([*words(root, tmp_path / "out"), *more]) == 2
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1].startswith("error: ")
    assert not (tmp_path / "out" / "build.json").exists()


def test_an_unreadable_number_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert olrd_build(["--source", "coco", "--out", "x", "--seed", "one"]) == 2
    assert capsys.readouterr().err == "error: --seed expects a whole number, got 'one'\n"


def test_an_unknown_option_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        olrd_build(["--sed", "1"])
    assert done.value.code == 2
    assert "usage: olrd-build" in capsys.readouterr().err


# --- no traceback, whatever the user does --------------------------------------------------------


NONSENSE: list[tuple[str, list[str], int]] = [
    (BUILD, ["--source", "coco", "--root", "nowhere", "--out", "out"], 1),
    (BUILD, ["--source", "coco", "--root", ".", "--out", "out"], 1),
    (BUILD, ["--source", "coco", "--root", "a-file", "--out", "out"], 1),
    (BUILD, ["--source", "openimages", "--root", "nowhere", "--out", "out"], 1),
    (BUILD, ["--source", "openimages", "--out", "out"], 2),
    (BUILD, ["--source", "images", "--out", "out"], 2),
    (BUILD, ["--source", "demo", "--out", "a-file", "--limit", "1"], 1),
    (BUILD, ["--source", "demo", "--out", "a-file/below", "--limit", "1"], 1),
    (MAIN, [], 2),
    (MAIN, ["verfy", "out"], 2),
    (MAIN, ["verify"], 2),
    (MAIN, ["verify", "nowhere"], 1),
    (MAIN, ["verify", "a-file"], 1),
    (MAIN, ["verify", "."], 1),
    (MAIN, ["show", "nowhere"], 1),
    (MAIN, ["audit", "nowhere"], 1),
    (MAIN, ["caption", "nowhere"], 1),
    (MAIN, ["rebuild", "nowhere", "--root", ".", "--out", "out"], 1),
    (MAIN, ["pq", "nowhere.json", "nowhere.json"], 1),
    (MAIN, ["pq", "a-file", "a-file"], 1),
]


@pytest.mark.parametrize(
    ("module", "argv", "code"), NONSENSE, ids=[" ".join(case[1]) or "nothing" for case in NONSENSE]
)
def test_nonsense_gets_an_error_and_no_traceback(
    module: str,
    argv: list[str],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In this process, where any exception but SystemExit would be the traceback."""
    monkeypatch.chdir(tmp_path)
    Path("a-file").write_text("no folder")
    main = {BUILD: olrd_build, MAIN: olrd_main}[module]
    try:
        got = main(argv)
    except SystemExit as done:
        got = int(str(done.code))
    printed = capsys.readouterr()
    assert got == code
    assert "error: " in printed.err
    assert printed.out == ""


@pytest.mark.slow
def test_a_keyboard_interrupt_says_how_to_go_on(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("olrd.builder.build.finish", interrupted)
    assert olrd_build(words(root, tmp_path / "out")) == 130
    assert "run the same command again" in capsys.readouterr().err


# --- output --------------------------------------------------------------------------------------


def test_the_result_is_one_screen(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert olrd_build(words(root, tmp_path / "out")) == 0
    printed = capsys.readouterr()
    totals = json.loads((tmp_path / "out" / "build.json").read_text())["totals"]
    assert f"{totals['triplets']} triplets" in printed.out
    assert f"photos read {totals['photos_read']}" in printed.out
    for code, count in totals["objects_rejected"].items():
        line = next(line for line in printed.out.splitlines() if f" {code} " in line)
        assert line.split()[:2] == [str(count), code]
    assert str(tmp_path / "out") in printed.out
    assert len(printed.out.splitlines()) <= 40
    assert max(map(len, printed.out.splitlines())) < 200


@pytest.mark.slow
def test_json_goes_to_stdout_and_progress_to_stderr(root: Path, tmp_path: Path) -> None:
    """In a process of its own, with a fresh cache so that there is something to say."""
    out = tmp_path / "out"
    argv = [sys.executable, "-m", BUILD, *words(root, out, "--json")]
    env = os.environ | {"OLRD_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((out / "build.json").read_text())
    again = command(*words(root, out, "--json"))
    assert json.loads(again.stdout) == json.loads(done.stdout)
    assert "complete already" in again.stderr


def test_dry_run_writes_nothing(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    before = sorted(root.rglob("*"))
    assert olrd_build(words(root, out, "--dry-run")) == 0
    assert "Nothing was written" in capsys.readouterr().out
    assert not out.exists()
    assert sorted(root.rglob("*")) == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_dry_run_as_json_has_the_documented_keys_and_is_right(
    root: Path, full: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six photos are sampled whole, so the estimate is the truth."""
    assert olrd_build(words(root, tmp_path / "out", "--dry-run", "--json")) == 0
    estimate = json.loads(capsys.readouterr().out)
    record = json.loads((full / "build.json").read_text())
    assert set(estimate) == {
        "photos",
        "splits",
        "units",
        "sampled_photos",
        "triplets",
        "bytes",
        "shards",
        "seconds",
        "photos_rejected_in_sample",
        "objects_rejected_in_sample",
    }
    assert estimate["photos"] == estimate["sampled_photos"] == record["totals"]["photos_read"]
    assert estimate["triplets"] == record["totals"]["triplets"]
    assert estimate["units"] == len(record["units"])
    assert sum(estimate["splits"].values()) == estimate["photos"]
    assert estimate["objects_rejected_in_sample"] == record["totals"]["objects_rejected"]
    real = sum(shard["bytes"] for shard in record["shards"])
    assert 0.5 * real < estimate["bytes"] < 1.5 * real
    assert estimate["seconds"] >= 0


def test_limit_reads_only_the_first_photos(root: Path, tmp_path: Path) -> None:
    """The photos that donors are pasted on count as read too."""
    out = tmp_path / "out"
    more = ["--limit", 3, "--donor", "other", "--placement", "uniform", "--form", "recipes"]
    assert olrd_build(words(root, out, *more, "--splits", "all=1")) == 0
    source = open_source(SourceSpec("coco", str(root)))
    first = {source.image_id(number) for number in range(3)}
    assert len(source) == 6
    rows = list(Dataset(out).rows(["image_id", "donor_image_id"]))
    assert rows
    assert {row[name] for row in rows for name in row} <= first


def test_without_options_it_builds_the_embedded_photos_into_a_folder_named_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert olrd_build(["--limit", "2", "--workers", "1"]) == 0
    printed = capsys.readouterr()
    assert "no --root given: using the 15 embedded photos" in printed.err
    assert "no --out given: writing to triplets/coco" in printed.err
    assert "written to triplets/coco" in printed.out
    assert (tmp_path / "triplets" / "coco" / "build.json").is_file()


def test_coco_without_root_says_that_the_demo_is_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--source", "coco", "--out", str(tmp_path / "out"), "--limit", "1", "--workers", "1"]
    assert olrd_build([*argv, "--dry-run", "--json"]) == 0
    printed = capsys.readouterr()
    assert "no --root given" in printed.err
    assert "embedded photos" in printed.err
    json.loads(printed.out)


def test_coco_with_root_does_not_speak_of_the_demo(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert olrd_build(words(root, tmp_path / "out", "--dry-run")) == 0
    assert "demo" not in capsys.readouterr().err


def test_sources_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert olrd_main(["sources"]) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {"coco", "demo", "images", "openimages"} <= set(names)
    assert names == sorted(names)
    assert olrd_main(["sources", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == names


def test_where_nothing_is_moved_no_text_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The place of a pair is no photo of its own: it is not counted as one."""
    root, out = write_pairs(tmp_path / "pairs", three()), str(tmp_path / "set")
    assert olrd_build(["--source", "pairs", "--root", str(root), "--out", out, "--workers", "1"]) == 0
    assert "photos read 3: 3 used, 0 without a triplet, 0 rejected" in capsys.readouterr().out
    assert "used 3, without a triplet 0." in (tmp_path / "set" / "README.md").read_text()
    count = f"{Dataset(out).record.totals.triplets} triplets of"
    assert olrd_main(["verify", out]) == 0
    assert capsys.readouterr().out.startswith(f"{count} 3 photos (3 clips or places) in ")
    assert olrd_main(["stats", out, "--no-leak"]) == 0
    assert capsys.readouterr().out.startswith(f"{count} 3 clips or places (")
    assert olrd_main(["audit", out]) == 0
    assert f"{count} 3 clips or places (" in capsys.readouterr().out


def test_notes_do_not_stand_among_the_reasons_for_leaving_out() -> None:
    """Their counts are not part of the number above the reasons."""
    totals: dict[str, Any] = {"triplets": 1, "photos_read": 1, "photos_used": 1, "photos_without_triplet": 0}
    totals |= {"photos_rejected": {}, "objects_read": 3, "objects_used": 1, "objects_rejected": {"stuff": 2}}
    totals |= {"failures": [], "notes": {"horizon_unknown": 1}}
    about: dict[str, Any] = {
        "shards": [{"bytes": 1}],
        "source": {"background_kind": "stuff"},
        "config": {"donor": "other"},
    }
    lines = build_summary({"totals": totals, **about}).splitlines()
    assert lines[2] == "photos read 1: 1 used for their objects, 0 without a movable object, 0 rejected"
    assert lines[-3].split()[:2] == ["2", "stuff"]
    assert lines[-2] == "noted (nothing is left out because of it)"
    assert lines[-1].startswith("          1  photo: the ground plane")
