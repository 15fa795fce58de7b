"""Pictures of one scene with and without an object: the source `pairs`."""
