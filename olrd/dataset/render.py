"""Rendering recipes: from photos to the pictures of a triplet, verified by hash."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

from olrd.arrays import MAX_PIXELS
from olrd.errors import IntegrityError, OlrdError, Rejected, SourceError
from olrd.panoptic import decode_rle
from olrd.sources import read_file
from olrd.sources.seen import PictureRef
from olrd.sources.seen.hub_pictures import HubPictures, hub_id
from olrd.sources.seen.picture_files import PictureFiles
from olrd.sources.seen.place import MOST_LAYERS, fitted_plate
from olrd.storage.files import sha256
from olrd.storage.remote import Remote
from olrd.storage.roots import Traversable, folders_in, open_root
from olrd.triplets.compose import Triplet, check_fit, compose, pixels_sha256
from olrd.triplets.photo import WorkingPhoto, working_photo
from olrd.triplets.recipe import PhotoRef, Recipe
from olrd.triplets.requantise import coding_of
from olrd.triplets.seen_compose import lay_plate, placed
from olrd.triplets.seen_recipe import SeenRecipe
from olrd.trust import shown

KEEP = 4
"""Number of decoded photos that are kept, because neighbouring rows share a photo."""
KEEP_LAYERS = MOST_LAYERS + KEEP
"""The same where neighbouring rows share the layers of a place."""


class Renderer:
    """Renders recipes from the photos under `root`: their folder, URL or archive, or a folder that contains it.

    For recipes of pairs, the root may be a dataset of the Hub.
    """

    def __init__(self, root: Path | Remote | str, max_pixels: int = MAX_PIXELS) -> None:
        self.max_pixels = max_pixels
        name = hub_id(root)
        self._hub = HubPictures(name) if name else None
        if self._hub is not None:
            _ = self._hub.splits  # a wrong name is reported now
        self.root: Traversable = open_root(root) if self._hub is None else Path(str(name))
        self._folders: list[Traversable] = []
        if self._hub is None:
            if not self.root.is_dir():
                raise SourceError(f"--root {self.root} is not a folder; it should hold the photos")
            self._folders = [self.root, *folders_in(self.root), *folders_in(self.root / "images")]
        self._parts: dict[str, PictureFiles] = {}
        self._photos: OrderedDict[tuple[str, str, int | None], WorkingPhoto] = OrderedDict()

    def photo(self, reference: PhotoRef, size: int | None, keep: int = KEEP) -> WorkingPhoto:
        """The photo at working size. keep: number of photos to keep.

        Raises `IntegrityError` if its file is not the one of the recipe.
        """
        key = (reference.file_name, reference.sha256, size)
        if key not in self._photos:
            data = self._read(reference)
            photo = working_photo(data, reference.file_name, size, self.max_pixels)
            if photo.shape[0] * photo.shape[1] > self.max_pixels:  # `size` may enlarge it without limit
                raise IntegrityError(
                    f"{reference.file_name}: resized to {size} it has more than {self.max_pixels} pixels"
                )
            self._kept(key, photo, keep)
        self._photos.move_to_end(key)
        return self._photos[key]

    def _kept(self, key: tuple[str, str, int | None], photo: WorkingPhoto, keep: int) -> None:
        self._photos[key] = photo
        if len(self._photos) > keep:
            self._photos.popitem(last=False)

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

    def render(self, recipe: Recipe | SeenRecipe) -> tuple[Triplet, WorkingPhoto]:
        """The triplet and its own photo: the background, or, if that was seen, the picture with the object.

        Raises `IntegrityError` if the pixels do not have the hash in the recipe.
        """
        try:
            triplet, photo = self._seen(recipe) if isinstance(recipe, SeenRecipe) else self._pasted(recipe)
        except (OlrdError, ValueError) as error:
            if isinstance(error, SourceError):
                raise
            raise IntegrityError(f"recipe {recipe.id}: {error}") from error
        under = None if isinstance(recipe, SeenRecipe) else photo.pixels_sha256
        if (got := pixels_sha256(triplet, under)) != recipe.pixels_sha256:
            raise IntegrityError(
                f"recipe {recipe.id} gave other pixels (sha256 {got[:16]}, expected "
                f"{recipe.pixels_sha256[:16]}): build.json names the library versions that made it"
            )
        return triplet, photo

    def _pasted(self, recipe: Recipe) -> tuple[Triplet, WorkingPhoto]:
        background = self.photo(recipe.background, recipe.size)
        donor = self.photo(recipe.donor, recipe.size)
        check_fit(recipe, background.shape[1], background.shape[0])
        for part in recipe.parts:
            box = part.source_bbox
            if box.x + box.w > donor.shape[1] or box.y + box.h > donor.shape[0]:
                raise IntegrityError(f"its object, {tuple(box)}, does not lie in a photo of {donor.shape[::-1]}")
        box = recipe.source_bbox
        mask = decode_rle(recipe.rle, box.h, box.w, self.max_pixels)
        return compose(background.pixels, donor.pixels, mask, recipe, coding_of(background, recipe.match)), background

    def _seen(self, recipe: SeenRecipe) -> tuple[Triplet, WorkingPhoto]:
        photo = self._picture(recipe.picture, recipe.size)
        pixels, box = photo.pixels, recipe.effect_bbox
        mask, effect = (
            placed(decode_rle(counts, place.h, place.w, self.max_pixels), place, photo.shape)
            for counts, place in ((recipe.mask, recipe.mask_bbox), (recipe.effect, box))
        )
        layers = [
            (self._picture(layer.picture, recipe.size).pixels, layer.motion, layer.tone) for layer in recipe.layers
        ]
        if len({layer.shape for layer, _, _ in layers}) > 1 or any(
            motion is None and layer.shape != pixels.shape for layer, motion, _ in layers
        ):
            raise IntegrityError("its layers differ in size from the picture")
        return lay_plate(pixels, mask, effect, box, fitted_plate(layers, box, recipe.tolerance).pixels), photo

    def _picture(self, picture: PictureRef, size: int | None) -> WorkingPhoto:
        """A picture at working size, by its reference. Raises `IntegrityError` if its file is another one."""
        if not picture.part:
            return self.photo(PhotoRef("", picture.file_name, picture.sha256), size, KEEP_LAYERS)
        key = (f"{picture.file_name}\0{picture.part}", picture.sha256, size)
        if key not in self._photos:
            data = self._part(picture)
            self._kept(key, working_photo(data, picture.file_name, size, self.max_pixels), KEEP_LAYERS)
        self._photos.move_to_end(key)
        return self._photos[key]

    def _part(self, picture: PictureRef) -> bytes:
        """The bytes of a part of a file: of a frame or a cell."""
        if self._hub is not None:
            data = self._hub.read(picture.file_name, picture.part)
            _check_hash(sha256(data), picture, self.root)
            return data
        why = f"{shown(picture.file_name)} is not under {self.root}"
        for number, folder in enumerate(self._folders):
            files = self._parts.setdefault(str(folder), PictureFiles(folder, self.max_pixels))
            try:
                found = files.sha256(picture.file_name, picture.part)
                data = files.read(picture.file_name, picture.part)
            except Rejected as error:
                if error.code == "path_outside_root":
                    raise IntegrityError(str(error)) from error
                if error.code != "photo_missing":
                    why = f"{folder}: {error}"
                continue
            _check_hash(found, picture, folder)
            self._folders.insert(0, self._folders.pop(number))
            return data
        raise SourceError(why)


def _check_hash(found: str, picture: PictureRef, folder: Traversable) -> None:
    if found != picture.sha256:
        raise IntegrityError(
            f"{folder / picture.file_name} is not the file the recipe was made from (sha256 {found[:16]}, "
            f"expected {picture.sha256[:16]}): get the original file"
        )
