"""One run: an eraser on a data set under a protocol, its rows and its summary."""
