"""What both commands share: errors become one line and an exit code, results go to stdout.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from olrd.errors import OlrdError, UsageError


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
