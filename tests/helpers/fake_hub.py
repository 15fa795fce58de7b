"""A stand-in of the Hub's HTTP API for dataset repositories: what huggingface_hub calls to upload and read.

In memory: repositories, branches, their files, and the store of large files. It refuses what has no
token, keeps what is sent, and counts it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

TOKEN = "hf_test"
Files = dict[str, bytes]


@dataclass
class Repo:
    """private, and the files of each branch."""

    private: bool
    branches: dict[str, Files] = field(default_factory=lambda: {"main": {}})


@dataclass
class Hub:
    """The state. received: uploads of large files by hash. pass_first: when set, uploads after so many wait without end,
    like a dead connection."""

    url: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    store: Files = field(default_factory=dict)
    received: Counter[str] = field(default_factory=Counter)
    commits: list[list[str]] = field(default_factory=list)
    pass_first: int | None = None
    held: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def download(self, repo: str, target: Path, branch: str = "main") -> Path:
        """Write a branch's files to a folder."""
        for name, data in self.repos[repo].branches[branch].items():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).write_bytes(data)
        return target


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise a body waits 40 ms for the receipt of its headers
    hub: Hub

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def answer(self, value: Any, status: int = 200, **headers: str) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        if found := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.content(self.hub.repos[found[1]].branches[found[2]].get(found[3]))
            return
        found = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/(tree|revision)/([^/]+)(?:/(.+))?)?", path)
        repo = self.hub.repos.get(found[1]) if found else None
        if found is None or repo is None:
            self.answer({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        elif found[2] == "tree":
            listed = entries(repo.branches[found[3]], found[4], "recursive=true" in self.path.lower())
            if listed or not found[4]:
                self.answer(listed)
            else:
                self.answer({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
        else:
            self.answer({"id": found[1], "sha": "0" * 40, "private": repo.private})

    def content(self, data: bytes | None) -> None:
        """A file, or the range of it that is asked for."""
        if data is None:
            self.answer({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        part = data[int(asked[1]) : int(asked[2]) + 1] if asked else data
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def do_PUT(self) -> None:
        limit, oid = self.path.split("/")[-2:]
        data = self.body()
        with self.hub.lock:
            number = sum(self.hub.received.values())
            if limit != "all" and number >= int(limit):
                self.hub.held.set()
                waits = True
            else:
                waits = False
                self.hub.received[oid] += 1
        if waits:
            threading.Event().wait(60)
            return
        assert hashlib.sha256(data).hexdigest() == oid
        self.hub.store[oid] = data
        self.answer({})

    def do_POST(self) -> None:
        data, path = self.body(), unquote(self.path.partition("?")[0])
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.answer({"error": "Invalid username or password."}, 401)
        elif path == "/api/repos/create":
            self.create(json.loads(data))
        elif path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/datasets/(.+)/branch/(.+)", path):
            branches = self.hub.repos[found[1]].branches
            branches.setdefault(found[2], dict(branches["main"]))
            self.answer({})
        elif found := re.fullmatch(r"/api/datasets/(.+)/preupload/(.+)", path):
            self.preupload(self.hub.repos[found[1]].branches[found[2]], json.loads(data))
        elif found := re.fullmatch(r"/api/datasets/(.+)/paths-info/(.+)", path):
            files = self.hub.repos[found[1]].branches[found[2]]
            names = parse_qs(data.decode())["paths"]
            self.answer([entry(name, files[name]) for name in names if name in files])
        elif path.endswith(".git/info/lfs/objects/batch"):
            self.batch(json.loads(data))
        elif found := re.fullmatch(r"/api/datasets/(.+)/commit/(.+)", path):
            self.commit(found[1], self.hub.repos[found[1]].branches[found[2]], data)
        else:
            self.answer({"error": f"the stand-in has no {path}"}, 404)

    def create(self, wish: dict[str, Any]) -> None:
        repo = f"{wish['organization']}/{wish['name']}"
        private = wish.get("private") or wish.get("visibility") == "private"
        known = repo in self.hub.repos
        self.hub.repos.setdefault(repo, Repo(bool(private)))
        self.answer({"url": f"{self.hub.url}/datasets/{repo}"}, 409 if known else 200)

    def preupload(self, files: Files, wish: dict[str, Any]) -> None:
        answers = []
        for file in wish["files"]:
            large = file["path"].endswith((".parquet", ".png"))
            there = files.get(file["path"])
            answers.append(
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if large else "regular",
                    "shouldIgnore": False,
                    "oid": there and oid_of(there, large),
                }
            )
        self.answer({"files": answers})

    def batch(self, wish: dict[str, Any]) -> None:
        # The limit is part of the address: what a killed client has sent may be read after its death.
        limit = "all" if self.hub.pass_first is None else self.hub.pass_first
        objects = []
        for entry in wish["objects"]:
            upload = {"upload": {"href": f"{self.hub.url}/store/{limit}/{entry['oid']}"}}
            missing = entry["oid"] not in self.hub.store
            objects.append(entry | ({"actions": upload} if missing else {}))
        self.answer({"transfer": "basic", "objects": objects})

    def commit(self, repo: str, files: Files, data: bytes) -> None:
        names = []
        for line in data.splitlines():
            key, value = (entry := json.loads(line))["key"], entry["value"]
            if key == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif key == "lfsFile":
                files[value["path"]] = self.hub.store[value["oid"]]
            elif key == "deletedFile":
                del files[value["path"]]
            if key != "header":
                names.append(value["path"])
        self.hub.commits.append(names)
        self.answer({"commitUrl": f"{self.hub.url}/datasets/{repo}/commit/{'1' * 40}", "commitOid": "1" * 40})


def oid_of(data: bytes, large: bool) -> str:
    """The Hub's id of a file's content."""
    if large:
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def entry(name: str, data: bytes) -> dict[str, Any]:
    """What the Hub says of a file."""
    return {"type": "file", "path": name, "size": len(data), "oid": oid_of(data, False)}


def entries(files: Files, folder: str | None, recursive: bool) -> list[dict[str, Any]]:
    """What lies in a folder, or below it."""
    start = f"{folder}/" if folder else ""
    below = {name: data for name, data in files.items() if name.startswith(start)}
    folders = {start + name.removeprefix(start).partition("/")[0] for name in below if "/" in name.removeprefix(start)}
    shown = below if recursive else {n: d for n, d in below.items() if "/" not in n.removeprefix(start)}
    listed = [{"type": "directory", "path": name, "size": 0, "oid": "0" * 40} for name in folders]
    return listed + [entry(name, data) for name, data in shown.items()]


@contextmanager
def fake_hub() -> Iterator[Hub]:
    """A running stand-in."""
    hub = Hub()
    handler = type("BoundHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
