"""Erasers behind one interface, and controls, which are trivial methods for comparison.

Example:
    >>> import numpy as np
    >>> from baselines import open_eraser
    >>> image = np.full((48, 64, 3), 200, np.uint8)  # uint8 [H, W, 3], RGB
    >>> mask = np.zeros((48, 64), bool)  # bool [H, W], True = erase
    >>> mask[16:32, 20:40] = True
    >>> image[mask] = 0  # the object
    >>> eraser = open_eraser("opencv-telea")
    >>> clean = eraser.erase(image, mask)
    >>> clean.shape, clean.dtype.name, bool((clean > 190).all())
    ((48, 64, 3), 'uint8', True)
    >>> first, second = eraser.erase([image, clean], [mask, mask])  # several photos at once

`ERASERS.names()` lists the known erasers, and `state_of(name)` tells whether one can run on this machine.
"""

from baselines.checked import CheckedEraser
from baselines.registry import ERASERS, open_eraser, state_of

__all__ = ["ERASERS", "CheckedEraser", "open_eraser", "state_of"]
