"""The resolved configuration of a build. It is made once when a build starts, hashed, and stored with the output."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import olrd
from olrd.errors import IntegrityError, UsageError, did_you_mean
from olrd.licenses import license_patterns
from olrd.options import KEY_NUMBERS, LOW_HIGH, NAMES, Kind, check, option, words_of
from olrd.registry import Registry
from olrd.sources import SourceSpec
from olrd.storage.files import sha256
from olrd.storage.typed_json import typed
from olrd.trust import shown, without_folders

DONORS = ("same", "other")
FORMS = ("full", "recipes")
MATCHES = ("noise", "sharpness", "jpeg")
SHADOWS = ("none", "contact", "cast")
DOUBTFUL = ("all", "one", "none")
MASK_STYLES = ("exact", "grown", "hull", "box", "brush", "loose")
MOST_OBJECTS = 8
LATER = ("mask_style", "mask_grow", "objects", "shadow")
"""Options that older builds do not have. At their defaults they are no part of a build's identity."""
RULES_VERSION = 4
"""The version of the rules by which objects and positions are chosen. Builds of different versions do not mix. Builds
that do not name theirs are of version 1. Version 4 changed only what `--donor other` does."""
SINCE: Mapping[int, tuple[str, ...]] = {
    2: ("cut_objects", "min_edge", "groups"),
    3: ("refine_outlines", "see_through", "doubtful"),
}
"""The `CandidateRules` that came with a version. They are no part of the identity of builds of earlier ones."""
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "paper": {
        "placement": "centroid",
        "blend": "hard",
        "groups": False,
        "cut_objects": False,
        "min_edge": 0.0,
        "refine_outlines": False,
        "see_through": True,
        "doubtful": "all",
        "max_contact": 0.25,
        "max_per_photo": 8,
    },
    "default": {},
    "hard-cases": {"objects": (1, 3), "mask_style": ("grown", "hull", "box", "brush", "loose"), "min_area": 0.005},
    "sees-object": {"match": ("noise", "sharpness", "jpeg"), "mask_style": ("exact", "grown", "box", "loose")},
}
"""Options by use (docs/building.md), by their names as keywords; what is not named stays at its default."""


BLENDS = Registry(
    "blend",
    "olrd.blends",
    {
        "hard": "olrd.triplets.blends:HARD",
        "feather": "olrd.triplets.blends:FEATHER",
        "matting": "olrd.triplets.blends:MATTING",
        "guided": "olrd.triplets.guided:GUIDED",
        "poisson": "olrd.triplets.poisson:POISSON",
    },
)
PLACEMENTS = Registry(
    "placement",
    "olrd.placements",
    {
        "centroid": "olrd.triplets.placements:centroid",
        "uniform": "olrd.triplets.placements:uniform",
        "supported": "olrd.triplets.placements:supported",
    },
)


def parse_splits(text: str) -> tuple[tuple[str, float], ...]:
    """`train=0.8,test=0.2` as pairs. The shares are scaled to sum to 1."""
    pairs: list[tuple[str, float]] = []
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            pairs.append((name.strip(), float(share or 1)))
        except ValueError as error:
            raise UsageError(f"--splits expects NAME=SHARE,NAME=SHARE, got '{part}'") from error
    names = [name for name, _ in pairs]
    total = sum(share for _, share in pairs)
    _check_split_names(names, text)
    if not (0 < total < math.inf and all(share >= 0 for _, share in pairs)):
        raise UsageError(f"--splits needs shares of at least 0 with a sum over 0, got '{text}'")
    return tuple((name, share / total) for name, share in pairs if share > 0)


def parse_objects(text: str) -> tuple[int, int]:
    """`1-3` or `2` as the lowest and the highest number. Raises `UsageError`."""
    low, _, high = text.partition("-")
    try:
        return int(low), int(high or low)
    except ValueError as error:
        raise UsageError(f"--objects expects N or LOW-HIGH, got {shown(text)}") from error


OBJECTS = Kind(
    lambda flag, text: parse_objects(text), lambda pair: str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}-{pair[1]}"
)


def _check_split_names(names: list[str], got: object) -> None:
    if len(set(names)) != len(names) or not all(name.isidentifier() and len(name) <= 100 for name in names):
        raise UsageError(f"--splits needs different names of letters, digits and _, got '{got}'")


SPLITS = Kind(
    lambda flag, text: parse_splits(text), lambda pairs: ",".join(f"{name}={share!r}" for name, share in pairs)
)


def with_preset(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options `values`, by their names as keywords, with those of `values["preset"]` for what they do not name.

    Raises `UsageError` if there is no such preset.
    """
    given = dict(values)
    name = given.pop("preset", "default")
    if name not in PRESETS:
        raise did_you_mean("preset", name, PRESETS)
    return {**PRESETS[name], **given}


@dataclass(frozen=True)
class CandidateRules:
    """Limits for the objects that are cut out. Areas are shares of the photo, contact is a share of the outline."""

    min_area: float = option(0.002, "smallest object, as a share of the photo's area", metavar="SHARE", group="objects")
    max_area: float = option(0.25, "largest object, as a share of the photo's area", metavar="SHARE", group="objects")
    cut_objects: bool = option(
        True,
        "leave out objects that the left, right or lower edge of the frame cuts (by default they are used, and stay at "
        "such an edge, mirrored if it is the opposite one)",
        group="objects",
    )
    allow_truncated: bool = option(
        False, "use all objects that the frame cuts; they stay at the same side of the frame", group="objects"
    )
    max_contact: float = option(
        0.15,
        "largest share of the outline that may touch other things; above it, the object counts as partly hidden",
        metavar="SHARE",
        group="objects",
        least=0,
        most=1,
    )
    min_edge: float = option(
        0.5,
        "smallest share of the outline at which the picture's colour must change; below it, the outline counts as roughly "
        "drawn",
        metavar="SHARE",
        group="objects",
        least=0,
        most=1,
    )
    refine_outlines: bool = option(
        True, "keep annotated outlines as they are (by default they are moved onto the object's edge)", group="objects"
    )
    doubtful: str = option(
        "one",
        "use of objects whose outline touches many regions or much unlabelled area, which are often partly hidden or roughly "
        "annotated: all (like other objects), one (one triplet, only in a photo without other objects) or none",
        metavar="NAME",
        group="objects",
        choices=DOUBTFUL,
        what="--doubtful word",
    )
    see_through: bool = option(
        False, "also use things through which the background shows: bicycles, glasses, rackets", group="objects"
    )
    groups: bool = option(
        True,
        "cut out single segments (by default an object is cut out together with what it carries, wears or holds, or with "
        "its rider)",
        group="objects",
    )
    categories: tuple[str, ...] = option(
        (),
        "use only these object classes, comma-separated; a supercategory, such as animal, stands for all its classes",
        metavar="NAMES",
        group="objects",
        kind=NAMES,
    )

    def __post_init__(self) -> None:
        check(self)
        if not 0 < self.min_area < self.max_area <= 1:
            raise UsageError(f"expected 0 < --min-area < --max-area <= 1, got {self.min_area} and {self.max_area}")


@dataclass(frozen=True)
class BuildConfig:
    """Everything that decides the bytes of a build. Folders, workers and verbosity do not."""

    source: SourceSpec
    seed: int = option(0, "seed of every draw", metavar="N", group="output")
    form: str = option(
        "full",
        "full: rows with pictures; recipes: rows without pictures, from which `olrd rebuild` makes them",
        metavar="NAME",
        group="output",
        choices=FORMS,
    )
    size: int | None = option(
        None,
        "resize to this short side before composing (default: native size)",
        metavar="PX",
        group="output",
        least=16,
        most=32_768,
    )
    placement: str = option(
        "supported",
        "where objects go: supported (on a surface like the one they stand on), uniform, or centroid (as in the paper)",
        metavar="NAME",
        group="placement and blending",
        choices=PLACEMENTS.names,
    )
    donor: str = option(
        "same",
        "photo that the object comes from: same (as in the paper), or other (its own photo and the new one are alike in what "
        "they show, horizon, light, colour, sharpness and noise)",
        metavar="NAME",
        group="placement and blending",
        choices=DONORS,
    )
    blend: str = option(
        "guided",
        "how objects are blended in: guided, matting, feather, poisson, or hard (as in the paper)",
        metavar="NAME",
        group="placement and blending",
        choices=BLENDS.names,
    )
    params: dict[str, float] = option(
        {},
        "a parameter of the blend; repeatable",
        flag="--blend-param",
        metavar="KEY=NUMBER",
        group="placement and blending",
        kind=KEY_NUMBERS,
    )
    match: tuple[str, ...] = option(
        (),
        "match the object to its new place: noise, sharpness, jpeg (the blocks and quantisation of the photo's file), or "
        "several, comma-separated",
        metavar="NAMES",
        group="placement and blending",
        kind=NAMES,
        choices=MATCHES,
    )
    objects: tuple[int, int] = option(
        (1, 1),
        "number of objects pasted into one photo, drawn for each triplet, e.g. 1-3; with more than 1, rows also have the "
        "columns masks and categories",
        metavar="LOW-HIGH",
        group="placement and blending",
        kind=OBJECTS,
    )
    shadow: str = option(
        "none",
        "soft shadows of pasted objects: none, contact (at their feet), or cast (also on the ground, in the direction of the "
        "photo's own shadows if that is known, otherwise in a random one); with shadows, rows also have the column effect",
        metavar="NAME",
        group="placement and blending",
        choices=SHADOWS,
    )
    mask_style: tuple[str, ...] = option(
        ("exact",),
        "how masks are drawn: exact (the pixels that the blend touched), or as users draw them: grown, hull, box, brush or "
        "loose; from several, comma-separated, each triplet draws one",
        metavar="NAMES",
        group="masks",
        kind=NAMES,
        choices=MASK_STYLES,
        what="mask style",
    )
    mask_grow: int = option(
        0, "grow masks by this many pixels after the style is applied", metavar="PX", group="masks", least=0, most=256
    )
    margin: int = option(
        4,
        "distance between a pasted object and everything that is not background",
        metavar="PX",
        group="placement and blending",
        least=0,
        most=10_000,
    )
    scale: tuple[float, float] = option(
        (1.0, 1.0),
        "range from which the size factor of each object is drawn",
        metavar="LOW,HIGH",
        group="placement and blending",
        kind=LOW_HIGH,
    )
    flip: bool = option(False, "mirror half of the objects", group="placement and blending")
    perspective: bool = option(
        True,
        "keep the size of objects (by default, with supported placement and no --scale, objects that move in depth, or to "
        "another photo, change size by the ground plane, and what does not fit is made smaller)",
        group="placement and blending",
    )
    per_object: int = option(3, "largest number of triplets from one object", metavar="N", group="objects", least=1)
    max_per_photo: int = option(4, "largest number of triplets from one photo", metavar="N", group="objects", least=1)
    rules: CandidateRules = field(default_factory=CandidateRules)
    licenses: str = option(
        "any",
        "use only photos under these licences: codes, COCO ids, 'permissive', 'unknown' or 'any', comma-separated; "
        "photos of unknown licence are refused by a list that does not name 'unknown'",
        metavar="NAMES",
        group="source",
    )
    splits: tuple[tuple[str, float], ...] = option(
        (("train", 0.8), ("validation", 0.1), ("test", 0.1)),
        "splits and their shares; photos are divided, not triplets",
        metavar="NAME=SHARE,...",
        group="output",
        kind=SPLITS,
    )
    limit: int | None = option(None, "read only the first N photos", metavar="N", group="source", least=1)
    shard_bytes: int = option(
        500_000_000, "largest size of one Parquet file in bytes", metavar="N", group="output", least=1
    )
    on_error: str = option(
        "skip",
        "what to do with a photo that cannot be read: skip it, or stop",
        metavar="NAME",
        group="output",
        choices=("skip", "stop"),
        what="--on-error word",
    )
    rules_version: int = RULES_VERSION

    def __post_init__(self) -> None:
        check(self)
        license_patterns(self.licenses)
        blend = BLENDS.get(self.blend)
        for name, value in self.params.items():
            if name not in blend.defaults:
                raise did_you_mean(f"parameter of the blend {self.blend}", name, blend.defaults)
            if not 0 <= value <= 10_000:
                raise UsageError(f"--blend-param {name} must be between 0 and 10000, got {value}")
        if not 1 <= self.objects[0] <= self.objects[1] <= MOST_OBJECTS:
            raise UsageError(
                f"--objects must be LOW-HIGH with 1 <= LOW <= HIGH <= {MOST_OBJECTS}, got {OBJECTS.write(self.objects)}"
            )
        if not self.mask_style:
            raise UsageError(f"--mask-style needs at least one of {', '.join(MASK_STYLES)}")
        if not 0.05 <= self.scale[0] <= self.scale[1] <= 20:
            raise UsageError(f"--scale must be LOW,HIGH with 0.05 <= LOW <= HIGH <= 20, got {self.scale}")
        if not self.splits:
            raise UsageError("--splits needs at least one NAME=SHARE")
        _check_split_names([name for name, _ in self.splits], self.splits)
        if not all(0 <= share <= 1 for _, share in self.splits):
            raise UsageError(f"--splits needs shares between 0 and 1, got {self.splits}")
        if not math.isclose(sum(share for _, share in self.splits), 1, abs_tol=1e-6):
            raise UsageError(f"--splits needs shares with the sum 1, got {self.splits}")

    @property
    def blend_params(self) -> dict[str, float]:
        """The blend's parameters: its defaults, with the given ones over them."""
        return {**BLENDS.get(self.blend).defaults, **self.params}

    @property
    def several(self) -> bool:
        """Whether a triplet may have more than one object."""
        return self.objects[1] > 1

    def resolved(self) -> dict[str, Any]:
        """The configuration as plain JSON values. Folders of this machine are private: the source's is `ROOT`, and
        paths in its options are cut to their last name."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        values["source"]["root"] = values["source"]["root"] and "ROOT"
        values["source"]["options"] = without_folders(values["source"]["options"])
        values["params"] = self.blend_params
        return values

    @classmethod
    def from_resolved(cls, values: dict[str, Any]) -> BuildConfig:
        """The inverse of `resolved`, but for the path of the source's folder.

        Raises `IntegrityError` for a value of another type, `UsageError` for one that an option does not take.
        """
        known = {one.name for one in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise IntegrityError(
                f"the configuration holds {shown(unknown[0])}, which this version of olrd does not know"
            )
        return typed(cls, {"rules_version": 1} | values, "the configuration")

    def hash(self, fingerprint: str) -> str:
        """Identifies a build: the configuration and what it reads, not where that lies on disk."""
        values = self.resolved() | {"fingerprint": fingerprint, "olrd": olrd.__version__}
        del values["on_error"]
        if self.rules_version == 4 and self.donor == "same":  # the same build as by version 3
            values["rules_version"] = 3
        if self.rules_version == 1:  # which had none of these
            del values["rules_version"], values["perspective"]
        for name in (name for version, names in SINCE.items() if self.rules_version < version for name in names):
            del values["rules"][name]
        for one in fields(self):
            if one.name in LATER and getattr(self, one.name) == one.default:
                del values[one.name]
        text = json.dumps(values, sort_keys=True)
        return sha256(text.encode())

    def command(self) -> str:
        """The command that gives this configuration, with ROOT and OUT for the two folders.

        Options at their defaults are left out; two equal configurations give the same text. What does not decide
        a byte (--on-error) is left out too.
        """
        options = without_folders(dict(self.source.options))
        source = replace(self.source, root=self.source.root and "ROOT", options=options)
        usual = BLENDS.get(self.blend).defaults
        differing = {name: value for name, value in self.params.items() if usual[name] != value}
        own = replace(self, params=differing, on_error=BuildConfig.on_error)
        named = ["--source", source.name, *words_of(replace(source, name=SourceSpec.name))]
        return shlex.join(["olrd-build", *named, *words_of(own), *words_of(self.rules), "--out", "OUT"])
