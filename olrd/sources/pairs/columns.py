"""Which columns of a table hold the photo, the mask, the truth and the effect of a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from olrd.errors import UsageError, did_you_mean

USUAL: Mapping[str, tuple[str, ...]] = {
    "image": ("image", "input", "photo"),
    "mask": ("mask", "object_mask"),
    "truth": ("truth", "gt", "ground_truth", "target", "background"),
}
"""Names of columns that are known without `columns=`, the first that is there counts."""
PARTS = (*USUAL, "id", "cluster", "effect")
OBER = "image:input,mask:object_mask,truth:gt,effect:object_effect_mask"
"""https://huggingface.co/datasets/sczhou/OBERDataset_ObjectClear; the effects are read where their column is there."""


def chosen_columns(text: str, present: Sequence[str]) -> dict[str, str]:
    """The column of each part: those that the option `columns` names, or, for an empty text, the usual ones.

    Args:
        text: `image:A,mask:B,truth:C`, with the parts `PARTS`.
        present: the columns of the table.

    Raises:
        UsageError: the text is not of that form, or a column does not exist.
    """
    chosen: dict[str, str] = {}
    for pair in text.split(",") if text else ():
        part, _, name = (word.strip() for word in pair.partition(":"))
        if part not in PARTS or not name:
            raise UsageError(
                f"columns expects image:NAME,mask:NAME and perhaps truth:NAME,id:NAME,cluster:NAME,effect:NAME, got '{text}'"
            )
        if name not in present:
            if text == OBER and part == "effect":
                continue
            raise did_you_mean("column", name, present)
        chosen[part] = name
    for part, usual in USUAL.items():
        if not text and (found := [name for name in usual if name in present]):
            chosen[part] = found[0]
    return chosen
