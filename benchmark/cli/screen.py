"""Results as text for a terminal.

A run fills one screen: the first headline scores, where the rest is, and what to type next.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmark.board.compare import ALPHA, names_of
from benchmark.board.ranking import CHANGE, headline
from benchmark.board.tables import decimals_for, seconds
from benchmark.groups import GROUPINGS
from benchmark.metrics import REASONS
from benchmark.regions import MODES
from benchmark.runner.request import DataChoice, Request, SampleChoice
from benchmark.runner.results import Run
from benchmark.runner.seeds import Spread
from benchmark.runner.summary import Summary
from benchmark.scoring import CHANGES
from benchmark.statistics import FEWEST, why_no_interval
from olrd.errors import OlrdError
from olrd.options import words_of
from olrd.trust import counted, one_line, printable

if TYPE_CHECKING:
    import pandas as pd

    from benchmark.submissions.verify import Findings

MOST = 5
"""Reasons of failed samples that are shown one by one."""
ROWS = 4
"""Headline scores on the screen, without the change outside."""
RAW, COMPOSITED = MODES


class Line(NamedTuple):
    """A score to print.

    Attributes:
        why: in words, why samples have no value, or what limits the score.
        direction: which direction is better, with the unit.
        no_interval: as stored.
    """

    name: str
    mean: float | None
    low: float | None
    high: float | None
    n: int
    photos: int | None
    why: str
    direction: str
    no_interval: str = ""


def result(run: Run, every: bool = False) -> str:
    """The scores of a run as text.

    Args:
        run: a finished run.
        every: print all scores; otherwise the first headline scores, and the name of the option that prints the rest.
    """
    summary = run.summary
    lines = list(_lines(summary))
    kept = _without_repeats(summary, lines)
    first = _on_screen(summary)
    by_name = {line.name.removesuffix(f" = {COMPOSITED}"): line for line in kept}
    shown = kept if every else [by_name[name] for name in first if name in by_name]
    parts = [*_head(summary), "", *_table(shown), ""]
    if _all_repeat(summary):
        reason = ", because the method changes nothing outside the mask" if _keeps_the_photo(summary) else ""
        parts.append(f"raw = composited in every score{reason}; each is printed once")
    if any(line.mean is not None and line.low is None and (line.photos or FEWEST) < FEWEST for line in shown):
        parts.append(f"an interval takes at least {FEWEST} source photos")
    parts.append(_times(summary))
    if summary.n and not every:
        parts.append(f"{counted(len(kept) - len(shown), 'more score')}: add --all, or read the files")
    parts += [
        "",
        f"files  {shlex.quote(str(run.folder / 'summary.json'))} (all scores)",
        f"       {shlex.quote(str(run.folder / 'samples.parquet'))} (one row per sample)",
    ]
    return printable("\n".join(parts))


def over_seeds(runs: Sequence[Run], found: Mapping[str, Spread | None], every: bool = False) -> str:
    """The scores of runs that differ in the seed as text. found: what `benchmark.runner.seeds.spreads` returns."""
    first = runs[0].summary
    names = list(found) if every else [name for name in _on_screen(first) if name in found]
    width = max([len("score"), *map(len, names)])
    lines = [*_head(first), f"seeds {', '.join(str(run.summary.seed) for run in runs)}", ""]
    lines.append(f"{'score':<{width}} {'mean':>9} {'over seeds':>11} {'smallest':>9} {'largest':>9} {'seeds':>5}")
    for name in names:
        spread = found[name]
        if spread is None:
            value = first.sets[name].value if name in first.sets else first.scores[name].mean
            mean = "-" if value is None else f"{value:.{decimals_for(value)}f}"
            lines.append(f"{name:<{width}} {mean:>9} {'-':>11}")
            continue
        digits = decimals_for(spread.mean)
        low, high = (f"{value:.{digits}f}" for value in (spread.low, spread.high))
        middle = f"{spread.mean:>9.{digits}f} {spread.deviation:>11.{digits + 1}f}"
        lines.append(f"{name:<{width}} {middle} {low:>9} {high:>9} {spread.seeds:>5}   {_direction(first, name)}")
    lines += ["", "over seeds: standard deviation of the scores of the runs"]
    lines += [f"{'files' if k == 0 else '':<6} {shlex.quote(str(run.folder))}" for k, run in enumerate(runs)]
    return printable("\n".join(lines))


def next_steps(run: Run, request: Request) -> str:
    """Commands that continue from a finished run, with its folder's name.

    Args:
        run: the run.
        request: what it was made from.
    """
    folder, words = str(run.folder), list[list[str]]()
    again = SampleChoice(**{field.name: getattr(request, field.name) for field in fields(SampleChoice)})
    # `results` names finished results of a set; a method that makes its own is refused beside it.
    again = replace(again, data_options={k: v for k, v in again.data_options.items() if k != "results"})
    if run.has_failures():
        repeated = words_of(replace(request, retry_failed=True))
        words.append(["benchmark", "run", *repeated, "--out", folder])
    if (other := comparable(run)) is not None:
        words.append(["benchmark", "compare", folder, str(other)])
    else:
        control = "mean-fill" if run.summary.method.name == "blur-fill" else "blur-fill"
        words.append(["benchmark", "run", "--method", control, *words_of(again)])
    words.append(["benchmark", "leaderboard", folder])
    if (run.folder / "outputs").is_dir():
        data = words_of(DataChoice(root=request.root, data_options=request.data_options))
        words.append(["benchmark", "report", folder, *data, "--out", str(run.folder / "report")])
    lines = (printable(one_line(shlex.join(line))) for line in words)
    return "\n".join(f"{'next' if k == 0 else '':<7}{line}" for k, line in enumerate(lines))


def comparison(a: Run, b: Run, table: pd.DataFrame) -> str:
    """The differences A - B of two runs as text. table: what `benchmark.board.compare.compare` returns."""
    by = _grouped_by(table)
    width = max([len("score"), *map(len, table["score"])])
    across = max([len(by or ""), *(len(one_line(str(group))) for group in table[by])]) + 1 if by else 0
    name_a, name_b = names_of(a, b)
    lines = [f"A  {name_a}" + _at(a, name_a), f"B  {name_b}" + _at(b, name_b), ""]
    numbers = f"{'A - B':>9}   {'95 % interval':<18} {'n':>5} {'photos':>6} {'p':>8} {'p (Holm)':>9} {'needed':>7}"
    lines.append(f"{'score':<{width}} {by or '':<{across}}{numbers}")
    for row in table.to_dict("records"):
        head = f"{row['score']:<{width}} {one_line(str(row[by])) if by else '':<{across}}"
        if _missing(row["mean"]):
            lines.append(f"{head}{'-':>9}   no sample has a value in both runs")
            continue
        digits = decimals_for(row["mean"])
        interval = _interval(row["low"], row["high"], digits, row["no_interval"], row["clusters"])
        p, holm = ("-" if _missing(row[name]) else f"{row[name]:.4f}" for name in ("p", "p_holm"))
        needed = "-" if _missing(row["photos_needed"]) else f"{int(row['photos_needed'])}"
        counts = f"{row['n']:>5} {row['clusters']:>6} {p:>8} {holm:>9} {needed:>7}"
        said = f"{row['verdict']} ({_direction(a.summary, row['score'])})"
        lines.append(f"{head}{row['mean']:>9.{digits}f}   {interval:<18} {counts}   {said}")
    return printable("\n".join([*lines, "", *_explained(table)]))


def groups(run: Run, table: pd.DataFrame, by: str) -> str:
    """The scores of one run by group as text. table: what `benchmark.runner.aggregate.breakdown` returns, with `score`."""
    lines = [f"{one_line(run.summary.label)}, {run.folder}"]
    for score, part in table.groupby("score", sort=False):
        lines += ["", f"{score} ({_direction(run.summary, str(score))})"]
        width = max([len(by), *(len(one_line(str(group))) for group in part[by])])
        lines.append(f"{by:<{width}} {'mean':>9}   {'95 % interval':<18} {'n':>5} {'photos':>6}")
        for row in part.to_dict("records"):
            head = f"{one_line(str(row[by])):<{width}}"
            if _missing(row["mean"]):
                lines.append(f"{head} {'-':>9}   no sample has a value")
                continue
            digits = decimals_for(row["mean"])
            interval = _interval(row["low"], row["high"], digits, row["no_interval"], row["clusters"])
            lines.append(f"{head} {row['mean']:>9.{digits}f}   {interval:<18} {row['n']:>5} {row['clusters']:>6}")
    return printable("\n".join(lines))


def _grouped_by(table: pd.DataFrame) -> str | None:
    return next((name for name in GROUPINGS if name in table.columns), None)


def _at(run: Run, name: str) -> str:
    return "" if name == str(run.folder) else f", {run.folder}"


def _explained(table: pd.DataFrame) -> Iterator[str]:
    """What the columns of a comparison mean, and what its photos cannot show."""
    tests = int(table["p"].notna().sum())
    yield "is better: p (Holm) is at most 0.05."
    yield f"p: sign-flip test over source photos. p (Holm): corrected for {counted(tests, 'test')}."
    yield "needed: source photos that find a difference of this size, or of --size, with power 80 % at alpha 5 %."
    if tests and (least := tests * 2.0 ** (1 - int(table["clusters"][table["p"].notna()].max()))) > ALPHA:
        yield f"With so few photos p (Holm) is at least {min(1.0, least):.2f}: no difference can be shown."


def findings(found: Sequence[Findings]) -> str:
    """What the checks of submissions found, as text."""
    lines = []
    for one in found:
        lines.append(
            f"{one.folder}: "
            + (counted(len(one.problems), "PROBLEM", "PROBLEMS") if one.problems else "everything follows")
        )
        lines += [f"  {one_line(text)}" for text in one.problems]
        lines += [f"  not checked: {one_line(text)}" for text in one.notes]
    return printable("\n".join(lines))


def comparable(run: Run) -> Path | None:
    """The newest other run beside this one with the same protocol, data and metrics, or None."""
    found = []
    for path in run.folder.resolve().parent.glob("*/summary.json"):
        if path.parent == run.folder.resolve():
            continue
        try:
            other = Run(run.folder.parent / path.parent.name)
        except OlrdError:
            continue  # damaged, or of another version; `benchmark compare` says so
        if _claim(other.summary) == _claim(run.summary):
            found.append((path.stat().st_mtime, other.folder))
    return max(found)[1] if found else None


def _claim(summary: Summary) -> tuple[object, ...]:
    return summary.protocol_id, summary.dataset.fingerprint, summary.metric_revisions


def _head(summary: Summary) -> Iterator[str]:
    failed = f"{summary.n_failed} failed" if summary.n_failed else "none failed"
    whole = summary.dataset.n >= summary.dataset.total
    samples = counted(summary.n, "sample") if whole else f"{summary.n:,} of {counted(summary.dataset.total, 'sample')}"
    yield f"{one_line(summary.label)} on {summary.dataset.name}, protocol {one_line(summary.protocol_id)}"
    yield f"{samples} scored, {failed}"
    yield from (f"warning: {one_line(text)}" for text in (*summary.dataset.warnings, *summary.warnings))
    yield from (f"{name}: {value:.4f} on average" for name, value in summary.facts.items())
    common = sorted(summary.failures.items(), key=lambda item: (-item[1], item[0]))
    yield from (f"failed: {count} x {one_line(reason)}" for reason, count in common[:MOST])
    if len(common) > MOST:
        yield f"failed: {counted(len(common) - MOST, 'more reason')} in summary.json"


def _on_screen(summary: Summary) -> list[str]:
    """Names of the first `ROWS` headline scores, each raw and composited, and of the change outside."""
    raw = [name for name in headline(summary) if name != CHANGE][:ROWS]
    both = [name for one in raw for name in dict.fromkeys((one, one.removesuffix(RAW) + COMPOSITED))]
    return [name for name in (*both, CHANGE) if name in summary.scores or name in summary.sets]


def _lines(summary: Summary) -> Iterator[Line]:
    """All scores, metric by metric in the order of the protocol."""
    order = {name: k for k, name in enumerate((*summary.protocol.metrics, *CHANGES))}
    names = sorted((*summary.scores, *summary.sets), key=lambda name: order.get(name.partition("/")[0], len(order)))
    for name in names:
        direction = _direction(summary, name)
        if name in summary.sets:
            whole = summary.sets[name]
            why = "; ".join(REASONS.get(reason, reason) for reason in whole.reason.split("; ") if reason)
            yield Line(
                name, whole.value, whole.low, whole.high, whole.n, whole.clusters, why, direction, whole.no_interval
            )
        else:
            found = summary.scores[name]
            why = _why(found.without)
            yield Line(
                name, found.mean, found.low, found.high, found.n, found.clusters, why, direction, found.no_interval
            )


def _missing(value: float | None) -> bool:
    return value is None or value != value  # NaN is not equal to itself


def _direction(summary: Summary, name: str) -> str:
    """The unit of a score and its direction, e.g. "dB, higher is better"."""
    metric = summary.metrics.get(name.partition("/")[0])
    unit, higher = (metric.unit, metric.higher_is_better) if metric else ("grey levels", False)
    better = f"{'higher' if higher else 'lower'} is better"
    return f"{unit}, {better}" if unit else better


def _why(without: Mapping[str, int]) -> str:
    """Why samples have no value, in words, e.g. "no value for 3 samples: the output equals the truth"."""
    return "; ".join(
        f"no value for {count} sample{'s' if count > 1 else ''}: {REASONS.get(reason, reason)}"
        for reason, count in without.items()
    )


def _pairs(summary: Summary) -> list[tuple[str, bool]]:
    """Each raw score that has a composited form, and whether the two are equal."""
    both = {**summary.scores, **summary.sets}
    pairs = ((name, name.removesuffix(RAW) + COMPOSITED) for name in both if name.endswith(f"/{RAW}"))
    return [(raw, both[raw] == both[other]) for raw, other in pairs if other in both]


def _all_repeat(summary: Summary) -> bool:
    pairs = _pairs(summary)
    return bool(pairs) and all(equal for _, equal in pairs)


def _keeps_the_photo(summary: Summary) -> bool:
    largest = summary.scores.get(f"{CHANGES[1]}/outside/{RAW}")
    return largest is not None and largest.mean == 0


def _without_repeats(summary: Summary, lines: Sequence[Line]) -> list[Line]:
    """One line where raw and composited are equal. The line says this unless all lines are such."""
    equal = {name for name, same in _pairs(summary) if same}
    dropped = {name.removesuffix(RAW) + COMPOSITED for name in equal}
    mark = "" if _all_repeat(summary) else f" = {COMPOSITED}"
    kept = (line for line in lines if line.name not in dropped)
    return [line._replace(name=line.name + mark) if line.name in equal else line for line in kept]


def _table(lines: Sequence[Line]) -> Iterator[str]:
    width = max([len("score"), *(len(line.name) for line in lines)])
    yield f"{'score':<{width}} {'mean':>9}   {'95 % interval':<18} {'n':>5} {'photos':>6}"
    for line in lines:
        photos = "-" if line.photos is None else str(line.photos)
        if line.mean is None:
            yield f"{line.name:<{width}} {'-':>9}   {line.why}"
            continue
        digits = decimals_for(line.mean)
        interval = _interval(line.low, line.high, digits, line.no_interval, line.photos)
        why = f" ({line.why})" if line.why else ""
        counts = f"{line.n:>5} {photos:>6}"
        yield f"{line.name:<{width}} {line.mean:>9.{digits}f}   {interval:<18} {counts}   {line.direction}{why}"


def _interval(low: float | None, high: float | None, digits: int, reason: str, photos: int | None) -> str:
    """An interval, or why there is none."""
    if low is None or high is None or low != low:
        return why_no_interval(reason, photos) or "-"
    return f"{low:.{digits}f} to {high:.{digits}f}"


def _times(summary: Summary) -> str:
    median, peak = summary.times.median_seconds, summary.times.peak_mb
    parts = [] if median is None else [f"median {seconds(median)} s per image"]
    parts += [] if peak is None else [f"peak memory {peak:.0f} MiB"]
    return ", ".join([*parts, f"device {summary.method.device}"])
