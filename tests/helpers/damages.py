"""Damages: each changes one photo of a folder, and has the reason code it must be counted under."""

from __future__ import annotations

import os
import shutil
import struct
import zlib
from collections.abc import Callable

import numpy as np
from bad_folder import Folder
from PIL import Image as Pillow

# --- damages: each changes one photo of the folder ---------------------------------------------


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def huge_png(side: int = 50_000) -> bytes:
    """A valid 1-bit grey PNG of side x side pixels, all black, in a few hundred kB."""
    packer = zlib.compressobj(1)
    row = bytes(1 + side // 8)
    blocks = [packer.compress(row * 500) for _ in range(side // 500)] + [packer.flush()]
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    body = png_chunk(b"IDAT", b"".join(blocks))
    return b"\x89PNG\r\n\x1a\n" + head + body + png_chunk(b"IEND", b"")


def photo_missing(folder: Folder) -> None:
    folder.photo().unlink()


def photo_is_a_folder(folder: Folder) -> None:
    folder.photo().unlink()
    folder.photo().mkdir()


def photo_is_a_pipe(folder: Folder) -> None:
    """Opening it waits for a writer, without end."""
    folder.photo().unlink()
    os.mkfifo(folder.photo())


def photo_is_an_endless_device(folder: Folder) -> None:
    folder.photo().unlink()
    folder.photo().symlink_to("/dev/zero")


def photo_is_a_link_that_leaves(folder: Folder) -> None:
    folder.photo().rename(outside := folder.root.parent / f"{folder.root.name}-outside.jpg")
    folder.photo().symlink_to(outside)


def photo_is_postscript(folder: Folder) -> None:
    """Pillow would start Ghostscript for it."""
    folder.photo().write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n%%EndComments\n(x) print\n%%EOF\n")


def photo_has_a_thousand_scans(folder: Folder) -> None:
    """A progressive JPEG whose last scan is repeated: decoding takes time for each."""
    with Pillow.open(folder.photo()) as image:
        image.convert("L").save(folder.photo(), "JPEG", progressive=True)
    data = folder.photo().read_bytes()
    last = data.rindex(b"\xff\xda")
    folder.photo().write_bytes(data[:-2] + data[last:-2] * 1000 + data[-2:])


def photo_is_nameless(folder: Folder) -> None:
    folder.image["file_name"] = None


def photo_of_another_size(folder: Folder) -> None:
    with Pillow.open(folder.photo()) as image:
        image.crop((0, 0, image.width - 1, image.height)).save(folder.photo())


def photo_truncated(folder: Folder) -> None:
    data = folder.photo().read_bytes()
    folder.photo().write_bytes(data[: len(data) // 2])


def photo_empty(folder: Folder) -> None:
    folder.photo().write_bytes(b"")


def photo_is_text(folder: Folder) -> None:
    folder.photo().write_text("<html>404 Not Found</html>")


def photo_is_a_truncated_png(folder: Folder) -> None:
    with Pillow.open(folder.photo()) as image:
        image.load()
        image.save(folder.photo(), "PNG")
    data = folder.photo().read_bytes()
    folder.photo().write_bytes(data[: len(data) // 2])


def photo_is_transparent(folder: Folder) -> None:
    with Pillow.open(folder.photo()) as image:
        clear = image.convert("RGBA")
    clear.putalpha(200)
    clear.save(folder.photo(), "PNG")


def photo_is_1_bit(folder: Folder) -> None:
    with Pillow.open(folder.photo()) as image:
        image.convert("1").save(folder.photo(), "PNG")


def photo_in_the_unrotated_frame(folder: Folder) -> None:
    """The file says "turn me by 90 degrees", the annotation was made without turning."""
    exif = Pillow.Exif()
    exif[0x0112] = 6
    with Pillow.open(folder.photo()) as image:
        image.save(folder.photo(), exif=exif)


def photo_climbs_out(folder: Folder) -> None:
    outside = folder.root.parent / "outside.jpg"
    shutil.move(folder.photo(), outside)
    folder.image["file_name"] = "../../outside.jpg"


def photo_is_absolute(folder: Folder) -> None:
    folder.image["file_name"] = str(folder.photo())


def panoptic_climbs_out(folder: Folder) -> None:
    shutil.move(folder.png, folder.root.parent / "outside.png")
    folder.note["file_name"] = "../../../outside.png"


def panoptic_is_absolute(folder: Folder) -> None:
    folder.note["file_name"] = str(folder.png)


def photo_is_huge(folder: Folder) -> None:
    folder.photo().write_bytes(huge_png())


def panoptic_is_huge(folder: Folder) -> None:
    folder.png.write_bytes(huge_png())


def panoptic_missing(folder: Folder) -> None:
    folder.png.unlink()


def panoptic_truncated(folder: Folder) -> None:
    data = folder.png.read_bytes()
    folder.png.write_bytes(data[: len(data) // 2])


def panoptic_is_text(folder: Folder) -> None:
    folder.png.write_text("version https://git-lfs.github.com/spec/v1")


def _panoptic_as(mode: str) -> Callable[[Folder], None]:
    def damage(folder: Folder) -> None:
        with Pillow.open(folder.png) as image:
            image.load()
        image.convert(mode).save(folder.png)

    damage.__name__ = f"panoptic_is_{mode}"
    return damage


def panoptic_of_another_size(folder: Folder) -> None:
    with Pillow.open(folder.png) as image:
        image.resize((image.width * 2, image.height), Pillow.Resampling.NEAREST).save(folder.png)


def _edit_ids(folder: Folder, change: Callable[[np.ndarray], None]) -> None:
    with Pillow.open(folder.png) as image:
        pixels = np.array(image)
    change(pixels)
    Pillow.fromarray(pixels).save(folder.png)


def panoptic_has_an_unlisted_id(folder: Folder) -> None:
    """In void, so that every listed segment stays as it is."""

    def change(pixels: np.ndarray) -> None:
        assert not pixels[0].any()
        pixels[0, :5] = (250, 1, 2)

    _edit_ids(folder, change)


def panoptic_lost_a_pixel(folder: Folder) -> None:
    first = folder.things[0]

    def change(pixels: np.ndarray) -> None:
        ids = pixels.astype(np.int64) @ np.array([1, 256, 65536])
        rows, columns = np.nonzero(ids == first["id"])
        pixels[rows[len(rows) // 2], columns[len(rows) // 2]] = 0

    _edit_ids(folder, change)


def area_is_one_off(folder: Folder) -> None:
    folder.things[0]["area"] += 1


def box_is_one_off(folder: Folder) -> None:
    folder.things[0]["bbox"][2] += 1


def box_has_moved(folder: Folder) -> None:
    folder.things[0]["bbox"][0] -= 1


def box_is_negative(folder: Folder) -> None:
    folder.things[0]["bbox"][1] = -7


def segment_is_not_in_the_png(folder: Folder) -> None:
    ghost = dict(folder.things[0], id=0xABCDEF)
    folder.note["segments_info"].append(ghost)


def segment_is_listed_twice(folder: Folder) -> None:
    folder.note["segments_info"].append(dict(folder.things[0]))


def segment_id_is_beyond_24_bits(folder: Folder) -> None:
    folder.things[0]["id"] = 1 << 40


def segment_id_is_negative(folder: Folder) -> None:
    folder.things[0]["id"] = -3


def one_category_does_not_exist(folder: Folder) -> None:
    folder.things[0]["category_id"] = 999


def every_object_has_a_category_that_does_not_exist(folder: Folder) -> None:
    for segment in list(folder.things):
        segment["category_id"] = 999


def stuff_has_a_category_that_does_not_exist(folder: Folder) -> None:
    taken = {segment["id"] for segment in folder.things}
    next(s for s in folder.note["segments_info"] if s["id"] not in taken)["category_id"] = 999


def annotation_missing(folder: Folder) -> None:
    folder.document["annotations"].remove(folder.note)


DAMAGES: list[tuple[Callable[[Folder], None], str]] = [
    (photo_missing, "photo_missing"),
    (photo_is_a_folder, "photo_unreadable"),
    (photo_is_a_pipe, "photo_unreadable"),
    (photo_is_an_endless_device, "photo_unreadable"),
    (photo_is_a_link_that_leaves, "photo_unreadable"),
    (photo_is_postscript, "photo_unreadable"),
    (photo_has_a_thousand_scans, "photo_unreadable"),
    (photo_is_nameless, "photo_missing"),
    (photo_of_another_size, "photo_size"),
    (photo_truncated, "photo_unreadable"),
    (photo_empty, "photo_unreadable"),
    (photo_is_text, "photo_unreadable"),
    (photo_is_a_truncated_png, "photo_unreadable"),
    (photo_is_transparent, "photo_mode"),
    (photo_is_1_bit, "photo_mode"),
    (photo_in_the_unrotated_frame, "photo_size"),
    (photo_climbs_out, "path_outside_root"),
    (photo_is_absolute, "path_outside_root"),
    (panoptic_climbs_out, "path_outside_root"),
    (panoptic_is_absolute, "path_outside_root"),
    (photo_is_huge, "photo_too_large"),
    (panoptic_is_huge, "panoptic_too_large"),
    (panoptic_missing, "panoptic_missing"),
    (panoptic_truncated, "panoptic_unreadable"),
    (panoptic_is_text, "panoptic_unreadable"),
    (_panoptic_as("P"), "panoptic_unreadable"),
    (panoptic_of_another_size, "panoptic_size"),
    (panoptic_has_an_unlisted_id, "panoptic_unknown_id"),
    (segment_is_listed_twice, "panoptic_unknown_id"),
    (segment_id_is_beyond_24_bits, "panoptic_unknown_id"),
    (segment_id_is_negative, "panoptic_unknown_id"),
    (one_category_does_not_exist, "category_unknown"),
    (every_object_has_a_category_that_does_not_exist, "category_unknown"),
    (stuff_has_a_category_that_does_not_exist, "category_unknown"),
    (annotation_missing, "annotation_missing"),
]
