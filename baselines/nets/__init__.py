"""The networks of the learned erasers in plain PyTorch.

Parameters have the names and shapes of the published checkpoints, so that these load with `strict=True`.
"""
