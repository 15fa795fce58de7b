"""Damages for bytes, texts and JSON values. All draws come from the generator that is given, so a seed repeats them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Way = tuple[str | int, ...]
EXTREME = (0, 1, -1, 127, 128, 255, 1 << 15, (1 << 16) - 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, (1 << 63) - 1)
TEXTS = (
    "",
    " ",
    ".",
    "..",
    "../x",
    "/etc/hostname",
    "C:\\x",
    "a\\..\\b",
    "x" * 300,
    "\0",
    "\n# heading",
    "\x1b]0;title\x07",
    "\u202egnp.exe",
    "\ud800",
    "<script>alert(1)</script>",
    "| a | b |",
    "=1+1",
    "{}",
    "null",
    "NaN",
    "1e400",
    "---\nlicense: mit\n---",
)
NUMBERS = (0, -1, 1, 2, 255, 1 << 16, 1 << 31, 1 << 63, 10**30, 0.5, -0.0, 1e-300, 1e300, 1e400, -1e400, float("nan"))


def damaged_bytes(data: bytes, random: Random) -> bytes:
    """The bytes after one to four damages."""
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        data = random.choice(_BYTE_DAMAGES)(data, random)
    return data


def _flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 3, 16))):
        if changed:
            changed[_place(changed, random)] ^= 1 << random.randrange(8)
    return bytes(changed)


def _random_bytes(data: bytes, random: Random) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 2, 8))):
        if changed:
            changed[_place(changed, random)] = random.randrange(256)
    return bytes(changed)


def _cut_end(data: bytes, random: Random) -> bytes:
    return data[: _place(data, random)]


def _cut_out(data: bytes, random: Random) -> bytes:
    start = _place(data, random)
    return data[:start] + data[start + random.choice((1, 2, 4, 64, 1000)) :]


def _double(data: bytes, random: Random) -> bytes:
    start = _place(data, random)
    part = data[start : start + random.choice((1, 4, 16, 200, 2000))]
    return data[:start] + part * random.choice((2, 2, 3, 100)) + data[start + len(part) :]


def _splice(data: bytes, random: Random) -> bytes:
    """A part of the bytes at another place, over what is there."""
    start, target = _place(data, random), _place(data, random)
    part = data[start : start + random.choice((1, 2, 4, 16, 256))]
    return data[:target] + part + data[target + len(part) :]


def _insert(data: bytes, random: Random) -> bytes:
    place = _place(data, random)
    return data[:place] + random.randbytes(random.choice((1, 2, 4, 32))) + data[place:]


def _extreme(data: bytes, random: Random) -> bytes:
    """An integer of 1 to 8 bytes becomes an extreme one, in either order of bytes."""
    place, size = _place(data, random), random.choice((1, 2, 4, 8))
    value = random.choice(EXTREME) % (1 << 8 * size)
    return data[:place] + value.to_bytes(size, random.choice(("big", "little"))) + data[place + size :]


def _place(data: Sequence[int], random: Random) -> int:
    """An offset. Half of the draws are near the start or the end, where files have their structure."""
    if not data:
        return 0
    reach = min(len(data), 64)
    return random.choice(
        (
            random.randrange(len(data)),
            random.randrange(len(data)),
            random.randrange(reach),
            len(data) - 1 - random.randrange(reach),
        )
    )


_BYTE_DAMAGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flip,
    _random_bytes,
    _cut_end,
    _cut_out,
    _double,
    _splice,
    _insert,
    _extreme,
)


def damaged_json(value: Any, random: Random) -> bytes:
    """The JSON text of the value after one to three damages: mostly of values, sometimes of the text."""
    value = json.loads(json.dumps(value))
    if random.random() < 0.9:
        for _ in range(random.choice((1, 1, 1, 2, 3))):
            value = damaged_value(value, random)
    text = json.dumps(value, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    if random.random() < 0.1:
        text = text.replace(b"[", b"[" * random.choice((2, 200, 100_000)), 1)
    return damaged_bytes(text, random) if random.random() < 0.15 else text


def damaged_value(value: Any, random: Random) -> Any:
    """The JSON value with one value in it replaced, removed or doubled. The value that is given may be changed."""
    ways = list(_ways(value))
    way = random.choice(ways)
    if not way:
        return odd_value(random)
    inner = value
    for step in way[:-1]:
        inner = inner[step]
    last, deed = way[-1], random.random()
    if deed < 0.15:
        del inner[last]
    elif deed < 0.25 and isinstance(inner, list):
        inner.append(inner[last])
    elif deed < 0.25:
        inner[random.choice(TEXTS)] = inner[last]
    elif deed < 0.3:
        inner[last] = _at(value, random.choice(ways))
    else:
        inner[last] = odd_value(random)
    return value


def odd_value(random: Random) -> Any:
    """A value that a careless reader does not expect."""
    kind = random.randrange(8)
    if kind < 3:
        return random.choice(NUMBERS)
    if kind < 5:
        return random.choice(TEXTS)
    if kind == 5:
        return random.choice((True, False, None))
    if kind == 6:
        return random.choice(([], {}, [[]], [{}], [None], {"": None}, [0] * 1000, {"id": 1}))
    nested: Any = random.choice(TEXTS)
    for _ in range(random.choice((5, 70, 500))):
        nested = [nested] if random.random() < 0.5 else {"a": nested}
    return nested


def _ways(value: Any, way: Way = ()) -> Any:
    """The paths to all values. Of a long list, the first and the last few are taken."""
    yield way
    if len(way) > 12:
        return
    if isinstance(value, dict):
        for name in value:
            yield from _ways(value[name], (*way, name))
    elif isinstance(value, list):
        for number in {*range(min(len(value), 3)), *range(max(0, len(value) - 1), len(value))}:
            yield from _ways(value[number], (*way, number))


def _at(value: Any, way: Way) -> Any:
    for step in way:
        value = value[step]
    return json.loads(json.dumps(value))
