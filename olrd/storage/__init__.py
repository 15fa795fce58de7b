"""Files: local, in buckets, and in archives; atomic writing; the lock on an output folder."""
