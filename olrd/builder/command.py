"""The `olrd-build` command line as data: its options, and the way back from a configuration."""

from __future__ import annotations

import argparse
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from olrd.arrays import MAX_PIXELS
from olrd.config import BLENDS, DONORS, FORMS, BuildConfig, CandidateRules, parse_splits
from olrd.errors import UsageError
from olrd.sources import SourceSpec
from olrd.storage.remote import is_url

_RULES = CandidateRules()


def add_build_options(parser: argparse.ArgumentParser) -> None:
    """Every option that decides the bytes of a build."""
    source = parser.add_argument_group("source")
    source.add_argument("--source", required=True, metavar="NAME", help="coco, images, openimages, demo or a plug-in")
    source.add_argument(
        "--root",
        metavar="DIR",
        help="the source's folder or its URL, s3://... (coco without it: the embedded demo photos)",
    )
    source.add_argument("--subset", metavar="NAME", help="which part of the source, e.g. train2017")
    source.add_argument(
        "--source-option", action="append", default=[], metavar="KEY=VALUE", help="a setting of the source itself"
    )
    source.add_argument("--limit", type=int, metavar="N", help="read only the first N photos")
    source.add_argument(
        "--licenses",
        default=BuildConfig.licenses,
        metavar="LIST",
        help="codes, COCO ids, 'permissive', 'unknown' or 'any' (default), comma-separated; "
        "with a list, photos of unknown licence are refused unless it names 'unknown'",
    )
    source.add_argument(
        "--max-pixels", type=int, default=MAX_PIXELS, metavar="N", help="refuse larger pictures (default 64 million)"
    )
    choice = parser.add_argument_group("objects")
    choice.add_argument("--categories", default="", metavar="LIST", help="only these object classes, comma-separated")
    choice.add_argument(
        "--min-area", type=float, default=_RULES.min_area, help="least share of the photo (default %(default)s)"
    )
    choice.add_argument(
        "--max-area", type=float, default=_RULES.max_area, help="largest share of the photo (default %(default)s)"
    )
    choice.add_argument(
        "--max-contact",
        type=float,
        default=_RULES.max_contact,
        help="largest share of the outline at other things (default %(default)s)",
    )
    choice.add_argument(
        "--allow-truncated", action="store_true", help="also objects cut by the frame; they stay at that side"
    )
    choice.add_argument(
        "--per-object",
        type=int,
        default=BuildConfig.per_object,
        metavar="N",
        help="most triplets of one object (default %(default)s)",
    )
    choice.add_argument(
        "--max-per-photo",
        type=int,
        default=BuildConfig.max_per_photo,
        metavar="N",
        help="most triplets of one photo (default %(default)s)",
    )
    paste = parser.add_argument_group("placement and blending")
    paste.add_argument(
        "--placement",
        default=BuildConfig.placement,
        metavar="NAME",
        help="supported (default), uniform or centroid (the paper's)",
    )
    paste.add_argument(
        "--donor",
        default=BuildConfig.donor,
        metavar="NAME",
        help=f"{' or '.join(DONORS)}: the photo that the object comes from (default same, the paper's)",
    )
    paste.add_argument(
        "--margin",
        type=int,
        default=BuildConfig.margin,
        metavar="PX",
        help="distance to everything that is not background (default %(default)s)",
    )
    paste.add_argument(
        "--scale", default="1,1", metavar="LOW,HIGH", help="size factor, drawn from this range (default 1,1)"
    )
    paste.add_argument("--flip", action="store_true", help="mirror half of the objects")
    paste.add_argument(
        "--blend",
        default=BuildConfig.blend,
        metavar="NAME",
        help="matting, feather, poisson or hard (the paper's) (default %(default)s)",
    )
    paste.add_argument(
        "--blend-param", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the blend"
    )
    paste.add_argument(
        "--match", default="", metavar="LIST", help="noise,sharpness: match the cut-out to its new place"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--form",
        default=BuildConfig.form,
        metavar="NAME",
        help=f"{' or '.join(FORMS)}: with pixels (default), or recipes alone",
    )
    output.add_argument(
        "--size", type=int, metavar="PX", help="resize to this short side before composing (default: native size)"
    )
    output.add_argument(
        "--splits",
        default="train=0.8,validation=0.1,test=0.1",
        metavar="LIST",
        help="NAME=SHARE,... by source photo (default %(default)s)",
    )
    output.add_argument(
        "--shard-bytes",
        type=int,
        default=BuildConfig.shard_bytes,
        metavar="N",
        help="most bytes of one Parquet file (default 500 million)",
    )
    output.add_argument("--seed", type=int, default=BuildConfig.seed, help="seed of every draw (default 0)")
    output.add_argument(
        "--on-error",
        default=BuildConfig.on_error,
        metavar="WORD",
        help="skip (default) or stop at a photo that cannot be read",
    )


def config_from(args: argparse.Namespace) -> BuildConfig:
    """The resolved configuration; `UsageError` for values that do not parse."""
    low, _, high = args.scale.partition(",")
    try:
        scale = float(low), float(high or low)
    except ValueError as error:
        raise UsageError(f"--scale expects LOW,HIGH, got '{args.scale}'") from error
    root = args.root
    if root is not None and not is_url(root):
        root = str(Path(root).expanduser())
    options = key_values("--source-option", args.source_option)
    return BuildConfig(
        source=SourceSpec(args.source, root, args.subset, args.max_pixels, options),
        seed=args.seed,
        form=args.form,
        size=args.size,
        placement=args.placement,
        donor=args.donor,
        blend=args.blend,
        params={
            key: number("--blend-param", value) for key, value in key_values("--blend-param", args.blend_param).items()
        },
        match=names(args.match),
        margin=args.margin,
        scale=scale,
        flip=args.flip,
        per_object=args.per_object,
        max_per_photo=args.max_per_photo,
        rules=CandidateRules(
            args.min_area, args.max_area, args.allow_truncated, args.max_contact, categories=names(args.categories)
        ),
        licenses=args.licenses,
        splits=parse_splits(args.splits),
        limit=args.limit,
        shard_bytes=args.shard_bytes,
        on_error=args.on_error,
    )


def names(text: str) -> tuple[str, ...]:
    """A comma-separated list, blanks trimmed, empty parts left out."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def number(option: str, text: str) -> float:
    """A float, or a `UsageError` that names the option."""
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"{option} expects a number, got '{text}'") from error


def key_values(option: str, texts: list[str]) -> dict[str, str]:
    """["a=1", "b=2"] as a dict."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} expects KEY=VALUE, got '{text}'")
        pairs[key] = value
    return pairs


def canonical_command(config: BuildConfig) -> str:
    """The command that gives this configuration, with ROOT and OUT for the two folders.

    Options at their defaults are left out; two equal configurations give the same text.
    """
    words = ["olrd-build", "--source", config.source.name]
    if config.source.root is not None:
        words += ["--root", "ROOT"]
    if config.source.subset is not None:
        words += ["--subset", config.source.subset]
    for key, value in sorted(config.source.options.items()):
        words += ["--source-option", f"{key}={value}"]
    if config.source.max_pixels != MAX_PIXELS:
        words += ["--max-pixels", str(config.source.max_pixels)]
    standards = BuildConfig(SourceSpec("coco")), _RULES
    pairs: list[tuple[Any, Any]] = list(zip((config, config.rules), standards, strict=True))
    for owner, standard in pairs:
        for field in fields(owner):
            value, usual = getattr(owner, field.name), getattr(standard, field.name)
            if field.name in ("source", "rules", "on_error") or value == usual:
                continue
            if field.name == "params":  # only those that differ from the blend's defaults
                usual = BLENDS.get(config.blend).defaults
                for key, part in sorted(p for p in value.items() if usual[p[0]] != p[1]):
                    words += ["--blend-param", f"{key}={part!r}"]
                continue
            words.append("--" + field.name.replace("_", "-"))
            if field.name == "splits":
                words.append(",".join(f"{name}={share!r}" for name, share in value))
            elif isinstance(value, tuple):
                words.append(",".join(str(part) for part in value))
            elif value is not True:
                words.append(str(value))
    return shlex.join([*words, "--out", "OUT"])
