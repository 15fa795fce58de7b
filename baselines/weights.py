"""Weights files: found on this machine or fetched on request, and checked against a published checksum."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from baselines.eraser import WeightsMissingError
from olrd.errors import IntegrityError, SourceError
from olrd.progress import progress_bar, say
from olrd.registry import Registry
from olrd.storage.files import atomic_path, cache_folder, sha256_file


class Pinned(NamedTuple):
    """A published weights file.

    Attributes:
        eraser: Name under which it is fetched.
        file_name: Name of the file.
        url: Address of the file, or of a page that links it.
        sha256: Checksum of the file; empty if none is published, which is reported when it is fetched.
        size: Size in bytes.
        license: Licence of the weights.
    """

    eraser: str
    file_name: str
    url: str
    sha256: str
    size: int
    license: str


PINNED = {
    "comodgan": "baselines.comodgan:PLACES2",
    "lama": "baselines.lama:BIG_LAMA",
    "mat": "baselines.mat:PLACES_512",
    "migan": "baselines.migan:PIPELINE",
}
"""Where the `Pinned` of each name is defined, or a dict with one for each size."""


def pinned(name: str) -> Pinned:
    """Return the published weights of a name. Raises `UsageError`, with the known names, for any other."""
    found = Registry("published weights file", "baselines.weights", PINNED).get(name)
    one: Pinned = found if isinstance(found, Pinned) else found[max(found)]
    return one


def weights_folder() -> Path:
    """Return the folder of fetched weights: $OLRD_WEIGHTS, or weights/ in the user's cache folder."""
    return Path(os.environ.get("OLRD_WEIGHTS") or cache_folder() / "weights")


def locate(pinned: Pinned, option: str = "", variable: str = "") -> Path:
    """Find a weights file on this machine. Nothing is downloaded.

    Args:
        pinned: The published weights.
        option: Path that the user gave as an option; it comes first.
        variable: Environment variable that may name a path; it comes second. The fetched file comes last.

    Raises:
        WeightsMissingError: If there is no such file. The message says how to get it.
    """
    for said, given in (("the option", option), (variable, os.environ.get(variable, ""))):
        if given:
            if Path(given).is_file():
                return Path(given)
            raise WeightsMissingError(
                f"{pinned.eraser}: {said} names {given}, which is not a file; expected {pinned.file_name}"
            )
    path = weights_folder() / pinned.file_name
    if path.is_file():
        return path
    how = f"Fetch them with `benchmark fetch {pinned.eraser}`, or download {pinned.url} to {path}"
    if not has_address(pinned):
        how = f"They cannot be fetched automatically: get them by hand from {pinned.url} and put them at {path}"
    other = f", or set {variable} to their path" if variable else ""
    raise WeightsMissingError(
        f"{pinned.eraser}: the weights {pinned.file_name} ({pinned.size / 1e6:.0f} MB, {pinned.license}) are "
        f"not on this machine. {how}{other}"
    )


def has_address(pinned: Pinned) -> bool:
    """Return whether the url is that of the file itself, not of a page that links it."""
    return pinned.url.endswith(f"/{pinned.file_name}")


def fetch(pinned: Pinned) -> Path:
    """Download a weights file and check it. A file that exists already is only checked."""
    path = weights_folder() / pinned.file_name
    if path.is_file():
        _check(pinned, path, f"{path} is", "delete it and fetch it again")
        return path
    if not has_address(pinned):
        raise WeightsMissingError(
            f"{pinned.eraser}: {pinned.file_name} cannot be fetched automatically; get it by hand from "
            f"{pinned.url} and put it at {path}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        _download(pinned.url, temporary, pinned.size)
        _check(pinned, temporary, f"the file from {pinned.url} is", "nothing was kept")
    return path


def _download(url: str, target: Path, size: int) -> None:
    try:
        with (
            urllib.request.urlopen(url, timeout=60) as answer,
            target.open("wb") as file,
            progress_bar(f"fetching {target.name}", size, unit="B") as bar,
        ):
            while block := answer.read(1 << 20):
                file.write(block)
                bar.update(len(block))
            # A broken connection looks like the end of the file.
            promised = int(answer.headers.get("Content-Length") or file.tell())
            if file.tell() != promised:
                raise SourceError(f"{url}: received {file.tell()} of {promised} bytes; try again")
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise SourceError(f"{url} cannot be downloaded: {error}") from error


def _check(pinned: Pinned, path: Path, what: str, advice: str) -> None:
    got = sha256_file(path)
    if pinned.sha256 and got != pinned.sha256:
        raise IntegrityError(
            f"{what} not the published {pinned.file_name}: expected sha256 {pinned.sha256}, got {got}; {advice}"
        )
    if not pinned.sha256:
        say(f"{pinned.file_name}: no checksum is published for this file; got sha256 {got}")


def revision_of(path: Path) -> str:
    """Return a short revision for results: the first 12 digits of the file's sha256."""
    return sha256_file(path)[:12]


def hash_of_ends(folder: Path, paths: Iterable[Path]) -> str:
    """Return a short revision of the files of a checkpoint.

    It is 12 digits of a hash over the name, the size, and the first and last MiB of each file. Reading whole files of
    several gigabytes would take seconds.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, size - (1 << 20)))
            digest.update(file.read())
    return digest.hexdigest()[:12]
