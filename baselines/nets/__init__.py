"""Networks of learned erasers, written out in plain PyTorch.

Names and shapes of parameters are those of the published checkpoints, so these load with `strict=True`.
"""
