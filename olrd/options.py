"""Options: each setting is described once, on the field of the dataclass that holds it.

    @dataclass(frozen=True)
    class Limits:
        size: int | None = option(None, "resize to this short side", metavar="PX", least=16)
        flip: bool = option(False, "mirror half of the objects")

From the description follow the arguments of a command (`add_options`), the dataclass that they give
(`from_arguments`), the checks of its values (`check`), and the way back to the words of a command
(`words_of`). A field that is itself such a dataclass adds its own options to the same command.

Programs pass values of any type, so `check` compares every value with the type of its field. What has one meaning is
taken: a list for a tuple, a number of numpy, and for a list of names the text of the command line (`"dog,cat"`).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from types import UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from olrd.errors import UsageError, did_you_mean
from olrd.trust import shown

T = TypeVar("T")
_KEY = "option"
_LARGEST = 1 << 63
"""Whole numbers are smaller: files and other programs cannot hold larger ones."""


class Kind(NamedTuple):
    """How a value is written on a command line.

    Attributes:
        parse: (flag, text) -> value; raises `UsageError`. Gets a list of texts if `repeated`.
        write: value -> text; a list of texts if `repeated`.
        repeated: whether the option may be given several times.
    """

    parse: Callable[[str, Any], Any]
    write: Callable[[Any], Any] = str
    repeated: bool = False


class Option(NamedTuple):
    """The description of one setting; see `option`."""

    help: str
    flag: str | None
    metavar: str | None
    group: str | None
    kind: Kind | None
    choices: Callable[[], Iterable[str]] | Sequence[str] | None
    what: str | None
    least: float | None
    most: float | None
    shown_default: str | None


def option(
    default: Any,
    help: str,
    *,
    flag: str | None = None,
    metavar: str | None = None,
    group: str | None = None,
    kind: Kind | None = None,
    choices: Callable[[], Iterable[str]] | Sequence[str] | None = None,
    what: str | None = None,
    least: float | None = None,
    most: float | None = None,
    shown_default: str | None = None,
) -> Any:
    """A dataclass field that is also an option of a command.

    Args:
        default: the value without the option, or `...` if the option is required.
        help: what it does, for `--help`. The default value is added to it, unless it is None, False or empty.
        flag: its name on the command line, e.g. `--min-area`; by default the field's name with dashes, and
            `--no-NAME` for a switch that is on by default.
        metavar: what is expected, e.g. `PX`.
        group: the heading in `--help` under which it stands.
        kind: how it is written; by default that of the field's type (int, float, str or bool).
        choices: the known names, or a function that gives them. A value, or each name of a list, must be one of
            them.
        what: the word for a choice in messages, e.g. "blend"; by default the flag's name.
        least: the smallest value allowed.
        most: the largest value allowed.
        shown_default: what `--help` says of the default if that is not a value, e.g. "the model's".
    """
    described = Option(help, flag, metavar, group, kind, choices, what, least, most, shown_default)
    if default is ...:
        return field(metadata={_KEY: described})
    if isinstance(default, dict | list):
        return field(default_factory=lambda: type(default)(default), metadata={_KEY: described})
    return field(default=default, metadata={_KEY: described})


class Bound(NamedTuple):
    """An option together with the field that holds it.

    Attributes:
        path: the names of the fields that lead to it, from the outermost dataclass.
        flag: `--min-area`.
        default: its default value; `MISSING` if it is required.
    """

    path: tuple[str, ...]
    flag: str
    described: Option
    kind: Kind
    is_switch: bool
    default: Any

    @property
    def name(self) -> str:
        """Its name as a keyword: `min_area` for `--min-area`, `token` for the switch `--no-token`."""
        if self.is_switch and self.default is True:
            return self.path[-1]
        return self.flag.lstrip("-").replace("-", "_")


def options_of(kind: type[Any], path: tuple[str, ...] = ()) -> Iterator[Bound]:
    """Every option of a dataclass and of the dataclasses that are its fields, in their order."""
    hints = _hints(kind)
    for one in fields(kind):
        hint = _plain(hints[one.name])
        described = one.metadata.get(_KEY)
        if described is not None:
            prefix = "--no-" if hint is bool and _default_of(one) is True else "--"
            flag = described.flag or prefix + one.name.replace("_", "-")
            how = described.kind or _KINDS[hint]
            yield Bound((*path, one.name), flag, described, how, hint is bool, _default_of(one))
        elif isinstance(hint, type) and is_dataclass(hint):
            yield from options_of(hint, (*path, one.name))


def add_options(parser: Any, kind: type[Any], groups: Sequence[str] = (), leave_out: Sequence[str] = ()) -> None:
    """Add the options of a dataclass to an argparse parser.

    Args:
        parser: an `argparse.ArgumentParser` or one of its groups.
        kind: the dataclass.
        groups: the headings of `--help` in their order; others follow in the order of the fields.
        leave_out: flags that the command does not offer.
    """
    found = [bound for bound in options_of(kind) if bound.flag not in leave_out]
    named = dict.fromkeys([*groups, *(bound.described.group for bound in found if bound.described.group)])
    homes = {name: parser.add_argument_group(name) for name in named}
    for bound in found:
        home = homes.get(bound.described.group or "", parser)
        extra: dict[str, Any] = {"dest": bound.name, "default": argparse.SUPPRESS, "help": _help(bound)}
        if bound.is_switch:
            home.add_argument(bound.flag, action="store_false" if bound.default is True else "store_true", **extra)
            continue
        extra |= {"metavar": bound.described.metavar, "required": bound.default is MISSING}
        home.add_argument(bound.flag, action="append" if bound.kind.repeated else "store", **extra)


def from_arguments(kind: type[T], arguments: argparse.Namespace) -> T:
    """The dataclass that a command's arguments give. Raises `UsageError` for a value that does not fit."""
    return from_values(kind, given_values(kind, arguments))


def given_values(kind: type[Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that were given, by their names as keywords; those at their defaults are left out.

    Raises `UsageError` for a text that is no value of its option.
    """
    given = vars(arguments)
    values: dict[str, Any] = {}
    for bound in options_of(kind):
        if bound.name in given:
            text = given[bound.name]
            values[bound.name] = text if bound.is_switch else bound.kind.parse(bound.flag, text)
    return values


def from_values(kind: type[T], values: Mapping[str, Any]) -> T:
    """The dataclass with these values, by the names of their options as keywords (`min_area`).

    Raises `UsageError` for a name that no option has, with the nearest one.
    """
    bounds = {bound.name: bound for bound in options_of(kind)}
    nested: dict[str, Any] = {}
    for name, value in values.items():
        if name not in bounds:
            raise did_you_mean("option", name, bounds)
        home = nested
        for part in bounds[name].path[:-1]:
            home = home.setdefault(part, {})
        home[bounds[name].path[-1]] = value
    return _made(kind, nested)


def _made(kind: type[T], values: dict[str, Any]) -> T:
    hints = _hints(kind)
    for one in fields(kind):  # type: ignore[arg-type]
        if _KEY not in one.metadata and is_dataclass(hint := _plain(hints[one.name])):
            values[one.name] = _made(hint, values.get(one.name, {}))  # type: ignore[arg-type]
    return kind(**values)


def check(settings: Any) -> None:
    """Check the values of a dataclass's fields: types, ranges and choices.

    A value that fits in another form (see `fitted`) is replaced by the usual form. A list may also be given as on the
    command line: as a text, or as one number for a pair of numbers.

    Raises:
        UsageError: a value does not fit. The message names the option, what is expected and what was found.
    """
    kind = type(settings)
    bounds = {bound.path[0]: bound for bound in options_of(kind) if len(bound.path) == 1}
    for one in fields(settings):
        bound = bounds.get(one.name)
        name = bound.flag if bound else one.name
        hint = _hints(kind)[one.name]
        given = value = getattr(settings, one.name)
        if bound and get_origin(_plain(hint)) is tuple:
            value = _parsed(bound, hint, value)
        value = fitted(hint, value, name)
        if value is not given:
            object.__setattr__(settings, one.name, value)  # settings are frozen
        if bound and value is not None:
            _check_range(bound, value)
            _check_choice(bound, value)
        if isinstance(value, float) and math.isnan(value):
            raise UsageError(f"{name} expects a number, got nan")


def _parsed(bound: Bound, hint: Any, value: Any) -> Any:
    """The value of a list that is given as on the command line: as a text, or as one number for a pair of numbers."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if is_number and get_args(_plain(hint)) in ((int, int), (float, float)):
        value = str(value)
    if not isinstance(value, str):
        return value
    return bound.kind.parse(bound.flag, [value] if bound.kind.repeated else value)


def fitted(hint: Any, value: Any, name: str) -> Any:
    """A value in the usual form of a type: the same object if it has that form already.

    Lists fit tuples, mappings fit tuples of pairs, numbers of numpy fit `int` and `float`, and numbers fit the texts
    of `Mapping[str, str]`. Everything else must be of the type: `True` is no number, and a text is no list.

    Args:
        hint: `int`, `float`, `str`, `bool`, `X | None`, `tuple[X, ...]`, `tuple[X, Y]`, `Mapping[str, X]`,
            `dict[str, X]` or a class.
        value: what was given.
        name: the option, for the message.

    Raises:
        UsageError: it does not fit.
    """
    try:
        return _fitted(hint, value)
    except _DoesNotFit as error:
        raise UsageError(f"{name} expects {_words(hint)}, got {shown(value)}{error}") from None


class _DoesNotFit(Exception):
    """A value is not of its type. The text is what the message adds after the value, e.g. the part at fault."""


def _fitted(hint: Any, value: Any) -> Any:
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return None if value is None and type(None) in inside else _fitted(_plain(hint), value)
    if origin is tuple:
        return _fitted_tuple(inside, value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _fitted_mapping(inside[1], value)
    if type(value) is hint:
        if hint is int and not -_LARGEST <= value < _LARGEST:
            raise _DoesNotFit(", which has more than 63 bits")
        return value
    if hint is bool and type(value).__name__ in ("bool", "bool_") and value in (True, False):  # numpy's
        return bool(value)
    if hint is int and isinstance(value, Integral) and not isinstance(value, bool):
        return _fitted(int, int(value))
    if hint is float and isinstance(value, Integral) and not isinstance(value, bool):
        return _fitted(int, int(value))  # 1 does not become 1.0: records of older builds hold it so
    if hint is float and isinstance(value, Real) and not isinstance(value, bool):
        return float(value)
    if hint not in (int, float, bool) and isinstance(hint, type) and isinstance(value, hint):
        return str(value) if hint is str else value
    raise _DoesNotFit


def _fitted_tuple(inside: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    pairs = len(inside) == 2 and inside[1] is Ellipsis and get_origin(inside[0]) is tuple
    items = tuple(value.items()) if pairs and isinstance(value, Mapping) else value
    if not isinstance(items, tuple | list):
        raise _DoesNotFit
    hints = [inside[0]] * len(items) if inside[1:] == (Ellipsis,) else list(inside)
    if len(hints) != len(items):
        raise _DoesNotFit
    found = tuple(_part(hint, item) for hint, item in zip(hints, items, strict=True))
    same = isinstance(value, tuple) and all(one is other for one, other in zip(found, value, strict=True))
    return value if same else found


def _fitted_mapping(hint: Any, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _DoesNotFit
    found: dict[str, Any] = {}
    for key, item in value.items():
        if hint is str and isinstance(item, Real) and not isinstance(item, bool):
            item = str(item)
        found[_part(str, key)] = _part(hint, item)
    return value if all(found[key] is value[key] for key in found) else found


def _part(hint: Any, value: Any) -> Any:
    try:
        return _fitted(hint, value)
    except _DoesNotFit as error:
        raise _DoesNotFit(str(error) or f", in it {shown(value)}") from None


_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "True or False"}
_PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}


def _words(hint: Any) -> str:
    """What a type stands for, in words."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return f"{_words(_plain(hint))}{' or None' if type(None) in inside else ''}"
    if origin is tuple:
        if inside[1:] == (Ellipsis,):
            pairs = get_origin(inside[0]) is tuple
            return "a mapping or a list of pairs" if pairs else f"a list of {_PLURALS.get(inside[0], 'values')}"
        return f"a list of {len(inside)} {_PLURALS.get(inside[0], 'values')}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"a mapping of names to {_PLURALS.get(inside[1], 'values')}"
    return _WORDS.get(hint) or f"a {getattr(hint, '__name__', hint)}"


_hints: Callable[[Any], dict[str, Any]] = cache(get_type_hints)


def _check_range(bound: Bound, value: Any) -> None:
    least, most = bound.described.least, bound.described.most
    if least is None and most is None:
        return
    fits = (least is None or value >= least) and (most is None or value <= most)
    if fits and value == value:  # NaN is not itself
        return
    if most is None:
        allowed = f"at least {least}"
    else:
        allowed = f"at most {most}" if least is None else f"between {least} and {most}"
    raise UsageError(f"{bound.flag} must be {allowed}, got {shown(value)}")


def _check_choice(bound: Bound, value: Any) -> None:
    choices = bound.described.choices
    if choices is None:
        return
    known = list(choices() if callable(choices) else choices)
    for name in value if isinstance(value, tuple) else (value,):
        if name not in known:
            raise did_you_mean(bound.described.what or bound.flag.lstrip("-"), name, known)


def words_of(settings: Any) -> list[str]:
    """The words of a command that give a dataclass's own options. Those at their defaults are left out."""
    words: list[str] = []
    for bound in options_of(type(settings)):
        if len(bound.path) > 1:
            continue
        value = getattr(settings, bound.path[0])
        if value == bound.default:
            continue
        if bound.is_switch:
            words.append(bound.flag)
        elif bound.kind.repeated:
            for text in bound.kind.write(value):
                words += [bound.flag, text]
        else:
            words += [bound.flag, bound.kind.write(value)]
    return words


def _default_of(one: Field[Any]) -> Any:
    return one.default_factory() if one.default_factory is not MISSING else one.default


def _plain(hint: Any) -> Any:
    """`int` for `int | None`; other types as they are."""
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    return hint


def _help(bound: Bound) -> str:
    text = bound.described.help.replace("%", "%%")
    default = bound.default
    if bound.described.shown_default is not None:
        return f"{text} (default: {bound.described.shown_default})"
    if default is MISSING or default is None or bound.is_switch or default in ("", (), {}):
        return text
    return f"{text} (default {bound.kind.write(default)})"


# --- how values are written ----------------------------------------------------------------------


def whole_number(flag: str, text: str) -> int:
    """`12`. Raises `UsageError`."""
    try:
        return int(text)
    except ValueError as error:
        raise UsageError(f"{flag} expects a whole number, got {shown(text)}") from error


def number(flag: str, text: str) -> float:
    """`0.5`. Raises `UsageError`."""
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"{flag} expects a number, got {shown(text)}") from error


def names(flag: str, text: str) -> tuple[str, ...]:
    """`dog,cat`: blanks around names and empty names are left out."""
    return tuple(filter(None, (part.strip() for part in text.split(","))))


def low_high(flag: str, text: str) -> tuple[float, float]:
    """`0.8,1.2`; one number is used for both. Raises `UsageError`."""
    low, _, high = text.partition(",")
    try:
        return float(low), float(high or low)
    except ValueError as error:
        raise UsageError(f"{flag} expects LOW,HIGH, got '{text}'") from error


def key_values(flag: str, texts: Iterable[str]) -> dict[str, str]:
    """["a=1", "b=2"] as a dict. Raises `UsageError`."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{flag} expects KEY=VALUE, got '{text}'")
        pairs[key] = value
    return pairs


def key_numbers(flag: str, texts: Iterable[str]) -> dict[str, float]:
    """["a=1", "b=2"] as a dict of numbers. Raises `UsageError`."""
    return {key: number(flag, value) for key, value in key_values(flag, texts).items()}


def _joined(parts: Iterable[Any]) -> str:
    return ",".join(str(part) for part in parts)


NAMES = Kind(names, _joined)
LOW_HIGH = Kind(low_high, _joined)
KEY_VALUES = Kind(key_values, lambda pairs: [f"{k}={v}" for k, v in sorted(pairs.items())], repeated=True)
KEY_NUMBERS = Kind(key_numbers, lambda pairs: [f"{k}={v!r}" for k, v in sorted(pairs.items())], repeated=True)
_KINDS: dict[Any, Kind] = {
    int: Kind(whole_number),
    float: Kind(number),
    str: Kind(lambda flag, text: text),
    bool: Kind(lambda flag, text: text),
}
