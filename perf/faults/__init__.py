"""Faults that can happen during or after a build, applied to real builds and counted.

    python -m perf.faults [--times 20] [--only NAME] [--json]

Each fault is one function, registered by name in `FAULTS` (count.py). The runner counts how often the build recovers
the bytes of an undisturbed build. The measured table is in docs/reliability.md.
"""
