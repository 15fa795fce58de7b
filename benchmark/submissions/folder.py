"""The files of a submission.

    SUBMISSION/submission.json    the other files with their sha256, and the environment of the run
    SUBMISSION/record.json        the record, as a leaderboard keeps it
    SUBMISSION/samples.parquet    a row per sample (`benchmark.board.record_rows`)
    SUBMISSION/outputs/<id>.webp  the erased pictures, with --outputs

Nothing else is in the folder. No file names a folder of the machine that made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from benchmark.board.records import read_record
from benchmark.protocol import json_in
from benchmark.runner.summary import Summary
from olrd.errors import IntegrityError, SourceError
from olrd.storage.typed_json import typed
from olrd.trust import plain_name, shown

MANIFEST, RECORD, ROWS, OUTPUTS = "submission.json", "record.json", "samples.parquet", "outputs"
FORMAT = 1


@dataclass(frozen=True)
class FileEntry:
    """A file of a submission: its sha256 in hexadecimal, and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True)
class Environment:
    """Where the run was made. versions: of Python and the packages that decide the numbers.

    Attributes:
        git: commit of the code; empty if it ran from an installed package.
        device: of the eraser, e.g. `cpu` or `cuda`.
        system, machine: of the computer that packed the submission, e.g. `Linux` and `x86_64`.
    """

    git: str
    device: str
    versions: Mapping[str, str] = field(default_factory=dict)
    system: str = ""
    machine: str = ""


@dataclass(frozen=True)
class Manifest:
    """The content of submission.json. files: by path in the folder, e.g. `outputs/a.webp`."""

    format: int
    files: Mapping[str, FileEntry]
    environment: Environment

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read submission.json.

        Raises:
            SourceError: the folder holds no submission.
            IntegrityError: the file is damaged, of another format, or names a file outside the folder.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise SourceError(f"{folder} holds no submission (it has no {MANIFEST}). `benchmark submit RUN` makes one")
        found = typed(cls, json_in(path), path)
        if found.format != FORMAT:
            raise IntegrityError(f"{path} has format {found.format}, this version reads format {FORMAT}")
        for name in found.files:
            inner = name.removeprefix(f"{OUTPUTS}/")
            plain_name(inner, path)
            if inner == name and name not in (RECORD, ROWS):
                raise IntegrityError(f"{path} lists {shown(name)}, which is no file of a submission")
        if missing := [name for name in (RECORD, ROWS) if name not in found.files]:
            raise IntegrityError(f"{path} does not list {missing[0]}")
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


class Submission:
    """A submission: its folder, its manifest and its record.

    Raises:
        SourceError: the folder holds no submission.
        IntegrityError: submission.json or record.json is damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest.read(self.folder)
        self.record: Summary = read_record(self.folder / RECORD)

    @property
    def outputs(self) -> list[str]:
        """The paths of the erased pictures in the folder."""
        return sorted(name for name in self.manifest.files if name.startswith(f"{OUTPUTS}/"))


def is_submission(folder: Path) -> bool:
    """Whether a folder holds a submission."""
    return (folder / MANIFEST).is_file()
