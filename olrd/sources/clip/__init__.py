"""Frames of fixed cameras: the source `clip`."""
