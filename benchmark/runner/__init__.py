"""One run: an eraser on a dataset under a protocol, its rows and its summary."""
