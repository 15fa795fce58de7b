"""A protocol: the settings that must be equal for two results to be compared.

A protocol is a small JSON file with a name and a version. Its id ends in a hash of its content. Every result holds the
id, and the leaderboard never ranks results of different ids together.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from olrd.errors import IntegrityError, OlrdError, UsageError, did_you_mean
from olrd.trust import MAX_JSON_BYTES, check_values, parse_json, shown

FOLDER = Path(__file__).parent / "protocols"
RESIZES = ("none", "short", "stretch")
WIDEST = 256
"""The widest margin or ring in pixels. The cost of growing a mask rises with its square."""
LARGEST_SIZE = 8192
"""The largest `size` in pixels: a protocol must not ask for pictures that no memory holds."""


@dataclass(frozen=True)
class Protocol:
    """How samples are prepared and scored.

    Attributes:
        name, version: its name, and a number that its author raises with every change.
        resize: `none`, `short` (short side to `size`, aspect kept) or `stretch` (to `size` x `size`). Photos are
            resized by Lanczos with antialiasing, masks by area.
        size: in pixels; 0 with `none`.
        mask_threshold: share of a resized pixel that must be masked for the pixel to count as masked.
        mask_dilate: pixels by which the mask is grown before erasing and scoring.
        ring: width in pixels of the region `ring` around the mask.
        box_margin: pixels by which the mask's bounding box is grown.
        outside_margin: pixels around the mask that the region `outside` leaves out.
        metrics: names of metrics; the first one ranks.
        bootstrap: number of random patterns of the sign-flip test of `benchmark compare`, and of resamples for the
            interval of the median time.
        seed: of erasers and of these.
    """

    name: str
    version: int
    resize: str = "none"
    size: int = 0
    mask_threshold: float = 0.5
    mask_dilate: int = 0
    ring: int = 16
    box_margin: int = 16
    outside_margin: int = 0
    metrics: tuple[str, ...] = ("psnr", "ssim", "lpips-alex")
    bootstrap: int = 2000
    seed: int = 0

    @property
    def id(self) -> str:
        """`name-version-hash`."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{self.name}-{self.version}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with the id, as results store them."""
        return asdict(self) | {"metrics": list(self.metrics), "id": self.id}


def load_protocol(name_or_path: str) -> Protocol:
    """Load a protocol by its name, or from a JSON file. Raises `UsageError` if there is none or a setting is wrong."""
    path = Path(name_or_path)
    if path.suffix != ".json":
        path = FOLDER / f"{name_or_path}.json"
        if not path.is_file():
            raise did_you_mean("protocol", name_or_path, (p.stem for p in FOLDER.glob("*.json")))
    return parsed(json_in(path, UsageError), str(path))


def json_in(file: Path, kind: type[OlrdError] = IntegrityError) -> Any:
    """The JSON in a file from somebody else. Raises `IntegrityError`, or `kind`, if it cannot be read."""
    try:
        if not file.is_file():  # opening a pipe would block
            raise kind(f"{file} cannot be read: it is not there, or it is not a file")
        if (size := file.stat().st_size) > MAX_JSON_BYTES:
            raise kind(f"{file}: {size:,} bytes of JSON, expected at most {MAX_JSON_BYTES:,}")
        values = parse_json(file.read_bytes(), file, kind)
    except OSError as error:
        raise kind(f"{file} cannot be read: {error}") from error
    check_values(values, file, kind)
    return values


def parsed(raw: Any, where: str) -> Protocol:
    """A protocol from JSON values. where: names the file in messages. Raises `UsageError` for a wrong setting."""
    if not isinstance(raw, dict):
        raise UsageError(f"the protocol {where}: expected a JSON object, got {type(raw).__name__}")
    known = [field.name for field in fields(Protocol)]
    raw = {name: value for name, value in raw.items() if name != "id"}
    for name in raw:
        if name not in known:
            raise did_you_mean(f"setting of the protocol {where}", name, known)
    names = raw.get("metrics", ())
    listed = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    if not listed or len(set(names)) < len(names):
        raise UsageError(f"the protocol {where}: metrics must be a list of different names, got {shown(names)}")
    try:
        protocol = Protocol(**raw | {"metrics": tuple(raw.get("metrics", Protocol.metrics))})
    except TypeError as error:
        raise UsageError(f"the protocol {where}: {error}") from error
    if not isinstance(protocol.name, str) or not protocol.name:
        raise UsageError(f"the protocol {where}: name must be a text, got {shown(protocol.name)}")
    if type(protocol.mask_threshold) not in (int, float) or not 0 <= protocol.mask_threshold <= 1:
        raise UsageError(f"the protocol {where}: mask_threshold must be between 0 and 1")
    numbers = (
        protocol.version,
        protocol.size,
        protocol.mask_dilate,
        protocol.ring,
        protocol.box_margin,
        protocol.outside_margin,
        protocol.bootstrap,
        protocol.seed,
    )
    widths = (protocol.mask_dilate, protocol.ring, protocol.box_margin, protocol.outside_margin)
    if all(type(n) is int for n in widths) and max(widths) > WIDEST:
        raise UsageError(f"the protocol {where}: margins and rings must be at most {WIDEST} pixels")
    if not all(type(n) is int and 0 <= n <= 1_000_000 for n in numbers):
        raise UsageError(f"the protocol {where}: version, sizes and counts must be whole numbers of at least 0")
    if not isinstance(protocol.resize, str):
        raise UsageError(
            f"the protocol {where}: resize must be one of {', '.join(RESIZES)}, got {shown(protocol.resize)}"
        )
    if protocol.resize not in RESIZES:
        raise did_you_mean(f"resize rule of the protocol {where}", protocol.resize, RESIZES)
    if protocol.size > LARGEST_SIZE:
        raise UsageError(f"the protocol {where}: size must be at most {LARGEST_SIZE} pixels, got {protocol.size}")
    if (protocol.resize == "none") != (protocol.size == 0):
        raise UsageError(
            f"the protocol {where}: resize '{protocol.resize}' does not fit size {protocol.size}; "
            "'none' goes with size 0, the others with a size in pixels"
        )
    return protocol
