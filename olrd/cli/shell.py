"""What all commands share: their options, their help, their results and their errors.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 143 terminated. Wrong usage is what is seen from the words of
the command: an option, a name or an argument that does not exist, is missing, or does not fit the others (`UsageError`).
Whatever files, folders, weights and libraries lack is failed work.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from olrd.engines import EngineSpec
from olrd.errors import OlrdError, UsageError
from olrd.trust import printable


def new_parser(prog: str, description: str, example: str = "", note: str = "") -> argparse.ArgumentParser:
    """A parser whose help ends with an example and, before it, a note."""
    return argparse.ArgumentParser(prog=prog, description=description, **help_text(example, note))


def help_text(example: str = "", note: str = "") -> dict[str, Any]:
    """The arguments of an argparse parser that show an example, and a note before it, under the options."""
    parts = [note] if note else []
    if example:
        parts.append(f"example:\n  {example}")
    return {"epilog": "\n\n".join(parts), "formatter_class": argparse.RawDescriptionHelpFormatter}


def add_json(command: Any) -> None:
    """`--json`."""
    command.add_argument("--json", action="store_true", help="print the result as JSON")


def add_out(command: Any, what: str, required: bool = False) -> None:
    """`--out`. what: what is written there, with the default if there is one."""
    command.add_argument("--out", required=required, metavar="DIR", help=what)


def add_workers(command: Any, usual: int) -> None:
    """`--workers` of a command that always runs on this machine. usual: the default."""
    # The help does not name the number, so that it is the same on every machine.
    command.add_argument(
        "--workers", type=int, default=usual, metavar="N", help="processes (default: one per CPU core, at most 8)"
    )


def add_device(command: Any) -> None:
    """`--device`."""
    command.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (default %(default)s)"
    )


def add_engine_options(command: Any, usual: str) -> None:
    """`--engine`, `--workers` and `--ray-address`. usual: the local engine's number of workers."""
    command.add_argument(
        "--engine",
        default="local",
        metavar="NAME",
        help="local: processes on this machine; ray: a Ray cluster (default %(default)s)",
    )
    command.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help=f"number of workers (default: {usual}; with ray, all CPUs or GPUs of the cluster)",
    )
    command.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="cluster to join: auto or HOST:PORT (default: start Ray on this machine)",
    )


def engine_from(args: argparse.Namespace, usual: int | None = None) -> EngineSpec:
    """The engine that was asked for. usual: workers of the local engine if nothing was said."""
    workers = usual if args.workers is None and args.engine == "local" else args.workers
    return EngineSpec(args.engine, workers, args.ray_address)


def guarded(main: Callable[[], int]) -> int:
    """Run a command; print what goes wrong as one line on stderr instead of a traceback.

    SIGTERM ends it in the same way as Ctrl-C: workers are stopped, unfinished files removed, the lock given back.
    """
    _open_closed_streams()
    with suppress(ValueError):  # not the main thread: whoever runs it there handles signals
        signal.signal(signal.SIGTERM, _terminate)
    try:
        status = main()
        sys.stdout.flush()
        return status
    except UsageError as error:
        return _say_error(error, 2)
    except OlrdError as error:
        return _say_error(error, 1)
    except MemoryError:
        return _say_error("there is not enough memory: use fewer --workers, or smaller pictures", 1)
    except Terminated:
        return _say_error("terminated; run the same command again to go on from here", 143, "")
    except KeyboardInterrupt:
        return _say_error("interrupted; run the same command again to go on from here", 130, "")
    except SystemExit as end:
        if _of_argparse(end):
            raise
        return _say_error(f"a plug-in or a library called sys.exit({end.code!r})", 1)
    except BrokenPipeError as error:
        return _closed(0) if _has_no_reader() else _say_error(error.strerror or error, 1)
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        return _closed(_say_error(f"{where}{error.strerror or error}", 1))


def _open_closed_streams() -> None:
    """Give a command that was started with a closed stdout or stderr (`>&-`) one that leads nowhere.

    `print` would write messages for a closed stderr to stdout, among the data.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # It stays open as long as the process, as streams do.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123


class Terminated(BaseException):
    """SIGTERM arrived."""


def _terminate(*_: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not stop the clean-up
    raise Terminated


def _say_error(error: object, status: int, prefix: str = "error: ") -> int:
    with suppress(OSError):
        print(printable(f"{prefix}{error}"), file=sys.stderr)
    return status


def _of_argparse(end: SystemExit) -> bool:
    """Whether argparse raised it, after it printed a help text or an error."""
    trace = end.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") == "argparse"


def _has_no_reader() -> bool:
    """Whether stdout is a pipe whose reader has gone. If not, a `BrokenPipeError` comes from a network connection or from
    another process."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # a stream of Python's own, or a closed one
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _closed(status: int) -> int:
    """Python writes what is left for stdout when it ends, and would fail again."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def emit(result: Any, text: str, as_json: bool) -> None:
    """Print the result on stdout: JSON for machines or text for people."""
    shown = json.dumps(result, indent=1, sort_keys=True) if as_json else text
    try:
        print(shown)
    except UnicodeEncodeError:  # a file name that the terminal's encoding does not have
        encoding = sys.stdout.encoding
        print(shown.encode(encoding, "backslashreplace").decode(encoding))
