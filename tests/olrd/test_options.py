"""One description per option: the parser, the values, the checks and the way back follow from it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from olrd.errors import UsageError
from olrd.options import (
    KEY_NUMBERS,
    LOW_HIGH,
    NAMES,
    add_options,
    check,
    fitted,
    from_arguments,
    from_values,
    option,
    words_of,
)


@dataclass(frozen=True)
class Inner:
    """An own group of settings inside the outer ones."""

    share: float = option(0.5, "a share", metavar="SHARE", group="inner", least=0, most=1)
    token: bool = option(True, "a switch that is on", group="inner")
    steps: int = option(5, "a number", metavar="N", group="inner", shown_default="the model's")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Toy:
    """One option of every kind."""

    name: str = option(..., "a required word", choices=lambda: ("red", "green"), what="colour")
    size: int | None = option(None, "a size", metavar="PX", least=16)
    flip: bool = option(False, "a switch")
    match: tuple[str, ...] = option((), "a list", kind=NAMES, choices=("noise", "blur"))
    scale: tuple[float, float] = option((1.0, 1.0), "a range", kind=LOW_HIGH)
    params: dict[str, float] = option({}, "numbers by name", flag="--param", kind=KEY_NUMBERS)
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        check(self)


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(prog="toy")
    add_options(command, Toy)
    return command


def parsed(*words: str) -> Toy:
    return from_arguments(Toy, parser().parse_args(words))


def test_options_that_are_not_given_have_their_defaults() -> None:
    assert parsed("--name", "red") == Toy("red")


def test_every_kind_is_read() -> None:
    words = (
        "--name green --size 20 --flip --match noise,blur --scale 0.5,2 --param a=1 --param b=0.5 --share 1 --no-token"
    )
    assert parsed(*words.split()) == Toy(
        "green", 20, True, ("noise", "blur"), (0.5, 2.0), {"a": 1.0, "b": 0.5}, Inner(1.0, False)
    )


toys = st.builds(
    Toy,
    st.sampled_from(["red", "green"]),
    st.none() | st.integers(16, 999),
    st.booleans(),
    st.lists(st.sampled_from(["noise", "blur"]), unique=True, max_size=2).map(tuple),
    st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)),
    st.dictionaries(st.sampled_from(["a", "b"]), st.floats(-5, 5)),
    st.builds(Inner, st.floats(0, 1), st.booleans(), st.integers(-(1 << 63), (1 << 63) - 1)),
)


@given(toys)
def test_the_words_give_the_values_back(toy: Toy) -> None:
    assert parsed(*words_of(toy), *words_of(toy.inner)) == toy


def test_words_at_their_defaults_are_left_out() -> None:
    assert words_of(Toy("red")) == ["--name", "red"]
    assert words_of(Inner()) == []


def test_help_says_what_is_expected_and_the_default() -> None:
    text = " ".join(parser().format_help().split())
    assert "--size PX a size" in text and "--scale SCALE a range (default 1.0,1.0)" in text
    assert "inner: --share SHARE a share (default 0.5) --no-token a switch that is on" in text
    assert "--steps N a number (default: the model's)" in text


def test_a_switch_that_is_on_has_the_name_of_its_field_as_a_keyword() -> None:
    assert from_values(Toy, {"name": "red", "token": False}) == Toy("red", inner=Inner(token=False))


def test_a_required_option_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed()
    assert "the following arguments are required: --name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"name": "rad"}, "no colour is called 'rad'. Did you mean 'red'"),
        ({"match": ("nose",)}, "no match is called 'nose'. Did you mean 'noise'"),
        ({"size": 15}, "--size must be at least 16, got 15"),
        ({"share": 1.5}, "--share must be between 0 and 1, got 1.5"),
        ({"share": float("nan")}, "--share must be between 0 and 1, got nan"),
        ({"sise": 20}, "no option is called 'sise'. Did you mean 'size'"),
    ],
)
def test_a_wrong_value_names_its_option(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        from_values(Toy, {"name": "red"} | values)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--size big", "--size expects a whole number, got 'big'"),
        ("--share big", "--share expects a number, got 'big'"),
        ("--scale 1,2,3", "--scale expects LOW,HIGH, got '1,2,3'"),
        ("--param a", "--param expects KEY=VALUE, got 'a'"),
        ("--param a=x", "--param expects a number, got 'x'"),
    ],
)
def test_a_text_that_does_not_parse_names_its_option(words: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parsed("--name", "red", *words.split())


def test_an_option_can_be_left_out() -> None:
    command = argparse.ArgumentParser()
    add_options(command, Toy, leave_out=("--size",))
    with pytest.raises(SystemExit):
        command.parse_args(["--name", "red", "--size", "20"])


@pytest.mark.parametrize(
    ("hint", "value", "usual"),
    [
        (int, np.int64(3), 3),
        (float, np.float32(0.5), 0.5),
        (float, 1, 1),
        (bool, np.bool_(False), False),
        (str, np.str_("a"), "a"),
        (int | None, None, None),
        (tuple[int, ...], [1, np.int8(2)], (1, 2)),
        (tuple[float, float], [1.5, 2], (1.5, 2)),
        (tuple[tuple[str, float], ...], {"a": 0.5}, (("a", 0.5),)),
        (Mapping[str, str], {"a": 1, "b": 0.5, "c": "x"}, {"a": "1", "b": "0.5", "c": "x"}),
        (dict[str, float], {"a": np.float64(1)}, {"a": 1.0}),
    ],
    ids=repr,
)
def test_a_value_in_another_form_gets_the_usual_one(hint: Any, value: Any, usual: Any) -> None:
    found = fitted(hint, value, "--x")
    assert found == usual and type(found) is type(usual)
    json.dumps(found)


@pytest.mark.parametrize(
    ("hint", "value", "said"),
    [
        (int, True, "--x expects a whole number, got True"),
        (int, 1.0, "--x expects a whole number, got 1.0"),
        (int, 1 << 63, "which has more than 63 bits"),
        (float, "1", "--x expects a number, got '1'"),
        (float, 1 << 999, "which has more than 63 bits"),
        (bool, 1, "--x expects True or False, got 1"),
        (str, b"a", "--x expects a text, got b'a'"),
        (tuple[str, ...], "dog", "--x expects a list of texts, got 'dog'"),
        (tuple[float, float], [1], r"--x expects a list of 2 numbers, got \[1\]"),
        (Mapping[str, float], {1: 1}, "--x expects a mapping of names to numbers, got {1: 1}, in it 1"),
        (Inner | None, {}, "--x expects a Inner or None, got {}"),
        (int, np.zeros((9, 9)), r"--x expects a whole number, got array\(.*$"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_value_of_another_type_is_shown_in_one_line(hint: Any, value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        fitted(hint, value, "--x")
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_a_value_that_has_its_usual_form_stays_the_same_object() -> None:
    for hint, value in ((tuple[str, ...], ("a", "b")), (dict[str, float], {"a": 1.0}), (Inner, Inner())):
        assert fitted(hint, value, "--x") is value
