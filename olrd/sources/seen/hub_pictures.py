"""Reading the pictures of a dataset of the Hub, in any form that `datasets` opens, by the references of recipes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from olrd.errors import Rejected, SourceError
from olrd.storage.files import read_regular, sha256
from olrd.trust import one_line, printable, shown

HUB_ID = r"[\w.-]+/[\w.-]+"
"""How the Hub names a repository: OWNER/NAME."""
_URL = re.compile(rf"hf://(?!(?:datasets|spaces|models|buckets)/)({HUB_ID})/?")
_PART = re.compile(r"row:(\d{1,12}):(.{1,100})", re.DOTALL)


def hub_id(root: object) -> str | None:
    """The OWNER/NAME that a root names, as such or as `hf://OWNER/NAME`; None if it is something else.

    A folder that exists is no hub id. `hf://datasets/OWNER/NAME` is a folder of files like those of any other store.
    """
    text = str(root)
    if found := _URL.fullmatch(text):
        return found[1]
    return text if re.fullmatch(HUB_ID, text) and not Path(text).exists() else None


class HubPictures:
    """The rows of a dataset of the Hub. It has the methods of `PictureFiles`; the name of a file is that of a split.

    Args:
        name: OWNER/NAME.

    Raises:
        SourceError: `datasets` cannot open it.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def splits(self) -> Mapping[str, Any]:
        """The rows by split. Pictures are not decoded."""
        import datasets

        datasets.disable_progress_bars()
        try:
            loaded = datasets.load_dataset(self.name)
        except Exception as error:  # the client of the Hub raises its own errors
            raise SourceError(
                f"{self.name} does not exist here, and `datasets` cannot open it as a dataset of the Hub: "
                f"{type(error).__name__}: {printable(one_line(str(error))[:300])}"
            ) from error
        return {split: _undecoded(rows) for split, rows in loaded.items()}

    def read(self, file_name: str, part: str = "") -> bytes:
        """The bytes of a picture. Raises `Rejected`."""
        found = _PART.fullmatch(part)
        rows = self.splits.get(file_name)
        if found is None or rows is None or int(found[1]) >= len(rows) or found[2] not in rows.column_names:
            raise Rejected("photo_missing", f"{self.name} has no {shown(part)} in the split {shown(file_name)}")
        return self._stored(rows[int(found[1])][found[2]], f"{self.name}, {file_name}, {printable(part)}")

    def sha256(self, file_name: str, part: str = "") -> str:
        """The hash of the bytes of a picture. Raises `Rejected`."""
        return sha256(self.read(file_name, part))

    def _stored(self, value: Any, where: str) -> bytes:
        data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if isinstance(data, bytes):
            return data
        if not isinstance(path, str):
            raise Rejected("photo_missing", f"{where} is empty")
        for folder in _homes(self.name):
            if Path(path).is_relative_to(folder):
                try:  # rows are a stranger's: they must not name files elsewhere
                    return read_regular(Path(path), folder)
                except OSError as error:
                    raise Rejected("photo_unreadable", f"{where}: {printable(str(error))}") from error
        raise Rejected("path_outside_root", f"{where}: {shown(path)} is no file of the dataset")


def _undecoded(rows: Any) -> Any:
    """The rows with the stored bytes in place of pictures."""
    import datasets

    for name, feature in rows.features.items():
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows


def _homes(name: str) -> list[Path]:
    """The folders in which `datasets` keeps what it downloads, and the dataset's own."""
    import datasets
    from huggingface_hub import constants

    config = datasets.config
    found = (constants.HF_HUB_CACHE, config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, name)
    return [Path(folder).absolute() for folder in found]
