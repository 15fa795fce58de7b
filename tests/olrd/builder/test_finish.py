"""How part files are joined to shards."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from olrd.builder.finish import SHARD_ROWS, pack
from olrd.dataset.shards import Written


@given(st.lists(st.tuples(st.integers(1, 30_000), st.integers(1, 4_000)), max_size=40), st.integers(1_000, 100_000))
def test_parts_are_joined_in_order_within_bytes_and_rows(sizes: list[tuple[int, int]], limit: int) -> None:
    files = [Written(str(k), rows, size, "") for k, (rows, size) in enumerate(sizes)]
    batches = list(pack(files, limit))
    assert [file for batch in batches for file in batch] == files
    for batch in batches:
        if len(batch) > 1:
            assert sum(file.bytes for file in batch) <= limit
            assert sum(file.rows for file in batch) <= SHARD_ROWS
            assert all(file.bytes < limit // 128 for file in batch)
    for one, two in itertools.pairwise(batches):  # no joint was left out
        small = one[-1].bytes < limit // 128 and two[0].bytes < limit // 128
        assert not small or (
            sum(f.bytes for f in one) + two[0].bytes > limit or sum(f.rows for f in one) + two[0].rows > SHARD_ROWS
        )
