"""Erasers behind one protocol, and the controls that keep everyone honest.

from baselines import open_eraser
eraser = open_eraser("opencv-telea")
clean, = eraser.erase([photo], [mask])
"""

from baselines.registry import ERASERS, open_eraser, state_of

__all__ = ["ERASERS", "open_eraser", "state_of"]
