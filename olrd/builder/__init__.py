"""Builds: units of work, workers, parts, finishing, resuming, merging and repairing."""
