"""The lock on an output folder: one build at a time. A file lock, or an object that its holder keeps changing.

An object store has no locks. There, the object `.lock` names its holder, and the holder increases its counter every
ten seconds. A second process that finds the object watches it: if the counter changes, the process is refused; if it
does not change for a minute, the holder is dead and the process takes over. Only changes count, so the clocks of the
machines do not matter. If the holder is a process of the same machine that has ended, the lock is taken over at once.

Some stores cannot create an object on the condition that it does not exist. There, two processes that start within
the same second may both get the lock. They then do the same work twice, which is harmless: units are deterministic,
and uploads appear whole.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from olrd.errors import IntegrityError, OlrdError, OutputError, UsageError
from olrd.progress import say
from olrd.storage.remote import OBJECT_STORES, Remote
from olrd.trust import parse_json

BEAT = 10.0
STALE = 60.0
_held: set[str] = set()


@contextmanager
def locked(out: Path | Remote) -> Iterator[None]:
    """Hold the folder for this process; a second build of the same folder is refused.

    A folder on this machine is made if it is not there. If nothing is in it at the end, it is removed again.
    """
    with _remote_lock(out) if isinstance(out, Remote) else _file_lock(out):
        yield


@contextmanager
def _file_lock(out: Path) -> Iterator[None]:
    path = out / ".lock"
    try:
        is_new = _make(out)
        lock = path.open("a")  # a file of that name keeps its content
    except OSError as error:
        raise OutputError(f"{out} cannot be used as an output folder: {error}") from error
    try:
        with _holding(lock, path):
            yield
    finally:
        if is_new:
            with suppress(OSError):  # there is something in it
                out.rmdir()


def _make(out: Path) -> bool:
    """Make a folder. Returns False if it was there before."""
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        out.mkdir()
    except FileExistsError:
        if not out.is_dir():
            raise
        return False
    return True


@contextmanager
def _holding(lock: IO[Any], path: Path) -> Iterator[None]:
    """Hold the lock on an open file. It is removed at the end."""
    out = path.parent
    with lock:
        if lock.tell():  # ours are empty
            raise OutputError(f"{path} is no lock of ours: it has content. Nothing was changed; give another --out")
        try:
            _flock(lock, out)
            # A build that ended between the two calls has removed the file: a lock on it protects nothing.
            if not os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                raise FileNotFoundError(path)
        except OSError as error:
            raise OutputError(f"another process is building in {out} right now") from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _flock(lock: IO[Any], out: Path) -> None:
    """Lock an open file. Raises OSError if another process holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EAGAIN):
            raise
        say(f"the file system of {out} has no locks ({error.strerror}): two builds into one folder are not refused")


@contextmanager
def _remote_lock(out: Remote) -> Iterator[None]:
    if out.scheme not in OBJECT_STORES:
        raise UsageError(
            f"--out {out}: a file at {out.scheme}:// can be seen half-written. Expected a local folder or "
            f"an object store ({', '.join(sorted(OBJECT_STORES))})"
        )
    lock, token, ended = out / ".lock", uuid.uuid4().hex, threading.Event()
    _take(lock, token)
    _held.add(token)
    beating = threading.Thread(target=_beat, args=(lock, token, ended), daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        _held.discard(token)
        if _read(lock).get("token") == token:
            lock.unlink(missing_ok=True)


def _take(lock: Remote, token: str) -> None:
    mine = _content(token, 0)
    try:
        lock.write_bytes(mine, new=True)
        return
    except FileExistsError:
        pass
    except OutputError as error:  # a store without conditional creation
        if not isinstance(error.__cause__, NotImplementedError | TypeError | ValueError):
            raise
    if (found := _read(lock)) and _alive(lock, found):
        raise OutputError(
            f"another process is building in {str(lock).removesuffix('/.lock')} right now (process "
            f"{found.get('pid')} on {found.get('host')})"
        )
    lock.write_bytes(mine)
    time.sleep(BEAT / 10)  # of two that take over at once, the later one wins
    if _read(lock).get("token") != token:
        raise OutputError(f"another process took {lock} at the same moment")


def _alive(lock: Remote, found: dict[str, Any]) -> bool:
    """Whether the holder of the lock is alive."""
    if found.get("token") in _held:
        return True
    if found.get("host") == platform.node() and not _runs(int(found.get("pid", 0))):
        return False
    say(f"{lock} is held by {found.get('host')}: waiting to see whether that process is alive")
    waited = 0.0
    while waited < STALE:
        time.sleep(BEAT / 5)
        waited += BEAT / 5
        now = _read(lock)
        if now != found:
            return bool(now)
    return False


def _runs(pid: int) -> bool:
    """Whether another process of this machine has this number."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _beat(lock: Remote, token: str, ended: threading.Event) -> None:
    """Increase the counter until the build ends or another process has taken over."""
    count = 0
    while not ended.wait(BEAT):
        count += 1
        try:
            if _read(lock).get("token") != token:
                return
            lock.write_bytes(_content(token, count))
        except OlrdError:  # the next beat tries again; the build reports the same error
            continue


def _content(token: str, count: int) -> bytes:
    return json.dumps({"host": platform.node(), "pid": os.getpid(), "token": token, "count": count}).encode()


def _read(lock: Remote) -> dict[str, Any]:
    """The content of the lock; {} if there is none."""
    try:
        found = parse_json(lock.read_text(), lock)
    except FileNotFoundError:
        return {}
    except (IntegrityError, UnicodeDecodeError):
        found = None
    known = isinstance(found, dict) and all(isinstance(found.get(name), int) for name in ("pid", "count"))
    return found if known else {"host": "unknown"}
