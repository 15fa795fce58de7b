"""The limits on pixels, licences and memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bad_folder import Folder, assert_balanced, config_of, rows_by_photo
from built_folders import digest
from damages import photo_is_huge
from PIL import Image as Pillow

from olrd.builder.build import build
from olrd.builder.nothing import NothingBuiltError
from olrd.config import BuildConfig
from olrd.sources import SourceSpec
from olrd.tools.verify import verify

pytestmark = pytest.mark.usefixtures("no_sample_sheets")


def test_max_pixels_refuses_what_is_larger(folder: Folder, tmp_path: Path) -> None:
    """Exactly the photos over the limit; the message says how to raise it."""
    sizes = sorted(image["width"] * image["height"] for image in folder.images)
    limit = sizes[2]
    root = folder.save()
    spec = SourceSpec("coco", str(root), max_pixels=limit)
    totals = build(BuildConfig(spec), tmp_path / "out")["totals"]
    assert totals["photos_rejected"] == {"photo_too_large": sum(size > limit for size in sizes)}
    assert all("--max-pixels" in failure["message"] for failure in totals["failures"])
    assert_balanced(totals, folder.document)


def test_max_pixels_can_be_raised_above_pillows_own_limit(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message promises that --max-pixels raises the limit: it must be the only one."""
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 10_000)
    totals = build(config_of(folder.save()), tmp_path / "out")["totals"]
    assert totals["photos_rejected"] == {}


@pytest.mark.slow
def test_what_was_built_with_raised_max_pixels_verifies_and_rebuilds(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands for a photo over the default 64 million pixels, built with --max-pixels."""
    from olrd import arrays
    from olrd.tools.rebuild import rebuild
    from olrd.triplets import photo as working

    root = folder.save()
    monkeypatch.setattr(arrays.decode_photo, "__defaults__", ("photo", 10_000))
    monkeypatch.setattr(arrays.decode_mask, "__defaults__", ("mask", 10_000))
    monkeypatch.setattr(working.working_photo, "__defaults__", (10_000,))
    assert build(config_of(root), tmp_path / "full")["totals"]["photos_rejected"] == {}
    assert verify(tmp_path / "full")["problems"] == []
    build(config_of(root, form="recipes"), tmp_path / "recipes")
    rebuild(tmp_path / "recipes", root, tmp_path / "again")
    assert digest(tmp_path / "again") == digest(tmp_path / "full")


@pytest.mark.parametrize("licenses", ["any", "permissive", "cc-by", "4,7", "unknown", "4,unknown"])
def test_unknown_licences_are_refused_unless_asked_for(licenses: str, folder: Folder, tmp_path: Path) -> None:
    """Photo 0 has a licence id that is not listed, photo 1 has none at all."""
    folder.images[0]["license"] = 77
    del folder.images[1]["license"]
    numbers = [None, None] + [image["license"] for image in folder.images[2:]]
    allowed = {
        "any": {*numbers},
        "permissive": {4, 5, 7, 8},
        "cc-by": {4},
        "4,7": {4, 7},
        "unknown": {None},
        "4,unknown": {4, None},
    }[licenses]
    refused = [n for n in numbers if n not in allowed]
    wanted = {i["id"] for i, n in zip(folder.images, numbers, strict=True) if n in allowed}
    config = config_of(folder.save(), licenses=licenses, on_error="stop")
    if not wanted:
        with pytest.raises(NothingBuiltError, match="license_refused"):
            build(config, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return
    totals = build(config, tmp_path / "out")["totals"]
    assert totals["photos_rejected"].get("license_refused", 0) == len(refused)
    assert totals["failures"] == []
    assert_balanced(totals, folder.document)
    used = set(rows_by_photo(tmp_path / "out"))
    assert used == set(map(str, wanted))


@pytest.mark.slow
def test_bad_input_needs_little_memory(folder: Folder, tmp_path: Path) -> None:
    """The 50,000 x 50,000 PNGs are never decoded: 2.5 GB of pixels do not appear anywhere."""
    photo_is_huge(folder)
    root = folder.save()
    # VmHWM: a child's ru_maxrss starts at the peak of the process that forked it.
    code = (
        "import re, sys; from pathlib import Path; from olrd.cli.build import main;"
        "done = main(sys.argv[1:]); status = Path('/proc/self/status').read_text();"
        r"sys.exit(done or int(int(re.search(r'VmHWM:\s+(\d+)', status)[1]) > 500_000))"
    )
    words = ["--source", "coco", "--root", str(root), "--out", str(tmp_path / "out")]
    argv = [sys.executable, "-c", code, *words, "--workers", "1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "photo_too_large" in done.stdout
