"""Frames of video files, by number. Needs PyAV (extra `clip`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from olrd.arrays import Image
from olrd.errors import MissingExtraError, Rejected

VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg")
MAX_FRAMES = 1_000_000
"""Frames of one video that are read."""
_FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpeg", "mpegvideo"}
"""Containers that are opened. FFmpeg knows hundreds, some of which read other files (playlists)."""


def is_video(name: str) -> bool:
    """Whether a file is called like a video."""
    return name.lower().endswith(VIDEOS)


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("reading a video", "clip") from error
    return av


class Video:
    """A video file whose frames are read by number. Reading them in ascending order decodes each once.

    Args:
        path: a local file.
        name: for messages.
        max_pixels: larger frames are refused.
    """

    def __init__(self, path: Path, name: str, max_pixels: int) -> None:
        self.path, self.name, self.max_pixels = path, name, max_pixels
        self._frames: Iterator[Image] | None = None
        self._next = 0

    def frames(self) -> Iterator[Image]:
        """All frames in the order in which they are shown, uint8 [H, W, 3]. Raises `Rejected`."""
        av = _av()
        try:
            with av.open(str(self.path), options={"protocol_whitelist": "file"}) as container:
                if container.format.name not in _FORMATS or not container.streams.video:
                    raise Rejected("photo_unreadable", f"{self.name}: not a video ({container.format.name})")
                stream = container.streams.video[0]
                stream.thread_type = "AUTO"
                for number, frame in enumerate(container.decode(stream)):
                    if number == MAX_FRAMES:
                        raise Rejected(
                            "photo_too_large", f"{self.name}: only {MAX_FRAMES:,} frames of a video are read"
                        )
                    if frame.width * frame.height > self.max_pixels:
                        raise Rejected(
                            "photo_too_large",
                            f"{self.name}: {frame.width} x {frame.height} is more than the allowed {self.max_pixels} "
                            "pixels (--max-pixels raises the limit)",
                        )
                    yield np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
        except (av.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise Rejected("photo_unreadable", f"{self.name}: {reason}") from error

    def frame(self, number: int) -> Image:
        """Frame `number`, counted from 0. Raises `Rejected` if there is none."""
        if self._frames is None or number < self._next:
            self._frames, self._next = self.frames(), 0
        for found in self._frames:
            self._next += 1
            if self._next == number + 1:
                return found
        self._frames = None
        raise Rejected("photo_missing", f"{self.name} has no frame {number}")
