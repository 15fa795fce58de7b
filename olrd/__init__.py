"""olrd: build object / mask / clean-background triplets from annotated photos, and open them.

    import olrd

    dataset = olrd.build("coco", out="triplets/coco")  # the embedded photos
    for triplet in dataset:
        print(triplet.id, triplet.image.shape, triplet.mask.mean())

`import olrd` is fast: a function imports what it needs when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os

    import datasets

    from olrd.dataset.folder import Dataset
    from olrd.storage.remote import Remote

__version__ = "0.1.0"
__all__ = ["__version__", "build", "load", "open"]


def build(
    source: str = "coco",
    root: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    *,
    workers: int = 1,
    retry_failed: bool = False,
    repair: bool = False,
    **options: Any,
) -> Dataset:
    """Build triplets, or finish an interrupted build, as `olrd-build` does.

    Args:
        source: the name of a source; `olrd sources` lists them.
        root: the source's folder or URL. Without it, `coco` reads the embedded photos.
        out: the folder or URL to write to; by default `triplets/SOURCE`.
        workers: number of processes. With more than one, call this under `if __name__ == "__main__":`.
        retry_failed: read photos again that could not be read.
        repair: check the hashes of a finished build and build damaged shards again.
        options: the options of `olrd-build` with underscores, e.g. `size=512`, `blend="feather"`, `min_area=0.01`,
            `categories=("dog", "cat")`, `form="recipes"`, `limit=100`, `preset="hard-cases"`. Three of them are written
            differently: `splits={"train": 0.9, "test": 0.1}` (shares that sum to 1), `scale=(0.8, 1.2)` (lowest and
            highest, as in `objects=(1, 3)`; one number stands for both), and `licenses="4,cc-by"` (one string with commas). Other lists of names may be written as on the
            command line: `"dog,cat"`.

    Returns:
        The finished dataset.

    Raises:
        UsageError: an option does not exist, or its value is not allowed.
        SourceError: the source cannot be read.
        OutputError: `out` contains something else.

    Example:
        >>> import olrd
        >>> dataset = olrd.build("coco", out="triplets/small", limit=4, size=256)
        >>> len(dataset)
        9
    """
    from olrd.builder.build import build as build_config
    from olrd.config import BuildConfig, with_preset
    from olrd.dataset.folder import Dataset
    from olrd.engines import EngineSpec
    from olrd.options import from_values
    from olrd.storage.remote import location

    place = root if root is None or isinstance(root, str) else str(location(root))
    config = from_values(BuildConfig, with_preset(options | {"source": source, "root": place}))
    folder = location(f"triplets/{source}" if out is None else out)
    build_config(config, folder, retry_failed=retry_failed, repair=repair, engine=EngineSpec(workers=workers))
    return Dataset(folder)


def open(folder: str | os.PathLike[str]) -> Dataset:
    """Open a built folder, or one at a URL.

    Args:
        folder: a folder that `olrd-build --out` wrote.

    Returns:
        A dataset with a length. Iterating over it returns triplets with `id`, `image` (uint8 [H, W, 3]), `mask`
        (bool [H, W], True = erase), `background` (uint8 [H, W, 3]) and `row` (the plain columns).

    Raises:
        SourceError: the folder contains no finished build.
        IntegrityError: its `build.json` is damaged.

    Example:
        >>> import olrd
        >>> folder = olrd.build("coco", out="triplets/small", limit=4, size=256).folder
        >>> triplet = next(iter(olrd.open(folder)))
        >>> bool((triplet.image == triplet.background)[~triplet.mask].all())
        True
    """
    from olrd.dataset.folder import Dataset

    return Dataset(folder)  # type: ignore[arg-type]


def load(
    folder: str | os.PathLike[str] | Remote | Dataset,
    split: str | None = None,
    root: str | os.PathLike[str] | Remote | None = None,
    max_pixels: int = 64_000_000,
) -> datasets.Dataset | datasets.DatasetDict:
    """Open a built folder, or one at a URL, as a `datasets` dataset.

    For a folder in full form, the result is that of `datasets.load_dataset`. The pictures of recipes are rendered from the
    photos, and verified by hash, each time a row is read.

    Args:
        folder: a folder that `olrd-build --out` wrote, or what `olrd.open` returned for it.
        split: name of one split; by default, all splits are returned as a dict.
        root: the folder of the photos, needed for recipes.
        max_pixels: refuse larger photos when recipes are rendered.

    Returns:
        Rows whose pictures are PIL images: RGB, and 1-bit for the mask.

    Example:
        >>> import olrd
        >>> folder = olrd.build("coco", out="triplets/small", limit=4, size=256).folder
        >>> olrd.load(folder, split="train")[0]["mask"].mode
        '1'
    """
    from olrd.dataset.folder import Dataset
    from olrd.dataset.loading import load as load_folder

    place = folder.folder if isinstance(folder, Dataset) else folder
    return load_folder(place, split, root, max_pixels)  # type: ignore[arg-type]
