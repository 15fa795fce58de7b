"""Open Images: the source `openimages`."""
