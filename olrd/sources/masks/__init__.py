"""Photos and masks in folders: the source `masks`."""
