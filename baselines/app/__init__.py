"""`olrd-erase --app`: a page in the browser on which an object is brushed over, or named, and erased."""

from __future__ import annotations

import os
import socket
import tempfile
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from olrd.errors import MissingExtraError, OlrdError, UsageError
from olrd.progress import say

MAX_FILE = "200mb"
"""Largest file that the app takes."""
LOCAL = ("127.0.0.1", "localhost", "::1")
INSTALL = "pip install 'olrd[app]' && pip install --no-deps gradio==6.31.0 gradio-client==2.7.2 hf-gradio==0.4.1"
"""Gradio excludes the Pillow that olrd needs, without need: hence --no-deps (docs/decisions.md)."""


class MissingGradioError(OlrdError):
    """Gradio is not installed. The extra `app` alone does not install it."""

    def __init__(self) -> None:
        super().__init__(f"the app needs Gradio: {INSTALL}")


class AddressError(OlrdError):
    """The app cannot listen at the address."""


def serve(host: str = "127.0.0.1", port: int = 7860, device: str = "auto") -> int:
    """Serve the app until it is interrupted.

    Args:
        host: Address to listen on. Others than this machine's own let everybody use the app who can reach it.
        port: Port to listen on.
        device: Device of the networks.

    Returns:
        The exit code.

    Raises:
        MissingGradioError: If Gradio is not installed.
        UsageError: If there is no such port or device.
        AddressError: If it cannot listen there.
    """
    from olrd.models.checkpoints import check_device

    check_device(device)
    _check_port(host, port)
    if host not in LOCAL:
        say(f"warning: everybody who can reach {host} can use the app; it has no password")
    with tempfile.TemporaryDirectory(prefix="olrd-app-") as folder:
        page = open_page(Path(folder), device)
        launch(page, Path(folder), host, port)
        say(f"the app is at http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}; Ctrl-C ends it")
        try:
            page.block_thread()
        finally:
            page.close(verbose=False)
    return 0


def open_page(folder: Path, device: str = "auto") -> Any:
    """The page, a `gradio.Blocks` that is not served yet. folder: where it keeps photos and results.

    Raises:
        MissingGradioError: If Gradio is not installed.
    """
    # Gradio reads them while it is imported, or when components are made.
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise MissingGradioError from error
    from baselines.app.page import Steps, build
    from baselines.app.steps import Shelf
    from baselines.photos.objects import ObjectFinder

    why_not = names_missing()
    finder = None if why_not else ObjectFinder(device)
    return build(Steps(Shelf(device), finder, folder / "results"), why_not)


def launch(page: Any, folder: Path, host: str, port: int) -> None:
    """Start serving in a thread."""
    from PIL import Image as Pillow
    from starlette.middleware import Middleware

    from baselines.app.addresses import HiddenFolders
    from baselines.app.page import EXAMPLES, STYLE, style
    from olrd.arrays import MAX_PIXELS

    Pillow.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Gradio decodes drawings with Pillow, which refuses twice this number
    page.launch(
        server_name=host,
        server_port=port,
        share=False,
        show_error=True,
        quiet=True,
        prevent_thread_lock=True,
        inbrowser=host in LOCAL and bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")),
        max_file_size=MAX_FILE,
        allowed_paths=[str(EXAMPLES)],
        app_kwargs={"middleware": [Middleware(HiddenFolders, folder=str(folder), others=[str(EXAMPLES.parent)])]},
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        mcp_server=False,
        theme=style(),
        css=STYLE,
    )


def names_missing() -> str:
    """Why objects cannot be found by name on this machine; empty if they can."""
    from olrd.models.mask2former import CHECKPOINT

    if not (find_spec("torch") and find_spec("transformers")):
        return str(MissingExtraError("finding objects by name", "models"))
    from huggingface_hub import try_to_load_from_cache

    with suppress(Exception):  # a damaged cache: what matters is that the file cannot be found
        if isinstance(try_to_load_from_cache(CHECKPOINT, "config.json"), str):
            return ""
    return f"the weights of Mask2Former are not on this machine; `hf download {CHECKPOINT}` gets them"


def _check_port(host: str, port: int) -> None:
    """Raise `UsageError` for a port that no machine has, and `AddressError` if the app could not listen there."""
    if not 1 <= port <= 65535:
        raise UsageError(f"--port is a number from 1 to 65535, got {port}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise AddressError(
            f"cannot listen on {host}, port {port}: {error.strerror}; give another --host or --port"
        ) from error


def main() -> int:
    """`python -m baselines.app`: host and port come from Gradio's variables, as on a Hugging Face Space."""
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    return serve(host, int(os.environ.get("GRADIO_SERVER_PORT", "7860")))
