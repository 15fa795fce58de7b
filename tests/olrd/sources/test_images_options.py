"""`--source images`: options, folders, names and licences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from photo_folder import Open, joined, picture
from property_examples import examples

from olrd.errors import OlrdError, SourceError, UsageError
from olrd.licenses import license_code, license_url
from olrd.sources import SourceSpec, open_source
from olrd.sources import images as images_module
from olrd.sources.images import ImagesOptions
from olrd.sources.panoptic.json_file import png_name


def test_max_pixels_is_respected(root: Path, checkpoint: Path) -> None:
    options = {"checkpoint": str(checkpoint), "threshold": "0"}
    spec = SourceSpec("images", str(root), max_pixels=5500, options=options)
    source = open_source(spec)
    names = {source.record(i).file_name: source.record(i).panoptic_name for i in range(4)}
    assert [name for name, png in names.items() if png is None] == ["a/one.jpg"]


def test_declared_license_and_address(root: Path, opened: Open, segmented: list[int]) -> None:
    opened()
    source = opened(license="cc-by-sa-4.0", source_url_prefix="https://example.org/p/")
    record = source.record(0)
    assert record.license == "CC-BY-SA-4.0"
    assert record.license_url == "https://creativecommons.org/licenses/by-sa/4.0/"
    assert record.source_url == "https://example.org/p/a/one.jpg"
    assert opened().record(3).license == "CC-BY-SA-4.0"  # remembered
    changed = opened(license="pdm-1.0", source_url_prefix="https://example.org/q/").record(1)
    assert (changed.license, changed.source_url) == ("PDM-1.0", "https://example.org/q/a/two.PNG")
    assert sum(segmented) == 4


def test_annotations_inside_the_root_are_no_photos(root: Path, opened: Open) -> None:
    source = opened(panoptic=str(root / "labels"))
    assert len(source) == len(opened(panoptic=str(root / "labels"))) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chekpoint": "x"}, "Did you mean 'checkpoint'"),
        ({"batch": "0"}, "batch: expected a number from 1"),
        ({"batch": "1.5"}, "whole number"),
        ({"threshold": "high"}, r"threshold: expected a number from 0\.0 to 1\.0, got 'high'"),
        ({"threshold": "nan"}, "got 'nan'"),
        ({"license": "cc-by-5"}, "no licence is called"),
        ({"device": "gpu"}, "expected auto, cpu, cuda"),
    ],
)
def test_bad_options(opened: Open, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        opened(**options)


def test_bad_folders_and_checkpoints(root: Path, opened: Open, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs --root"):
        open_source(SourceSpec("images"))
    with pytest.raises(SourceError, match="nowhere is not a folder"):
        open_source(SourceSpec("images", str(tmp_path / "nowhere")))
    with pytest.raises(UsageError, match="no subsets"):
        open_source(SourceSpec("images", str(root), "train"))
    (tmp_path / "none").mkdir()
    with pytest.raises(SourceError, match="found none"):
        open_source(SourceSpec("images", str(tmp_path / "none")))
    (tmp_path / "none" / "a.jpg").write_bytes(b"no photo")
    with pytest.raises(SourceError, match=r"none of the photos under .* can be read \(1 photo\)"):
        open_source(SourceSpec("images", str(tmp_path / "none")))
    with pytest.raises(SourceError, match="cannot be loaded"):
        opened(checkpoint=str(tmp_path / "no-checkpoint"))
    opened()
    with pytest.raises(UsageError, match=r"made with threshold=0\.0, and threshold=0\.5"):
        opened(threshold="0.5")
    with pytest.raises(UsageError, match="made with checkpoint="):
        opened(checkpoint="other/network")


def test_two_photos_with_one_id(root: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images_module, "image_id", lambda name: len(name) // 9)
    with pytest.raises(SourceError, match="both have the image id"):
        opened()


@pytest.mark.slow
def test_annotations_from_elsewhere(root: Path, opened: Open, segmented: list[int]) -> None:
    """A finished cache without our `info` is someone's own: read as it is, not rewritten."""
    opened()
    path, document = joined(root)
    del document["info"]
    path.write_text(json.dumps(document))
    before = path.stat().st_mtime_ns
    assert len(opened(threshold="0.3")) == 4
    assert path.stat().st_mtime_ns == before
    document["categories"][0]["name"] = "human"
    path.write_text(json.dumps(document))
    picture(9, 60, 60).save(root / "new.png")
    with pytest.raises(SourceError, match=r"category 1 'person' .* is 1 'human'"):
        opened()
    assert sum(segmented) == 4  # refused before any work


@pytest.mark.slow
def test_nothing_heavy_is_imported() -> None:
    import subprocess
    import sys

    code = (
        "import sys, olrd.sources.images, olrd.models.mask2former, olrd.tools.pq, olrd.tools.captions;"
        "print([m for m in ('torch', 'transformers', 'pandas', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@given(st.sampled_from(["by", "by-sa", "by-nd", "by-nc", "by-nc-sa", "by-nc-nd"]), st.booleans())
@examples(12)
def test_license_codes_round_trip(kind: str, upper: bool) -> None:
    code = f"CC-{kind.upper()}-4.0"
    assert license_code(license_url(code if upper else code.lower())) == code


def test_special_licenses() -> None:
    for code in ("CC0-1.0", "PDM-1.0", "no-known-copyright", "US-government-work"):
        assert license_code(license_url(code)) == code
    assert license_url("https://example.org/mine") == "https://example.org/mine"


@given(st.text(min_size=1, max_size=300))
def test_png_names_are_safe(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    made = png_name(name)
    assert len(made.encode()) < 200
    assert made[0] != "."
    assert not set('/\\:\0"*?<>|') & set(made)


def test_things_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "things.txt").write_text("bed, with a comma\nlamp\n\n")
    parsed = ImagesOptions.parse({"things": str(tmp_path / "things.txt")})
    assert parsed.given["things"] == ["bed, with a comma", "lamp"]
    assert ImagesOptions.parse({"things": "lamp, bed"}).given["things"] == ["bed", "lamp"]
    assert issubclass(UsageError, OlrdError)
