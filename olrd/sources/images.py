"""Any folder or archive of photos, segmented once by Mask2Former. The annotations are kept beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olrd.arrays import Image, decode_photo
from olrd.errors import Rejected, SourceError, UsageError, did_you_mean
from olrd.licenses import license_url
from olrd.models.mask2former import CHECKPOINT, THRESHOLD, Mask2FormerSegmenter
from olrd.progress import progress_bar, say
from olrd.sources import SourceSpec, read_file
from olrd.sources.listing import SUFFIXES, pictures_under
from olrd.sources.panoptic.cache import PanopticCache
from olrd.sources.panoptic.coco import PanopticFolder
from olrd.sources.panoptic.json_file import check_ids, image_id
from olrd.storage.archives import Archive
from olrd.storage.roots import Traversable, open_root
from olrd.trust import counted

_DEFAULTS: dict[str, Any] = {
    "checkpoint": CHECKPOINT,
    "revision": None,
    "threshold": THRESHOLD,
    "things": None,
    "license": None,
    "source_url_prefix": None,
}
_DECLARED = ("license", "source_url_prefix")


@dataclass(frozen=True)
class ImagesOptions:
    """The options of the source `images`.

    Attributes:
        given: the options that decide the annotations (keys of `_DEFAULTS`), as far as they are given.
        device: where the network runs.
        batch: photos per call of the network.
        panoptic: the folder of the annotations; by default beside the photos.
    """

    given: Mapping[str, Any]
    device: str = "auto"
    batch: int = 1
    panoptic: str | None = None

    @classmethod
    def parse(cls, options: Mapping[str, str]) -> ImagesOptions:
        """The options from `--source-option KEY=VALUE`. Raises `UsageError` for a wrong key or value."""
        known = {*_DEFAULTS, "device", "batch", "panoptic"}
        for key in options:
            if key not in known:
                raise did_you_mean("option of the source images", key, known)
        given: dict[str, Any] = {key: options[key] for key in options if key in _DEFAULTS}
        if "threshold" in given:
            given["threshold"] = _number("threshold", options["threshold"], 0.0, 1.0)
        if "things" in given:
            given["things"] = _names(options["things"])
        if "license" in given:
            given["license"] = license_url(options["license"])
        batch = _number("batch", options.get("batch", "1"), 1, 1024)
        if batch != int(batch):
            raise UsageError(f"source option batch: expected a whole number, got '{options['batch']}'")
        return cls(given, options.get("device", "auto"), int(batch), options.get("panoptic"))

    def settings(self, before: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """All settings of the annotations: what is given, else what they were made with, else the defaults.

        Licence and address may be changed at any time. Raises `UsageError` if a setting that decides the segments
        differs from what the annotations in `folder` were made with.
        """
        for key, value in self.given.items():
            if before and key not in _DECLARED and before.get(key) != value:
                raise UsageError(
                    f"the annotations in {folder} were made with {key}={before.get(key)}, and "
                    f"{key}={value} is asked for: leave the option out, or keep the new ones apart "
                    "with the source option panoptic=FOLDER"
                )
        return _DEFAULTS | dict(before) | dict(self.given)

    def declared(self) -> dict[str, Any]:
        """The given licence and address. They describe the photos, not the segments."""
        return {key: value for key, value in self.given.items() if key in _DECLARED}

    def redeclares(self, before: Mapping[str, Any]) -> bool:
        """Whether the given licence or address differs from that of the annotations."""
        return any(before.get(key) != value for key, value in self.declared().items())


def _number(key: str, text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise UsageError(f"source option {key}: expected a number from {low} to {high}, got '{text}'")
    return value


def _names(text: str) -> list[str]:
    """Names separated by commas, or the lines of a file."""
    try:
        lines = Path(text).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        lines = text.split(",")
    return sorted({line.strip() for line in lines} - {""})


def open_images(spec: SourceSpec) -> PanopticFolder:
    """`--source images`: segment photos that have no annotation yet, with progress, and open the result.

    The annotations are in `<root>-panoptic`, or in the folder that the option `panoptic` names, in the layout of
    `olrd.sources.panoptic.cache`. Existing entries are never changed, so that corrections by hand stay. To segment a
    photo again, delete its PNG. A photo that cannot be read is listed without an annotation and is tried again by the
    next build.
    """
    if spec.root is None:
        raise UsageError("--source images needs --root, a folder of photos")
    root = open_root(spec.root)
    if not root.is_dir():
        raise SourceError(f"--root {spec.root} is not a folder")
    if spec.subset is not None:
        raise UsageError(f"the source images has no subsets, got --subset {spec.subset}: give that folder as --root")
    options = ImagesOptions.parse(spec.options)
    cache = PanopticCache(Path(options.panoptic) if options.panoptic else _beside(root))
    photos = list_photos(root, cache.folder)
    if not photos:
        raise SourceError(f"expected photos ({', '.join(sorted(SUFFIXES))}) under {root}, found none")
    segment_missing(root, photos, cache, options, spec.max_pixels)
    return PanopticFolder("images", cache.json_path, cache.png_folder, root, spec.max_pixels)


def _beside(root: Traversable) -> Path:
    """The default folder of the annotations: `<root>-panoptic`, without the suffix of an archive."""
    where = root.where if isinstance(root, Archive) else root
    if not isinstance(where, Path):
        raise UsageError(
            f"{root} is not on this machine: say where its annotations are kept with --source-option panoptic=FOLDER"
        )
    whole = where.resolve()
    return whole.with_name(f"{whole.stem if isinstance(root, Archive) else whole.name}-panoptic")


def list_photos(root: Traversable, apart: Path) -> list[str]:
    """The photos under `root` (see `pictures_under`). Raises `SourceError`, also for two names with the same id."""
    names = pictures_under(root, apart=apart)
    check_ids((image_id(name), name) for name in names)
    return names


def segment_missing(
    root: Traversable, photos: list[str], cache: PanopticCache, options: ImagesOptions, max_pixels: int
) -> None:
    """Segment the photos that have no annotation. The network is loaded only if there are any."""
    before = cache.settings()
    settings = options.settings(before, cache.folder)
    listed = cache.listed()
    waiting = [name for name in photos if cache.waits(name)]
    todo = sorted({name for name in photos if not listed.get(name)} - set(waiting))
    rejected: dict[str, str] = {}
    segmenter = None
    with progress_bar("segmenting", len(todo), unit="photo") as bar:
        for batch in _batches(root, todo, options.batch, max_pixels, rejected):
            if segmenter is None:
                segmenter = _load(settings, options.device)
                cache.start(settings, segmenter.categories)
            names, pixels = zip(*batch, strict=True)
            for name, result in zip(names, segmenter.segment(pixels), strict=True):
                cache.add(name, result)
            bar.update(len(batch))
    if rejected:
        name, code = next(iter(rejected.items()))
        say(
            f"{counted(len(rejected), 'photo is', 'photos are')} not segmented (first: {name}, {code}); the build counts them"
        )
    if not listed and len(rejected) == len(photos):
        raise SourceError(f"none of the photos under {root} can be read ({counted(len(photos), 'photo')})")
    if cache.started():
        cache.join(photos, rejected, settings)
    elif rejected.keys() - listed.keys() or options.redeclares(before):
        cache.join((), rejected, before | options.declared())


def _batches(
    root: Traversable, names: list[str], size: int, max_pixels: int, rejected: dict[str, str]
) -> Iterator[list[tuple[str, Image]]]:
    """Decoded photos with their names, in batches of `size`; unreadable ones are noted in `rejected`."""
    batch: list[tuple[str, Image]] = []
    for name in names:
        try:
            photo = decode_photo(read_file(root, name, "photo"), name, max_pixels)
        except Rejected as error:
            rejected[name] = error.code
            continue
        batch.append((name, photo.pixels))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _load(settings: dict[str, Any], device: str) -> Mask2FormerSegmenter:
    """Load the network that the settings name, and note its commit in them."""
    say(f"segmenting with {settings['checkpoint']}")
    segmenter = Mask2FormerSegmenter(
        settings["checkpoint"], settings["revision"], device, settings["threshold"], settings["things"]
    )
    if (earlier := settings.get("commit")) and earlier != segmenter.commit:
        say(
            f"the photos already there were segmented with commit {earlier} of the checkpoint, the "
            f"new ones are with {segmenter.commit}; the source option revision pins one"
        )
    settings["commit"] = segmenter.commit
    return segmenter
