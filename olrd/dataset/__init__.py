"""A built dataset: its record, columns, shards and card, and reading it."""
