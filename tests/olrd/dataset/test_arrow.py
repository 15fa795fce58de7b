"""The arrays of `arrow_array` against those of pyarrow itself, and what a build imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from olrd.dataset.arrow import arrow_array
from olrd.sources import SourceSpec, open_source

TEXTS = st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=9))
INTS = st.integers(-(2**31), 2**31 - 1)
COLUMNS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): TEXTS,
    pa.binary(): st.one_of(st.none(), st.binary(max_size=9)),
    pa.int32(): INTS,
    pa.int64(): st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.list_(pa.string()): st.one_of(st.none(), st.lists(TEXTS, max_size=4)),
    pa.list_(pa.int32(), 4): st.lists(INTS, min_size=4, max_size=4),
    pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())])): st.lists(
        st.fixed_dictionaries({"bytes": st.binary(max_size=3), "path": TEXTS}), max_size=3
    ),
}


@pytest.mark.parametrize("kind", COLUMNS, ids=str)
@given(data=st.data())
def test_they_equal_those_of_pyarrow(kind: pa.DataType, data: st.DataObject) -> None:
    values = data.draw(st.lists(COLUMNS[kind], max_size=12))
    found = arrow_array(values, kind)
    found.validate(full=True)
    expected = pa.array(values, kind)
    assert (found.type, found.null_count) == (expected.type, expected.null_count)
    assert repr(found.to_pylist()) == repr(expected.to_pylist())  # repr, as not-a-number is not equal to itself


@pytest.mark.parametrize(
    ("kind", "value", "error"),
    [
        (pa.int32(), 2**31, (OverflowError, pa.ArrowInvalid)),
        (pa.list_(pa.int32(), 4), [1, 2, 3], pa.ArrowInvalid),
        (pa.string(), "\ud800", UnicodeEncodeError),
    ],
    ids=str,
)
def test_values_of_another_type_are_refused(kind: pa.DataType, value: Any, error: Any) -> None:
    for make in (arrow_array, pa.array):
        with pytest.raises(error):
            make([value], kind)


def test_a_build_does_not_import_pandas(tmp_path: Path) -> None:
    open_source(SourceSpec("demo"))  # its index is made with pandas, once for each file of annotations
    words = f"['--source', 'demo', '--limit', '3', '--out', {str(tmp_path / 'out')!r}]"
    code = f"import sys; from olrd.cli.build import main; assert main({words}) == 0; assert 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
