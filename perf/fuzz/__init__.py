"""Feeds every reader with damaged input and reports each exception that is not ours.

`python -m perf.fuzz` runs all targets; `make fuzz` does so for two minutes each. The list of targets is in
`perf.fuzz.targets`, the damages are in `perf.fuzz.mutate`.
"""
