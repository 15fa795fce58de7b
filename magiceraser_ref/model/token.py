"""The learned token R* of prompt tuning (section 4): adding it to tokenizer and text encoder, its vector, its file.

R* stands for "background completion". It is one added token of the tokenizer and the text encoder; its vector v* is
trained together with the LoRA. The word from whose embedding it starts is inferred.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from baselines.eraser import WeightsUnusableError
from magiceraser_ref.extras import need
from olrd.errors import UsageError
from olrd.storage.files import atomic_path
from olrd.trust import shown

TOKEN = "R*"
"""The token as prompt templates write it."""
LARGEST_FILE = 1 << 20
"""Largest file of a token in bytes. A vector of 4,096 numbers has 16 KB."""


def is_token(text: object) -> bool:
    """Whether a value is one printable word of at most 100 characters."""
    return isinstance(text, str) and 0 < len(text) <= 100 and text.isprintable() and " " not in text


def add_token(tokenizer: Any, text_encoder: Any, token: str = TOKEN, initial: str = "background") -> int:
    """Add a token to a tokenizer and a text encoder. Both are changed in place.

    Args:
        tokenizer: A CLIP tokenizer of transformers.
        text_encoder: The CLIP text model that belongs to it.
        token: The new token.
        initial: Word or words whose mean vector the token's vector starts from.

    Returns:
        The token's id.

    Raises:
        UsageError: If the token exists, is empty or contains a space, or if `initial` has no tokens.
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
    # Not normalised, because CLIP's tokenizers lower-case text and R* must be found before that.
    tokenizer.add_tokens(transformers.AddedToken(token, normalized=False, special=False))
    number = int(tokenizer.convert_tokens_to_ids(token))
    rows = text_encoder.get_input_embeddings().weight.shape[0]
    if number >= rows:
        text_encoder.resize_token_embeddings(number + 1, mean_resizing=False)
    vectors = text_encoder.get_input_embeddings().weight
    set_token_vector(text_encoder, number, vectors[start].detach().float().mean(0))
    return number


def token_vector(text_encoder: Any, number: int) -> Any:
    """Return a copy of a token's vector, a float32 tensor [d] on the CPU. number: the token's id."""
    weight = text_encoder.get_input_embeddings().weight
    return weight[number].detach().float().cpu().clone()


def set_token_vector(text_encoder: Any, number: int, vector: Any) -> None:
    """Set a token's vector (tensor [d]). Raises `WeightsUnusableError` for a vector of another width."""
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
    """Write a token and its vector (tensor [d]) to a file that diffusers' `load_textual_inversion` reads."""
    need("safetensors", "saving a token")
    from safetensors.torch import save_file

    with atomic_path(Path(file)) as temporary:
        save_file({token: vector.detach().float().cpu()[None].contiguous()}, str(temporary))


def load_token(file: Path | str) -> tuple[str, Any]:
    """Read (token, vector: float32 tensor [d]) from a file with one token. Raises `WeightsUnusableError`."""
    need("safetensors", "loading a token")
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if (size := Path(file).stat().st_size) > LARGEST_FILE:
            raise WeightsUnusableError(f"{file} has {size:,} bytes: expected one learned token, a few thousand")
        found = load_file(str(file))
    except (OSError, SafetensorError) as error:
        raise WeightsUnusableError(f"{file} is not a safetensors file with a learned token: {error}") from error
    if len(found) != 1:
        raise WeightsUnusableError(
            f"{file}: expected one learned token, got {len(found)} tensors ({', '.join(map(shown, list(found)[:3]))})"
        )
    ((token, vector),) = found.items()
    if not is_token(token):
        raise WeightsUnusableError(f"{file}: {shown(token)} is not the name of a token: one word, such as {TOKEN}")
    vector = vector.float()
    if vector.ndim == 2 and vector.shape[0] == 1:
        vector = vector[0]
    if vector.ndim != 1:
        raise WeightsUnusableError(f"{file}: the token '{token}' should have one vector [d], got {list(vector.shape)}")
    if not vector.isfinite().all():
        raise WeightsUnusableError(f"{file}: the vector of '{token}' contains NaN or infinity")
    return token, vector
