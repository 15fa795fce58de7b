"""The saved outputs of a run: RUN/outputs/<id>.webp."""

from __future__ import annotations

import numpy as np

from benchmark.runner.results import Run
from olrd.arrays import Image, decode_photo
from olrd.errors import IntegrityError, SourceError
from olrd.storage.files import file_name_of, read_regular, sha256


def check_saved(run: Run, otherwise: str = "") -> None:
    """Raise `SourceError` if the run has no saved outputs. otherwise: what else the user can do."""
    if not (run.folder / "outputs").is_dir():
        raise SourceError(
            f"{run.folder} holds no pictures (it has no folder outputs): make the run again with "
            f"`benchmark run --save` and another --out{otherwise}"
        )


def saved_output(run: Run, name: str, scored: str) -> Image:
    """Read a saved output and check that it is the one that was scored.

    Args:
        run: a run with saved outputs.
        name: id of the sample.
        scored: sha256 of the pixels that were scored (the column `output_sha256`).

    Returns:
        uint8 [H, W, 3].

    Raises:
        SourceError: the file is missing.
        IntegrityError: the picture is another one.
    """
    folder = run.folder / "outputs"
    path = folder / f"{file_name_of(name)}.webp"
    try:
        content = read_regular(path, folder)
    except OSError as error:
        raise SourceError(
            f"{path} is missing or cannot be read ({error.strerror}): make the run again with --save and another --out"
        ) from error
    pixels = decode_photo(content, str(path)).pixels
    if sha256(np.ascontiguousarray(pixels).data) != scored:
        raise IntegrityError(f"{path} is not the picture that was scored: it was changed afterwards")
    return pixels
