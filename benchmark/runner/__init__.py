"""One run: a method on a data set under a protocol, its rows and its summary."""
