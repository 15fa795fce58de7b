"""COCO panoptic annotations: the sources `coco` and `demo`, and the annotations that `images` keeps."""
