"""`olrd-build`: panoptic annotations in, triplets out."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import olrd
from olrd.cli.shell import add_engine_options, emit, engine_from, guarded
from olrd.engines.local import local_workers


def parser() -> argparse.ArgumentParser:
    """The command line of `olrd-build`."""
    from olrd.builder.command import add_build_options

    command = argparse.ArgumentParser(
        prog="olrd-build",
        description="Build object / mask / clean-background triplets from panoptic annotations.",
        epilog="The same command run again goes on where it was stopped.",
    )
    command.add_argument("--version", action="version", version=f"olrd {olrd.__version__}")
    command.add_argument("--out", required=True, metavar="DIR", help="the dataset folder to write, or its URL")
    add_build_options(command)
    run = command.add_argument_group("running")
    add_engine_options(run, f"{local_workers()} processes")
    run.add_argument(
        "--shards",
        metavar="PART/OF",
        help="build one share of the work alone, e.g. 0/16; `olrd merge` joins the shares",
    )
    run.add_argument("--retry-failed", action="store_true", help="build again where photos could not be read")
    run.add_argument(
        "--repair", action="store_true", help="check the hashes of a finished build, build damaged shards again"
    )
    run.add_argument("--dry-run", action="store_true", help="say what would be built; write nothing")
    run.add_argument("--json", action="store_true", help="print the result as JSON")
    return command


def run(args: argparse.Namespace) -> int:
    """Build, or estimate, and print the summary."""
    from olrd.builder.command import config_from
    from olrd.progress import say
    from olrd.texts import build_summary, estimate_summary

    config = config_from(args)
    if config.source.name == "coco" and config.source.root is None:
        say("no --root given: using the small demo set of real photos that ships with olrd")
    if args.dry_run:
        from olrd.builder.estimate import estimate

        result = estimate(config, args.workers or local_workers())
        emit(result, estimate_summary(result), args.json)
        return 0
    from olrd.builder.build import build
    from olrd.builder.units import Share

    share = Share.parse(args.shards) if args.shards else None
    result = build(
        config, args.out, retry_failed=args.retry_failed, share=share, repair=args.repair, engine=engine_from(args)
    )
    if "share" in result:
        text = (
            f"share {args.shards}: {result['units_done']} of {result['units']} units are built in {args.out}\n"
            "when all shares are built: olrd merge SHARE SHARE ... --out OUT"
        )
        emit(result, text, args.json)
        return 0
    emit(result, build_summary(result) + f"\n\nwritten to {args.out}", args.json)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    return guarded(lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
    raise SystemExit(main())
