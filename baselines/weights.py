"""Weights files: found on this machine or fetched on request, and checked against a published checksum.

The checksum is checked each time a file is used, not only when it is fetched. A file in the weights folder must be the
published one. A file that the user names may be another, unless its format can contain code (`Pinned.code`). Other
bytes are used only if the user says that they are trusted, by their sha256: `TRUST`.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from baselines.eraser import WeightsMissingError, WeightsUnknownError, WeightsUnusableError
from olrd.errors import IntegrityError, SourceError, UsageError
from olrd.progress import progress_bar, say
from olrd.registry import Registry
from olrd.storage.files import atomic_path, cache_folder, sha256_file
from olrd.trust import shown

TRUST = "OLRD_TRUST_WEIGHTS"
"""Environment variable with the sha256 of the files that the user trusts, separated by commas."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_hashes: dict[tuple[str, int, int, int, int], str] = {}


class Pinned(NamedTuple):
    """A published weights file.

    Attributes:
        eraser: Name under which it is fetched.
        file_name: Name of the file.
        url: Address of the file, or of a page that links it.
        sha256: Checksum of the file; empty if none is published, which is reported when it is fetched.
        size: Size in bytes.
        license: Licence of the weights.
        code: True if the format can contain code, which runs when the file is loaded or used.
        md5: Weaker checksum, for files without a published sha256. It finds damage and mix-ups, not intent.
    """

    eraser: str
    file_name: str
    url: str
    sha256: str
    size: int
    license: str
    code: bool = False
    md5: str = ""


PINNED = {
    "comodgan": "baselines.comodgan:PLACES2",
    "lama": "baselines.lama:BIG_LAMA",
    "lama-onnx": "baselines.lama_onnx:OPENCV",
    "lama-onnx-carve": "baselines.lama_onnx:CARVE",
    "mat": "baselines.mat:PLACES_512",
    "mat-float32": "baselines.mat:FULL_PRECISION",
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
    """Find a weights file on this machine, and check it. Nothing is downloaded.

    Args:
        pinned: The published weights.
        option: Path that the user gave as an option; it comes first.
        variable: Environment variable that may name a path; it comes second. The fetched file comes last.

    Raises:
        WeightsMissingError: If there is no such file. The message says how to get it.
        WeightsUnknownError: If it must be the published file and is not.
    """
    for said, given in (("the option", option), (variable, os.environ.get(variable, ""))):
        if given:
            if Path(given).is_file():
                if pinned.code:
                    check_known(pinned, Path(given))
                return Path(given)
            raise WeightsMissingError(
                f"{pinned.eraser}: {said} names {given}, which is not a file; expected {pinned.file_name}"
            )
    path = weights_folder() / pinned.file_name
    if path.is_file():
        check_known(pinned, path)
        return path
    how = f"Fetch them with `benchmark fetch {pinned.eraser}`, or download {pinned.url} to {path}"
    if not has_address(pinned):
        how = f"They cannot be fetched automatically: get them by hand from {pinned.url} and put them at {path}"
    other = f", or set {variable} to their path" if variable else ""
    raise WeightsMissingError(
        f"{pinned.eraser}: the weights {pinned.file_name} ({pinned.size / 1e6:.0f} MB, {pinned.license}) are "
        f"not on this machine. {how}{other}"
    )


def check_known(pinned: Pinned, path: Path) -> None:
    """Refuse a file that is not the published one, unless the user trusts its bytes.

    Erasers whose files can contain code call this again right before they load the file.

    Raises:
        WeightsUnknownError: The message says what was found and what to do.
    """
    if pinned.md5 and not pinned.sha256 and _md5(path) != pinned.md5 and not trusted(hash_of(path)):
        raise WeightsUnknownError(
            f"{pinned.eraser}: {path} is an unknown file: expected the published {pinned.file_name} with md5 "
            f"{pinned.md5}, found {_md5(path)}. Move it away and use `benchmark fetch {pinned.eraser}`; if you trust "
            f"exactly these bytes, set {TRUST}={hash_of(path)}"
        )
    if not pinned.sha256:
        return
    found = hash_of(path)
    if found != pinned.sha256 and not trusted(found):
        danger = ", and its format can contain code" if pinned.code else ""
        raise WeightsUnknownError(
            f"{pinned.eraser}: {path} is an unknown file{danger}: expected the published {pinned.file_name} with "
            f"sha256 {pinned.sha256}, found {found}. Nothing of it was run. Move it away and use `benchmark fetch "
            f"{pinned.eraser}`; if you trust exactly these bytes, set {TRUST}={found} (`benchmark run` also takes "
            f"--trust-weights {found})"
        )


def trusted(sha256: str) -> bool:
    """Return whether the user trusts a file with this sha256: `TRUST` names it."""
    return sha256 in _trusted(os.environ.get(TRUST, "").split(","))


def trust(names: Sequence[str]) -> None:
    """Trust files with these sha256 in this process and in those that it starts. Raises `UsageError` for other text."""
    if names:
        os.environ[TRUST] = ",".join(_trusted([*names, *os.environ.get(TRUST, "").split(",")]))


def _trusted(names: Iterable[str]) -> list[str]:
    found = [name.strip().lower() for name in names if name.strip()]
    for name in found:
        if not _SHA256.fullmatch(name):
            raise UsageError(
                f"--trust-weights and {TRUST}: expected a sha256 of 64 hexadecimal digits, got {shown(name)}"
            )
    return found


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
    if pinned.md5 and _md5(path) != pinned.md5:
        raise IntegrityError(
            f"{what} not the published {pinned.file_name}: expected md5 {pinned.md5}, got {_md5(path)}; {advice}"
        )
    if not pinned.sha256 and not pinned.md5:
        say(f"{pinned.file_name}: no checksum is published for this file; got sha256 {got}")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def hash_of(path: Path) -> str:
    """Return the sha256 of a file. A file that did not change is read once in this process."""
    about = path.stat()
    key = (str(path.resolve()), about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    if key not in _hashes:
        _hashes[key] = sha256_file(path)
    return _hashes[key]


def revision_of(path: Path) -> str:
    """Return a short revision for results: the first 12 digits of the file's sha256."""
    return hash_of(path)[:12]


def check_unchanged(path: Path, revision: str) -> None:
    """Raise `WeightsUnusableError` if the file is not the one that results name by `revision`. Call it before loading."""
    if (found := revision_of(path)) != revision:
        raise WeightsUnusableError(
            f"{path} was changed during the run: expected sha256 {revision}..., found {found}...; start the run again"
        )


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
