"""COCO instances, with stuff labels or without: the source `instances`."""
