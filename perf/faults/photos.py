"""Small generated photos on disk in the COCO layout, for the builds that are disturbed."""

from __future__ import annotations

import json
from pathlib import Path

from olrd.arrays import encode_ids
from olrd.models.coco_categories import coco_categories
from olrd.sources import SourceSpec
from olrd.sources.synthetic import open_synthetic

SIZE = {"width": "128", "height": "96"}


def write_photos(root: Path, count: int) -> Path:
    """Write photos of the source `synthetic` as a COCO folder, so that a fault can damage files."""
    source = open_synthetic(SourceSpec("synthetic", options=SIZE | {"count": str(count)}))
    maps = root / "annotations" / "panoptic_train2017"
    maps.mkdir(parents=True)
    (root / "train2017").mkdir()
    images, notes = [], []
    for index in range(count):
        record = source.record(index)
        found = source.panoptic(record, source.width, source.height)
        (root / "train2017" / record.file_name).write_bytes(source.photo_bytes(record))
        (maps / f"{record.image_id}.png").write_bytes(encode_ids(found.ids))
        images.append({"id": index, "file_name": record.file_name, "width": source.width, "height": source.height})
        segments = [
            {"id": s.id, "category_id": s.category_id, "iscrowd": 0, "area": s.area, "bbox": list(s.bbox)}
            for s in found.segments
        ]
        notes.append({"image_id": index, "file_name": f"{record.image_id}.png", "segments_info": segments})
    kinds = [
        {"id": c.id, "name": c.name, "supercategory": c.supercategory, "isthing": int(c.isthing)}
        for c in coco_categories().values()
    ]
    text = json.dumps({"images": images, "annotations": notes, "categories": kinds})
    (root / "annotations" / "panoptic_train2017.json").write_text(text)
    return root
