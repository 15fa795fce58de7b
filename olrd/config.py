"""The resolved configuration of a build: made once at the edge, hashed, stored with the output."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from olrd.blending import blend_named
from olrd.candidates import CandidateRules
from olrd.choosing import PLACEMENTS
from olrd.errors import UsageError, did_you_mean
from olrd.files import sha256
from olrd.matching import MATCHES
from olrd.sources import SourceSpec

DONORS = ("same", "other")
FORMS = ("full", "recipes")
DEFAULT_BLEND = "matting"


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
    per_object: int = 2
    max_per_photo: int = 8
    rules: CandidateRules = field(default_factory=CandidateRules)
    licenses: tuple[str, ...] = ("*",)
    splits: tuple[tuple[str, float], ...] = (("train", 0.8), ("validation", 0.1), ("test", 0.1))
    limit: int | None = None
    shard_bytes: int = 500_000_000
    on_error: str = "skip"

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("form", self.form, FORMS),
            ("placement", self.placement, PLACEMENTS),
            ("donor", self.donor, DONORS),
            ("--on-error word", self.on_error, ("skip", "stop")),
            *(("match", name, MATCHES) for name in self.match),
        ):
            if name not in known:
                raise did_you_mean(kind, name, known)
        blend = blend_named(self.blend)
        for name, value in self.params.items():
            if name not in blend.defaults:
                raise did_you_mean(f"parameter of the blend {self.blend}", name, blend.defaults)
            if not 0 <= value <= 10_000:
                raise UsageError(f"--blend-param {name} must be between 0 and 10000, got {value}")
        object.__setattr__(self, "params", {**blend.defaults, **self.params})
        for name, value, least in (
            ("size", self.size or 64, 16),
            ("margin", self.margin, 0),
            ("per-object", self.per_object, 1),
            ("max-per-photo", self.max_per_photo, 1),
            ("limit", 1 if self.limit is None else self.limit, 1),
            ("shard-bytes", self.shard_bytes, 1),
        ):
            if value < least:
                raise UsageError(f"--{name} must be at least {least}, got {value}")
        if not 0.05 <= self.scale[0] <= self.scale[1] <= 20:
            raise UsageError(f"--scale must be LOW,HIGH with 0.05 <= LOW <= HIGH <= 20, got {self.scale}")
        if not 0 < self.rules.min_area < self.rules.max_area <= 1:
            raise UsageError(
                "expected 0 < --min-area < --max-area <= 1, got "
                f"{self.rules.min_area} and {self.rules.max_area}"
            )

    def resolved(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return values

    def hash(self, fingerprint: str) -> str:
        """Identifies a build: the configuration and what it reads, not where that lies on disk."""
        values = self.resolved()
        del values["source"]["root"], values["on_error"]
        text = json.dumps(values | {"fingerprint": fingerprint}, sort_keys=True)
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
    if total <= 0 or any(share < 0 for _, share in pairs):
        raise UsageError(f"--splits needs shares of at least 0 with a sum over 0, got '{text}'")
    return tuple((name, share / total) for name, share in pairs if share > 0)

