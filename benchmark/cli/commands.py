"""The subcommands of `benchmark`: their arguments, and what each runs and prints."""

from __future__ import annotations

import argparse
import faulthandler
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import olrd
from benchmark.cli.interrupts import prompt_interrupts
from benchmark.cli.options import (
    PICTURES,
    CompareOptions,
    HubOptions,
    LeaderboardOptions,
    ReportOptions,
    RobustnessOptions,
    VerifyOptions,
)
from benchmark.cli.streams import STDERR, stdout_for_results
from benchmark.runner.request import DATA, METHOD, RUNNING, Request, SampleChoice
from olrd.cli.shell import add_engine_options, add_json, add_out, emit, engine_from, guarded, help_text, new_parser
from olrd.errors import UsageError
from olrd.options import add_options, from_arguments, names, whole_number
from olrd.storage.outputs import writing_to
from olrd.trust import counted

if TYPE_CHECKING:
    from benchmark.datasets import DataSet
    from benchmark.runner.summary import Summary

Subcommand = Callable[[argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    """The command line of `benchmark`."""
    top = new_parser(
        "benchmark", "Score erasers on datasets with a known truth.", "benchmark run --method opencv-telea"
    )
    top.add_argument("--version", action="version", version=f"benchmark {olrd.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, function: Subcommand, text: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, **help_text(example))
        command.set_defaults(function=function)
        return command

    run = add(
        "run",
        run_run,
        "Run an eraser on a dataset and score it. The same command continues an interrupted run.",
        "benchmark run --method opencv-telea --root triplets/coco --save",
    )
    add_out(run, "folder of the run (default: runs/DATASET/PROTOCOL/METHOD, with a suffix for other settings)")
    add_options(run, Request, (METHOD, DATA, RUNNING))
    add_engine_options(run.add_argument_group("engine"), "1, this process")
    run.add_argument("--dry-run", action="store_true", help="say what would be run and write nothing")
    add_trust(run)
    run.add_argument(
        "--seeds", metavar="N,N,...", help="run once per seed, and show how much the scores spread; not with --seed"
    )
    run.add_argument("--all", action="store_true", help="print every score, not only the first headline scores")
    add_json(run)

    robustness = add(
        "robustness",
        run_robustness,
        "Score an eraser under disturbed masks and panoptic maps, and draw curves. The same command continues an interrupted run.",
        "benchmark robustness --method opencv-telea --root triplets/coco",
    )
    add_out(robustness, "folder of the runs and the page (default: runs/DATASET/PROTOCOL/METHOD-robustness)")
    add_options(robustness, RobustnessOptions, (METHOD, DATA, RUNNING), leave_out=("--disturbance",))
    add_engine_options(robustness.add_argument_group("engine"), "1, this process")
    robustness.add_argument("--dry-run", action="store_true", help="list the disturbances and write nothing")
    add_trust(robustness)
    add_json(robustness)

    listed = add("list", run_list, "List erasers, metrics, datasets and protocols.", "benchmark list")
    add_json(listed)

    fetch = add("fetch", run_fetch, "Download published weights and check their sha256.", "benchmark fetch lama")
    fetch.add_argument("name", metavar="NAME", help="an eraser or a set of metric weights; `benchmark list` shows them")
    add_json(fetch)

    export = add(
        "export",
        run_export,
        "Write the photos and masks of a dataset as files, to erase them with another program.",
        "benchmark export --root triplets/coco --out to-erase",
    )
    add_out(export, "folder to write", required=True)
    add_options(export, SampleChoice, (DATA,))
    add_json(export)

    compare = add(
        "compare",
        run_compare,
        "Compare two runs: paired differences A - B on the same samples, with intervals and p-values.",
        "benchmark compare runs/olrd/native/opencv-telea runs/olrd/native/blur-fill",
    )
    compare.add_argument("a", metavar="A", help="folder of a run, or a row of a board: BOARD/DATASET#METHOD")
    compare.add_argument("b", nargs="?", metavar="B", help="the baseline, given in the same way")
    add_options(compare, CompareOptions)
    add_json(compare)

    board = add(
        "leaderboard",
        run_leaderboard,
        "Add runs and submissions to a leaderboard and write its pages again.",
        "benchmark leaderboard runs/olrd/native/opencv-telea --board leaderboards",
    )
    board.add_argument(
        "runs",
        type=Path,
        nargs="*",
        metavar="RUN",
        help="folder of a finished run, of a submission, or of several submissions to add",
    )
    add_options(board, LeaderboardOptions, (DATA,))
    add_json(board)

    submit = add(
        "submit",
        run_submit,
        "Pack a finished run so that others can check it and add it to a board.",
        "benchmark submit runs/olrd/native/opencv-telea --to submissions",
    )
    submit.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run")
    submit.add_argument(
        "--to",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder that receives the submission, which is a new folder in it",
    )
    submit.add_argument(
        "--outputs",
        action="store_true",
        help="include the erased pictures (of a run made with --save), so that they can be scored again",
    )
    add_json(submit)

    verify = add(
        "verify",
        run_verify,
        "Check submissions: compute means, intervals and hashes again, and report every difference.",
        "benchmark verify submissions/*",
    )
    verify.add_argument("folders", type=Path, nargs="+", metavar="FOLDER", help="a submission, or a folder of several")
    add_options(verify, VerifyOptions, (DATA,))
    add_json(verify)

    hub = add(
        "hub",
        run_hub,
        "Write a board as files for the Hugging Face Hub: a static Space, eval.yaml, .eval_results.",
        "benchmark hub --board leaderboards --to hub --dataset olrd-demo --dataset-id your-name/olrd-demo",
    )
    hub.add_argument("--to", type=Path, required=True, metavar="DIR", help="folder to write; nothing is uploaded")
    add_options(hub, HubOptions)
    add_json(hub)

    report = add(
        "report",
        run_report,
        "Write a page that shows runs side by side, sample by sample.",
        "benchmark report runs/olrd/native/opencv-telea runs/olrd/native/blur-fill --out report",
    )
    report.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of a run made with --save")
    add_out(report, "folder to write report.html and its pictures to", required=True)
    add_options(report, ReportOptions, (DATA, PICTURES))
    add_json(report)
    return top


def add_trust(command: argparse.ArgumentParser) -> None:
    """`--trust-weights`."""
    command.add_argument(
        "--trust-weights",
        action="append",
        default=[],
        metavar="SHA256",
        help="use a weights file that is not the published one, if it has this sha256; repeatable",
    )


def run_run(args: argparse.Namespace) -> int:
    """`benchmark run`."""
    request = from_arguments(Request, args)
    from baselines.weights import trust
    from benchmark.cli.screen import next_steps, result
    from benchmark.runner.run import plan, run

    trust(args.trust_weights)

    if args.dry_run:
        with stdout_for_results():
            planned = plan(request)
        emit(planned, "\n".join(f"{name}: {value}" for name, value in planned.items()), args.json)
        return 0
    if args.seeds:
        return _run_seeds(request, args)
    with stdout_for_results():
        done = run(request, args.out, engine_from(args, usual=1))
    text = "" if args.json else f"{result(done, args.all)}\n{next_steps(done, request)}"
    emit(done.summary.to_json(), text, args.json)
    return 0


def _run_seeds(request: Request, args: argparse.Namespace) -> int:
    """`benchmark run --seeds`."""
    from benchmark.cli.screen import over_seeds
    from benchmark.runner.seeds import run_seeds, spreads

    seeds = [whole_number("--seeds", text) for text in names("--seeds", args.seeds)]
    with stdout_for_results():
        runs = run_seeds(request, seeds, args.out, engine_from(args, usual=1))
    found = spreads([one.summary for one in runs])
    result = {
        "runs": [str(one.folder) for one in runs],
        "seeds": [one.summary.seed for one in runs],
        "scores": {name: value._asdict() if value else None for name, value in found.items()},
    }
    emit(result, over_seeds(runs, found, args.all), args.json)
    return 0


def run_robustness(args: argparse.Namespace) -> int:
    """`benchmark robustness`."""
    options = from_arguments(RobustnessOptions, args)
    from baselines.weights import trust
    from benchmark.robustness.page import write
    from benchmark.robustness.table import rows_of, screen
    from benchmark.robustness.track import folder_of, plan, track

    trust(args.trust_weights)
    request = options.request
    out = Path(args.out) if args.out else folder_of(request)
    if args.dry_run:
        with stdout_for_results():
            planned = plan(request, options.disturb)
        found = {one.spelled: one.text for one in planned.wanted}
        lines = [*(f"{name:<16}{text}" for name, text in found.items()), *planned.left_out]
        emit({"disturbances": found, "left_out": planned.left_out, "out": str(out)}, "\n".join(lines), args.json)
        return 0
    with stdout_for_results(), writing_to(out, "--out"):
        done = track(request, options.disturb, out, engine_from(args, usual=1))
        files = [str(path) for path in write(done, out)]
    emit({"points": rows_of(done), "files": files}, "\n".join([screen(done), "", *files]), args.json)
    return 0


def run_list(args: argparse.Namespace) -> int:
    """`benchmark list`."""
    from baselines import ERASERS, state_of
    from benchmark.datasets import DATASETS
    from benchmark.metrics import METRICS, open_metric
    from benchmark.protocol import FOLDER

    with stdout_for_results():  # of plug-ins
        states = {
            "erasers": {name: state_of(name) for name in ERASERS.names()},
            "metrics": {name: state_of(name, open_metric) for name in METRICS.names()},
        }
    others = {"datasets": DATASETS.names(), "protocols": sorted(p.stem for p in FOLDER.glob("*.json"))}
    lines = []
    for what, found in states.items():
        rows = (f"  {name:<23}{s.word:<22}{' '.join(s.advice.split())}" for name, s in found.items())
        lines += [what, *(row.rstrip() for row in rows)]
    for what, listed in others.items():
        lines += [what, *(f"  {name}" for name in listed)]
    result = {what: {n: s._asdict() for n, s in found.items()} for what, found in states.items()}
    emit(result | others, "\n".join(lines), args.json)
    return 0


def run_fetch(args: argparse.Namespace) -> int:
    """`benchmark fetch`."""
    from baselines.weights import fetch, pinned

    path = fetch(pinned(args.name))
    emit({"path": str(path)}, str(path), args.json)
    return 0


def run_export(args: argparse.Namespace) -> int:
    """`benchmark export`."""
    choice = from_arguments(SampleChoice, args)
    from benchmark.datasets import open_dataset
    from benchmark.export import export
    from benchmark.protocol import load_protocol

    with stdout_for_results(), writing_to(Path(args.out), "--out"):
        data = open_dataset(choice.dataset, choice.root, choice.data_options)
        count = export(data, load_protocol(choice.protocol), Path(args.out), choice.limit)
    text = (
        f"{counted(count, 'photo and its mask are', 'photos and their masks are')} in {args.out}. Write the erased photos as "
        "<name>.png into a folder and score them: benchmark run --method folder --option path=FOLDER --option name=METHOD"
    )
    emit({"samples": count, "out": str(args.out)}, text, args.json)
    return 0


def run_compare(args: argparse.Namespace) -> int:
    """`benchmark compare`."""
    options = from_arguments(CompareOptions, args)
    from benchmark.board.compare import compare, usual_scores
    from benchmark.board.published import open_both
    from benchmark.cli.screen import comparison, groups
    from benchmark.runner.aggregate import breakdown

    a, b = open_both(args.a, args.b)
    columns = list(options.score) or usual_scores(a.summary)
    if b is not None:
        table = compare(a, b, columns, options.by, options.size)
        text = comparison(a, b, table)
    elif not options.by:
        raise UsageError("compare needs two runs, A and B; with --by one is enough")
    elif options.size:
        raise UsageError("--size is about differences: it needs two runs, A and B")
    else:
        import pandas as pd

        rows = a.samples()
        parts = [breakdown(rows, c, options.by).assign(score=c) for c in columns]
        table = pd.concat(parts, ignore_index=True)
        text = groups(a, table, options.by)
    emit(json.loads(table.to_json(orient="records")), text, args.json)
    return 0


def run_leaderboard(args: argparse.Namespace) -> int:
    """`benchmark leaderboard`."""
    options = from_arguments(LeaderboardOptions, args)
    board = Path(options.board)
    from benchmark.board.leaderboard import leaderboard
    from benchmark.board.strips import add_all_strips
    from benchmark.submissions.collect import add_all

    with writing_to(board, "--board"):
        added = [str(path) for path in add_all(args.runs, board)]
        strips = [str(path) for path in add_all_strips(args.runs, board, options)] if options.thumbnails else []
        written = [str(path) for path in leaderboard(board)]
    found = {"records": added, "thumbnails": strips, "pages": written}
    emit(found, "\n".join([*added, *strips, *written]), args.json)
    return 0


def run_submit(args: argparse.Namespace) -> int:
    """`benchmark submit`."""
    from benchmark.runner.results import Run
    from benchmark.submissions.submit import submit

    with writing_to(args.to, "--to"):
        folder = submit(Run(args.run), args.to, args.outputs)
    emit({"submission": str(folder)}, f"{folder}\nnext   benchmark verify {folder}", args.json)
    return 0


def run_verify(args: argparse.Namespace) -> int:
    """`benchmark verify`. Exit code 1 if something does not follow."""
    options = from_arguments(VerifyOptions, args)
    from benchmark.cli.screen import findings
    from benchmark.submissions.collect import expanded
    from benchmark.submissions.verify import verify

    data = None
    if options.root or options.dataset:
        from benchmark.datasets import open_dataset

        data = open_dataset(options.dataset or "olrd", options.root, options.data_options)
    board = Path(options.board) if options.board else None
    found = [verify(one, board, data, options.device) for folder in args.folders for one in expanded(folder)]
    emit([one.to_json() for one in found], findings(found), args.json)
    return 1 if any(one.problems for one in found) else 0


def run_hub(args: argparse.Namespace) -> int:
    """`benchmark hub`."""
    options = from_arguments(HubOptions, args)
    from benchmark.hub.eval_files import HubNames
    from benchmark.hub.export import export

    called = None
    if options.dataset:
        called = HubNames(
            dataset=options.dataset_id,
            config=options.config,
            split=options.split,
            revision=options.dataset_revision,
            source=options.source_url,
            models=options.model,
        )
    with writing_to(args.to, "--to"):
        written = export(Path(options.board), args.to, options.title, options.dataset, called)
    emit({"files": [str(path) for path in written]}, "\n".join(map(str, written)), args.json)
    return 0


def run_report(args: argparse.Namespace) -> int:
    """`benchmark report`."""
    options = from_arguments(ReportOptions, args)
    from benchmark.page.pictures import Keep
    from benchmark.page.report import report
    from benchmark.runner.results import Run

    runs = [Run(folder) for folder in args.runs]
    keep = Keep(options.pictures, options.quality, options.crop_side)
    with stdout_for_results(), writing_to(Path(args.out), "--out"):
        path = report(runs, _data_of(runs[0].summary, options), Path(args.out), options.limit, keep)
    emit({"page": str(path)}, str(path), args.json)
    return 0


def _data_of(summary: Summary, options: ReportOptions) -> DataSet:
    """The dataset that a run was made on. Its folder is not part of a run, so it has to be named again."""
    from benchmark.datasets import open_dataset

    name = options.dataset or summary.request.dataset or summary.dataset.name
    data = open_dataset(name, options.root, options.data_options)
    if options.root is None and data.fingerprint != summary.dataset.fingerprint:
        raise UsageError(
            f"the runs were made on {summary.dataset.name}, fingerprint {summary.dataset.fingerprint}; without --root, "
            f"{name} is {data.name}, fingerprint {data.fingerprint}. Name the folder of their data: --root DIR, with the "
            "--data-option of the runs if there was one"
        )
    return data


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `benchmark` and `olrd-bench`."""
    args = parser().parse_args(argv)

    def command() -> int:
        with prompt_interrupts():
            status: int = args.function(args)
            return status

    if not faulthandler.is_enabled():
        faulthandler.enable(STDERR)  # a method that crashes in a library of C ends with a word on where
    return guarded(command)
