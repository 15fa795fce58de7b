"""Refocused self-attention (section 5): A' = softmax((Q K^T + M) / sqrt(d)).

M = W_pos * Mask_pos - W_neg * Mask_neg. M, the two masks and A' are the paper's. The paper does not give the weights W.
There are two kinds (both inferred), with S = Q K^T:

- `range` (default, after DenseDiffusion): W_pos = lambda_pos (rowmax(S) - S), W_neg = lambda_neg (S - rowmin(S)). With
  lambdas in [0, 1] every logit stays inside its row's range.
- `constant`: W = lambda sqrt(d). The attention weight of a boosted pair is multiplied by exp(lambda_pos) and that of a
  suppressed pair by exp(-lambda_neg), before the row is normalised. The factor sqrt(d) makes a lambda mean the same in
  layers with wider heads.

`plain` follows the equation. `fast` computes the same without an N x N matrix of all heads in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

# Rows are queries and columns are keys, in the order m, p, n (as in the figure), neutral (ours).
MASK_POS = ((0, 1, 0, 0), (1, 1, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0))
MASK_NEG = ((1, 0, 1, 0), (0, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0))

LOGITS_BYTES = {"cpu": 4 << 20, "cuda": 64 << 20}
"""Largest size of the logits that `fast` holds at a time, by device.

On the CPU this is about the size of the second-level cache; on a GPU it is enough to use it fully."""
_PARTS = {torch.float16: 2, torch.bfloat16: 3}
"""How many numbers of a type are needed to represent the 24 bits of a float32."""
_KEY_PARTS = {torch.float16: 2, torch.bfloat16: 2}
"""How many numbers of a type represent a scaled key. Two leave an error of at most 2 ** -17 of a logit."""
_ALIGNMENT = 8
"""The fused kernels need head dimensions that are multiples of this."""


class Weights(NamedTuple):
    """The weights W: their kind (`range` or `constant`) and the two lambdas. 0.3 is inferred."""

    lambda_pos: float = 0.3
    lambda_neg: float = 0.3
    kind: str = "range"


class Rows(NamedTuple):
    """The queries of one class.

    Attributes:
        index: int64 [k], positions of the queries.
        up: bool [N], keys that are boosted for these queries; None if there are none.
        down: bool [N], keys that are suppressed for these queries; None if there are none.
    """

    index: Tensor
    up: Tensor | None
    down: Tensor | None


@dataclass(frozen=True)
class Tokens:
    """The tokens of one self-attention layer, sorted by class once for all steps.

    Attributes:
        classes: int64 [N]: 0 is m, 1 is p, 2 is n, 3 is neutral.
        rows: One entry per class that has a token.
    """

    classes: Tensor
    rows: tuple[Rows, ...]


def tokens_of(classes: npt.NDArray[np.integer], device: torch.device | str = "cpu") -> Tokens:
    """Sort the tokens of a layer. classes: integers [h, w] or [N], see `Regions.classes`, row by row as in the UNet."""
    flat = classes.reshape(-1).astype(np.int64)
    present = set(np.unique(flat).tolist())

    def keys(row: tuple[int, ...]) -> Tensor | None:
        chosen = [code for code in present if row[code]]
        return torch.from_numpy(np.isin(flat, chosen)).to(device) if chosen else None

    rows = tuple(
        Rows(torch.from_numpy(np.flatnonzero(flat == code)).to(device), keys(up), keys(down))
        for code, (up, down) in enumerate(zip(MASK_POS, MASK_NEG, strict=True))
        if code in present
    )
    return Tokens(torch.from_numpy(flat).to(device), rows)


def probabilities(query: Tensor, key: Tensor, tokens: Tokens, weights: Weights, mask: Tensor | None = None) -> Tensor:
    """Compute A', float32 [..., N, N], by the equation. All computations are in float32.

    Args:
        query: [..., N, d] of any float type.
        key: [..., N, d] of any float type.
        tokens: The tokens of the layer.
        weights: The weights W.
        mask: An ordinary attention mask, float, that is added after the scaling.
    """
    d = query.shape[-1]
    logits = query.float() @ key.float().transpose(-1, -2)
    mask_pos, mask_neg = (
        torch.tensor(mask, device=query.device)[tokens.classes][:, tokens.classes] for mask in (MASK_POS, MASK_NEG)
    )
    if weights.kind == "range":
        w_pos = weights.lambda_pos * (logits.amax(-1, keepdim=True) - logits)
        w_neg = weights.lambda_neg * (logits - logits.amin(-1, keepdim=True))
    else:
        w_pos = torch.full_like(logits, weights.lambda_pos * math.sqrt(d))
        w_neg = torch.full_like(logits, weights.lambda_neg * math.sqrt(d))
    m = w_pos * mask_pos - w_neg * mask_neg
    scaled = (logits + m) / math.sqrt(d)
    return torch.softmax(scaled if mask is None else scaled + mask.float(), dim=-1)


def plain(
    query: Tensor, key: Tensor, value: Tensor, tokens: Tokens, weights: Weights, mask: Tensor | None = None
) -> Tensor:
    """Compute A' V, [..., N, d] in the type of `query`. This is the reference, with every matrix in memory."""
    found = probabilities(query, key, tokens, weights, mask)
    return (found @ value.float()).to(query.dtype)


def fast(query: Tensor, key: Tensor, value: Tensor, tokens: Tokens, weights: Weights) -> Tensor:
    """Compute the same as `plain`, with the fused kernel. query, key, value: [B, heads, N, d].

    For one class of queries, a logit is a multiple of S plus, for boosted or suppressed keys, a number that belongs to
    the query. Therefore the keys are scaled, and the numbers become further dimensions of the queries that a flag in
    the keys switches on. The result is an ordinary attention without a mask. `range` needs the largest and the smallest
    S of each row first; they are found in chunks of bounded size.

    In half precision the error is about that of ordinary attention: the row ends are found in float32, and a scaled key
    is the sum of two keys, each with its own copy of the query, because one rounded key is off by 2 ** -9 of a logit
    (bfloat16).
    """
    terms = [_terms(rows, weights) for rows in tokens.rows]
    if not any(terms):
        return functional.scaled_dot_product_attention(query, key, value)
    output = torch.empty_like(query)
    for rows, of_rows in zip(tokens.rows, terms, strict=True):
        chosen = query[:, :, rows.index]
        output[:, :, rows.index] = _attended(chosen, key, value, of_rows, weights.kind)
    return output


class _Term(NamedTuple):
    """One of W_pos and W_neg for one class of queries.

    Attributes:
        keys: bool [N], the keys that it changes.
        strength: Its lambda, not 0.
        sign: Its sign in M.
        bound: Finds the end of a row that `range` moves the logits to.
    """

    keys: Tensor
    strength: float
    sign: int
    bound: Callable[[Tensor, int], Tensor]


def _terms(rows: Rows, weights: Weights) -> list[_Term]:
    found = []
    if rows.up is not None and weights.lambda_pos:
        found.append(_Term(rows.up, weights.lambda_pos, 1, torch.amax))
    if rows.down is not None and weights.lambda_neg:
        found.append(_Term(rows.down, weights.lambda_neg, -1, torch.amin))
    return found


def _attended(query: Tensor, key: Tensor, value: Tensor, terms: list[_Term], kind: str) -> Tensor:
    """Compute the attention of one class of queries, [B, heads, k, d]."""
    if not terms:
        return functional.scaled_dot_product_attention(query, key, value)
    d = query.shape[-1]
    scaled, copies = key, 1
    if kind == "range":
        numbers = _row_ends(query, key, terms)
        factor = 1.0 - torch.stack([t.strength * t.keys for t in terms]).sum(0)
        copies = _KEY_PARTS.get(key.dtype, 1)
        scaled = _split(key * factor[:, None], key.dtype, copies)
    else:
        fixed = query.new_ones((*query.shape[:-1], 1), dtype=torch.float32)
        numbers = torch.cat([fixed * (t.sign * t.strength) for t in terms], -1)
    # The flag is a power of two near sqrt(d): it is exact in every type, and the numbers stay small.
    flag = 2.0 ** round(math.log2(d) / 2)
    extra = _split(numbers * (math.sqrt(d) / flag), query.dtype, _PARTS.get(query.dtype, 1))
    flags = (torch.stack([t.keys for t in terms], -1) * flag).to(key.dtype)
    flags = flags.repeat(1, extra.shape[-1] // len(terms)).expand(*key.shape[:-1], -1)
    width = -(-(copies * d + extra.shape[-1]) // _ALIGNMENT) * _ALIGNMENT
    found: Tensor = functional.scaled_dot_product_attention(
        _padded(torch.cat([*[query] * copies, extra], -1), width),
        _padded(torch.cat([scaled, flags], -1), width),
        _padded(value, width),
        scale=1 / math.sqrt(d),
    )
    return found[..., :d]


def _row_ends(query: Tensor, key: Tensor, terms: list[_Term]) -> Tensor:
    """Compute lambda times the largest or smallest S / sqrt(d) of each row, float32 [B, heads, k, terms].

    It works on a chunk of rows at a time, in float32: rounded to bfloat16, an end of 300 would be off by 1. Queries and
    keys are not scaled before the product, so that those of half precision stay exact even where TF32 is allowed.
    """
    batch, heads, _, d = query.shape
    allowed = LOGITS_BYTES.get(key.device.type, LOGITS_BYTES["cuda"])
    turned = key.float().transpose(-1, -2)
    row_bytes = batch * heads * key.shape[-2] * turned.element_size()
    found = []
    for chunk in query.split(max(1, allowed // row_bytes), dim=-2):
        logits = chunk.float() @ turned
        found.append(torch.stack([t.bound(logits, -1) * (t.strength / math.sqrt(d)) for t in terms], -1))
    return torch.cat(found, -2)


def _split(numbers: Tensor, dtype: torch.dtype, count: int) -> Tensor:
    """Split float32 [..., c] into a sum of `count` values of `dtype`, [..., count * c]. The first holds the most."""
    parts = []
    for _ in range(count):
        part = numbers.to(dtype)
        parts.append(part)
        numbers = numbers - part.float()
    return torch.cat(parts, -1)


def _padded(x: Tensor, width: int) -> Tensor:
    return functional.pad(x, (0, width - x.shape[-1]))
