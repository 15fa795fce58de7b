"""Drawn clips as video files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools.drawn_clip import HEIGHT, WIDTH, Scene


def write_video(av: Any, path: Path, scene: Scene) -> Path:
    """Write the frames of a scene as MPEG-4. av: the module, which may be absent where tests run."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 8_000_000
        for number in range(scene.frames):
            frame = av.VideoFrame.from_ndarray(scene.frame(number).pixels, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
