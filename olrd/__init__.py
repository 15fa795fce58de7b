"""olrd: object / mask / clean-background triplets from panoptic annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from olrd.dataset.loading import load as load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """`olrd.load`, imported on first use so that `import olrd` stays light."""
    if name == "load":
        from olrd.dataset.loading import load

        return load
    raise AttributeError(f"module 'olrd' has no attribute '{name}'")
