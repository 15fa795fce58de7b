"""Prompt tuning (section 4): R*, a learned token for "background completion", and the prompts it is in.

R* is one added token of tokenizer and text encoder, its vector v* trained with the LoRA. Template and
50/50 mix are the paper's (second-hand); the initial word, the labels' ring, their order by area and
their number of three are inferred, as is that long captions go without R*.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from baselines.eraser import WeightsUnusableError
from magiceraser_ref.extras import need
from magiceraser_ref.initialization import grown
from olrd.arrays import Mask
from olrd.draws import draw_share
from olrd.errors import UsageError
from olrd.files import atomic_path
from olrd.panoptic import Category, PanopticMap
from olrd.prompts import MAX_LABELS, MIN_SHARE, UNLABELLED, short_prompt

__all__ = [
    "TOKEN",
    "add_token",
    "labels_around",
    "load_token",
    "save_token",
    "set_token_vector",
    "short_prompt",
    "token_vector",
    "training_prompt",
    "worded",
]

TOKEN = "R*"
"""As the templates write it."""
RING_SHARE = 0.25
"""Width of the ring around the mask, as a share of the square root of the mask's area (inferred)."""


def add_token(
    tokenizer: Any, text_encoder: Any, token: str = TOKEN, initial: str = "background"
) -> int:
    """Add `token` to both; returns its id. Its vector starts as the mean of those of `initial`.

    tokenizer, text_encoder: transformers' CLIP classes; changed in place. Raises `UsageError` if the
    token exists, is empty or holds a space, or if `initial` has no tokens.
    """
    transformers = need("transformers", "a learned token")
    if not token or any(c.isspace() for c in token):
        raise UsageError(f"a token is one word without spaces, not '{token}'")
    if token in tokenizer.get_vocab():
        raise UsageError(
            f"the tokenizer already has a token '{token}': give the learned token another name, or "
            "start from the base model without it"
        )
    start = tokenizer(initial, add_special_tokens=False).input_ids
    if not start:
        raise UsageError("the initial word of a token must not be empty; 'background' is usual")
    # Not normalised: CLIP's tokenizers turn text into lower case, and R* must be met before that.
    tokenizer.add_tokens(transformers.AddedToken(token, normalized=False, special=False))
    number = int(tokenizer.convert_tokens_to_ids(token))
    rows = text_encoder.get_input_embeddings().weight.shape[0]
    if number >= rows:
        text_encoder.resize_token_embeddings(number + 1, mean_resizing=False)
    vectors = text_encoder.get_input_embeddings().weight
    set_token_vector(text_encoder, number, vectors[start].detach().float().mean(0))
    return number


def token_vector(text_encoder: Any, number: int) -> Any:
    """A copy of the vector of token `number`, a float32 tensor [d] on the CPU."""
    weight = text_encoder.get_input_embeddings().weight
    return weight[number].detach().float().cpu().clone()


def set_token_vector(text_encoder: Any, number: int, vector: Any) -> None:
    """Give token `number` a vector (tensor [d]). `SourceError` for another width."""
    torch = need("torch", "a learned token")
    weight = text_encoder.get_input_embeddings().weight
    if tuple(vector.shape) != (weight.shape[1],):
        raise WeightsUnusableError(
            f"the token's vector is {list(vector.shape)}, this text encoder's are [{weight.shape[1]}]: "
            "the token was learned for another base model"
        )
    with torch.no_grad():
        weight[number] = vector.to(weight)


def save_token(file: Path | str, token: str, vector: Any) -> None:
    """Write a token (tensor [d]) as diffusers' `load_textual_inversion` reads it."""
    need("safetensors", "saving a token")
    from safetensors.torch import save_file

    with atomic_path(Path(file)) as temporary:
        save_file({token: vector.detach().float().cpu()[None].contiguous()}, str(temporary))


def load_token(file: Path | str) -> tuple[str, Any]:
    """(token, vector: float32 tensor [d]) from a file of one token. Raises `SourceError`."""
    need("safetensors", "loading a token")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(str(file))
    except (OSError, SafetensorError) as error:
        raise WeightsUnusableError(
            f"{file} is no safetensors file with a learned token: {error}"
        ) from error
    if len(found) != 1:
        raise WeightsUnusableError(
            f"{file}: expected one learned token, got {len(found)} tensors ({', '.join(list(found)[:3])})"
        )
    ((token, vector),) = found.items()
    vector = vector.float()
    if vector.ndim == 2 and vector.shape[0] == 1:
        vector = vector[0]
    if vector.ndim != 1:
        raise WeightsUnusableError(
            f"{file}: the token '{token}' should have one vector [d], got {list(vector.shape)}"
        )
    return token, vector


def labels_around(
    mask: Mask,
    panoptic: PanopticMap,
    categories: Mapping[int, Category],
    ring_share: float = RING_SHARE,
) -> list[str]:
    """The stuff classes in a ring around the mask, largest first, at most three, each over 5 % of the
    ring's stuff (all inferred).

    mask: bool [H, W]. panoptic: of the same size. ring_share: the ring's width as a share of the square
    root of the mask's area. Segments whose category is unknown do not count.
    """
    width = max(1, round(ring_share * math.sqrt(np.count_nonzero(mask))))
    ring = panoptic.ids[grown(mask, width) & ~mask]
    areas: dict[str, int] = {}
    for segment in panoptic.segments:
        category = categories.get(segment.category_id)
        if category and not category.isthing and category.supercategory != UNLABELLED:
            count = int(np.count_nonzero(ring == np.uint32(segment.id)))
            areas[category.label] = areas.get(category.label, 0) + count
    total = sum(areas.values())
    ranked = sorted((label for label in areas if areas[label]), key=lambda x: (-areas[x], x))
    return [label for label in ranked if areas[label] >= MIN_SHARE * total][:MAX_LABELS]


def training_prompt(row: Mapping[str, Any], key: object, long_share: float = 0.5) -> str:
    """The prompt of one training sample: the long caption in `long_share` of the draws, else the short
    prompt; always the short one where there is no caption.

    row: an OLRD row with `prompt` and `caption`. key: everything the draw depends on, as text.
    """
    caption = row.get("caption")
    if caption and draw_share(key, "long caption") < long_share:
        return str(caption)
    return str(row["prompt"])


def worded(prompt: str, token: str | None) -> str:
    """A prompt with R* as the model knows it: under another name, or left out (None)."""
    if token is None:
        return " ".join(word for word in prompt.split(" ") if word != TOKEN)
    return prompt if token == TOKEN else prompt.replace(TOKEN, token)
