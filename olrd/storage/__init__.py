"""Files that are whole or absent, wherever they are: local folders, buckets, archives; and the lock on an output folder."""
