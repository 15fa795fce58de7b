"""Rendering recipes: from photos to the pictures of a triplet, verified by hash."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from olrd.arrays import MAX_PIXELS
from olrd.errors import IntegrityError, OlrdError, Rejected, SourceError
from olrd.panoptic import decode_rle
from olrd.sources import read_file
from olrd.storage.files import sha256
from olrd.storage.remote import Remote
from olrd.storage.roots import Traversable, folders_in, open_root
from olrd.triplets.compose import Triplet, check_fit, compose, pixels_sha256
from olrd.triplets.photo import WorkingPhoto, working_photo
from olrd.triplets.recipe import PhotoRef, Recipe
from olrd.trust import shown

KEEP = 4
"""Number of decoded photos that are kept, because neighbouring rows share a photo."""


class Renderer:
    """Renders recipes from the photos under `root`: their folder, URL or archive, or a folder that contains it."""

    def __init__(self, root: Path | Remote | str, max_pixels: int = MAX_PIXELS) -> None:
        self.max_pixels = max_pixels
        self.root: Traversable = open_root(root)
        if not self.root.is_dir():
            raise SourceError(f"--root {self.root} is not a folder; it should hold the photos")
        self._folders = [self.root, *folders_in(self.root), *folders_in(self.root / "images")]
        self._photos: OrderedDict[tuple[str, str, int | None], WorkingPhoto] = OrderedDict()

    def photo(self, reference: PhotoRef, size: int | None) -> WorkingPhoto:
        """The photo at working size. Raises `IntegrityError` if its file is not the one of the recipe."""
        key = (reference.file_name, reference.sha256, size)
        if key not in self._photos:
            data = self._read(reference)
            photo = working_photo(data, reference.file_name, size, self.max_pixels)
            if photo.shape[0] * photo.shape[1] > self.max_pixels:  # `size` may enlarge it without limit
                raise IntegrityError(
                    f"{reference.file_name}: resized to {size} it has more than {self.max_pixels} pixels"
                )
            self._photos[key] = photo
            if len(self._photos) > KEEP:
                self._photos.popitem(last=False)
        self._photos.move_to_end(key)
        return self._photos[key]

    def _read(self, reference: PhotoRef) -> bytes:
        why = f"photo {shown(reference.file_name)} is not under {self.root}"
        for number, folder in enumerate(self._folders):
            try:
                data = read_file(folder, reference.file_name, "photo")
            except Rejected as error:
                if error.code == "path_outside_root":
                    raise IntegrityError(str(error)) from error
                if error.code != "photo_missing":
                    why = f"{folder}: {error}"
                continue
            if sha256(data) != reference.sha256:
                raise IntegrityError(
                    f"{folder / reference.file_name} is not the photo the recipe was made from (sha256 "
                    f"{sha256(data)[:16]}, expected {reference.sha256[:16]}): get the original file"
                )
            self._folders.insert(0, self._folders.pop(number))
            return data
        raise SourceError(why)

    def render(self, recipe: Recipe) -> tuple[Triplet, WorkingPhoto]:
        """The triplet and its background photo. Raises `IntegrityError` if the pixels do not have the hash in the
        recipe."""
        box = recipe.source_bbox
        try:
            background = self.photo(recipe.background, recipe.size)
            donor = self.photo(recipe.donor, recipe.size)
            check_fit(recipe, background.shape[1], background.shape[0])
            if box.x + box.w > donor.shape[1] or box.y + box.h > donor.shape[0]:
                raise IntegrityError(f"its object, {tuple(box)}, does not lie in a photo of {donor.shape[::-1]}")
            mask = decode_rle(recipe.rle, box.h, box.w, self.max_pixels)
            triplet = compose(background.pixels, donor.pixels, mask, recipe)
        except (OlrdError, ValueError) as error:
            if isinstance(error, SourceError):
                raise
            raise IntegrityError(f"recipe {recipe.id}: {error}") from error
        if (got := pixels_sha256(triplet, background.pixels_sha256)) != recipe.pixels_sha256:
            raise IntegrityError(
                f"recipe {recipe.id} gave other pixels (sha256 {got[:16]}, expected "
                f"{recipe.pixels_sha256[:16]}): build.json names the library versions that made it"
            )
        return triplet, background
