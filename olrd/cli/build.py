"""`olrd-build`: builds triplets from photos with panoptic annotations."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import olrd
from olrd.cli.shell import add_engine_options, add_json, add_out, emit, engine_from, guarded, new_parser
from olrd.engines.local import local_workers, start_early
from olrd.trust import counted

GROUPS = ("source", "objects", "placement and blending", "masks", "output")


def parser() -> argparse.ArgumentParser:
    """The command line of `olrd-build`."""
    from olrd.config import PRESETS, BuildConfig
    from olrd.options import add_options

    command = new_parser(
        "olrd-build",
        "Build object / mask / clean-background triplets from panoptic annotations.",
        "olrd-build --source coco --root COCO --out triplets/coco --workers 8",
        "If a build is interrupted, the same command finishes it.",
    )
    command.add_argument("--version", action="version", version=f"olrd {olrd.__version__}")
    add_out(command, "the folder or URL to write to (default: triplets/SOURCE)")
    command.add_argument(
        "--preset", metavar="NAME", help=f"options for one purpose: {', '.join(PRESETS)}; other options override them"
    )
    add_options(command, BuildConfig, GROUPS)
    run = command.add_argument_group("running")
    add_engine_options(run, "one process per CPU core, at most 8")
    run.add_argument(
        "--shards",
        metavar="PART/OF",
        help="build only this share of the work, e.g. 0/16; `olrd merge` joins the shares",
    )
    run.add_argument("--retry-failed", action="store_true", help="read photos again that could not be read")
    run.add_argument(
        "--repair", action="store_true", help="check the hashes of a finished build, and build damaged shards again"
    )
    run.add_argument("--dry-run", action="store_true", help="say what would be built and write nothing")
    add_json(run)
    return command


def run(args: argparse.Namespace) -> int:
    """Build, or estimate, and print the summary."""
    if not args.dry_run:
        start_early(engine_from(args), "olrd.builder.imports")  # while this process imports the same
    from olrd.builder.units import Share
    from olrd.cli.texts import build_summary, estimate_summary
    from olrd.config import BuildConfig, with_preset
    from olrd.options import from_values, given_values
    from olrd.progress import say

    values = given_values(BuildConfig, args)
    config = from_values(BuildConfig, with_preset(values | {"preset": args.preset or "default"}))
    if args.preset:
        say(f"preset {args.preset}: {config.command()}")
    share = Share.parse(args.shards) if args.shards else None
    if config.source.name == "coco" and config.source.root is None:
        say("no --root given: using the 15 embedded photos")
    if args.dry_run:
        from olrd.builder.estimate import estimate

        result = estimate(config, args.workers or local_workers())
        emit(result, estimate_summary(result), args.json)
        return 0
    from olrd.builder.build import build
    from olrd.builder.nothing import many_rejected
    from olrd.triplets.tally import Tally

    out = args.out
    if out is None:
        out = f"triplets/{config.source.name}" + (f"-{share.part}-of-{share.of}" if share else "")
        say(f"no --out given: writing to {out}")
    result = build(
        config, out, retry_failed=args.retry_failed, share=share, repair=args.repair, engine=engine_from(args)
    )
    if "share" in result:
        are = "is" if result["units_done"] == 1 else "are"
        text = (
            f"share {args.shards}: {result['units_done']} of {counted(result['units'], 'unit')} {are} built in {out}\n"
            "when all shares are built: olrd merge SHARE SHARE ... --out OUT"
        )
        emit(result, text, args.json)
        return 0
    emit(result, build_summary(result) + f"\n\nwritten to {out}", args.json)
    if warning := many_rejected(Tally.from_dict(result["totals"])):
        say(f"warning: {warning}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    return guarded(lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
    raise SystemExit(main())
