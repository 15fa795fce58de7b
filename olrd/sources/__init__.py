"""Sources: where photos and panoptic annotations come from.

A source is a class with the members of `Source`, registered by name. To add one, write one file and add one line to
`SOURCES`, or, in another distribution, one entry point in the group `olrd.sources`. The conformance suite in
tests/olrd/sources/test_sources.py runs on all registered sources. A source that needs several files has a folder;
`panoptic` and `seen` hold what several sources share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from olrd.arrays import MAX_PIXELS
from olrd.errors import Rejected, UsageError
from olrd.options import KEY_VALUES, Kind, check, option
from olrd.panoptic import Category, PanopticMap, Record
from olrd.registry import Registry, check_named, check_opened
from olrd.storage.files import read_regular
from olrd.trust import shown, without_folders

if TYPE_CHECKING:
    from olrd.sources.lookup import Listed
    from olrd.storage.roots import Traversable

SOURCES = Registry(
    "source",
    "olrd.sources",
    {
        "clip": "olrd.sources.clip.source:open_clip",
        "coco": "olrd.sources.panoptic.coco:open_coco",
        "demo": "olrd.sources.panoptic.coco:open_demo",
        "images": "olrd.sources.images:open_images",
        "instances": "olrd.sources.instances.source:open_instances",
        "masks": "olrd.sources.masks.source:open_masks",
        "openimages": "olrd.sources.openimages.source:open_openimages",
        "pairs": "olrd.sources.pairs.source:open_pairs",
        "synthetic": "olrd.sources.synthetic:open_synthetic",
    },
)


SEEN = "seen"
"""The background kind of sources in which the place is seen without the object (`olrd.sources.seen.SeenSource`)."""


def folder_or_url(flag: str, text: str) -> str:
    """A folder, with `~` written out, or a URL as it is."""
    return text if "://" in text else str(Path(text).expanduser())


@dataclass(frozen=True)
class SourceSpec:
    """Everything needed to open a source again, in any process. Unknown `options` are errors."""

    kind: ClassVar[str] = "source"
    name: str = option(
        "coco",
        "where photos and annotations come from: coco, instances, masks, images, openimages, clip, pairs, demo, synthetic or a plug-in",
        flag="--source",
        metavar="NAME",
        group="source",
    )
    root: str | None = option(
        None,
        "folder or URL (s3://...) of the source (default for coco: the embedded photos)",
        metavar="DIR",
        group="source",
        kind=Kind(folder_or_url),
    )
    subset: str | None = option(None, "part of the source to read, e.g. train2017", metavar="NAME", group="source")
    options: Mapping[str, str] = option(
        {},
        "a setting of the source; repeatable",
        flag="--source-option",
        metavar="KEY=VALUE",
        group="source",
        kind=KEY_VALUES,
    )
    max_pixels: int = option(MAX_PIXELS, "refuse pictures with more pixels", metavar="N", group="source", least=1)

    def __post_init__(self) -> None:
        check(self)


class Source(Protocol):
    """Photos with panoptic annotations, addressed by index in a fixed order.

    `record` is cheap and opens no picture. `photo_bytes` and `panoptic` raise `Rejected` with a
    reason code when the file is missing, unreadable or leaves the root folder.
    """

    name: str
    background_kind: str
    """`stuff`: background regions have labels. `unlabelled`: background is every pixel that no object covers."""
    fingerprint: str
    """A hash of the annotations, not of the photos. Builds with equal fingerprints read the same annotations."""
    categories: Mapping[int, Category]

    def __len__(self) -> int:
        """Number of photos listed, annotated or not."""

    def image_id(self, index: int) -> str:
        """The id of photo `index`, without reading its record."""

    def record(self, index: int) -> Record:
        """What is known of photo `index` without opening it."""

    def photo_bytes(self, record: Record) -> bytes:
        """The photo's own file."""

    def panoptic(self, record: Record, width: int, height: int) -> PanopticMap:
        """The panoptic map of a photo of that size, unchecked.

        Its segments are those of the record in the same order. Area and box are measured if the record lacks them.
        """


class SourceInfo(NamedTuple):
    """What the record of a build says about its source."""

    name: str
    fingerprint: str
    background_kind: str


def source_info(source: Source) -> SourceInfo:
    """The name, fingerprint and background kind of a source."""
    return SourceInfo(source.name, source.fingerprint, source.background_kind)


def open_source(spec: SourceSpec) -> Source:
    """Open the source that `spec` names. The first time it may index or segment its input, with progress."""
    source: Source = SOURCES.get(spec.name)(spec)
    check_opened("source", spec.name, source, name=str, categories=Mapping)
    if spec.name not in SOURCES.builtin:  # `coco` without a folder is `demo`
        check_named("source", spec.name, source.name, "its `name` is")
    return source


def check_unused(spec: SourceSpec, *names: str) -> None:
    """Refuse settings that a source does not use, because they would be ignored. Raises `UsageError`.

    names: fields of the spec: `root`, `subset`, `options`.
    """
    for name in names:
        if value := getattr(spec, name):
            flag = "--source-option" if name == "options" else f"--{name}"
            found = ", ".join(f"{key}={text}" for key, text in value.items()) if name == "options" else value
            raise UsageError(f"the source {spec.name} takes no {flag}, got {shown(found)}: leave it out")


def safe_path(root: Traversable, file_name: str) -> Traversable:
    """`root / file_name`, refused (`path_outside_root`) if it is absolute or climbs out of `root`."""
    relative = PurePosixPath(file_name.replace("\\", "/"))
    if relative.is_absolute() or ".." in relative.parts or ":" in file_name or "\0" in file_name:
        what = "is absolute, so it" if relative.is_absolute() else "leaves the folder of the source; it"
        name = f".../{relative.name}" if relative.is_absolute() else without_folders(file_name)
        raise Rejected("path_outside_root", f"the file name {shown(name)} {what} is not read")
    return root / str(relative)


def read_file(
    root: Traversable, file_name: str, what: str, avoid: Traversable | None = None, listed: Listed | None = None
) -> bytes:
    """The bytes of a file. Messages name no folder of this machine, because they are kept with the data.

    Args:
        root: the folder, which may itself be a symbolic link.
        file_name: from the annotations, relative to `root`. A file that is not there is looked for under other
            spellings (see `olrd.sources.lookup`).
        what: `photo` or `panoptic`: the first part of the reason codes.
        avoid: a folder whose files are never meant by another spelling.
        listed: all names of the annotations, of which no two mean the same file.

    Raises:
        Rejected: `<what>_missing`; `<what>_unreadable`, also for a pipe, a device, a link that leaves `root` or a
            file of more than `MAX_FILE_BYTES`; or `path_outside_root`.
    """
    if not file_name:
        raise Rejected(f"{what}_missing", "the annotations name no file")
    try:
        return _read(root, file_name)
    except (FileNotFoundError, NotADirectoryError) as error:
        from olrd.sources.lookup import other_name  # imports pyarrow, which `--help` does without

        if (found := other_name(root, file_name, avoid, listed)) is None:
            raise Rejected(f"{what}_missing", f"{file_name} is not there") from error
        try:
            return _read(root, found)
        except (OSError, ValueError) as again:
            raise _unreadable(found, what, again) from again
    except (OSError, ValueError) as error:
        raise _unreadable(file_name, what, error) from error


def _read(root: Traversable, file_name: str) -> bytes:
    path = safe_path(root, file_name)
    return read_regular(path, root) if isinstance(path, Path) and isinstance(root, Path) else path.read_bytes()


def _unreadable(file_name: str, what: str, error: Exception) -> Rejected:
    reason = getattr(error, "strerror", None) or str(error)
    return Rejected(f"{what}_unreadable", without_folders(f"{file_name}: {reason}"))
