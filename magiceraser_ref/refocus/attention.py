"""Refocused self-attention (section 5): A' = softmax((Q K^T + M) / sqrt(d)).

M = W_pos * Mask_pos - W_neg * Mask_neg. M, the two masks and A' are the paper's; the weights W are
not known. Kinds of W (both inferred), with S = Q K^T:

- `range` (default, after DenseDiffusion): W_pos = lambda_pos (rowmax(S) - S), W_neg = lambda_neg
  (S - rowmin(S)). A lambda in [0, 1] keeps every logit inside its row's range.
- `constant`: W = lambda sqrt(d), so a boosted pair's attention weight is multiplied by exp(lambda_pos)
  and a suppressed pair's by exp(-lambda_neg), before the row is normalised. Not in units of S itself,
  because a lambda would then mean less in a layer with wider heads.

`plain` reads like the equation. `fast` gives the same and never holds an N x N matrix of all heads.
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

# Rows are queries, columns keys, in the order m, p, n (the figure's), neutral (ours).
MASK_POS = ((0, 1, 0, 0), (1, 1, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0))
MASK_NEG = ((1, 0, 1, 0), (0, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0))

LOGITS_BYTES = {"cpu": 4 << 20, "cuda": 64 << 20}
"""Of the logits that `fast` holds at a time, by device: about the CPU's second-level cache; on a GPU
enough to keep it busy."""
_PARTS = {torch.float16: 2, torch.bfloat16: 3}
"""How many numbers of a type carry a float32's 24 bits."""
_ALIGNMENT = 8
"""The fused kernels want head dimensions in multiples of this."""


class Weights(NamedTuple):
    """W: its kind (`range` or `constant`) and the two lambdas. 0.3 is inferred."""

    lambda_pos: float = 0.3
    lambda_neg: float = 0.3
    kind: str = "range"


class Rows(NamedTuple):
    """The queries of one class. index: int64 [k]. up, down: bool [N], the keys that these queries see
    boosted and suppressed, or None where there are none."""

    index: Tensor
    up: Tensor | None
    down: Tensor | None


@dataclass(frozen=True)
class Tokens:
    """The tokens of one self-attention layer, sorted by class once for all steps.

    classes: int64 [N], 0 m, 1 p, 2 n, 3 neutral. rows: one entry per class that has a token.
    """

    classes: Tensor
    rows: tuple[Rows, ...]


def tokens_of(classes: npt.NDArray[np.integer], device: torch.device | str = "cpu") -> Tokens:
    """classes: integers [h, w] or [N] as in `Regions.classes`, row by row as the UNet flattens."""
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
    """A', float32 [..., N, N], as the equation has it.

    query, key: [..., N, d] of any float type. mask: an ordinary attention mask, float, added after the
    scaling. Everything is computed in float32.
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
    """A' V in the type of `query`, [..., N, d]: the reference, with every matrix in memory."""
    found = probabilities(query, key, tokens, weights, mask)
    return (found @ value.float()).to(query.dtype)


def fast(query: Tensor, key: Tensor, value: Tensor, tokens: Tokens, weights: Weights) -> Tensor:
    """What `plain` gives, by the fused kernel alone; query, key, value: [B, heads, N, d].

    A logit of one class of queries is a multiple of S plus, on the boosted or suppressed keys, a
    number that belongs to the query. So the keys are scaled, and the numbers become further dimensions
    of the queries, switched on by a flag in the keys: an ordinary attention without any mask. `range`
    needs the largest and smallest S of each row beforehand; those are found in bounded chunks.
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
    """One of W_pos and W_neg for one class of queries. keys: bool [N], where it holds. strength: its
    lambda, never 0. sign: as in M. bound: finds the end of the row that `range` moves logits to."""

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
    """The attention of one class of queries, [B, heads, k, d]."""
    if not terms:
        return functional.scaled_dot_product_attention(query, key, value)
    d = query.shape[-1]
    scaled = key
    if kind == "range":
        numbers = _row_ends(query, key, terms)
        factor = 1.0 - torch.stack([t.strength * t.keys for t in terms]).sum(0)
        scaled = (key * factor[:, None]).to(key.dtype)
    else:
        fixed = query.new_ones((*query.shape[:-1], 1), dtype=torch.float32)
        numbers = torch.cat([fixed * (t.sign * t.strength) for t in terms], -1)
    # A power of two near sqrt(d) as the flag: exact in any type, and the numbers stay small.
    flag = 2.0 ** round(math.log2(d) / 2)
    extra = _split(numbers * (math.sqrt(d) / flag), query.dtype)
    flags = (torch.stack([t.keys for t in terms], -1) * flag).to(key.dtype)
    flags = flags.repeat(1, extra.shape[-1] // len(terms)).expand(*key.shape[:-1], -1)
    width = -(-(d + extra.shape[-1]) // _ALIGNMENT) * _ALIGNMENT
    found: Tensor = functional.scaled_dot_product_attention(
        _padded(torch.cat([query, extra], -1), width),
        _padded(torch.cat([scaled, flags], -1), width),
        _padded(value, width),
        scale=1 / math.sqrt(d),
    )
    return found[..., :d]


def _row_ends(query: Tensor, key: Tensor, terms: list[_Term]) -> Tensor:
    """lambda times the largest or smallest S / sqrt(d) of each row, float32 [B, heads, k, terms], a
    chunk of rows at a time."""
    batch, heads, _, d = query.shape
    row_bytes = batch * heads * key.shape[-2] * key.element_size()
    allowed = LOGITS_BYTES.get(key.device.type, LOGITS_BYTES["cuda"])
    turned = key.transpose(-1, -2)
    found = []
    # Divided before the product: S itself may be more than float16 can hold.
    for chunk in (query / math.sqrt(d)).split(max(1, allowed // row_bytes), dim=-2):
        logits = chunk @ turned
        found.append(torch.stack([t.bound(logits, -1).float() * t.strength for t in terms], -1))
    return torch.cat(found, -2)


def _split(numbers: Tensor, dtype: torch.dtype) -> Tensor:
    """[..., c] float32 as a sum of `dtype` values, [..., parts * c], without losing precision."""
    parts = []
    for _ in range(_PARTS.get(dtype, 1)):
        part = numbers.to(dtype)
        parts.append(part)
        numbers = numbers - part.float()
    return torch.cat(parts, -1)


def _padded(x: Tensor, width: int) -> Tensor:
    return functional.pad(x, (0, width - x.shape[-1]))
