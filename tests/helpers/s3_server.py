"""A real S3 API in a separate process, and a connection to it that can be made to fail."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

BUCKET = "bucket"
_SERVE = """
import logging, sys, threading, os, time
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
ThreadedMotoServer("127.0.0.1", int(sys.argv[1]), verbose=False).start()
while os.getppid() == int(sys.argv[2]):
    time.sleep(0.2)
os._exit(0)
"""


def environment(port: int) -> dict[str, str]:
    """What fsspec, s3fs and botocore need to find the server."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def s3_server() -> Iterator[int]:
    """Its port, while it runs; the bucket is there."""
    port = free_port()
    argv = [sys.executable, "-c", _SERVE, str(port), str(os.getpid())]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with suppress(OSError):
                address = f"http://127.0.0.1:{port}/{BUCKET}"
                urllib.request.urlopen(urllib.request.Request(address, method="PUT")).close()
                break
            time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


class Proxy:
    """Passes connections on to `port`. `cuts(request_line)` says after how many bytes of a request's
    body its connection dies, None for never; `cut` counts the deaths."""

    def __init__(self, port: int, cuts: Callable[[str], int | None]) -> None:
        self._target, self._cuts, self.cut = port, cuts, 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._up, args=(client, server), daemon=True).start()
                threading.Thread(target=_pump, args=(server, client), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        """From the client to the server, looking at each piece that begins a request."""
        left: int | None = None
        with suppress(OSError):
            while data := client.recv(4096):
                line = data.split(b"\r\n", 1)[0].decode("latin-1")
                if line.endswith("HTTP/1.1"):
                    left = self._cuts(line)
                if left is not None:
                    server.sendall(data[:left])
                    left -= len(data)
                    if left <= 0:
                        self.cut += 1
                        break
                else:
                    server.sendall(data)
        for end in (client, server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
