"""The demo set: a few real photos in COCO panoptic format that ship inside the package."""

from __future__ import annotations

from pathlib import Path

import olrd
from olrd.sources import SourceSpec
from olrd.sources.coco import PanopticFolder

DEMO_ROOT = Path(olrd.__file__).parent / "demo_photos"


def open_demo(spec: SourceSpec) -> PanopticFolder:
    """`--source demo`: free photos with attribution in demo_photos/ATTRIBUTION.md."""
    return PanopticFolder(
        "demo",
        DEMO_ROOT / "annotations" / "panoptic_demo.json",
        DEMO_ROOT / "annotations" / "panoptic_demo",
        DEMO_ROOT / "demo",
        spec.max_pixels,
    )
