"""Registries: objects by name, as "module:object" strings that are imported on first use.

Other distributions add names through the entry-point group `Registry.group`. A broken plug-in fails only when it is
chosen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol

from olrd.errors import PluginError, UsageError, did_you_mean
from olrd.trust import shown


@lru_cache(maxsize=64)
def _plugins(find: Callable[..., Any], group: str, path: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The plug-ins of a group, as (name, "module:object").

    Finding them reads the metadata of every installed distribution, which takes as long as a small build. So it is done
    once for every search path.
    """
    return tuple((point.name, point.value) for point in find(group=group))


class Registry:
    """The known objects of one kind ("source", "eraser", ...), built in or from plug-ins."""

    def __init__(self, kind: str, group: str, builtin: dict[str, str]) -> None:
        self.kind, self.group, self.builtin = kind, group, dict(builtin)
        self._loaded: dict[str, Any] = {}

    def targets(self) -> dict[str, str]:
        """Every known name with its "module:object". A built-in name hides a plug-in of the same name."""
        return dict(_plugins(entry_points, self.group, tuple(sys.path))) | self.builtin

    def names(self) -> list[str]:
        """Every known name, sorted. Imports nothing."""
        return sorted(self.targets())

    def get(self, name: str) -> Any:
        """The object behind `name`. Raises `UsageError` with the nearest name if there is none."""
        if not isinstance(name, str):
            raise did_you_mean(self.kind, name, self.targets())
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> Any:
        # Plug-ins are looked up only for names that are not built in, because that reads the metadata of every
        # installed distribution.
        targets = self.builtin if name in self.builtin else self.targets()
        if name not in targets:
            raise did_you_mean(self.kind, name, targets)
        module, _, attribute = targets[name].partition(":")
        try:
            return getattr(import_module(module), attribute)
        except Exception as error:  # a plug-in may raise anything; the message names it
            raise PluginError(
                f"the {self.kind} '{name}' is registered as {targets[name]}, which cannot be imported: {error}"
            ) from error


def check_opened(kind: str, name: str, opened: object, /, **needed: type) -> None:
    """Raise `PluginError` unless a registered object opened something with the attributes that its kind needs.

    Args:
        kind: the word for messages ("eraser").
        name: the registered name.
        opened: what it opened. A plug-in may open anything.
        needed: the type of each attribute.
    """
    for attribute, expected in needed.items():
        if not isinstance(getattr(opened, attribute, None), expected):
            raise PluginError(
                f"the {kind} '{name}' opens an object of type {type(opened).__name__}, whose `{attribute}` is missing or "
                f"no {expected.__name__}"
            )


def check_named(kind: str, name: str, own: str, what: str) -> None:
    """Raise `PluginError` if an object carries another name than the one under which it is registered.

    Results are written under its own name and looked up under the registered one.

    Args:
        kind: the word for messages ("eraser").
        name: the registered name.
        own: the name that the opened object carries.
        what: where it carries it, for messages ("its MetricInfo is called").
    """
    if own != name:
        raise PluginError(f"the {kind} is registered as {name}, but {what} {shown(own)}: give both the same name")


class Spec(Protocol):
    """What a registered object is opened with. kind: the word for messages ("eraser")."""

    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def options(self) -> Mapping[str, str]: ...


def checked_options(spec: Spec, defaults: Mapping[str, str]) -> dict[str, str]:
    """The options, with defaults for those not given. Raises `UsageError` for a name that has no default."""
    for name in spec.options:
        if name not in defaults:
            raise did_you_mean(f"option of the {spec.kind} {spec.name}", name, defaults)
    return dict(defaults) | dict(spec.options)


def number_options(
    spec: Spec, options: Mapping[str, str], limits: Mapping[str, tuple[float, float]], whole: Collection[str] = ()
) -> dict[str, float]:
    """Read the options that are numbers.

    Args:
        spec: Whose options they are.
        options: All options, as texts.
        limits: The smallest and the largest value of every option that is a number.
        whole: Those that must be whole.

    Raises:
        UsageError: If a value is not a number, not whole, or out of its limits.
    """
    numbers = {}
    for name, (low, high) in limits.items():
        try:
            numbers[name] = float(options[name])
        except ValueError:
            numbers[name] = float("nan")
        if not low <= numbers[name] <= high or (name in whole and not numbers[name].is_integer()):
            kind = "a whole number" if name in whole else "a number"
            raise UsageError(f"{spec.name}: {name} is {kind} from {low:,} to {high:,}, not '{options[name]}'")
    return numbers
