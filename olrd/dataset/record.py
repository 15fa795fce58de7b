"""What `build.json` holds: how a dataset was built, its shards, and what became of every photo and object.

`build.json` is written last, so it is the mark of a finished build. The field names are the keys of the JSON.
`FORMAT` changes when a field changes its meaning; files without it are of format 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import olrd
from olrd.config import FORMS, RULES_VERSION, BuildConfig
from olrd.errors import ALL_REASONS, IntegrityError, UsageError
from olrd.sources import SourceInfo
from olrd.splits import split_name, unit_name_parts
from olrd.storage.remote import Remote
from olrd.storage.typed_json import DAMAGED, typed
from olrd.triplets.tally import Tally
from olrd.trust import MAX_JSON_BYTES, DepthGuard, parse_json, plain_name, shown

BUILD_FILE = "build.json"
FORMAT = 1
VERSIONS = ("python", "numpy", "pillow", "libwebp", "libjpeg-turbo", "opencv", "pyarrow")


@dataclass(frozen=True)
class ShardRecord:
    """A Parquet file. file: relative to the dataset's folder, e.g. `data/train-00000-of-00002.parquet`."""

    file: str
    split: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class UnitRecord:
    """A unit of work. name: see `olrd.builder.units.Unit`. failures: photos that could not be read."""

    name: str
    rows: int
    failures: int
    tally: Tally


@dataclass(frozen=True)
class _Plain:
    """The fields that are read as they are; the others are read by `BuildRecord.from_json`."""

    identity: str
    shards: tuple[ShardRecord, ...]
    olrd: str = ""
    command: str = ""
    versions: Mapping[str, str] | None = None


@dataclass(frozen=True)
class BuildRecord:
    """The content of `build.json`.

    Attributes:
        identity: hash of the configuration and of what was read; a folder with another one is refused.
        config: the resolved configuration; see `settings`.
        source: what was read.
        shards: in the order of the rows.
        totals: the sum of all units.
        units: in the order of the rows.
        olrd: the version that built it.
        command: the command that gives the configuration.
        versions: of the libraries that decide the bytes.
        captions: what wrote the captions; None if nothing did.
    """

    identity: str
    config: Mapping[str, Any]
    source: SourceInfo
    shards: tuple[ShardRecord, ...]
    totals: Tally
    units: tuple[UnitRecord, ...]
    olrd: str
    command: str
    versions: Mapping[str, str]
    captions: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, file: Path | Remote) -> Self:
        """Read a `build.json`. Raises `IntegrityError` that names the field that is wrong."""
        try:
            if (size := file.stat().st_size) > MAX_JSON_BYTES:
                raise IntegrityError(f"{file}: {size:,} bytes, expected at most {MAX_JSON_BYTES:,}")
            data = file.read_bytes()
        except OSError as error:
            raise IntegrityError(f"{file} is not a build record: {error}") from error
        DepthGuard(file).feed(data)
        return cls.from_json(parse_json(data, file), str(file))

    @classmethod
    def from_json(cls, values: Any, file: str) -> Self:
        """The record of parsed JSON. file: for messages. Raises `IntegrityError`.

        Names that become paths are checked here, so every reader of the record may join them to a folder.
        """
        plain = typed(_Plain, values, file)
        if (found := values.get("format", 1)) != FORMAT:
            raise IntegrityError(f"{file} is of format {found!r}; this version of olrd reads format {FORMAT}")
        config = values.get("config")
        if not isinstance(config, dict) or not isinstance(config.get("form"), str):
            raise IntegrityError(f"{file} lacks config.form: {DAMAGED}")
        if config["form"] not in FORMS:
            raise IntegrityError(f"{file}: config.form is {shown(config['form'])}, expected one of {', '.join(FORMS)}")
        _check_shards(plain.shards, file)
        found = _list(values, "units", file)
        units = tuple(_unit(unit, f"units[{number}]", file) for number, unit in enumerate(found))
        _check_different([unit.name for unit in units], "units", file)
        return cls(
            identity=plain.identity,
            config=config,
            source=_source(values.get("source"), file),
            shards=plain.shards,
            totals=_tally(values.get("totals"), "totals", file),
            units=units,
            olrd=plain.olrd,
            command=plain.command,
            versions=_in_order(plain.versions or {}),
            captions=_captions(values.get("captions"), file),
        )

    @property
    def form(self) -> str:
        """`full` or `recipes`."""
        return str(self.config["form"])

    @property
    def rows(self) -> int:
        """The number of triplets in the shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def splits(self) -> dict[str, int]:
        """The number of rows by split, in the order of the shards."""
        found: dict[str, int] = {}
        for shard in self.shards:
            found[shard.split] = found.get(shard.split, 0) + shard.rows
        return found

    @property
    def bytes(self) -> int:
        """The size of the shards."""
        return sum(shard.bytes for shard in self.shards)

    def settings(self) -> BuildConfig:
        """The configuration, with `ROOT` as the source's folder. Raises `IntegrityError` if it does not fit."""
        try:
            return BuildConfig.from_resolved(dict(self.config))
        except (KeyError, TypeError, ValueError, AttributeError, UsageError, IntegrityError) as error:
            raise IntegrityError(f"the configuration in {BUILD_FILE} does not fit: {error}") from error

    def counts_add_up(self) -> bool:
        """Whether the counts of every unit and of the totals add up, and the totals are the sum of the units.

        The numbers of triplets are left out: they are compared with the rows.
        """
        total = Tally()
        for unit in self.units:
            total.add(unit.tally)
        tallies = [unit.tally for unit in self.units]
        return (
            all(tally.balanced() for tally in (self.totals, *tallies))
            and all(unit.failures == len(unit.tally.failures) for unit in self.units)
            and replace(total, triplets=0).to_dict() == replace(self.totals, triplets=0).to_dict()
        )

    def rows_add_up(self, rows: int) -> bool:
        """Whether shards, units and totals agree on this number of rows."""
        return rows == self.rows == self.totals.triplets == sum(unit.rows for unit in self.units) and all(
            unit.rows == unit.tally.triplets for unit in self.units
        )

    def check_settings(self) -> None:
        """Check that the configuration is the one that `identity` and `command` tell of, as far as this version can.

        Raises `IntegrityError`.
        """
        config = self.settings()
        if self.olrd != olrd.__version__ or config.rules_version != RULES_VERSION:  # the hash covers both
            return
        if self.identity != config.hash(self.source.fingerprint) or self.command != config.command():
            raise IntegrityError(
                f"the configuration in {BUILD_FILE} is not that of its identity and command: {DAMAGED}"
            )

    def with_shard(self, shard: ShardRecord) -> Self:
        """The record with another entry for the shard of that name."""
        return replace(self, shards=tuple(shard if one.file == shard.file else one for one in self.shards))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, as they are written."""
        values = {
            "format": FORMAT,
            "olrd": self.olrd,
            "identity": self.identity,
            "command": self.command,
            "config": dict(self.config),
            "source": self.source._asdict(),
            "versions": dict(self.versions),
            "shards": [asdict(shard) for shard in self.shards],
            "totals": self.totals.to_dict(),
            "units": [
                {"name": unit.name, "rows": unit.rows, "failures": unit.failures, "tally": unit.tally.to_dict()}
                for unit in self.units
            ],
        }
        return values if self.captions is None else values | {"captions": dict(self.captions)}


def _in_order(versions: Mapping[str, str]) -> dict[str, str]:
    """The versions in the order in which cards list them; JSON has them by name."""
    return {name: versions[name] for name in sorted(versions, key=lambda name: (*VERSIONS, name).index(name))}


def _check_shards(shards: tuple[ShardRecord, ...], file: str) -> None:
    for number, shard in enumerate(shards):
        where = f"{file}: shards[{number}]"
        folder, _, name = shard.file.partition("/")
        if folder != "data" or not name.endswith(".parquet"):
            raise IntegrityError(f"{where}: {shown(shard.file)} is not the path of a shard: expected data/NAME.parquet")
        plain_name(name, where)
        split_name(shard.split, where)
        if shard.rows < 0 or shard.bytes < 0:
            raise IntegrityError(f"{where}: {shard.rows} rows and {shard.bytes} bytes, expected at least 0: {DAMAGED}")
    _check_different([shard.file for shard in shards], "shards", file)


def _check_different(names: list[str], what: str, file: str) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise IntegrityError(f"{file}: {shown(twice[0])} is in {what} twice: {DAMAGED}")


def _list(values: dict[str, Any], name: str, file: str) -> list[Any]:
    found = values.get(name)
    if not isinstance(found, list):
        raise IntegrityError(f"{file} lacks the list {name}: {DAMAGED}")
    return found


@dataclass(frozen=True)
class _PlainUnit:
    name: str
    rows: int
    failures: int


def _unit(value: Any, name: str, file: str) -> UnitRecord:
    plain = typed(_PlainUnit, value, f"{file}: {name}")
    unit_name_parts(plain.name, f"{file}: {name}")
    if plain.rows < 0:
        raise IntegrityError(f"{file}: {name}.rows is {plain.rows}, expected at least 0: {DAMAGED}")
    return UnitRecord(plain.name, plain.rows, plain.failures, _tally(value.get("tally"), f"{name}.tally", file))


@dataclass(frozen=True)
class _PlainTally:
    """The fields of a `Tally` with the types that they have in JSON."""

    photos_read: int = 0
    photos_used: int = 0
    photos_rejected: Mapping[str, int] = field(default_factory=dict)
    photos_without_triplet: int = 0
    objects_read: int = 0
    objects_used: int = 0
    objects_rejected: Mapping[str, int] = field(default_factory=dict)
    triplets: int = 0
    failures: tuple[Mapping[str, str], ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)


def _tally(value: Any, name: str, file: str) -> Tally:
    plain = typed(_PlainTally, value, f"{file}: {name}")
    reasons = [*plain.photos_rejected.items(), *plain.objects_rejected.items()]
    counts = [getattr(plain, one) for one in ("photos_read", "photos_used", "photos_without_triplet", "objects_read")]
    if min(*counts, plain.objects_used, plain.triplets, *(count for _, count in reasons)) < 0:
        raise IntegrityError(f"{file}: {name} holds a count below 0: {DAMAGED}")
    if unknown := sorted({code for code, _ in reasons} - set(ALL_REASONS)):
        raise IntegrityError(f"{file}: {name}: {shown(unknown[0])} is no reason that this version of olrd knows")
    for failure in plain.failures:
        if not {"code", "message"} <= set(failure):
            raise IntegrityError(f"{file}: {name}.failures: expected a code and a message in each: {DAMAGED}")
    try:
        return Tally.from_dict(value)
    except TypeError as error:  # a field that a tally does not have
        raise IntegrityError(f"{file}: {name} does not hold the counts of photos and objects: {error}") from error


def _captions(value: Any, file: str) -> Mapping[str, Any] | None:
    if value is None or isinstance(value, dict):
        return value
    raise IntegrityError(f"{file}: captions is {str(value)[:60]!r}, expected an object: {DAMAGED}")


@dataclass(frozen=True)
class _PlainSource:
    name: str
    fingerprint: str
    background_kind: str


def _source(value: Any, file: str) -> SourceInfo:
    plain = typed(_PlainSource, value, f"{file}: source")
    return SourceInfo(plain.name, plain.fingerprint, plain.background_kind)
