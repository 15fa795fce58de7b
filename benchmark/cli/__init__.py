"""`benchmark` (also `olrd-bench`): score erasers, compare runs, write leaderboards and reports."""

from benchmark.cli.commands import main, parser

__all__ = ["main", "parser"]
