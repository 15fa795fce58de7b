"""Reads the tensors of `G_ema` from a training snapshot of the StyleGAN2-ADA family without running its code.

Such a snapshot is a pickle with Python source that is executed when the pickle is loaded. Here a pickle can call only
four functions of ours and two containers. Other names of the libraries that it was written with become stand-ins that
do nothing. Any other name is refused.
"""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from baselines.eraser import WeightsUnusableError

KNOWN_LIBRARIES = ("dnnlib", "networks", "numpy", "torch", "torch_utils", "training")
"""Names in these packages are replaced by stand-ins. A pickle cannot import them."""


class StandIn:
    """Replaces an object whose class is not loaded. It keeps the object's state and does nothing."""

    state: Any = None

    def __new__(cls, *_: object, **__: object) -> StandIn:
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: object, value: object) -> None:
        pass

    def append(self, item: object) -> None:
        """Ignore the call; a pickle makes it on objects that are lists."""

    def extend(self, items: object) -> None:
        """Ignore the call; a pickle makes it on objects that are lists."""


class _Allowed:
    """A function that a pickle may call but not change (pickles can set attributes)."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it alters a function")


def _storage(data: bytes) -> Any:
    """Load a tensor's memory, which is a file of torch.save inside the pickle, with torch's safe reader."""
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _tensor(storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Any:
    return torch._utils._rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict())


def _parameter(data: Tensor, *_: Any) -> Tensor:
    return data


def _module(meta: dict[str, Any]) -> StandIn:
    """Read a module that was saved with its source: keep the state and drop the source."""
    stand_in = StandIn()
    stand_in.state = meta["state"]
    return stand_in


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed: dict[str, Any] = {
            "builtins.set": set,
            "collections.OrderedDict": OrderedDict,
            "torch.storage._load_from_bytes": _Allowed(_storage),
            "torch._utils._rebuild_tensor_v2": _Allowed(_tensor),
            "torch._utils._rebuild_parameter": _Allowed(_parameter),
            "torch_utils.persistence._reconstruct_persistent_obj": _Allowed(_module),
        }
        if (wanted := f"{module}.{name}") in allowed:
            return allowed[wanted]
        if module.partition(".")[0] in KNOWN_LIBRARIES:
            # Each gets its own class, so that a change to one does not affect the others.
            return type(name.replace(".", "_"), (StandIn,), {})
        raise pickle.UnpicklingError(f"it asks for {wanted}, which no network needs")


def read_pickle(path: Path, network: str = "G_ema") -> dict[str, Tensor]:
    """Read the parameters and buffers of one network of a snapshot, by their names in a state dict."""
    try:
        with path.open("rb") as file:
            snapshot = _Reader(file).load()
        return dict(_tensors(snapshot[network], ""))
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise WeightsUnusableError(
            f"{path} is not a snapshot with a network {network}, or not a safe one: {error}"
        ) from error


def _tensors(module: StandIn, prefix: str) -> Iterator[tuple[str, Tensor]]:
    state = module.state
    passing = state.get("_non_persistent_buffers_set", ())
    for kind in ("_parameters", "_buffers"):
        for name, tensor in state[kind].items():
            if tensor is not None and name not in passing:
                if not isinstance(tensor, Tensor):
                    raise ValueError(f"{prefix}{name} is not a tensor")
                yield prefix + name, tensor
    for name, part in state["_modules"].items():
        if part is not None:
            yield from _tensors(part, f"{prefix}{name}.")
