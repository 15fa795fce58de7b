"""Photos inside zip and tar files: the same bytes as from folders, and every bad archive refused."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from built_folders import digest
from drawn_openimages import by_id, draw, opened
from drawn_sets import DrawnSets
from hypothesis import given
from hypothesis import strategies as st

from olrd.builder.build import build
from olrd.config import BuildConfig
from olrd.errors import Rejected, SourceError, UsageError
from olrd.sources import SourceSpec, open_source, read_file
from olrd.sources.images import list_photos
from olrd.storage.archives import Archive, is_archive
from olrd.tools.rebuild import rebuild
from olrd.trust import MAX_FILE_BYTES

pytestmark = pytest.mark.usefixtures("no_sample_sheets")
SUBSET = "train2017"


@pytest.fixture(scope="module")
def root(drawn: DrawnSets) -> Path:
    return drawn.photos(12)


def config_of(root: Path, **changes: object) -> BuildConfig:
    return replace(BuildConfig(SourceSpec("coco", str(root))), **changes)  # type: ignore[arg-type]


def pack(folder: Path, target: Path, inside: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A folder's files in an archive, in a folder of that name, with what macOS adds; removed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    files = {f"{inside}{p.relative_to(folder).as_posix()}": p for p in folder.rglob("*") if p.is_file()}
    shuffled = sorted(files, key=lambda name: name[::-1])
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w", method) as opened:
            opened.writestr(f"__MACOSX/{inside}._x.jpg", b"resource fork")
            opened.writestr(".DS_Store", b"")
            for name in shuffled:
                opened.write(files[name], name)
    else:
        with tarfile.open(target, "w:gz" if target.name.endswith("gz") else "w") as tar:
            for name in shuffled:
                tar.add(files[name], name)
    shutil.rmtree(folder)
    return target


def packed_beside(root: Path) -> None:
    """As people have it: one archive a folder."""
    pack(root / SUBSET, root / f"{SUBSET}.zip", f"{SUBSET}/", zipfile.ZIP_STORED)
    pngs = root / "annotations" / f"panoptic_{SUBSET}"
    pack(pngs, root / "annotations" / f"panoptic_{SUBSET}.zip", f"panoptic_{SUBSET}/")


def packed_as_tar(root: Path) -> None:
    pack(root / SUBSET, root / "images" / f"{SUBSET}.tar", f"./{SUBSET}/")
    pack(root / "annotations" / f"panoptic_{SUBSET}", root / f"panoptic_{SUBSET}.tar")


def packed_as_published(root: Path) -> None:
    """The annotation archive holds the JSON and a second archive with the PNGs."""
    packed_beside(root)
    name = root / "panoptic_annotations_trainval2017.zip"
    pack(root / "annotations", name, "annotations/")


@pytest.fixture(scope="module")
def plain(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("plain") / "out"
    build(config_of(root), out)
    return digest(out)


@pytest.mark.parametrize(
    "packing",
    [packed_beside, *(pytest.param(way, marks=pytest.mark.slow) for way in (packed_as_tar, packed_as_published))],
)
def test_the_build_is_the_same(
    packing: Callable[[Path], None], root: Path, plain: dict[str, str], tmp_path: Path
) -> None:
    copy = shutil.copytree(root, tmp_path / "copy")
    packing(copy)
    assert not [p for p in copy.rglob("*") if p.suffix in (".jpg", ".png")]
    build(config_of(copy), tmp_path / "out")
    assert digest(tmp_path / "out") == plain
    assert not [p for p in copy.rglob("*") if p.suffix in (".jpg", ".png")]


@pytest.mark.slow
def test_recipes_are_rebuilt_from_zipped_photos(root: Path, plain: dict[str, str], tmp_path: Path) -> None:
    copy = shutil.copytree(root, tmp_path / "copy")
    packed_beside(copy)
    build(config_of(copy, form="recipes"), tmp_path / "recipes")
    for number, photos in enumerate((copy, copy / f"{SUBSET}.zip")):
        rebuild(tmp_path / "recipes", photos, tmp_path / str(number))
        assert digest(tmp_path / str(number)) == plain


def test_open_images_in_archives_reads_the_same(tmp_path: Path) -> None:
    expected = opened(draw(tmp_path / "plain").save())
    root = draw(tmp_path / "packed").save()
    photos = sorted((root / "test").iterdir())
    for number, photo in enumerate(photos):  # several archives, as published
        (root / str(number)).mkdir()
        photo.rename(root / str(number) / photo.name)
        pack(root / str(number), root / f"test_{number}.tar", f"test_{number}/")
    shutil.rmtree(root / "test")
    pack(root / "test-masks", root / "test-masks-0.zip")
    source = opened(root)
    assert source.fingerprint == expected.fingerprint
    records = by_id(source)
    assert records == by_id(expected)
    for record in records.values():
        assert source.photo_bytes(record) == expected.photo_bytes(record)
        size = (80, 60)
        if record.panoptic_name:
            same = source.panoptic(record, *size).ids == expected.panoptic(record, *size).ids
            assert same.all()


def test_photos_of_the_source_images_are_listed(root: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(root / SUBSET, tmp_path / "photos")
    expected = list_photos(copy, tmp_path)
    (copy / ".hidden").mkdir()
    (copy / ".hidden" / "x.jpg").write_bytes(b"")
    archive = Archive.open(pack(copy, tmp_path / "photos.zip", "deep/photos/"))
    assert list_photos(archive, tmp_path) == expected
    assert len(expected) == 12


def test_images_at_a_url_need_a_folder_for_their_annotations() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe_file("/photos/a.jpg", b"no photo")
    with pytest.raises(UsageError, match="panoptic=FOLDER"):
        open_source(SourceSpec("images", "memory://photos"))


@pytest.mark.parametrize("name", ["a.tar.gz", "A.TGZ", "a.tar.xz", "a.tar.bz2", "a.tar.zst"])
def test_compressed_tar_files_are_refused_with_a_way_out(name: str) -> None:
    with pytest.raises(SourceError, match="decompress it once"):
        is_archive(name)


def test_open_images_as_tar_gz_says_what_to_do(tmp_path: Path) -> None:
    root = draw(tmp_path / "packed").save()
    pack(root / "test", root / "test_0.tar.gz")
    with pytest.raises(SourceError, match=r"test_0\.tar\.gz is compressed"):
        opened(root)


@given(
    st.dictionaries(
        st.lists(st.sampled_from(["a", "b", "ä", "a b", "%41"]), min_size=1, max_size=3).map("/".join),
        st.binary(max_size=3000),
        max_size=8,
    ),
    st.sampled_from(["stored", "deflated", "tar"]),
)
def test_members_are_what_was_packed(files: dict[str, bytes], kind: str) -> None:
    """Any names and any bytes, in any order; nothing else is there."""
    folders = {name.rpartition("/")[0] for name in files}
    files = {"top": b"keeps the common folder empty"} | {
        name: data for name, data in files.items() if not any(f"{f}/".startswith(f"{name}/") for f in folders)
    }
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / ("a.tar" if kind == "tar" else "a.zip")
        write(path, files, zipfile.ZIP_STORED if kind == "stored" else zipfile.ZIP_DEFLATED)
        archive = pickle.loads(pickle.dumps(Archive.open(path)))
        assert archive.names() == sorted(files)
        for name, data in files.items():
            assert (archive / name).read_bytes() == data
            assert (archive / name).is_file() and not (archive / name).is_dir()
        for name in ("", "c", "top/x", *folders - {""}):
            assert not (archive / name).is_file()


def write(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", method) as opened:
            for name, data in files.items():
                opened.writestr(name, data)
    else:
        with tarfile.open(path, "w") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def test_large_members_are_read_piece_by_piece(tmp_path: Path) -> None:
    data = os.urandom(2_500_000) + bytes(3_000_000)
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        path = write(tmp_path / f"{method}.zip", {"small": b"1", "large": data}, method)
        assert (Archive.open(path) / "large").read_bytes() == data


def test_damage_inside_is_the_photos_own(tmp_path: Path) -> None:
    """A flipped byte, or a cut-off tail, concerns one member; the others are read."""
    path = write(tmp_path / "a.zip", {"a.jpg": os.urandom(999), "b.jpg": b"good"}, zipfile.ZIP_STORED)
    archive = Archive.open(path)
    raw = bytearray(path.read_bytes())
    raw[500] ^= 1
    path.write_bytes(raw)
    with pytest.raises(Rejected) as refused:
        read_file(archive, "a.jpg", "photo")
    assert refused.value.code == "photo_unreadable"
    assert read_file(archive, "b.jpg", "photo") == b"good"
    path.write_bytes(raw[:300])
    with pytest.raises(Rejected, match="damaged"):
        read_file(archive, "a.jpg", "photo")


def test_a_member_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    """50 MB of zeros that claim to be 1,000: no more than promised is unpacked."""
    path = write(tmp_path / "a.zip", {"a.jpg": bytes(50_000_000)})
    raw = path.read_bytes()
    assert raw.count((50_000_000).to_bytes(4, "little")) == 2
    path.write_bytes(raw.replace((50_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with pytest.raises(Rejected, match="damaged: 1001 bytes"):
        read_file(Archive.open(path), "a.jpg", "photo")


def test_a_member_that_claims_too_much_is_not_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip", {"a.jpg": bytes(1000)})
    huge = (MAX_FILE_BYTES + 1).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace((1000).to_bytes(4, "little"), huge))
    with pytest.raises(Rejected, match="expected at most"):
        read_file(Archive.open(path), "a.jpg", "photo")


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "x/../../a.jpg", "C:a.jpg", "..\\a.jpg"])
def test_names_that_climb_out_are_refused_inside_too(name: str, tmp_path: Path) -> None:
    archive = Archive.open(write(tmp_path / "a.zip", {name: b"1", "b.jpg": b"2"}))
    with pytest.raises(Rejected) as refused:
        read_file(archive, name, "photo")
    assert refused.value.code == "path_outside_root"


def test_what_is_missing_inside_is_missing(tmp_path: Path) -> None:
    archive = Archive.open(write(tmp_path / "a.tar", {"b.jpg": b"2"}))
    with pytest.raises(Rejected) as refused:
        read_file(archive, "a.jpg", "photo")
    assert refused.value.code == "photo_missing"


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_a_broken_archive_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"no archive" * 100)
    with pytest.raises(SourceError, match=name):
        Archive.open(tmp_path / name)


def test_a_changed_archive_is_listed_again(tmp_path: Path) -> None:
    assert Archive.open(write(tmp_path / "a.zip", {"a": b"1"})).names() == ["a"]
    assert Archive.open(write(tmp_path / "a.zip", {"a": b"1", "b": b"2"})).names() == ["a", "b"]
