"""What both commands share: errors become one line and an exit code, results go to stdout.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from olrd.engines import EngineSpec
from olrd.errors import OlrdError, UsageError


def add_engine_options(command: Any, usual: str) -> None:
    """`--engine`, `--workers` and `--ray-address`. usual: the local engine's number of workers."""
    command.add_argument(
        "--engine",
        default="local",
        metavar="NAME",
        help="local (default): processes of this machine; ray: a Ray cluster",
    )
    command.add_argument(
        "--workers", type=int, metavar="N", help=f"default: {usual}; with ray all CPUs or GPUs of the cluster"
    )
    command.add_argument(
        "--ray-address",
        metavar="ADDRESS",
        help="join this cluster: auto or HOST:PORT (default: a Ray of its own on this machine)",
    )


def engine_from(args: argparse.Namespace, usual: int | None = None) -> EngineSpec:
    """The engine that was asked for. usual: workers of the local engine if nothing was said."""
    workers = usual if args.workers is None and args.engine == "local" else args.workers
    return EngineSpec(args.engine, workers, args.ray_address)


def guarded(main: Callable[[], int]) -> int:
    """Run a command; print a user's error as one line on stderr instead of a traceback."""
    try:
        return main()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OlrdError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 0


def emit(result: Any, text: str, as_json: bool) -> None:
    """The result on stdout: JSON for machines or text for people."""
    print(json.dumps(result, indent=1, sort_keys=True) if as_json else text)
