"""Where photos come from: archives, folders of frames, and the indices of both."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from pathlib import Path
from random import Random

from olrd.errors import OlrdError
from olrd.sources import SourceSpec, open_source
from perf.fuzz.harness import Example
from perf.fuzz.honest import drawn_pictures
from perf.fuzz.mutate import TEXTS, damaged_bytes
from perf.fuzz.targets.register import copied, read_all, target, without_cache


@target("archive")
def archive(honest: Path, scratch: Path) -> Example:
    """Archives of photos: damaged ones, and sound ones with odd names."""
    from olrd.storage.archives import Archive

    files = {kind: (honest / f"photos.{kind}").read_bytes() for kind in ("zip", "tar")}

    def example(random: Random) -> None:
        kind = random.choice(("zip", "tar"))
        data = damaged_bytes(files[kind], random) if random.random() < 0.8 else _odd_archive(kind, random)
        path = scratch / f"photos.{kind}"
        path.write_bytes(data)
        try:
            opened = Archive.open(path)
            for name in opened.names():
                try:
                    (opened / name).read_bytes()
                except (OSError, OlrdError):  # what `olrd.sources.read_file` expects
                    continue
        finally:
            without_cache(scratch)

    return example


def _odd_archive(kind: str, random: Random) -> bytes:
    buffer = io.BytesIO()
    names = [random.choice([text for text in TEXTS if text.strip("\0") and "\ud800" not in text]) for _ in range(4)]
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as zipped:
            for name in names:
                zipped.writestr(name, b"pixels")
    else:
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as packed:
            for name in names:
                entry = tarfile.TarInfo(name)
                entry.type = random.choice((tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE))
                entry.linkname = random.choice(("../x", "/etc/hostname", name))
                packed.addfile(entry)
    return buffer.getvalue()


@target("index")
def index(honest: Path, scratch: Path) -> Example:
    """Indices in the cache that are cut short or overwritten, as by a full disk."""
    root = copied(honest, scratch, "coco")
    shutil.move(root / "train2017", scratch / "train2017")
    shutil.rmtree(root / "images", ignore_errors=True)
    shutil.copyfile(honest / "photos.zip", root / "train2017.zip")
    spec = SourceSpec("coco", str(root))
    read_all(open_source(spec))
    files = {file: file.read_bytes() for file in (scratch / "cache" / "index").glob("*.arrow")}

    def example(random: Random) -> None:
        for file, data in files.items():
            file.write_bytes(data)
        file = random.choice(list(files))
        whole = files[file]
        file.write_bytes(random.choice((whole[: random.randrange(len(whole))], random.randbytes(100), b"", bytes(99))))
        read_all(open_source(spec))

    return example


@target("clip")
def clip(honest: Path, scratch: Path) -> Example:
    """Folders of frames: some are damaged, empty, or pictures of another size."""
    from olrd.config import BuildConfig
    from olrd.triplets.makers import maker_of
    from olrd.triplets.tally import Tally

    root = copied(honest, scratch, "clip")
    config = BuildConfig(SourceSpec("clip", str(root), options={"apart": "0"}), form="recipes")
    files = {file: file.read_bytes() for file in sorted((root / "street").iterdir())}
    pictures = list(drawn_pictures().values())

    def example(random: Random) -> None:
        changed = random.sample(list(files), random.choice((1, 1, 2, 4)))
        for file in changed:
            data = damaged_bytes(files[file], random)
            file.write_bytes(random.choice((data, data, b"", random.choice(pictures))))
        try:
            source = open_source(config.source)
            maker = maker_of(source, config)
            for index in random.sample(range(len(source)), 2):
                list(maker.photo(index, Tally()))
        finally:
            for file in changed:
                file.write_bytes(files[file])
            without_cache(scratch)

    return example
