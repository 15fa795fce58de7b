"""The resolved configuration of a build: made once at the edge, hashed, stored with the output."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import olrd
from olrd.errors import UsageError, did_you_mean
from olrd.licenses import license_patterns
from olrd.registry import Registry
from olrd.sources import SourceSpec
from olrd.storage.files import sha256

DONORS = ("same", "other")
FORMS = ("full", "recipes")
MATCHES = ("noise", "sharpness")
DEFAULT_BLEND = "matting"


BLENDS = Registry(
    "blend",
    "olrd.blends",
    {
        "hard": "olrd.triplets.blends:HARD",
        "feather": "olrd.triplets.blends:FEATHER",
        "matting": "olrd.triplets.blends:MATTING",
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


@dataclass(frozen=True)
class CandidateRules:
    """Limits for objects. Areas are shares of the photo, contact a share of the outline.

    min_area, max_area: smaller ones are hardly visible, larger ones leave no background to move to.
    max_contact: share of the outline that may touch other things; more means that the object is
    probably seen in part only, behind or in front of something.
    """

    min_area: float = 0.002
    max_area: float = 0.25
    allow_truncated: bool = False
    max_contact: float = 0.25
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildConfig:
    """Everything that decides the bytes of a build (not: folders, workers, verbosity).

    size: short side in pixels, or None for native. margin: pixels kept between a paste and
    everything that is not background. scale: range of the size factor. flip: mirror half of them.
    per_object, max_per_photo: most triplets. shard_bytes: most bytes per shard, counted.
    """

    source: SourceSpec
    seed: int = 0
    form: str = "full"
    size: int | None = None
    placement: str = "supported"
    donor: str = "same"
    blend: str = DEFAULT_BLEND
    params: dict[str, float] = field(default_factory=dict)
    match: tuple[str, ...] = ()
    margin: int = 4
    scale: tuple[float, float] = (1.0, 1.0)
    flip: bool = False
    per_object: int = 3
    max_per_photo: int = 8
    rules: CandidateRules = field(default_factory=CandidateRules)
    licenses: str = "any"
    splits: tuple[tuple[str, float], ...] = (("train", 0.8), ("validation", 0.1), ("test", 0.1))
    limit: int | None = None
    shard_bytes: int = 500_000_000
    on_error: str = "skip"

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("form", self.form, FORMS),
            ("placement", self.placement, PLACEMENTS.names()),
            ("donor", self.donor, DONORS),
            ("--on-error word", self.on_error, ("skip", "stop")),
            *(("match", name, MATCHES) for name in self.match),
        ):
            if name not in known:
                raise did_you_mean(kind, name, known)
        license_patterns(self.licenses)
        blend = BLENDS.get(self.blend)
        for name, value in self.params.items():
            if name not in blend.defaults:
                raise did_you_mean(f"parameter of the blend {self.blend}", name, blend.defaults)
            if not 0 <= value <= 10_000:
                raise UsageError(f"--blend-param {name} must be between 0 and 10000, got {value}")
        for name, value, least in (
            ("size", 16 if self.size is None else self.size, 16),
            ("margin", self.margin, 0),
            ("per-object", self.per_object, 1),
            ("max-per-photo", self.max_per_photo, 1),
            ("limit", 1 if self.limit is None else self.limit, 1),
            ("shard-bytes", self.shard_bytes, 1),
            ("max-pixels", self.source.max_pixels, 1),
        ):
            if value < least:
                raise UsageError(f"--{name} must be at least {least}, got {value}")
        if not 0.05 <= self.scale[0] <= self.scale[1] <= 20:
            raise UsageError(f"--scale must be LOW,HIGH with 0.05 <= LOW <= HIGH <= 20, got {self.scale}")
        if not 0 <= self.rules.max_contact <= 1:
            raise UsageError(f"--max-contact must be between 0 and 1, got {self.rules.max_contact}")
        if not self.splits:
            raise UsageError("--splits needs at least one NAME=SHARE")
        if not 0 < self.rules.min_area < self.rules.max_area <= 1:
            raise UsageError(
                f"expected 0 < --min-area < --max-area <= 1, got {self.rules.min_area} and {self.rules.max_area}"
            )

    @property
    def blend_params(self) -> dict[str, float]:
        """The blend's parameters: its defaults, with the given ones over them."""
        return {**BLENDS.get(self.blend).defaults, **self.params}

    def resolved(self) -> dict[str, Any]:
        """The configuration as plain JSON values; the source's folder is private: `ROOT`."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        values["source"]["root"] = values["source"]["root"] and "ROOT"
        values["params"] = self.blend_params
        return values

    @classmethod
    def from_resolved(cls, values: dict[str, Any]) -> BuildConfig:
        """The inverse of `resolved`, but for the path of the source's folder."""
        raw = dict(values)
        raw["source"] = SourceSpec(**raw["source"])
        raw["rules"] = CandidateRules(**raw["rules"] | {"categories": tuple(raw["rules"]["categories"])})
        raw["match"], raw["scale"] = tuple(raw["match"]), tuple(raw["scale"])
        raw["splits"] = tuple((name, share) for name, share in raw["splits"])
        return cls(**raw)

    def hash(self, fingerprint: str) -> str:
        """Identifies a build: the configuration and what it reads, not where that lies on disk."""
        values = self.resolved() | {"fingerprint": fingerprint, "olrd": olrd.__version__}
        del values["on_error"]
        text = json.dumps(values, sort_keys=True)
        return sha256(text.encode())


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
    if len(set(names)) != len(names) or not all(n.isidentifier() for n in names):
        raise UsageError(f"--splits needs different names of letters, digits and _, got '{text}'")
    if not (0 < total < math.inf and all(share >= 0 for _, share in pairs)):
        raise UsageError(f"--splits needs shares of at least 0 with a sum over 0, got '{text}'")
    return tuple((name, share / total) for name, share in pairs if share > 0)
