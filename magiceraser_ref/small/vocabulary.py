"""A CLIP tokenizer whose vocabulary is generated from a given word list."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from magiceraser_ref.extras import need
from olrd.models.coco_categories import coco_categories

BEGIN, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"
TEMPLATE_WORDS = ("a", "photo", "of", "background", "the", "with", "and", "in")
SCENES = ("buildings", "forest", "glacier", "mountain", "sea", "street", "indoor", "outdoor")


def known_words(more: Iterable[str] = ()) -> list[str]:
    """List the words of the prompt template, of COCO's 133 categories and of `more`, in lower case and sorted."""
    texts = [*TEMPLATE_WORDS, *SCENES, *more]
    for category in coco_categories().values():
        texts += [category.name, category.label, category.supercategory]
    words = {w for text in texts for w in _words(text)}
    return sorted(words)


def _words(text: str) -> list[str]:
    return "".join(c if c.isascii() and c.isalpha() else " " for c in text.lower()).split()


def byte_pairs(words: Iterable[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Learn a byte-pair encoding until every word is one token. Returns (vocabulary, merges)."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1 << 20,
        min_frequency=1,
        end_of_word_suffix=END_OF_WORD,
        initial_alphabet=letters,
        show_progress=False,
    )
    learner.train_from_iterator(sorted(words), trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    # Every letter at the end of a word is a token, whether or not a known word ends with it.
    tokens = [*letters, *(c + END_OF_WORD for c in letters), *("".join(pair) for pair in merges)]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}, merges


def small_tokenizer(words: Iterable[str], length: int = 32) -> Any:
    """Build a `CLIPTokenizer` for prompts of `length` tokens, in which every one of `words` is one token."""
    transformers = need("transformers", "the small model")
    vocabulary, merges = byte_pairs(words)
    for special in (BEGIN, END):
        vocabulary[special] = len(vocabulary)
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=length)
