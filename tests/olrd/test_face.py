"""The functions of `import olrd`: their documented examples run, and wrong names get the nearest."""

from __future__ import annotations

import doctest
from pathlib import Path

import datasets
import pytest

import olrd
from olrd.errors import UsageError


@pytest.mark.slow
def test_the_documented_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    result = doctest.testmod(olrd)
    assert result.attempted >= 9 and result.failed == 0


def test_a_wrong_option_gets_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no option is called 'sise'. Did you mean 'size'"):
        olrd.build("coco", sise=256)


def test_a_wrong_value_names_its_option(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--size must be at least 16, got 3"):
        olrd.build("coco", out=tmp_path / "out", size=3)
    assert not (tmp_path / "out").exists()
