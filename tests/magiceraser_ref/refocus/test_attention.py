"""The refocused attention: hand-computed values, a naive oracle, `fast` equal to `plain`, and what the
equation promises."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from property_examples import examples

torch = pytest.importorskip("torch", reason="pip install '.[magiceraser]'")

from small_encoders import one_thread  # noqa: E402

from magiceraser_ref.refocus import attention  # noqa: E402
from magiceraser_ref.refocus.attention import (  # noqa: E402
    MASK_NEG,
    MASK_POS,
    Weights,
    fast,
    plain,
    probabilities,
    tokens_of,
)

KINDS = ("range", "constant")


@pytest.fixture(autouse=True)
def single() -> Iterator[None]:
    with one_thread():
        yield


def drawn(seed: int, n: int, d: int, batch: int = 1, heads: int = 2) -> tuple[Any, Any, Any, Any]:
    """query, key, value [batch, heads, n, d] and classes [n]."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (1.5 * torch.randn(batch, heads, n, d, generator=generator) for _ in range(3))
    return q, k, v, np.random.default_rng(seed).integers(0, 4, n)


def naive(query: Any, key: Any, classes: Any, weights: Weights) -> Any:
    """A' of one head, [n][n], by loops over the figure's words alone."""
    boosted = {(0, 1), (1, 0), (1, 1)}
    suppressed = {(0, 0), (0, 2), (2, 0)}
    n, d = len(query), len(query[0])
    result = []
    for i in range(n):
        s = [sum(query[i][c] * key[j][c] for c in range(d)) for j in range(n)]
        row = []
        for j in range(n):
            pair, m = (int(classes[i]), int(classes[j])), 0.0
            if pair in boosted:
                w = max(s) - s[j] if weights.kind == "range" else math.sqrt(d)
                m = weights.lambda_pos * w
            if pair in suppressed:
                w = s[j] - min(s) if weights.kind == "range" else math.sqrt(d)
                m = -weights.lambda_neg * w
            row.append(math.exp((s[j] + m) / math.sqrt(d)))
        result.append([x / sum(row) for x in row])
    return result


def test_the_masks_are_symmetric_and_never_overlap() -> None:
    pos, neg = np.array(MASK_POS), np.array(MASK_NEG)
    assert (pos == pos.T).all() and (neg == neg.T).all() and not (pos * neg).any()
    assert not (pos + neg)[3].any()


@pytest.mark.parametrize("implementation", [plain, fast])
def test_the_hand_computed_case(implementation: Any) -> None:
    """Tokens m, m, p, n with lambda 0.3: the logits before 1 / sqrt(d), worked out by hand."""
    s = torch.tensor([[2.0, 1, 0, 1], [1, 2, 1, 0], [0, 1, 2, 1], [1, 0, 1, 2]])
    expected = torch.tensor([[1.4, 0.7, 0.6, 0.7], [0.7, 1.4, 1.3, 0], [0.6, 1.3, 2, 1], [0.7, 0, 1, 2]])
    eye = torch.eye(4)[None, None]  # d = 4, so K = identity makes S = Q, and V = identity shows A'
    found = implementation(s[None, None], eye, eye, tokens_of(np.array([0, 0, 1, 2])), Weights())
    assert torch.allclose(found[0, 0], torch.softmax(expected / 2, -1), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("lambda_pos", "lambda_neg"), [(0.3, 0.3), (1.0, 0.5), (0.0, 0.7)])
def test_plain_is_the_equation(kind: str, lambda_pos: float, lambda_neg: float) -> None:
    q, k, _, classes = drawn(3, 11, 5, heads=1)
    weights = Weights(lambda_pos, lambda_neg, kind)
    found = probabilities(q, k, tokens_of(classes), weights)
    expected = naive(q[0, 0].tolist(), k[0, 0].tolist(), classes, weights)
    assert torch.allclose(found[0, 0], torch.tensor(expected), atol=1e-5)


@examples(40)
@given(
    st.integers(0, 10_000),
    st.integers(1, 40),
    st.sampled_from([4, 8, 20, 40, 64, 80]),
    st.sampled_from(KINDS),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([(0, 1, 2, 3), (0, 1), (1,), (0,), (2, 3), (3,), (0, 2)]),
)
def test_fast_equals_plain(
    seed: int, n: int, d: int, kind: str, pos: float, neg: float, present: tuple[int, ...]
) -> None:
    q, k, v, classes = drawn(seed, n, d, batch=2)
    tokens = tokens_of(np.array(present)[classes % len(present)])
    weights = Weights(pos, neg, kind)
    expected = plain(q, k, v, tokens, weights)
    assert torch.allclose(fast(q, k, v, tokens, weights), expected, atol=1e-4)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v, classes = drawn(5, 70, 16, batch=2)
    whole = fast(q, k, v, tokens_of(classes), Weights())
    monkeypatch.setitem(attention.LOGITS_BYTES, "cpu", 2 * 2 * 70 * 4 * 3)  # three rows
    assert torch.allclose(fast(q, k, v, tokens_of(classes), Weights()), whole, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_result_has_the_type_of_the_query(dtype: str) -> None:
    q, k, v, classes = (x.to(getattr(torch, dtype)) if hasattr(x, "to") else x for x in drawn(7, 20, 40))
    for implementation in (fast, plain):
        assert implementation(q, k, v, tokens_of(classes), Weights()).dtype == q.dtype


def exact(query: Any, key: Any, value: Any, classes: Any, weights: Weights) -> Any:
    """A' V in float64, by the equation. Both lambdas 0 give ordinary attention."""
    q, k, d = query.double(), key.double(), query.shape[-1]
    s = q @ k.mT
    pos, neg = (torch.tensor(mask)[classes][:, classes] for mask in (MASK_POS, MASK_NEG))
    if weights.kind == "range":
        w_pos, w_neg = s.amax(-1, keepdim=True) - s, s - s.amin(-1, keepdim=True)
    else:
        w_pos = w_neg = torch.full_like(s, math.sqrt(d))
    m = weights.lambda_pos * w_pos * pos - weights.lambda_neg * w_neg * neg
    return torch.softmax((s + m) / math.sqrt(d), -1) @ value.double()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("logit", [5, 45, 320])
@pytest.mark.parametrize("width", [40, 160])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_costs_at_most_twice_what_it_costs_ordinary_attention(
    kind: str, logit: int, dtype: str, width: int
) -> None:
    """Measured against float64, over several draws, because the largest of few errors is a matter of luck."""
    ours, ordinary = [], []
    for seed in range(4):
        q, k, v, classes = drawn(seed, 160, width)
        stretch = math.sqrt(logit * math.sqrt(width) / float((q @ k.mT).abs().max()))
        q, k, v = (x.to(getattr(torch, dtype)) for x in (q * stretch, k * stretch, v / 1.5))
        weights = Weights(kind=kind)
        found = fast(q, k, v, tokens_of(classes), weights)
        ours.append(found.double() - exact(q, k, v, classes, weights))
        found = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        ordinary.append(found.double() - exact(q, k, v, classes, Weights(0.0, 0.0)))
    errors, usual = torch.cat(ours).abs(), torch.cat(ordinary).abs()
    assert errors.max() <= 2 * usual.max()
    assert errors.square().mean().sqrt() <= 1.2 * usual.square().mean().sqrt()


def test_bfloat16_does_not_round_the_bias() -> None:
    """A bias of 10.28 against a logit of -10.25: bfloat16 itself knows only 10.25 and 10.3125."""
    query = torch.tensor([[1.0, 0, 0, 0]] * 2)[None, None].bfloat16()
    key = torch.tensor([[-20.5, 0, 0, 0], [0] * 4])[None, None].bfloat16()
    value = torch.eye(4)[None, None, :2].bfloat16()
    found = fast(query, key, value, tokens_of(np.array([1, 2])), Weights(10.28, 0.0, "constant"))
    assert float(found[0, 0, 0, 0]) == pytest.approx(1 / (1 + math.exp(-0.03)), abs=0.002)


def test_float16_logits_beyond_its_range_stay_finite() -> None:
    """S up to 90,000 is more than float16 holds; S / sqrt(d) is not."""
    q, k, v, classes = drawn(8, 30, 64)
    q, k = (60 * x / x.norm(dim=-1, keepdim=True) * 5 for x in (q, k))
    k[..., 0, :] = q[..., 0, :]
    q, k, v = (x.half() for x in (q, k, v))
    assert float((q.float() @ k.float().mT).max()) > 65504
    tokens = tokens_of(classes)
    for implementation in (fast, plain):
        assert implementation(q, k, v, tokens, Weights()).isfinite().all()


@examples(30)
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_logits_stay_inside_their_row(seed: int, pos: float, neg: float) -> None:
    q, k, _, classes = drawn(seed, 12, 8)
    found = probabilities(q, k, tokens_of(classes), Weights(pos, neg)).double()
    before = torch.softmax((q @ k.mT).double() / math.sqrt(8), -1)

    def spread(a: Any) -> Any:
        return (a.amax(-1) / a.amin(-1)).log()

    assert (spread(found) <= spread(before) + 1e-4).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("implementation", [plain, fast])
def test_lambda_zero_is_ordinary_attention(kind: str, implementation: Any) -> None:
    q, k, v, classes = drawn(1, 50, 8)
    found = implementation(q, k, v, tokens_of(classes), Weights(0.0, 0.0, kind))
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    assert torch.allclose(found, expected, atol=1e-6)


@examples(30)
@given(st.integers(0, 10_000), st.sampled_from(KINDS))
def test_mass_moves_from_the_hole_to_the_background(seed: int, kind: str) -> None:
    """For every single row: m sees more of p, and less of m and n together; p sees more of m and p;
    n sees less of m; neutral rows see what they saw. (m and n apart need not both fall in every row.)"""
    q, k, _, classes = drawn(seed, 24, 8)
    classes[:4] = range(4)
    found = probabilities(q, k, tokens_of(classes), Weights(kind=kind))
    before = torch.softmax(q @ k.mT / math.sqrt(8), -1)

    def gain(row: int, *columns: int) -> Any:
        keys = torch.from_numpy(np.isin(classes, columns))
        rows = torch.from_numpy(classes == row)
        return (found - before)[..., rows, :][..., keys].sum(-1)

    assert (gain(0, 1) > -1e-6).all() and (gain(0, 0, 2) < 1e-6).all()
    assert (gain(1, 0, 1) > -1e-6).all() and (gain(2, 0) < 1e-6).all()
    assert gain(3, 0, 1, 2, 3).numel() and (found - before)[..., classes == 3, :].abs().max() < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_on_average_both_m_and_n_lose_the_attention_of_m(kind: str) -> None:
    q, k, _, classes = drawn(2, 200, 40)
    found = probabilities(q, k, tokens_of(classes), Weights(kind=kind))
    before = torch.softmax(q @ k.mT / math.sqrt(40), -1)
    gains = [(found - before)[..., classes == 0, :][..., classes == c].sum(-1) for c in range(3)]
    assert gains[0].mean() < -0.01 and gains[1].mean() > 0.01 and gains[2].mean() < -0.01


@pytest.mark.parametrize("implementation", [plain, fast])
def test_neutral_rows_and_tokens_without_a_region_are_left_alone(implementation: Any) -> None:
    q, k, v, classes = drawn(4, 40, 16)
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    found = implementation(q, k, v, tokens_of(classes), Weights())
    assert torch.allclose(found[..., classes == 3, :], expected[..., classes == 3, :], atol=1e-5)
    assert not torch.allclose(found[..., classes == 0, :], expected[..., classes == 0, :])
    none = implementation(q, k, v, tokens_of(np.full(40, 3)), Weights())
    assert torch.allclose(none, expected, atol=1e-5)


def test_samples_do_not_mix() -> None:
    q, k, v, classes = drawn(6, 30, 8, batch=3)
    tokens = tokens_of(classes)
    together = fast(q, k, v, tokens, Weights())
    for i in range(3):
        alone = fast(q[i : i + 1], k[i : i + 1], v[i : i + 1], tokens, Weights())
        assert torch.allclose(together[i : i + 1], alone, atol=1e-6)
