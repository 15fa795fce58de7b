"""Faults: what can go wrong during and after a build, done to real builds and counted.

    python -m perf.faults [--times 20] [--only NAME] [--json]

Each fault is one function, registered by name in `FAULTS`; the runner counts how often the build came
back to the bytes of an undisturbed one. The measured table is in docs/reliability.md.
"""
