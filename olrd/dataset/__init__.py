"""A built dataset: its columns, its shards, its card, and reading it back."""
