"""Pack a finished run as a submission."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from benchmark.board.record_rows import portable_rows, write_rows_of
from benchmark.board.records import check_follows, key_of, record_json, record_of, safe_name
from benchmark.runner.results import Run
from benchmark.runner.summary import Summary
from benchmark.submissions.folder import FORMAT, MANIFEST, OUTPUTS, RECORD, ROWS, Environment, FileEntry, Manifest
from olrd.errors import OutputError, SourceError
from olrd.progress import say
from olrd.storage.files import disk_errors, file_name_of, read_regular, sha256_file, staging, to_json
from olrd.trust import counted, shown


def submit(run: Run, to: Path, outputs: bool = False) -> Path:
    """Pack a finished run. The folder appears complete or not at all.

    Args:
        run: the run.
        to: the folder of submissions; the submission is a folder in it, named by dataset, method and a hash.
        outputs: put the erased pictures in too; others can then score them again.

    Returns:
        The folder of the submission.

    Raises:
        UsageError: no sample was scored, so there is nothing to submit.
        SourceError: pictures are asked for, and the run was made without --save.
        IntegrityError: the summary does not follow from the rows.
        OutputError: the folder is there already.
    """
    record = record_of(run)
    if not record.n:
        raise SourceError(f"{run.folder} has no sample that was scored: correct what failed and run again")
    check_follows(run)
    _say_what_is_missing(record)
    folder = to / submission_name(record)
    if folder.exists():
        raise OutputError(f"{folder} is there already; a submission is never changed: give another --to, or remove it")
    to.mkdir(parents=True, exist_ok=True)
    unfinished = staging(folder)
    try:
        with disk_errors(folder):
            _write(run, record, unfinished, outputs)
            os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def submission_name(record: Summary) -> str:
    """The name of a submission's folder, e.g. `olrd-demo-patchmatch-c1fb509d`."""
    return safe_name(f"{record.dataset.name}-{record.method.name}")[:50] + f"-{key_of(record)}"


def environment_of(record: Summary) -> Environment:
    """Where a run was made, and where it is packed."""
    versions = dict(record.versions)
    return Environment(record.git, record.method.device, versions, platform.system(), platform.machine())


def _write(run: Run, record: Summary, folder: Path, outputs: bool) -> None:
    folder.mkdir()
    rows = portable_rows(run.folder / ROWS)
    (folder / RECORD).write_text(to_json(record_json(record)))
    write_rows_of(record, rows, folder / ROWS)
    names = [RECORD, ROWS]
    if outputs:
        (folder / OUTPUTS).mkdir()
        for row in rows:
            if row["status"] == "ok":
                names.append(f"{OUTPUTS}/{file_name_of(row['id'])}.webp")
                (folder / names[-1]).write_bytes(_picture(run, row["id"]))
    files = {name: FileEntry(sha256_file(folder / name), (folder / name).stat().st_size) for name in names}
    (folder / MANIFEST).write_text(to_json(Manifest(FORMAT, files, environment_of(record)).to_json()))


def _picture(run: Run, sample: str) -> bytes:
    path = run.folder / OUTPUTS / f"{file_name_of(sample)}.webp"
    try:
        return read_regular(path, run.folder)
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read ({error.strerror}): pictures are kept by `benchmark run --save`; make the run again "
            f"with it, or leave out --outputs. The sample is {shown(sample)}"
        ) from error


def _say_what_is_missing(record: Summary) -> None:
    if not record.git:
        say("the git revision of the code is not known: set OLRD_REVISION during the run, or run from a clone")
    if record.n < record.dataset.total:
        were = "was" if record.n == 1 else "were"
        say(
            f"{record.n:,} of {counted(record.dataset.total, 'sample')} {were} scored: boards list such a row and do not rank it"
        )
