"""Arrow arrays of the columns of a triplet. `pyarrow.array` gives the same arrays, but it imports pandas on its first call,
which takes longer than building ten photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_NUMBERS = {pa.int32(): np.int32, pa.int64(): np.int64, pa.float64(): np.float64}


def arrow_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """The values as an Arrow array.

    Args:
        values: of the type `kind`. Texts and bytes may be None.
        kind: any type. Numbers, bools, texts, bytes and lists of them do not need pandas.
    """
    if pa.types.is_string(kind):
        return _blobs([None if value is None else value.encode() for value in values], kind)
    if pa.types.is_binary(kind):
        return _blobs(values, kind)
    if any(value is None for value in values):
        return pa.array(values, kind)
    if kind in _NUMBERS:
        return _numbers(np.array(values, _NUMBERS[kind]), kind)
    if pa.types.is_boolean(kind):
        bits = np.packbits(np.array(values, np.bool_), bitorder="little")
        return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(bits)])
    if pa.types.is_fixed_size_list(kind) and all(len(value) == kind.list_size for value in values):
        inner = arrow_array([item for value in values for item in value], kind.value_type)
        return pa.FixedSizeListArray.from_arrays(inner, type=kind)
    if pa.types.is_list(kind) and not pa.types.is_nested(kind.value_type):
        inner = arrow_array([item for value in values for item in value], kind.value_type)
        return pa.ListArray.from_arrays(_numbers(_ends(values), pa.int32()), inner, type=kind)
    return pa.array(values, kind)


def _ends(values: Sequence[Any]) -> npt.NDArray[np.int32]:
    """Where each value ends when all are joined, after a first 0."""
    return np.cumsum([0, *map(len, values)]).astype(np.int32)


def _numbers(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(values)])


def _blobs(values: Sequence[bytes | None], kind: pa.DataType) -> pa.Array:
    """Texts or bytes, in memory that is allocated once; `pyarrow.array` enlarges it value by value."""
    whole = [value or b"" for value in values]
    ends = _ends(whole)
    data = pa.allocate_buffer(int(ends[-1]))
    into = memoryview(data).cast("B")
    for start, value in zip(ends.tolist(), whole, strict=False):
        into[start : start + len(value)] = value
    known = None
    if None in values:
        known = pa.py_buffer(np.packbits([value is not None for value in values], bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [known, pa.py_buffer(ends), data])
