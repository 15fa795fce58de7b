"""Feed each reader with damaged input, and print a table of examples and findings."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from perf.fuzz.harness import Outcome, repeat, run_target
from perf.fuzz.honest import write_honest
from perf.fuzz.targets import TARGETS


def table(outcomes: list[Outcome]) -> str:
    """Format the outcomes as a Markdown table."""
    lines = ["| target | examples | seconds | findings |", "| --- | --- | --- | --- |"]
    lines += [f"| {o.target} | {o.examples} | {o.seconds:.0f} | {len(o.findings)} |" for o in outcomes]
    return "\n".join(lines)


def details(outcome: Outcome, seed: int) -> str:
    """Describe each finding, and the command that repeats it."""
    return "\n".join(
        f"{outcome.target}: {finding.what} at {finding.where} ({finding.count} times): {finding.message}\n"
        f"    python -m perf.fuzz --only {outcome.target} --seed {seed} --example {finding.example}"
        for finding in outcome.findings.values()
    )


def main() -> int:
    """Run the command. The exit code is 1 if there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m perf.fuzz", description=__doc__)
    parser.add_argument("--only", action="append", choices=sorted(TARGETS), help="run this target only; repeatable")
    parser.add_argument(
        "--seconds", type=float, default=120, metavar="N", help="length of each target (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of every draw (default 0)")
    parser.add_argument(
        "--example", type=int, metavar="N", help="run this example of the target alone, and print its traceback"
    )
    args = parser.parse_args()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="olrd-fuzz-") as folder:
        (Path(folder) / "honest").mkdir()
        honest = write_honest(Path(folder) / "honest")
        for name in args.only or TARGETS:
            scratch = Path(folder) / name
            scratch.mkdir()
            if args.example is not None:
                repeat(name, TARGETS[name], honest, scratch, args.seed, args.example)
                continue
            outcome = run_target(name, TARGETS[name], honest, scratch, seconds=args.seconds, seed=args.seed)
            outcomes.append(outcome)
            print(f"{name}: {outcome.examples} examples, {len(outcome.findings)} findings", file=sys.stderr, flush=True)
            if outcome.findings:
                print(details(outcome, args.seed), flush=True)
    if outcomes:
        print(table(outcomes))
    return 1 if any(outcome.findings for outcome in outcomes) else 0


if __name__ == "__main__":
    raise SystemExit(main())
