"""Keeps the folders of this machine out of what the app sends.

Gradio addresses every file by its absolute path. On its way out the folder of the files becomes `ALIAS`, and on the way
in it is the folder again, so that Gradio checks the true path as ever.
"""

from __future__ import annotations

import html
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from olrd.trust import without_folders

ALIAS = "/olrd-files"
"""What stands for the folder in addresses."""
MAX_BODY = 1 << 24
"""Largest JSON that is read from a browser, in bytes. Pictures arrive as files, and are not counted."""
_TEXTS = (b"application/json", b"text/html", b"text/event-stream", b"text/plain")
"""Kinds of answers that are rewritten. Pictures and the page's scripts pass as they are."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class HiddenFolders:
    """ASGI middleware that replaces the folders of the files by `ALIAS`.

    Args:
        app: The application.
        folder: The folder of Gradio's files, absolute. Only it is put back on the way in.
        others: Folders that become `ALIAS` too, but cannot be addressed by it.

    Raises:
        ValueError: If a folder is not absolute, or is the root: then every address would be rewritten.
    """

    def __init__(
        self, app: Callable[[Scope, Receive, Send], Awaitable[None]], folder: str, others: Sequence[str] = ()
    ) -> None:
        self._app = app
        self._folder = folder
        if isinstance(others, str) or not all(one.startswith("/") and len(one) > 1 for one in (folder, *others)):
            raise ValueError(f"expected absolute folders below the root, got {folder!r} and {others!r}")
        spelled = {form for one in (folder, *others) for form in (one, quote(one), quote(one, safe=""))}
        self._away = [form.encode() for form in sorted(spelled, key=len, reverse=True)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        kind = _header(scope["headers"], b"content-type")
        length = _header(scope["headers"], b"content-length")
        scope = dict(scope)
        scope["path"] = scope["path"].replace(ALIAS, self._folder)
        scope["raw_path"] = quote(scope["path"]).encode()
        scope["query_string"] = self._back(scope.get("query_string", b""))
        if kind.startswith(b"application/json"):
            if length.isdigit() and int(length) > MAX_BODY:
                await send({"type": "http.response.start", "status": 413, "headers": []})
                await send({"type": "http.response.body", "body": b""})
                return
            receive = await self._body(receive, scope)
        await self._app(scope, receive, self._sender(send))

    def _back(self, text: bytes) -> bytes:
        """The true folder for the alias, plain or quoted."""
        text = text.replace(ALIAS.encode(), self._folder.encode())
        return text.replace(quote(ALIAS, safe="").encode(), quote(self._folder, safe="").encode())

    def _out(self, text: bytes) -> bytes:
        for form in self._away:
            text = text.replace(form, ALIAS.encode())
        return text

    async def _body(self, receive: Receive, scope: Scope) -> Receive:
        """Read the whole JSON, and hand it on with the true folder and its new length."""
        parts, size, more = [], 0, True
        while more and size <= MAX_BODY:
            message = await receive()
            if message["type"] != "http.request":
                break
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
        body = self._back(b"".join(parts)) if size <= MAX_BODY else b""
        scope["headers"] = _with_length(scope["headers"], len(body))
        given = False

        async def replay() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return replay

    def _sender(self, send: Send) -> Send:
        """Rewrites texts as they are sent. An answer of known length is held back until it is whole."""
        start: Message | None = None
        text = whole = False
        held: list[bytes] = []

        async def sender(message: Message) -> None:
            nonlocal start, text, whole
            if message["type"] == "http.response.start":
                headers = [(name, self._out(value)) for name, value in message["headers"]]
                message = {**message, "headers": headers}
                text = _header(headers, b"content-type").startswith(_TEXTS)
                whole = text and bool(_header(headers, b"content-length"))
                if whole:
                    start = message
                    return
            elif message["type"] == "http.response.body" and whole:
                held.append(message.get("body", b""))
                if message.get("more_body", False):
                    return
                body = self._out(b"".join(held))
                assert start is not None
                await send({**start, "headers": _with_length(start["headers"], len(body))})
                message = {**message, "body": body}
            elif message["type"] == "http.response.body" and text:
                message = {**message, "body": self._out(message.get("body", b""))}
            await send(message)

        return sender


def _header(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> bytes:
    return next((value for key, value in headers if key.lower() == name), b"")


def _with_length(headers: Sequence[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    return [*kept, (b"content-length", str(length).encode())]


def cleaned(text: object) -> str:
    """A message for the browser: without folders of this machine and without HTML."""
    short = without_folders(str(text))
    for folder in (tempfile.gettempdir(), str(Path.home())):
        if folder != "/":
            short = short.replace(folder, "")
    return html.escape(short, quote=False)
