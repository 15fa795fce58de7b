"""`olrd`: the tools for built datasets. `olrd-build` builds them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import olrd
from olrd.cli.shell import add_device, add_json, add_out, add_workers, emit, guarded, help_text, new_parser
from olrd.trust import counted


def parser() -> argparse.ArgumentParser:
    """The command line of `olrd`."""
    top = new_parser(
        "olrd",
        "Check, show, export and publish object-removal triplets that `olrd-build` has built.",
        "olrd verify triplets/coco",
    )
    top.add_argument("--version", action="version", version=f"olrd {olrd.__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    cores = min(8, os.cpu_count() or 1)

    def add(name: str, run: Any, text: str, example: str, folder: str = "folder") -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, **help_text(f"olrd {example}"))
        command.set_defaults(run=run)
        if folder:
            command.add_argument(folder, metavar=folder.upper(), help="a built dataset folder, or its URL")
        add_json(command)
        return command

    verify = add("verify", run_verify, "Check every invariant and hash.", "verify triplets/coco")
    add_workers(verify, cores)
    _add_max_pixels(verify)

    show = add(
        "show", run_show, "Write a contact sheet (PNG) and a page (HTML) to look at.", "show triplets/coco --count 12"
    )
    add_out(show, "the folder to write to (default: FOLDER-show)")
    show.add_argument(
        "--count", type=int, default=8, metavar="N", help="number of triplets on the sheet (default %(default)s)"
    )
    show.add_argument(
        "--page-limit", type=int, default=60, metavar="N", help="number of triplets on the page (default %(default)s)"
    )
    _add_max_pixels(show)

    audit = add(
        "audit",
        run_audit,
        "Measure the edge leak, and look for near duplicates and odd distributions.",
        "audit triplets/coco --against other-photos",
    )
    audit.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="DIR",
        help="another dataset or photo folder in which to look for the same photos; repeatable",
    )

    stats = add(
        "stats",
        run_stats,
        "Count areas, classes, positions and backgrounds, and write a page with plots.",
        "stats triplets/coco",
    )
    stats.add_argument("--out", metavar="FILE", help="the page to write (default: FOLDER-stats.html)")
    stats.add_argument(
        "--no-leak", action="store_true", help="skip the edge leak, for which up to 400 triplets are decoded"
    )

    compared = add(
        "diff",
        run_diff,
        "List the triplets that came, went and changed between two datasets.",
        "diff triplets/coco-1 triplets/coco-2",
        "old",
    )
    compared.add_argument("new", metavar="NEW", help="the dataset to compare with, or its URL")

    exported = add(
        "export",
        run_export,
        "Write a dataset as folders of pictures, WebDataset or COCO instances.",
        "export triplets/coco --to webdataset --out coco-tars",
    )
    exported.add_argument(
        "--to",
        required=True,
        metavar="FORM",
        help="folders: image/, mask/ and background/ with metadata.jsonl; webdataset: tar files; coco: instances JSON",
    )
    add_out(exported, "the folder to write to", required=True)
    exported.add_argument(
        "--per-file", type=int, default=500, metavar="N", help="triplets per tar file (default %(default)s)"
    )
    add_workers(exported, cores)
    _add_max_pixels(exported)

    rebuild = add(
        "rebuild",
        run_rebuild,
        "Make the full dataset from recipes and photos.",
        "rebuild recipes --root coco/train2017 --out triplets/coco",
        "recipes",
    )
    rebuild.add_argument("--root", required=True, metavar="DIR", help="the folder of the photos, or its URL")
    add_out(rebuild, "the folder or URL to write to", required=True)
    add_workers(rebuild, cores)
    _add_max_pixels(rebuild)

    merge = add(
        "merge",
        run_merge,
        "Join the shares that `olrd-build --shards` built.",
        "merge share-0 share-1 --out triplets/coco",
        "",
    )
    merge.add_argument("shares", nargs="+", metavar="SHARE", help="folder or URL of each share")
    add_out(merge, "the folder or URL to write to", required=True)

    publish = add(
        "publish",
        run_publish,
        "Upload to the Hugging Face Hub: recipes, or pixels where the licences allow it.",
        "publish triplets/coco --repo your-name/your-set --dry-run",
    )
    publish.add_argument(
        "--repo",
        required=True,
        metavar="NAME/SET",
        help="the dataset repository, which is created if it does not exist",
    )
    publish.add_argument("--private", action="store_true", help="make the repository private")
    publish.add_argument("--revision", metavar="BRANCH", help="upload to this branch (default: main)")
    publish.add_argument(
        "--i-may-redistribute",
        action="store_true",
        help="also upload the pixels; refused unless every photo's licence allows derivatives",
    )
    publish.add_argument("--dry-run", action="store_true", help="say what would be uploaded and send nothing")

    described = add(
        "croissant",
        run_croissant,
        "Describe a dataset in Croissant with RAI fields, as conferences ask for it.",
        "croissant triplets/coco --url https://huggingface.co/datasets/your-name/your-set --out croissant.json",
    )
    described.add_argument("--out", metavar="FILE", help="the file to write (default: print it)")
    described.add_argument(
        "--name", default="object-removal-triplets", metavar="NAME", help="name of the dataset (default %(default)s)"
    )
    described.add_argument("--url", default="", metavar="URL", help="the page of the dataset")
    described.add_argument("--creator", default="", metavar="NAME", help="who made the dataset")
    described.add_argument("--date", default="", metavar="YYYY-MM-DD", help="day of publication")
    described.add_argument("--dataset-version", default="1.0.0", metavar="X.Y.Z", help="version (default %(default)s)")
    described.add_argument("--citation", default="", metavar="BIBTEX", help="how to cite the dataset")
    described.add_argument(
        "--derived-from",
        action="append",
        default=[],
        metavar="URL",
        help="a dataset from which the photos or annotations come; repeatable",
    )

    caption = add(
        "caption",
        run_caption,
        "Fill the caption column with an image-to-text model.",
        "caption triplets/coco --device cuda",
    )
    caption.add_argument(
        "--checkpoint",
        default="llava-hf/llava-1.5-7b-hf",
        metavar="NAME",
        help="Hub id or folder (default %(default)s)",
    )
    caption.add_argument("--revision", metavar="NAME", help="use this revision of the checkpoint")
    caption.add_argument("--limit", type=int, metavar="N", help="write at most N new captions")
    add_device(caption)

    pq = add(
        "pq",
        run_pq,
        "Measure the panoptic quality of PREDICTED against TRUTH (two COCO panoptic JSONs).",
        "pq predicted.json annotations/panoptic_val2017.json",
        "",
    )
    pq.add_argument(
        "predicted", type=Path, metavar="PREDICTED", help="a JSON file; its PNGs are in the folder of the same name"
    )
    pq.add_argument(
        "truth", type=Path, metavar="TRUTH", help="a JSON file; its PNGs are in the folder of the same name"
    )

    add("sources", run_sources, "List the registered sources.", "sources", "")
    return top


def _add_max_pixels(command: argparse.ArgumentParser) -> None:
    """The limit is the reader's: a stranger's dataset may say any."""
    command.add_argument(
        "--max-pixels",
        type=int,
        default=64_000_000,  # olrd.arrays.MAX_PIXELS, which `--help` does not load
        metavar="N",
        help="refuse pictures with more pixels, as `olrd-build` does (default %(default)s)",
    )


def run_verify(args: argparse.Namespace) -> int:
    """`olrd verify`. Exit code 1 if there is a problem."""
    from olrd.tools.verify import verified_text, verify

    result = verify(args.folder, args.workers, args.max_pixels)
    good = not result["problems"]
    found = "every invariant and every hash holds" if good else counted(len(result["problems"]), "PROBLEM", "PROBLEMS")
    hint = [] if good else ["the olrd-build command of this folder with --repair builds damaged shards again"]
    emit(result, "\n".join([f"{verified_text(result)}: {found}", *result["problems"][:50], *hint]), args.json)
    return 0 if good else 1


def run_show(args: argparse.Namespace) -> int:
    """`olrd show`."""
    from olrd.tools.show import show

    result = show(args.folder, args.out, args.count, args.page_limit, max_pixels=args.max_pixels)
    emit(result, "\n".join(str(path) for path in result.values()), args.json)
    return 0


def run_audit(args: argparse.Namespace) -> int:
    """`olrd audit`."""
    from olrd.audit import audit, format_audit

    result = audit(args.folder, args.against)
    emit(result, format_audit(result), args.json)
    return 0


def run_stats(args: argparse.Namespace) -> int:
    """`olrd stats`."""
    from olrd.audit.stats import stats, stats_text

    result = stats(args.folder, args.out, leak=not args.no_leak)
    emit(result, stats_text(result), args.json)
    return 0


def run_diff(args: argparse.Namespace) -> int:
    """`olrd diff`. Exit codes as those of diff: 0 the same, 1 different, 2 trouble."""
    from olrd.errors import OlrdError, UsageError
    from olrd.tools.diff import diff, diff_text, differs

    try:
        result = diff(args.old, args.new)
    except OlrdError as error:
        raise UsageError(str(error)) from error
    emit(result, diff_text(result), args.json)
    return int(differs(result))


def run_export(args: argparse.Namespace) -> int:
    """`olrd export`."""
    from olrd.tools.export import export

    result = export(args.folder, args.to, args.out, args.per_file, args.workers, args.max_pixels)
    splits = ", ".join(f"{name} {rows:,}" for name, rows in result["splits"].items())
    what = f"{counted(result['triplets'], 'triplet')} ({splits}) in {counted(result['files'], 'file')}"
    text = f"{what}\n\nwritten to {result['out']}"
    emit(result, text, args.json)
    return 0


def run_rebuild(args: argparse.Namespace) -> int:
    """`olrd rebuild`."""
    from olrd.cli.texts import build_summary
    from olrd.tools.rebuild import rebuild

    result = rebuild(args.recipes, args.root, args.out, args.workers, args.max_pixels)
    emit(result, build_summary(result) + "\n\nevery triplet verified by its hash", args.json)
    return 0


def run_merge(args: argparse.Namespace) -> int:
    """`olrd merge`."""
    from olrd.builder.merge import merge
    from olrd.cli.texts import build_summary

    result = merge(args.shares, args.out)
    emit(result, build_summary(result) + f"\n\nwritten to {args.out}", args.json)
    return 0


def run_publish(args: argparse.Namespace) -> int:
    """`olrd publish`. The token comes from `hf auth login` or HF_TOKEN, never from an option."""
    from olrd.cli.texts import publish_summary
    from olrd.tools.publish import publish

    result = publish(
        args.folder,
        args.repo,
        pixels=args.i_may_redistribute,
        private=args.private,
        revision=args.revision,
        dry_run=args.dry_run,
    )
    emit(result, publish_summary(result), args.json)
    return 0


def run_croissant(args: argparse.Namespace) -> int:
    """`olrd croissant`."""
    import json

    from olrd.dataset.croissant import Publication, croissant
    from olrd.dataset.folder import Dataset
    from olrd.progress import say
    from olrd.storage.files import write_wanted

    given = (
        args.name,
        args.url,
        args.creator,
        args.date,
        args.dataset_version,
        args.citation,
        tuple(args.derived_from),
    )
    publication = Publication(*given)
    described = croissant(Dataset(args.folder), publication)
    if missing := publication.not_given():
        say(f"conferences also ask for {', '.join(missing)}, which only you can say")
    text = json.dumps(described, indent=1, ensure_ascii=False)
    if args.out is None:
        emit(described, text, args.json)
        return 0
    write_wanted(Path(args.out), f"{text}\n")
    emit({"file": args.out}, args.out, args.json)
    return 0


def run_caption(args: argparse.Namespace) -> int:
    """`olrd caption`."""
    from olrd.tools.captions import caption_folder

    result = caption_folder(args.folder, args.checkpoint, revision=args.revision, device=args.device, limit=args.limit)
    emit(result, f"{counted(result['captioned'], 'caption')} written", args.json)
    return 0


def run_pq(args: argparse.Namespace) -> int:
    """`olrd pq`."""
    from olrd.tools.pq import format_quality, panoptic_quality

    result = panoptic_quality(args.predicted, args.truth)
    emit(result, format_quality(result), args.json)
    return 0


def run_sources(args: argparse.Namespace) -> int:
    """`olrd sources`."""
    from olrd.sources import SOURCES

    targets = SOURCES.targets()
    emit(targets, "\n".join(f"{name:<12} {target}" for name, target in sorted(targets.items())), args.json)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    return guarded(lambda: int((args := parser().parse_args(argv)).run(args)))


if __name__ == "__main__":
    raise SystemExit(main())
