"""Folders that cannot be written to."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from olrd.errors import OutputError

REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)


@contextmanager
def writing_to(folder: Path, flag: str) -> Iterator[None]:
    """Turn the system's refusal to write into a folder into an error that says what to do.

    Args:
        folder: what is written to.
        flag: the option that names it.

    Raises:
        OutputError: the folder is read-only, is a file, or lies in one.
    """
    try:
        yield
    except OSError as error:
        where = Path(str(error.filename or ""))
        about_it = error.filename is not None and (where.is_relative_to(folder) or folder.is_relative_to(where))
        if error.errno not in REFUSED or not about_it:
            raise
        raise OutputError(
            f"{folder} cannot be written to: {error.strerror} ({where}). Give another folder with {flag}, or allow to write "
            "there"
        ) from error
