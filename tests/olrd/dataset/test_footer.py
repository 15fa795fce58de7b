"""The footer reader agrees with pyarrow, and meets damage with an error where pyarrow ends the process."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from olrd.dataset import footer
from olrd.dataset.footer import stored_columns
from olrd.errors import IntegrityError
from olrd.storage.remote import Remote

CODECS = {"a": "none", "b.list.element": "snappy", "c.x": "gzip", "c.y": "zstd"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [{"a": n, "b": ["x"] * (n % 3), "c": {"x": n / 7, "y": n % 2 == 0}} for n in range(20)]
    path = tmp_path / "rows.parquet"
    table = pa.Table.from_pylist(rows).replace_schema_metadata({"k": "v" * 300})
    pq.write_table(table, path, row_group_size=7, compression=CODECS, write_page_index=True)
    return path


def change(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def test_it_reads_what_pyarrow_reads(file: Path) -> None:
    found = pq.ParquetFile(file).metadata
    groups = [[found.row_group(g).column(k) for k in range(found.num_columns)] for g in range(found.num_row_groups)]
    expected = [[(c.path_in_schema, c.compression, c.num_values) for c in columns] for columns in groups]
    assert [[tuple(column) for column in columns] for columns in stored_columns(file)] == expected
    assert len(expected) == 3
    assert {codec for _, codec, _ in expected[0]} == {"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD"}


def test_a_file_at_a_url_is_read_too(file: Path) -> None:
    assert list(stored_columns(Remote.parse(f"file://{file}"))) == list(stored_columns(file))


def test_a_histogram_of_another_length_does_not_end_the_process(tmp_path: Path) -> None:
    """pyarrow refuses to read these rows ("histogram size mismatch"), and aborts when asked how they are stored."""
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": range(20)}), path)
    change(path, b"\x06\x19&\x00(", b"\x26\x19&\x00(")  # 0 repetition levels become 2
    assert list(stored_columns(path)) == [[("a", "SNAPPY", 20)]]
    with pytest.raises(OSError, match="histogram size mismatch"), pq.ParquetFile(path) as opened:
        opened.read()


def test_damaged_footers_give_a_typed_error_or_columns(file: Path) -> None:
    data, random = file.read_bytes(), Random(0)
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    refused = 0
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(random.randint(1, 4)):
            damaged[random.randrange(start, len(data) - 8)] = random.randrange(256)
        file.write_bytes(damaged)
        try:
            for columns in stored_columns(file):
                assert all(isinstance(column.values, int) for column in columns)
        except IntegrityError as error:
            assert str(error).startswith("its footer is damaged: ")
            refused += 1
    assert 40 < refused < 190


def test_footers_that_are_none_or_too_long_are_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = file.read_bytes()
    for bad in (b"", data[:5], data[:-1], data[:-8] + b"\xff\xff\xff\x7fPAR1", data[:-8] + bytes(4) + b"PAR1"):
        file.write_bytes(bad)
        with pytest.raises(IntegrityError, match="does not end like a Parquet file"):
            list(stored_columns(file))
    file.write_bytes(data)
    monkeypatch.setattr(footer, "MAX_FOOTER_BYTES", 100)
    with pytest.raises(IntegrityError, match="expected at most 100"):
        list(stored_columns(file))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x1c" * 40, "more than 16 levels"),
        (b"\x15\x02\x05\x02\x02\x00", "field 1 comes twice"),
        (b"\x19\xf8\xff\xff\xff\x7f", "ends too early"),
        (b"\x15" + b"\xff" * 11, "more than 64 bits"),
        (b"\x1e\x00", "no type 14"),
        (b"\x45\x02\x00", "expected a list, found type 5"),
        (b"\x49\x1c\x00\x00", "field 1 is missing"),
    ],
)
def test_each_kind_of_damage_is_named(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(data + len(data).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(IntegrityError, match=said):
        list(stored_columns(path))
