"""Running an ablation's commands, and their results as one table. Finished commands are not run again."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

from magiceraser_ref.ablation.rows import Ablation, Command, Row, plan, run_folder
from olrd.errors import IntegrityError, OlrdError, OutputError, did_you_mean
from olrd.progress import say
from olrd.storage.files import to_json, write_atomic
from olrd.trust import counted, parse_json

MODULES = {"magiceraser": "magiceraser_ref.cli.main", "benchmark": "benchmark.cli"}
"""The modules of the commands, which run with the Python of this process."""
SHOWN = ("psnr/mask/composited", "ssim/mask/composited", "lpips-alex/mask/composited")
"""Default columns of the table: the paper's per-photo metrics in the mask."""
MARK, KINDS = "ablation.json", ("json", "csv", "md")
_INTERVAL = ("mean", "low", "high")
PAPER = {"psnr": "psnr", "ssim": "ssim", "lpips": "lpips", "fid": "fid"}
Runner = Callable[[Sequence[str]], str]
"""Takes the words of a command and returns its stdout. Raises `OlrdError` if the command fails."""


class CommandError(OlrdError):
    """A command of an ablation failed. Its messages are on stderr."""


def execute(words: Sequence[str]) -> str:
    """Run `magiceraser ...` or `benchmark ...` and return its stdout. Its stderr is passed on."""
    argv = [sys.executable, "-m", MODULES[words[0]], *words[1:]]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise CommandError(
            f"`{' '.join(words)}` ended with exit code {done.returncode}; its error is above. The same "
            "`magiceraser ablate` continues from there"
        )
    return done.stdout


def run_ablation(ablation: Ablation, out: Path, scores: Sequence[str] = (), runner: Runner = execute) -> dict[str, Any]:
    """Run every command that is not finished, then write table.md, table.csv and table.json.

    Args:
        ablation: What to run.
        out: Folder of training runs, benchmark runs and the table.
        scores: Columns of the table; by default those of `SHOWN`, and every set metric.
        runner: Runs a command.

    Returns:
        The table.

    Raises:
        CommandError: If a command fails.
        OutputError: If `out` contains another ablation or cannot be written.
        IntegrityError: If the summary of a run is damaged.
    """
    commands = plan(ablation, out)
    _begin(out, commands)
    for number, command in enumerate(commands, start=1):
        if Path(command.done).is_file():
            continue
        say(f"[{number}/{len(commands)}] {command.what}")
        runner(command.words)
    return write_table(ablation, out, scores, runner)


def write_table(ablation: Ablation, out: Path, scores: Sequence[str] = (), runner: Runner = execute) -> dict[str, Any]:
    """Write table.md, table.csv and table.json of finished runs, and return the table.

    Raises `OutputError` if `out` contains files of something else with these names, or cannot be written.
    """
    _check_folder(out, plan(ablation, out))
    table = collect(ablation, out, scores, runner)
    with _writing(out):
        for name, text in (("json", to_json(table)), ("csv", as_csv(table)), ("md", as_markdown(table))):
            write_atomic(out / f"table.{name}", text)
    return table


def _begin(out: Path, commands: Sequence[Command]) -> None:
    """Note in ablation.json what is run. Raises `OutputError` if the folder cannot be used."""
    known = _check_folder(out, commands)
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(out / MARK, to_json(known | {command.out: list(command.words) for command in commands}))


def _check_folder(out: Path, commands: Sequence[Command]) -> dict[str, Any]:
    """Return the commands that were run in a folder, by what they write.

    Raises `OutputError` if another ablation, or somebody else, wrote to a place that this one uses.
    """
    mark = out / MARK
    if not mark.is_file():
        if foreign := [path.name for path in (out / f"table.{kind}" for kind in KINDS) if path.exists()]:
            raise OutputError(f"{out / foreign[0]} is not of an ablation: give another --out, so that it is kept")
        return {}
    known = parse_json(mark.read_bytes(), mark, OutputError) if mark.stat().st_size else {}
    if not isinstance(known, dict) or not all(isinstance(words, list) for words in known.values()):
        raise OutputError(f"{mark} is not the record of an ablation: give another --out")
    for command in commands:
        if known.get(command.out, list(command.words)) != list(command.words):
            raise OutputError(
                f"{out} contains another ablation ({command.out} was made with other options): give another --out"
            )
    return known


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{out} cannot be used as the folder of an ablation: {error}") from error


def _summary(folder: Path) -> dict[str, Any]:
    """Read the summary of a finished run. Raises `IntegrityError`, which says how to go on."""
    path = folder / "summary.json"
    again = f"remove {folder} and give the same command with --run, to score it again"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise IntegrityError(
            f"{path} cannot be read ({error.strerror}): is the run finished? If it is, {again}"
        ) from error
    found = parse_json(data, path)
    if not _is_summary(found):
        raise IntegrityError(f"{path} is not the summary of a run: {again}")
    summary: dict[str, Any] = found
    return summary


def _is_summary(found: Any) -> bool:
    if not isinstance(found, dict) or not all(isinstance(found.get(name), int) for name in ("n", "n_failed")):
        return False
    parts = [found.get(name) for name in ("scores", "sets", "dataset", "protocol")]
    if not all(isinstance(part, dict) for part in parts):
        return False
    scores, sets, dataset, protocol = (part or {} for part in parts)
    numbers = [score.get(key) if isinstance(score, dict) else "" for score in scores.values() for key in _INTERVAL]
    numbers += [one.get("value") if isinstance(one, dict) else "" for one in sets.values()]
    fits = all(number is None or isinstance(number, int | float) for number in numbers)
    return fits and isinstance(dataset.get("name"), str) and isinstance(protocol.get("id"), str)


def collect(ablation: Ablation, out: Path, scores: Sequence[str] = (), runner: Runner = execute) -> dict[str, Any]:
    """Read finished runs: every row's scores over samples and seeds, and its paired differences."""
    rows, names = [], {row.name for row in ablation.chosen}
    columns: tuple[str, ...] = tuple(scores)
    for row in ablation.chosen:
        summaries = [_summary(run_folder(out, row.name, seed)) for seed in ablation.seeds]
        columns = columns or _default_columns(summaries[0])
        known = [name for name in _names(summaries[0]) if all(name in _names(other) for other in summaries)]
        for name in columns:
            if name not in known:
                raise did_you_mean("score", name, known)
        rows.append(
            {
                "row": row.name,
                "training_free": row.free,
                "weights": row.weights,
                "scores": {name: _over_seeds(name, summaries) for name in columns},
                "differences": {
                    other: _differences(ablation, out, row.name, other, columns, summaries[0], runner)
                    for other in row.against
                    if other in names
                },
                "reported": row.reported.scores() if row.reported else None,
                "n": summaries[0]["n"],
                "n_failed": sum(s["n_failed"] for s in summaries),
            }
        )
    return {
        "columns": list(columns),
        "seeds": list(ablation.seeds),
        "rows": rows,
        "dataset": summaries[0]["dataset"],
        "protocol": summaries[0]["protocol"]["id"],
    }


def _names(summary: dict[str, Any]) -> list[str]:
    return [*summary["scores"], *summary["sets"]]


def _default_columns(summary: dict[str, Any]) -> tuple[str, ...]:
    """Return those of `SHOWN` that the protocol has, and every set metric, composited."""
    per_photo = tuple(name for name in SHOWN if name in summary["scores"])
    per_photo = per_photo or tuple(summary["scores"])[:3]
    return per_photo + tuple(name for name in summary["sets"] if name.endswith("/composited"))


def _over_seeds(name: str, summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Pool a score over seeds: its mean, its 95 % interval, and the smallest and largest mean of a seed.

    The interval over source photos is the mean of the seeds' intervals, which is slightly too wide for the mean over
    seeds.
    """
    if name in summaries[0]["sets"]:
        found = [{"mean": s["sets"][name]["value"], "low": None, "high": None} for s in summaries]
    else:
        found = [s["scores"][name] for s in summaries]
    return _pooled(found)


def _pooled(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {
        key: fmean(one[key] for one in found) if all(one[key] is not None for one in found) else None
        for key in _INTERVAL
    }
    means = [one["mean"] for one in found if one["mean"] is not None]
    values["seed_min"], values["seed_max"] = (min(means), max(means)) if means else (None, None)
    return values


def _differences(
    ablation: Ablation, out: Path, row: str, other: str, columns: Sequence[str], summary: dict[str, Any], runner: Runner
) -> dict[str, Any]:
    """Compute the paired differences row - other with `benchmark compare`, one per seed, pooled like scores.

    p_holm is the largest of the seeds'. Set metrics have no samples to pair, so their differences are left out.
    """
    paired = [name for name in columns if name in summary["scores"]]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in paired}
    if not paired:
        return {}
    for seed in ablation.seeds:
        pair = [str(run_folder(out, name, seed)) for name in (row, other)]
        chosen = [word for name in paired for word in ("--score", name)]
        for one in json.loads(runner(["benchmark", "compare", *pair, *chosen, "--json"])):
            found[one["score"]].append(one)
    result = {}
    for name, ones in found.items():
        values = [one["p_holm"] for one in ones if one.get("p_holm") is not None]
        result[name] = _pooled(ones) | {"p_holm": max(values, default=None)}
    return result


def as_csv(table: dict[str, Any]) -> str:
    """Format the table as CSV: one line per row and score, and per row, score and row that it is compared with."""
    names = (
        "row",
        "score",
        "against",
        "mean",
        "low",
        "high",
        "seed_min",
        "seed_max",
        "p_holm",
        "reported",
        "training_free",
        "n",
    )
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in table["rows"]:
        fixed = {"row": row["row"], "training_free": row["training_free"], "n": row["n"]}
        for score, found in row["scores"].items():
            writer.writerow(fixed | found | {"score": score, "reported": _reported(row, score)})
        for other, differences in row["differences"].items():
            for score, found in differences.items():
                writer.writerow(fixed | found | {"score": score, "against": other})
    return text.getvalue()


def _reported(row: dict[str, Any], score: str) -> Any:
    """Return the paper's number for a kind of score; empty if it reports none."""
    kind = PAPER.get(score.partition("/")[0].partition("-")[0], "")
    return (row["reported"] or {}).get(kind, "")


def as_markdown(table: dict[str, Any]) -> str:
    """Format the table as Markdown: mean, interval and spread of the seeds, then the differences."""
    columns = table["columns"]
    lines = [
        f"Measured on {table['dataset']['name']} ({counted(table['rows'][0]['n'], 'sample')}), protocol "
        f"{table['protocol']}, seeds {', '.join(map(str, table['seeds']))}. Cells: mean over seeds, "
        "[95 % interval over source photos], {least to greatest seed}. *Reported* is the paper's own "
        "ablation (RealHM, second-hand, protocol unknown): other data and another scale of model, so its "
        "digits do not compare with ours.",
        "",
        f"| row | what it adds | {' | '.join(columns)} | reported PSNR / SSIM / LPIPS / FID |",
        "|---" * (len(columns) + 3) + "|",
    ]
    for row in table["rows"]:
        cells = [_cell(row["scores"][name]) for name in columns]
        reported = " / ".join(f"{v:g}" for v in (row["reported"] or {}).values()) or "-"
        free = "training-free" if row["training_free"] else "trained"
        lines.append(f"| {row['row']} | {free} | {' | '.join(cells)} | {reported} |")
    paired = [name for name in columns if any(name in d for r in table["rows"] for d in r["differences"].values())]
    if paired:
        lines += [
            "",
            "Paired differences (first minus second; p: sign-flip test, Holm, the largest of the seeds):",
            "",
            f"| rows | {' | '.join(paired)} |",
            "|---" * (len(paired) + 1) + "|",
        ]
        for row in table["rows"]:
            for other, found in row["differences"].items():
                cells = [_cell(found[n], signed=True) + _p(found[n]) for n in paired]
                lines.append(f"| {row['row']} - {other} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(found: dict[str, Any], signed: bool = False) -> str:
    if found["mean"] is None:
        return "-"
    form = "+.4g" if signed else ".4g"
    text = f"{found['mean']:{form}}"
    if found["low"] is not None:
        text += f" [{found['low']:{form}}, {found['high']:{form}}]"
    return f"{text} {{{found['seed_min']:{form}} to {found['seed_max']:{form}}}}"


def _p(found: dict[str, Any]) -> str:
    return "" if found["p_holm"] is None else f" p={found['p_holm']:.3g}"


def rows_text(rows: Sequence[Row]) -> str:
    """Format the rows' configurations, one per line."""
    head = f"{'row':<22}{'weights':<12}{'content':<9}{'refocus':<9}{'token':<7}adds"
    lines = [
        f"{r.name:<22}{r.weights:<12}"
        + "".join(f"{'on' if v else 'off':<{w}}" for v, w in ((r.content, 9), (r.refocus, 9), (r.token, 7)))
        + ("training-free" if r.free else "training")
        for r in rows
    ]
    return "\n".join([head, *lines])
