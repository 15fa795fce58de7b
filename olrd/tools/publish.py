"""`olrd publish`: upload a finished dataset to the Hugging Face Hub, as recipes or with pixels."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import olrd
from olrd.builder.finish import versions
from olrd.builder.repair import damaged_shards
from olrd.dataset.card import card_files, changed_card_files, write_card_of
from olrd.dataset.folder import Dataset, batch_rows
from olrd.dataset.record import BUILD_FILE
from olrd.errors import IntegrityError, OlrdError, UsageError
from olrd.licenses import is_permissive
from olrd.storage.locks import locked
from olrd.storage.remote import Remote
from olrd.trust import counted, shown

if TYPE_CHECKING:
    from huggingface_hub import HfApi

COMMIT_FILES = 50
"""Files of one commit: the Hub limits the number of commits per hour, and a commit should not take too long."""


class HubError(OlrdError):
    """The Hub refuses a request, or cannot be reached."""


class LicenseError(OlrdError):
    """The licences of some photos do not allow publishing their pixels."""


def publish(
    folder: Path | str,
    repo: str,
    *,
    pixels: bool = False,
    private: bool = False,
    revision: str | None = None,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Upload a dataset. After an interruption the same call sends what is missing.

    Args:
        folder: of the dataset.
        repo: the dataset repository, `NAME/SET`; it is made if it does not exist.
        pixels: upload the full form. Without it a full dataset is uploaded as recipes.
        private: make the repository private.
        revision: a branch; it is made if it does not exist.
        dry_run: send nothing.

    Returns:
        The repository, the form, the files with their sizes, and the number of triplets by licence.

    Raises:
        SourceError: the folder holds no finished build.
        IntegrityError: a shard is damaged.
        LicenseError: the licences do not allow publishing the pixels.
        HubError: the Hub refuses a request, or cannot be reached.
    """
    dataset = Dataset(folder)
    if isinstance(dataset.folder, Remote):
        raise UsageError(f"{folder} is a URL: `olrd publish` uploads a local folder; copy the dataset to one first")
    if pixels and dataset.form != "full":
        raise UsageError(f"{folder} holds recipes: there are no pixels to redistribute")
    with locked(dataset.folder), tempfile.TemporaryDirectory(prefix="olrd-recipes-") as spare:
        _check_files(dataset)
        licenses = _check_rows(dataset)
        if pixels:
            _check_licenses(folder, licenses)
        elif dataset.form == "full":
            from olrd.tools.rebuild import strip_pixels

            dataset = strip_pixels(dataset, Path(spare))
        files = _files(dataset, Path(spare))
        sizes = {name: path.stat().st_size for name, path in files.items()}
        result: dict[str, Any] = {
            "repo": repo,
            "revision": revision or "main",
            "form": dataset.form,
            "triplets": len(dataset),
            "files": sizes,
            "bytes": sum(sizes.values()),
            "licenses": dict(licenses.most_common()),
            "sent": not dry_run,
        }
        if not dry_run:
            with _hub_errors(repo):
                _upload(files, repo, private, revision)
    return result


def _check_files(dataset: Dataset) -> None:
    """Refuse a folder that is not as built: what is uploaded cannot be taken back.

    A link could send a file from elsewhere. What can be made again from the rows is compared with that.
    """
    folder, record = Path(str(dataset.folder)), dataset.record
    for path in (folder / "data", folder / BUILD_FILE, *(folder / shard.file for shard in record.shards)):
        if path.is_symlink():
            raise IntegrityError(f"{folder} is not published: {path} is a link; put the file itself there")
    damaged = [shard.file for shard in damaged_shards(dataset)]
    if not damaged and record.olrd == olrd.__version__ and record.versions == versions():
        damaged = changed_card_files(dataset)
    if damaged:
        raise IntegrityError(
            f"{folder} is not published: {', '.join(damaged)} not as built; "
            "run its olrd-build command with --repair first"
        )
    if not record.counts_add_up() or not record.rows_add_up(record.rows):
        raise IntegrityError(f"{folder} is not published: the counts in its {BUILD_FILE} do not add up; build it again")
    record.check_settings()


def _check_rows(dataset: Dataset) -> Counter[str]:
    """The number of triplets by licence. A triplet of two photos counts for both licences.

    Raises `IntegrityError` if the rows are not those that build.json tells of.
    """
    counts: Counter[str] = Counter()
    ids: set[str] = set()
    for shard, path in zip(dataset.record.shards, dataset.shards, strict=True):
        rows = 0
        for batch in dataset.batches(["id", "split", "license", "donor_license"], [path]):
            for row in batch_rows(batch):
                rows += 1
                ids.add(row["id"])
                counts.update({str(row["license"]), str(row["donor_license"])})
                if row["split"] != shard.split:
                    raise IntegrityError(
                        f"{path}: {shown(row['id'])} is of split {shown(row['split'])}, not {shard.split}"
                    )
        if rows != shard.rows:
            raise IntegrityError(f"{path}: {counted(rows, 'row')}, {BUILD_FILE} says {shard.rows}")
    if len(ids) != len(dataset):
        raise IntegrityError(
            f"{dataset.folder}: {counted(len(dataset) - len(ids), 'id is', 'ids are')} there twice; `olrd verify` lists all"
        )
    return counts


def _check_licenses(folder: Path | str, licenses: Counter[str]) -> None:
    refused = [f"{code} ({counted(n, 'triplet')})" for code, n in licenses.most_common() if not is_permissive(code)]
    if refused:
        raise LicenseError(
            f"the pixels of {folder} may not be published: {', '.join(refused)} {'does' if len(refused) == 1 else 'do'} not allow derivatives. "
            "Publish the recipes (without --i-may-redistribute), or build with --licenses permissive"
        )


def _files(dataset: Dataset, spare: Path) -> dict[str, Path]:
    """The files to upload by their names there: those that the build wrote, build.json last.

    The card of another version of olrd is made anew in the folder `spare`, because it cannot be compared.
    """
    folder = Path(str(dataset.folder))
    card = folder
    if changed_card_files(dataset):
        card = spare / "card"
        card.mkdir()
        write_card_of(dataset, card)
    return {
        **{shard.file: folder / shard.file for shard in dataset.record.shards},
        **{name: card / name for name in card_files(dataset)},
        BUILD_FILE: folder / BUILD_FILE,
    }


def _upload(files: dict[str, Path], repo: str, private: bool, revision: str | None) -> None:
    """Upload in commits of at most 50 files. The library skips files that the repository has already."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api, kind = HfApi(), "dataset"
    api.create_repo(repo, repo_type=kind, private=private or None, exist_ok=True)
    if private and not api.repo_info(repo, repo_type=kind).private:
        raise HubError(f"{repo} exists already and is public: --private does not change that")
    if revision:
        api.create_branch(repo, repo_type=kind, branch=revision, exist_ok=True)
    stale = _stale(api, repo, revision, set(files))
    for start in range(0, len(files), COMMIT_FILES):
        names = list(files)[start : start + COMMIT_FILES]
        last = BUILD_FILE in names
        operations: list[Any] = [CommitOperationAdd(name, files[name]) for name in names]
        operations += [CommitOperationDelete(name) for name in stale if last]
        message = f"olrd publish: {start + len(names)} of {counted(len(files), 'file')}"
        api.create_commit(repo, operations, commit_message=message, repo_type=kind, revision=revision)


def _stale(api: HfApi, repo: str, revision: str | None, files: set[str]) -> list[str]:
    """Files of another build in the repository, which would be read as part of this one.

    Raises `HubError` if the data in the repository is not from olrd.
    """
    there = api.list_repo_files(repo, repo_type="dataset", revision=revision)
    data = sorted(name for name in there if name.startswith("data/") or name == "sample.png")
    stale = [name for name in data if name not in files]
    # An interrupted upload of olrd has shards but no card.
    if data and BUILD_FILE not in there and (stale or "README.md" in there):
        raise HubError(f"{repo} holds other data ({(stale or data)[0]}): give another --repo, or empty it first")
    return stale


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Turn the errors of the Hub's library into a `HubError` that says what to do."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # Depending on the version of the library, the base class is of httpx, httpx2 or requests.
    network: Any = HfHubHTTPError.__bases__[0]
    try:
        yield
    except HFValidationError as error:
        raise UsageError(f"--repo expects NAME/SET: {error}") from error
    except (network, OSError, RuntimeError, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        login = (
            "log in with `hf auth login`, or set HF_TOKEN to a token that may write there"
            if status in (401, 403, 404)
            else "run the same command again to go on from here"
        )
        raise HubError(f"publishing to {repo} stopped: {error}; {login}") from error
