"""What a worker of a build imports, also what is imported late elsewhere: see `olrd.engines.Worker`."""

import cv2
from PIL import Image

import olrd.builder.worker

Image.init()  # Pillow's formats, each in a module
__all__ = ["cv2", "olrd"]
