"""A build from start to end: units, workers, parts, shards, resuming, merging and repairing."""
