"""The robustness track: how much a method loses when its masks or panoptic maps are not exact."""
