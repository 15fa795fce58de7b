"""R* as a real token, and the prompts around it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from micro_model import CATEGORIES, COW, GRASS, SHEEP, SKY, box_mask, meadow, panoptic_map
from safetensors.torch import save_file

from magiceraser_ref.model.token import add_token, load_token, save_token, set_token_vector, token_vector
from magiceraser_ref.prompts import labels_around, short_prompt, training_prompt, worded
from magiceraser_ref.small.architecture import MICRO, build_pipeline
from olrd.errors import SourceError, UsageError
from olrd.panoptic import Category, PanopticMap, Segment


@pytest.fixture
def pipeline() -> Any:
    return build_pipeline(MICRO)


def test_the_token_is_one_token_in_upper_case(pipeline: Any) -> None:
    before = len(pipeline.tokenizer)
    number = add_token(pipeline.tokenizer, pipeline.text_encoder)
    assert number == before and len(pipeline.tokenizer) == before + 1
    words = pipeline.tokenizer.tokenize("A photo of R* sky, grass")
    assert words == ["a</w>", "photo</w>", "of</w>", "R*", "sky</w>", ",</w>", "grass</w>"]
    assert pipeline.text_encoder.get_input_embeddings().weight.shape[0] == before + 1


def test_it_starts_as_the_mean_of_its_initial_words(pipeline: Any) -> None:
    old = pipeline.text_encoder.get_input_embeddings().weight.detach().clone()
    ids = pipeline.tokenizer("blue sky", add_special_tokens=False).input_ids
    assert len(ids) > 1
    number = add_token(pipeline.tokenizer, pipeline.text_encoder, "<bg>", "blue sky")
    torch.testing.assert_close(token_vector(pipeline.text_encoder, number), old[ids].mean(0), rtol=0, atol=0)
    new = pipeline.text_encoder.get_input_embeddings().weight.detach()
    assert torch.equal(new[: len(old)], old)


@pytest.mark.parametrize(
    ("token", "initial", "message"),
    [
        ("R*", "", "initial word"),
        ("R *", "sky", "one word"),
        ("", "sky", "one word"),
        ("sky</w>", "sky", "already has a token"),
    ],
)
def test_a_token_that_cannot_be_added_is_refused(pipeline: Any, token: str, initial: str, message: str) -> None:
    before = len(pipeline.tokenizer)
    with pytest.raises(UsageError, match=message):
        add_token(pipeline.tokenizer, pipeline.text_encoder, token, initial)
    assert len(pipeline.tokenizer) == before


def test_a_token_is_added_once(pipeline: Any) -> None:
    add_token(pipeline.tokenizer, pipeline.text_encoder)
    with pytest.raises(UsageError, match=r"already has a token 'R\*'"):
        add_token(pipeline.tokenizer, pipeline.text_encoder)


def test_a_stored_token_comes_back(pipeline: Any, tmp_path: Path) -> None:
    number = add_token(pipeline.tokenizer, pipeline.text_encoder)
    vector = torch.arange(16.0)
    set_token_vector(pipeline.text_encoder, number, vector)
    save_token(tmp_path / "t.safetensors", "R*", token_vector(pipeline.text_encoder, number))
    token, back = load_token(tmp_path / "t.safetensors")
    assert token == "R*" and torch.equal(back, vector)
    other = build_pipeline(MICRO)
    other.load_textual_inversion(str(tmp_path / "t.safetensors"))
    assert torch.equal(other.text_encoder.get_input_embeddings().weight[number].detach(), vector)


def test_a_file_that_holds_no_token_is_named(pipeline: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.safetensors"
    for write, message in (
        (lambda: path.write_bytes(b"nothing"), "not a safetensors file"),
        (lambda: save_file({"a": torch.zeros(4), "b": torch.zeros(4)}, path), "expected one"),
        (lambda: save_file({"a": torch.zeros(2, 4)}, path), "one vector"),
    ):
        write()
        with pytest.raises(SourceError, match=message):
            load_token(path)
    with pytest.raises(SourceError, match="not a safetensors file"):
        load_token(tmp_path / "none")
    with pytest.raises(SourceError, match="another base"):
        set_token_vector(pipeline.text_encoder, 3, torch.zeros(8))


# --- prompts -------------------------------------------------------------------------------------


def test_labels_are_the_stuff_around_the_mask_by_area() -> None:
    mask = box_mask(60, 80, (30, 12, 20, 10))
    assert labels_around(mask, meadow(60, 80), CATEGORIES) == ["sky", "grass"]
    assert labels_around(box_mask(60, 80, (30, 50, 20, 8)), meadow(60, 80), CATEGORIES) == ["grass"]
    assert short_prompt(["sky", "grass"]) == "A photo of R* sky, grass"


def test_a_wider_ring_sees_more() -> None:
    mask = box_mask(60, 80, (30, 26, 10, 4))
    assert labels_around(mask, meadow(60, 80), CATEGORIES, 0.1) == ["grass"]
    assert labels_around(mask, meadow(60, 80), CATEGORIES, 3.0) == ["grass", "sky"]


def test_at_most_three_labels_and_none_of_things_or_void() -> None:
    stuff = [c.id for c in CATEGORIES.values() if not c.isthing and c.label != "wall"][:5]
    ids = np.repeat(np.arange(7), [2, 9, 8, 7, 6, 5, 3])[None, :] * np.ones((9, 1), int)
    kinds = dict(enumerate([*stuff, SHEEP], start=1))
    mask = box_mask(9, 40, (0, 4, 40, 1))
    found = labels_around(mask, panoptic_map(ids, kinds), CATEGORIES)
    assert found == [CATEGORIES[k].label for k in stuff[:3]]


def test_no_stuff_around_gives_no_label() -> None:
    mask = box_mask(20, 20, (8, 8, 4, 4))
    only = panoptic_map(np.ones((20, 20), int), {1: COW})
    assert labels_around(mask, only, CATEGORIES) == []
    assert labels_around(mask, PanopticMap(np.zeros((20, 20), np.uint32), ()), {}) == []
    assert short_prompt([]) == "A photo of R* background"
    unlabelled = {1: Category(1, "background", "unlabelled", False)}
    whole = PanopticMap(np.ones((20, 20), np.uint32), (Segment(1, 1, 400, (0, 0, 20, 20)),))  # type: ignore[arg-type]
    assert labels_around(mask, whole, unlabelled) == []
    assert {SKY, GRASS} <= CATEGORIES.keys()


def test_training_takes_half_long_captions() -> None:
    row = {"prompt": "A photo of R* sky", "caption": "A wide sky over a field."}
    drawn = [training_prompt(row, (0, step)) for step in range(2000)]
    share = drawn.count(row["caption"]) / len(drawn)
    assert set(drawn) == set(row.values()) and abs(share - 0.5) < 0.04
    assert drawn == [training_prompt(row, (0, step)) for step in range(2000)]
    assert {training_prompt(row, (0, k), 0.0) for k in range(50)} == {row["prompt"]}
    assert {training_prompt(row, (0, k), 1.0) for k in range(50)} == {row["caption"]}


@pytest.mark.parametrize("caption", [None, ""])
def test_without_a_caption_the_prompt_is_short(caption: str | None) -> None:
    row = {"prompt": "A photo of R* sky", "caption": caption}
    assert {training_prompt(row, k, 1.0) for k in range(20)} == {row["prompt"]}


def test_a_model_without_the_token_gets_none() -> None:
    assert worded("A photo of R* sky, sea", None) == "A photo of sky, sea"
    assert worded("A photo of R* sky", "R*") == "A photo of R* sky"
    assert worded("A photo of R* sky", "<bg>") == "A photo of <bg> sky"
