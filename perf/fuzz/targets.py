"""The readers, and how each is fed: `TARGETS` has one function per reader.

A function takes the folder of the honest inputs and an empty folder, and returns what runs one example.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image as Pillow

from baselines.photos.files import SUFFIXES, read_photo, write_photo
from olrd.arrays import decode_ids, decode_mask, decode_photo, photo_header
from olrd.errors import OlrdError, Rejected
from olrd.panoptic import PanopticMap, check_panoptic, decode_rle, encode_rle
from olrd.sources import Source, SourceSpec, open_source
from olrd.storage.files import sha256
from perf.fuzz.harness import Example, Target
from perf.fuzz.honest import drawn_exif, drawn_pictures, saved
from perf.fuzz.mutate import TEXTS, damaged_bytes, damaged_json, damaged_value

TARGETS: dict[str, Target] = {}


_FENCED = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)
_LONGEST_EXIF = 65_000
"""A JPEG has room for 65,533 bytes of it."""


class NotCleanError(Exception):
    """A text that is written holds a stranger's markup."""


def target(name: str) -> Callable[[Target], Target]:
    """Enter a function in `TARGETS`."""

    def enter(function: Target) -> Target:
        TARGETS[name] = function
        return function

    return enter


def _copy(honest: Path, scratch: Path, name: str) -> Path:
    target = scratch / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(honest / name, target)
    return target


def _without_cache(scratch: Path) -> None:
    shutil.rmtree(scratch / "cache", ignore_errors=True)


def _read_source(source: Source) -> None:
    """Read all photos and maps, as a build does. What is rejected is counted there."""
    for index in range(len(source)):
        try:
            record = source.record(index)
            photo = decode_photo(source.photo_bytes(record), record.file_name)
            size = photo.pixels.shape[1], photo.pixels.shape[0]
            check_panoptic(record.file_name, source.panoptic(record, *size), size, source.categories)
        except Rejected:
            continue


@target("picture")
def picture(honest: Path, scratch: Path) -> Example:
    """Photos of every format."""
    pictures = list(drawn_pictures().values())

    def example(random: Random) -> None:
        decode_photo(damaged_bytes(random.choice(pictures), random))

    return example


@target("photo-file")
def photo_file(honest: Path, scratch: Path) -> Example:
    """Photos of every format as `olrd-erase` reads them, and writes them again in their own mode."""
    pictures = list(drawn_pictures().values())
    scratch.mkdir(exist_ok=True)

    def example(random: Random) -> None:
        path = scratch / "photo"
        path.write_bytes(damaged_bytes(random.choice(pictures), random))
        photo = read_photo(path)
        own = photo.with_fill(photo.pixels, np.ones(photo.pixels.shape[:2], bool))
        write_photo(scratch / f"out{random.choice(SUFFIXES)}", own, photo)

    return example


@target("exif")
def exif(honest: Path, scratch: Path) -> Example:
    """The camera data of photos whose pixels are sound."""
    pixels = Pillow.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8))
    whole = drawn_exif().tobytes()

    def example(random: Random) -> None:
        kind = random.choice(("JPEG", "JPEG", "PNG", "WEBP"))
        data = saved(pixels, kind, exif=(whole[:6] + damaged_bytes(whole[6:], random))[:_LONGEST_EXIF])
        photo_header(data)
        decode_photo(data)

    return example


@target("mask")
def mask(honest: Path, scratch: Path) -> Example:
    """Mask files."""
    bits = np.random.default_rng(0).random((24, 32)) < 0.5
    kinds = [Pillow.fromarray(bits), Pillow.fromarray(bits.astype(np.uint8) * 255)]
    files = [saved(kind, "PNG") for kind in kinds] + [saved(kind, "BMP") for kind in kinds] + [saved(kinds[1], "JPEG")]

    def example(random: Random) -> None:
        decode_mask(damaged_bytes(random.choice(files), random))

    return example


@target("annotation-png")
def annotation_png(honest: Path, scratch: Path) -> Example:
    """Panoptic PNGs, alone and with their annotation."""
    source = open_source(SourceSpec("coco", str(honest / "coco")))
    maps = sorted((honest / "coco" / "annotations" / "panoptic_train2017").iterdir())
    files = [(file.read_bytes(), source.record(index)) for index, file in enumerate(maps)]
    files += [(saved(Pillow.open(maps[0]), kind), files[0][1]) for kind in ("BMP", "TIFF")]

    def example(random: Random) -> None:
        data, record = random.choice(files)
        ids = decode_ids(damaged_bytes(data, random))
        panoptic = PanopticMap(ids, record.segments)
        check_panoptic(record.file_name, panoptic, (ids.shape[1], ids.shape[0]), source.categories)

    return example


@target("annotation-json")
def annotation_json(honest: Path, scratch: Path) -> Example:
    """The JSON of COCO's panoptic annotations."""
    root = _copy(honest, scratch, "coco")
    file = root / "annotations" / "panoptic_train2017.json"
    document = json.loads(file.read_text())
    used = {segment["category_id"] for note in document["annotations"] for segment in note["segments_info"]}
    document["categories"] = [category for category in document["categories"] if category["id"] in used]
    document["licenses"] = [{"id": 1, "name": "by", "url": "http://creativecommons.org/licenses/by/2.0/"}]
    for image in document["images"]:
        image |= {"license": 1, "coco_url": "http://x/y.jpg", "author": "A. Uthor"}

    def example(random: Random) -> None:
        part = random.choice((*document, None))
        if part is None:
            text = damaged_json(document, random)
        else:
            changed = json.loads(json.dumps(document))
            changed[part] = damaged_value(changed[part], random)
            text = json.dumps(changed).encode()
        file.write_bytes(text)
        try:
            _read_source(open_source(SourceSpec("coco", str(root))))
        finally:
            _without_cache(scratch)

    return example


@target("instances-json")
def instances_json(honest: Path, scratch: Path) -> Example:
    """The JSON of COCO's instances: polygons, run lengths and counts as text."""
    photos = sorted((honest / "coco" / "train2017").iterdir())[:3]
    root = scratch / "instances"
    (root / "images").mkdir(parents=True, exist_ok=True)
    images = []
    for number, photo in enumerate(photos, start=1):
        shutil.copy(photo, root / "images" / photo.name)
        width, height = Pillow.open(photo).size
        images.append({"id": number, "file_name": photo.name, "width": width, "height": height})
    shapes = [
        [[10, 10, 60, 10, 60, 50, 10, 50]],
        {"counts": [5, 20, width * height - 25], "size": [height, width]},
        {"counts": encode_rle(np.eye(height, width, dtype=bool)), "size": [height, width]},
    ]
    notes = [
        {"id": n, "image_id": image["id"], "category_id": 1, "segmentation": shape, "iscrowd": 0, "bbox": [1, 1, 9, 9]}
        for n, (image, shape) in enumerate(zip(images, shapes, strict=True), start=1)
    ]
    document = {"images": images, "annotations": notes, "categories": [{"id": 1, "name": "dog"}]}

    def example(random: Random) -> None:
        changed = json.loads(json.dumps(document))
        part = random.choice((*document, None))
        if part is None:
            text = damaged_json(document, random)
        else:
            changed[part] = damaged_value(changed[part], random)
            text = json.dumps(changed).encode()
        (root / "instances.json").write_bytes(text)
        try:
            _read_source(open_source(SourceSpec("instances", str(root))))
        finally:
            _without_cache(scratch)

    return example


@target("instances-csv")
def instances_csv(honest: Path, scratch: Path) -> Example:
    """The four CSV files of Open Images."""
    root = _copy(honest, scratch, "openimages")
    files = {file: file.read_bytes() for file in sorted(root.glob("*.csv"))}

    def example(random: Random) -> None:
        file = random.choice(list(files))
        changed = _damaged_table(files[file], random) if random.random() < 0.7 else damaged_bytes(files[file], random)
        file.write_bytes(changed)
        try:
            _read_source(open_source(SourceSpec("openimages", str(root))))
        finally:
            file.write_bytes(files[file])
            _without_cache(scratch)

    return example


def _damaged_table(data: bytes, random: Random) -> bytes:
    """One cell, or one line, becomes another."""
    lines = [line.split(",") for line in data.decode().splitlines()]
    for _ in range(random.choice((1, 1, 3))):
        line = random.choice(lines)
        if line and random.random() < 0.8:
            numbers = ("", "inf", "-inf", "nan", "1e400", "-1", "2", "0", "1e9", "0x10", "one", str(10**30))
            line[random.randrange(len(line))] = random.choice((*numbers, *TEXTS))
        elif line and random.random() < 0.5:
            line.pop()
        else:
            lines.append(list(line))
    return "\n".join(",".join(line) for line in lines).encode("utf-8", "surrogatepass")


@target("instances-mask")
def instances_mask(honest: Path, scratch: Path) -> Example:
    """The mask PNGs of Open Images."""
    root = _copy(honest, scratch, "openimages")
    source = open_source(SourceSpec("openimages", str(root)))
    files = {file: file.read_bytes() for file in sorted((root / "test-masks").iterdir())}

    def example(random: Random) -> None:
        file = random.choice(list(files))
        file.write_bytes(damaged_bytes(files[file], random))
        try:
            _read_source(source)
        finally:
            file.write_bytes(files[file])

    return example


@target("rle")
def rle(honest: Path, scratch: Path) -> Example:
    """Run lengths in COCO's compressed form."""
    bits = np.random.default_rng(0).random((20, 30)) < 0.3
    block = np.zeros((20, 30), np.bool_)
    block[4:9, 3:20] = True
    texts = [encode_rle(bits), encode_rle(block), encode_rle(np.zeros((20, 30), np.bool_))]
    sides = (1, 7, 20, 30, 1000, 1 << 16, (1 << 31) - 1, 1 << 31, 1 << 32, 1 << 70)

    def example(random: Random) -> None:
        text = random.choice(texts)
        if random.random() < 0.8:
            text = damaged_bytes(text.encode(), random).decode("latin-1")
        height, width = (20, 30) if random.random() < 0.5 else (random.choice(sides), random.choice(sides))
        decode_rle(text, height, width)

    return example


@target("recipe")
def recipe(honest: Path, scratch: Path) -> Example:
    """Recipes: read, checked against their row, and rendered."""
    from olrd.dataset.folder import Dataset
    from olrd.dataset.render import Renderer
    from olrd.tools.verify import row_problems
    from olrd.triplets.recipe import Recipe

    rows = list(Dataset(honest / "recipes").rows())
    renderer = Renderer(honest / "coco")

    def example(random: Random) -> None:
        row = random.choice(rows)
        text = damaged_json(json.loads(row["recipe"]), random).decode("utf-8", "replace")
        list(row_problems(row | {"recipe": text}, "recipes"))
        renderer.render(Recipe.from_json(text))

    return example


@target("seen-recipe")
def seen_recipe(honest: Path, scratch: Path) -> Example:
    """Recipes of triplets whose background was seen: read, checked against their row, and rendered."""
    from olrd.dataset.folder import Dataset
    from olrd.dataset.render import Renderer
    from olrd.tools.verify import row_problems
    from olrd.triplets.seen_recipe import read_recipe

    rows = list(Dataset(honest / "seen").rows())
    renderer = Renderer(honest / "clip")

    def example(random: Random) -> None:
        row = random.choice(rows)
        text = damaged_json(json.loads(row["recipe"]), random).decode("utf-8", "replace")
        text = text.replace('"kind": "seen"', '"kind":"seen"')  # as recipes are written; others are read as of pastes
        list(row_problems(row | {"recipe": text}, "recipes"))
        renderer.render(read_recipe(text))

    return example


@target("clip")
def clip(honest: Path, scratch: Path) -> Example:
    """Folders of frames: some are damaged, empty, or pictures of another size."""
    from olrd.config import BuildConfig
    from olrd.triplets.makers import maker_of
    from olrd.triplets.tally import Tally

    root = _copy(honest, scratch, "clip")
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
            _without_cache(scratch)

    return example


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
            _without_cache(scratch)

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
    root = _copy(honest, scratch, "coco")
    shutil.move(root / "train2017", scratch / "train2017")
    shutil.rmtree(root / "images", ignore_errors=True)
    shutil.copyfile(honest / "photos.zip", root / "train2017.zip")
    spec = SourceSpec("coco", str(root))
    _read_source(open_source(spec))
    files = {file: file.read_bytes() for file in (scratch / "cache" / "index").glob("*.arrow")}

    def example(random: Random) -> None:
        for file, data in files.items():
            file.write_bytes(data)
        file = random.choice(list(files))
        whole = files[file]
        file.write_bytes(random.choice((whole[: random.randrange(len(whole))], random.randbytes(100), b"", bytes(99))))
        _read_source(open_source(spec))

    return example


@target("protocol")
def protocol(honest: Path, scratch: Path) -> Example:
    """Protocols of the benchmark."""
    from benchmark.protocol import load_protocol
    from benchmark.regions import regions_of

    values = load_protocol(str(honest / "protocol.json")).to_dict()
    bits = np.zeros((40, 50), np.bool_)
    bits[10:20, 10:30] = True

    def example(random: Random) -> None:
        file = scratch / "protocol.json"
        file.write_bytes(damaged_json(values, random))
        found = load_protocol(str(file))
        json.dumps([found.id, found.to_dict()])
        regions_of(bits, found)

    return example


@target("record")
def record(honest: Path, scratch: Path) -> Example:
    """Records of a leaderboard, and the pages that are made from them."""
    from benchmark.board.leaderboard import leaderboard

    board = _copy(honest, scratch, "board")
    (file,) = (board / "results").rglob("*.json")
    values = json.loads(file.read_text())

    def example(random: Random) -> None:
        file.write_bytes(damaged_json(values, random))
        for page in leaderboard(board):
            if b"<script>alert" in page.read_bytes() and page.suffix not in (".csv", ".tex"):
                raise NotCleanError(f"{page.suffix}: markup of a record is in the page")

    return example


@target("summary")
def summary(honest: Path, scratch: Path) -> Example:
    """Summaries of runs: printed, compared and added to a board."""
    from benchmark.board.compare import compare
    from benchmark.board.records import add_record
    from benchmark.cli.screen import comparison, result
    from benchmark.runner.results import Run

    folder, sound = _copy(honest, scratch, "run"), Run(honest / "run")
    file = folder / "summary.json"
    values = json.loads(file.read_text())

    def example(random: Random) -> None:
        file.write_bytes(damaged_json(values, random))
        run = Run(folder)
        result(run, every=True)
        shutil.rmtree(scratch / "board", ignore_errors=True)
        add_record(run, scratch / "board")
        comparison(sound, run, compare(sound, run))

    return example


@target("run-table")
def run_table(honest: Path, scratch: Path) -> Example:
    """The Parquet file of a run."""
    from benchmark.board.compare import compare
    from benchmark.runner.results import Run

    folder, sound = _copy(honest, scratch, "run"), Run(honest / "run")
    file = folder / "samples.parquet"
    data = file.read_bytes()

    def example(random: Random) -> None:
        file.write_bytes(damaged_bytes(data, random))
        run = Run(folder)
        run.samples()
        compare(sound, run)

    return example


@target("submission")
def submission(honest: Path, scratch: Path) -> Example:
    """Submissions: one file is damaged, and listed as it is, as a careful forger does."""
    from benchmark.runner.results import Run
    from benchmark.submissions.folder import MANIFEST, RECORD, ROWS
    from benchmark.submissions.submit import submit
    from benchmark.submissions.verify import verify

    folder = submit(Run(honest / "run"), scratch)
    sound = {name: (folder / name).read_bytes() for name in (MANIFEST, RECORD, ROWS)}

    def example(random: Random) -> None:
        for name, data in sound.items():
            (folder / name).write_bytes(data)
        name = random.choice(list(sound))
        data = sound[name]
        damaged = damaged_bytes(data, random) if name == ROWS else damaged_json(json.loads(data), random)
        (folder / name).write_bytes(damaged)
        if name != MANIFEST:
            manifest = json.loads(sound[MANIFEST])
            manifest["files"][name] = {"sha256": sha256(damaged), "bytes": len(damaged)}
            (folder / MANIFEST).write_text(json.dumps(manifest))
        verify(folder)

    return example


@target("build.json")
def build_json(honest: Path, scratch: Path) -> Example:
    """The record of a build: its settings, its check, and making it again from its recipes."""
    from olrd.dataset.folder import Dataset
    from olrd.tools.rebuild import rebuild
    from olrd.tools.verify import verify

    folder = _copy(honest, scratch, "recipes")
    file = folder / "build.json"
    values = json.loads(file.read_text())

    def example(random: Random) -> None:
        file.write_bytes(damaged_json(values, random))
        dataset = Dataset(folder)
        json.dumps(dataset.record.to_json())
        verify(folder)
        list(dataset.rows_from(1))
        if random.random() < 0.2:  # it takes ten times as long as the rest
            shutil.rmtree(scratch / "rebuilt", ignore_errors=True)
            rebuild(folder, honest / "coco", scratch / "rebuilt")

    return example


@target("shard")
def shard(honest: Path, scratch: Path) -> Example:
    """The Parquet files of a build."""
    from olrd.dataset.folder import Dataset
    from olrd.tools.verify import verify

    folder = _copy(honest, scratch, "full")
    file = next(iter(sorted((folder / "data").iterdir())))
    data = file.read_bytes()

    def example(random: Random) -> None:
        file.write_bytes(damaged_bytes(data, random))
        verify(folder)
        list(Dataset(folder))

    return example


@target("card")
def card(honest: Path, scratch: Path) -> Example:
    """The card of a build whose texts are a stranger's: it keeps its form."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import yaml  # type: ignore[import-untyped]

    from olrd.dataset.card import card_text
    from olrd.dataset.folder import Dataset

    folder = _copy(honest, scratch, "recipes")
    file = next(iter(sorted((folder / "data").iterdir())))
    build_file = folder / "build.json"
    values, table = json.loads(build_file.read_text()), pq.read_table(file)
    texts = [field.name for field in table.schema if field.type == pa.string() and field.name != "recipe"]
    keys, headings = _form(card_text(Dataset(folder)), yaml)

    def example(random: Random) -> None:
        name = random.choice(texts)
        cells = [random.choice([text for text in TEXTS if "\ud800" not in text]) for _ in range(len(table))]
        column = table.schema.get_field_index(name)
        pq.write_table(table.set_column(column, table.schema.field(name), pa.array(cells, pa.string())), file)
        changed = values if random.random() < 0.5 else damaged_value(json.loads(json.dumps(values)), random)
        build_file.write_text(json.dumps(changed))
        text = card_text(Dataset(folder))
        found, lines = _form(text, yaml)
        # A section without content, such as the one of rejected objects, is left out.
        # Markup inside a block of code, such as the command, is shown as it is.
        if "<script>" in _FENCED.sub("", text) or found != keys or len(lines) > len(headings):
            raise NotCleanError(f"a stranger's text, in column {name} or build.json, changes the card: {found} {lines}")

    return example


def _form(text: str, yaml: Any) -> tuple[list[str], list[str]]:
    """The keys of a card's front matter, and its headings except the title."""
    _, head, body = text.split("---\n", 2)
    lines = [line.split(" ")[0] for line in body.splitlines() if line.startswith("#")]
    return list(yaml.safe_load(head)), lines


@target("segments")
def segments(honest: Path, scratch: Path) -> Example:
    """The segments and the map that `magiceraser erase` takes."""
    from baselines.photos.panoptic_file import read_map

    png = next(iter(sorted((honest / "coco" / "annotations" / "panoptic_train2017").iterdir())))
    document = json.loads((honest / "coco" / "annotations" / "panoptic_train2017.json").read_text())
    listed = next(note["segments_info"] for note in document["annotations"] if note["file_name"] == png.name)
    used = {segment["category_id"] for segment in listed}
    categories = [category for category in document["categories"] if category["id"] in used]
    forms = [listed, {"segments_info": listed, "categories": categories}, document | {"categories": categories}]

    def example(random: Random) -> None:
        file = scratch / "segments.json"
        file.write_bytes(damaged_json(random.choice(forms), random))
        read_map(png, file)

    return example
