"""`benchmark` (also `olrd-bench`): score erasers, compare runs, write leaderboards and reports."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import olrd
from olrd.cli.shell import add_engine_options, emit, engine_from, guarded
from olrd.errors import UsageError


def _pairs(name: str) -> Any:
    def parse(text: str) -> tuple[str, str]:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise argparse.ArgumentTypeError(f"expected KEY=VALUE after {name}, got '{text}'")
        return key, value

    return parse


def _data(command: argparse.ArgumentParser, default: str | None = "olrd") -> None:
    """The options that name a data set."""
    command.add_argument(
        "--dataset", default=default, metavar="NAME", help="default: " + (default or "the first run's")
    )
    command.add_argument("--root", metavar="DIR", help="its folder or hub id (olrd without one: the embedded demo)")
    command.add_argument(
        "--data-option",
        type=_pairs("--data-option"),
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the data set; repeatable",
    )


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="benchmark", description="Score any eraser so that the number can be trusted.")
    top.add_argument("--version", action="version", version=f"benchmark {olrd.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, function: Any, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
        command.add_argument("--json", action="store_true", help="print the result as JSON")
        return command

    run = add("run", run_run, "Run an eraser on a data set and score it.")
    run.add_argument("--method", required=True, metavar="NAME", help="an eraser; `benchmark list` shows all")
    run.add_argument(
        "--option",
        type=_pairs("--option"),
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the eraser; repeatable",
    )
    _data(run)
    run.add_argument("--protocol", default="native", metavar="NAME", help="a name or a JSON file (default: native)")
    run.add_argument("--out", type=Path, metavar="DIR", help="default: runs/DATASET/PROTOCOL/METHOD")
    run.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default auto)")
    run.add_argument("--batch", type=int, default=1, metavar="N", help="samples per call of the eraser")
    run.add_argument("--limit", type=int, metavar="N", help="only the first N samples")
    run.add_argument("--seed", type=int, metavar="N", help="of the eraser (default: the protocol's)")
    run.add_argument("--save", action="store_true", help="keep the method's pictures in OUT/outputs")
    add_engine_options(run, "1, this process")
    run.add_argument("--all", action="store_true", help="print every score, not only the headline scores")
    run.add_argument("--dry-run", action="store_true", help="say what would be run, and stop")

    add("list", run_list, "List erasers and metrics with their state, data sets and protocols.")
    fetch = add("fetch", run_fetch, "Download an eraser's published weights, checked by sha256.")
    fetch.add_argument("name", help="an eraser or metric with published weights")
    export = add("export", run_export, "Write a data set's photos and masks as files, to erase elsewhere.")
    _data(export)
    export.add_argument("--protocol", default="native", metavar="NAME", help="a name or a JSON file")
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder to write")
    export.add_argument("--limit", type=int, metavar="N", help="only the first N samples")
    compare = add("compare", run_compare, "Paired differences A - B on the same samples.")
    compare.add_argument("a", type=Path, metavar="A", help="a run's folder")
    compare.add_argument("b", type=Path, nargs="?", metavar="B", help="the baseline's folder")
    compare.add_argument("--score", action="append", metavar="COLUMN", help="e.g. psnr/mask/raw; repeatable")
    compare.add_argument("--by", choices=("area", "category", "background"), help="break A's scores down instead")
    board = add("leaderboard", run_leaderboard, "Add runs to a leaderboard and write its pages anew.")
    board.add_argument("runs", type=Path, nargs="*", metavar="RUN", help="finished runs to add")
    board.add_argument("--board", type=Path, default=Path("leaderboards"), metavar="DIR", help="default: leaderboards")
    report = add("report", run_report, "Write a page that shows runs side by side, sample by sample.")
    report.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="runs made with --save, of one protocol")
    report.add_argument("--out", type=Path, required=True, metavar="DIR", help="for report.html")
    _data(report, None)
    report.add_argument("--limit", type=int, default=200, metavar="N", help="samples to show (default 200)")
    return top


def run_run(args: argparse.Namespace) -> int:
    """`benchmark run`."""
    from benchmark.cli.screen import next_steps, result
    from benchmark.runner.request import Request
    from benchmark.runner.run import plan, run

    for name in ("batch", "limit"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise UsageError(f"--{name} is a whole number from 1, not {value}")
    request = Request(
        args.method,
        args.dataset,
        args.root,
        args.protocol,
        dict(args.option),
        dict(args.data_option),
        args.device,
        args.batch,
        args.limit,
        args.save,
        args.seed,
    )
    if args.dry_run:
        planned = plan(request)
        emit(planned, "\n".join(f"{k}: {v}" for k, v in planned.items()), args.json)
        return 0
    done = run(request, args.out or request.folder, engine_from(args, usual=1))
    text = "" if args.json else f"{result(done, args.all)}\n{next_steps(done, _again(args))}"
    emit(done.summary.to_json(), text, args.json)
    return 0 if done.summary.n else 1


def _again(args: argparse.Namespace) -> list[str]:
    """The words of this `benchmark run` that another method needs for comparable scores."""
    words = ["--dataset", args.dataset] if args.dataset != "olrd" else []
    words += ["--root", args.root] if args.root else []
    for key, value in args.data_option:
        words += ["--data-option", f"{key}={value}"]
    words += ["--protocol", args.protocol] if args.protocol != "native" else []
    words += ["--limit", str(args.limit)] if args.limit else []
    return words


def run_list(args: argparse.Namespace) -> int:
    """`benchmark list`."""
    from baselines import ERASERS, state_of
    from benchmark.datasets import DATASETS
    from benchmark.metrics import METRICS, open_metric
    from benchmark.protocol import FOLDER

    states = {
        "erasers": {name: state_of(name) for name in ERASERS.names()},
        "metrics": {name: state_of(name, open_metric) for name in METRICS.names()},
    }
    names = {"datasets": DATASETS.names(), "protocols": sorted(p.stem for p in FOLDER.glob("*.json"))}
    lines = []
    for what, found in states.items():
        rows = (f"  {name:<23}{s.word:<22}{' '.join(s.advice.split())}" for name, s in found.items())
        lines += [what, *(row.rstrip() for row in rows)]
    for what, listed in names.items():
        lines += [what, *(f"  {name}" for name in listed)]
    result = {what: {n: s._asdict() for n, s in found.items()} for what, found in states.items()}
    emit(result | names, "\n".join(lines), args.json)
    return 0


def run_fetch(args: argparse.Namespace) -> int:
    """`benchmark fetch`."""
    from baselines.weights import fetch, pinned

    path = fetch(pinned(args.name))
    emit({"path": str(path)}, str(path), args.json)
    return 0


def run_export(args: argparse.Namespace) -> int:
    """`benchmark export`."""
    from benchmark.datasets import open_dataset
    from benchmark.export import export
    from benchmark.protocol import load_protocol

    data = open_dataset(args.dataset, args.root, dict(args.data_option))
    count = export(data, load_protocol(args.protocol), args.out, args.limit)
    result = {"samples": count, "out": str(args.out)}
    text = (
        f"{count} photos and masks in {args.out}; put results as <name>.png into a folder and score them "
        "with --method folder --option path=FOLDER --option name=METHOD"
    )
    emit(result, text, args.json)
    return 0


def run_compare(args: argparse.Namespace) -> int:
    """`benchmark compare`."""
    from benchmark.board.compare import compare, headline
    from benchmark.runner.aggregate import breakdown
    from benchmark.runner.results import Run

    a = Run(args.a)
    columns = args.score or headline(a.summary)
    if args.by:
        import pandas as pd

        protocol = a.summary.protocol
        limits = protocol.bootstrap, protocol.seed
        parts = [breakdown(a.samples(), c, args.by, *limits).assign(score=c) for c in columns]
        table = pd.concat(parts, ignore_index=True)
    elif args.b is None:
        raise UsageError("compare needs two runs, A and B; with --by one is enough")
    else:
        table = compare(a, Run(args.b), columns)
    emit(json.loads(table.to_json(orient="records")), table.to_string(index=False), args.json)
    return 0


def run_leaderboard(args: argparse.Namespace) -> int:
    """`benchmark leaderboard`."""
    from benchmark.board.leaderboard import leaderboard
    from benchmark.board.records import add_record
    from benchmark.runner.results import Run

    added = [str(add_record(Run(folder), args.board)) for folder in args.runs]
    written = [str(path) for path in leaderboard(args.board)]
    emit({"records": added, "pages": written}, "\n".join([*added, *written]), args.json)
    return 0


def run_report(args: argparse.Namespace) -> int:
    """`benchmark report`."""
    from benchmark.datasets import open_dataset
    from benchmark.page.report import report
    from benchmark.runner.results import Run

    runs = [Run(folder) for folder in args.runs]
    name = args.dataset or runs[0].summary.request.dataset
    data = open_dataset(name, args.root, dict(args.data_option))
    path = report(runs, data, args.out, args.limit)
    emit({"page": str(path)}, str(path), args.json)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `benchmark` and `olrd-bench`."""
    args = parser().parse_args(argv)
    return guarded(lambda: args.function(args))
