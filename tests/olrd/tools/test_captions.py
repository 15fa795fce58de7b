"""Captions with real, tiny LLaVA and BLIP networks, and the column they fill."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from property_examples import examples

from olrd.errors import IntegrityError, SourceError, UsageError
from olrd.models.captioner import PROMPT, Captioner, question, without_prompt
from olrd.tools.captions import caption_dataset, caption_shards, caption_table, count_missing

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch", reason="pip install '.[models]'")
transformers = pytest.importorskip("transformers", reason="pip install '.[models]'")

TEXT = """USER: ASSISTANT: Describe the in background of this photo . , and scene sky grass road
sea a red blue green wide field under clouds with house tree far away"""
CHAT = (
    "{% for message in messages %}USER: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers

    special = ["<pad>", "<s>", "</s>", "<unk>", "<image>"]
    words = {word: number for number, word in enumerate([*special, *TEXT.split()])}
    raw = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
        additional_special_tokens=["<image>"],
    )


def save_llava(folder: Path, chat: str | None) -> Path:
    """A LLaVA with random weights: CLIP of 32 x 32 pixels, patches of 8, Llama of two layers."""
    torch.manual_seed(3)
    tokens = tokenizer()
    vision = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=16,
    )
    text = transformers.LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    config = transformers.LlavaConfig(vision_config=vision, text_config=text, image_token_index=4, image_seq_length=16)
    model = transformers.LlavaForConditionalGeneration(config)
    with torch.no_grad():  # loud enough that the picture and the question change the answer
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                weight *= 12 if "vision" in name or "projector" in name else 6
        model.lm_head.weight[:5] = 0  # answers are of words, not of special tokens
    model.save_pretrained(folder)
    transformers.LlavaProcessor(
        transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        tokens,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat,
    ).save_pretrained(folder)
    return folder


def save_blip(folder: Path) -> Path:
    torch.manual_seed(5)
    tokens = tokenizer()
    config = transformers.BlipConfig(
        text_config={
            "vocab_size": len(tokens),
            "hidden_size": 32,
            "encoder_hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "projection_dim": 16,
            "max_position_embeddings": 128,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "sep_token_id": 2,
            "pad_token_id": 0,
            "is_decoder": True,
        },
        vision_config={
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
        },
    )
    transformers.BlipForConditionalGeneration(config).save_pretrained(folder)
    processor = transformers.BlipImageProcessor(size={"height": 32, "width": 32})
    transformers.BlipProcessor(processor, tokens).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=["chat", "plain", "blip"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "blip":
        return save_blip(folder)
    return save_llava(folder, CHAT if request.param == "chat" else None)


@pytest.fixture(scope="session")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llava(tmp_path_factory.mktemp("llava"), CHAT)


def photo(seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(0, 256, (3, 4, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))


PHOTOS = [photo(seed) for seed in range(4)]
TAGS = [["sky", "grass"], ["sea"], ["road", "house", "tree"], []]


def test_captions_are_answers_only(checkpoint: Path) -> None:
    captioner = Captioner(str(checkpoint), device="cpu", max_new_tokens=12)
    captions = captioner.caption(PHOTOS, TAGS)
    assert len(captions) == 4
    for caption in captions:
        assert caption == " ".join(caption.split())
        assert 1 <= len(caption.split()) <= 12
        assert "USER:" not in caption.split()[:2]
        assert "<image>" not in caption
        assert not caption.startswith("Describe the")
    assert len(set(captions)) > 1 or "blip" in str(checkpoint)
    assert captions == captioner.caption(PHOTOS, TAGS)
    assert captions == Captioner(str(checkpoint), device="cpu", max_new_tokens=12).caption(PHOTOS, TAGS)


def test_batch_gives_what_single_photos_give(checkpoint: Path) -> None:
    """Prompts of different lengths in a batch: padding must change no answer."""
    captioner = Captioner(str(checkpoint), device="cpu", max_new_tokens=8)
    single = [captioner.caption([p], [t])[0] for p, t in zip(PHOTOS, TAGS, strict=True)]
    assert captioner.caption(PHOTOS, TAGS) == single
    assert captioner.caption([], []) == []


def test_question_reaches_the_network(llava: Path) -> None:
    """The tags are in the network's input, the dialogue ends with the assistant's turn."""
    captioner = Captioner(str(llava), device="cpu", max_new_tokens=8)
    asked: list[str] = []
    inner = captioner._model.generate

    def listening(**inputs: Any) -> Any:
        asked.extend(captioner._processor.tokenizer.batch_decode(inputs["input_ids"]))
        return inner(**inputs)

    captioner._model.generate = listening
    captioner.caption([PHOTOS[0]], [["sky", "sea"]])
    assert asked[0].count("<image>") == 16
    assert asked[0].endswith("Describe the sky and sea in the background of this <unk> ASSISTANT:")


@pytest.mark.parametrize(
    ("tags", "listed"),
    [
        ([], "scene"),
        (["sky"], "sky"),
        (["sky", "sea"], "sky and sea"),
        (["sky", "sea", "sky", "road"], "sky, sea and road"),
    ],
)
def test_question(tags: list[str], listed: str) -> None:
    assert question(PROMPT, tags) == f"Describe the {listed} in the background of this photo."
    assert question("What is {this}?", tags) == "What is {this}?"


@given(st.lists(st.integers(0, 9), max_size=5), st.lists(st.integers(0, 9), max_size=5))
def test_without_prompt(prompt: list[int], answer: list[int]) -> None:
    asked = torch.tensor([prompt, prompt], dtype=torch.long)
    said = torch.tensor([answer, answer], dtype=torch.long)
    whole = torch.cat([asked, said], dim=1)
    assert torch.equal(without_prompt(whole, asked), said)
    assert torch.equal(without_prompt(whole, None), whole)
    if answer[: len(prompt)] != prompt:
        assert torch.equal(without_prompt(said, asked), said)


class Echo:
    """A captioner that names the picture's first pixel and its tags, and counts its calls."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def caption(self, photos: Sequence[Any], tags: Sequence[Sequence[str]]) -> list[str]:
        self.batches.append(len(photos))
        return [f"{p[0, 0].tolist()} {'+'.join(t)}" for p, t in zip(photos, tags, strict=True)]


PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), metadata={"a": "b"}),
        pa.field("image", PICTURE),
        pa.field("background", PICTURE),
        pa.field("background_labels", pa.list_(pa.string())),
        pa.field("caption", pa.string(), metadata={"c": "d"}),
        pa.field("width", pa.int32()),
    ],
    metadata={"huggingface": '{"info": 1}', "olrd": "x"},
)


def encoded(pixels: Any) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def rows(captions: Sequence[str | None], first: int = 0) -> pa.Table:
    """A table whose composite differs from its background in every row."""
    return pa.Table.from_pylist(
        [
            {
                "id": f"r{number}",
                "image": encoded(photo(100)),
                "background": encoded(photo(number)),
                "background_labels": ["sky", f"tag{number}"],
                "caption": caption,
                "width": number,
            }
            for number, caption in enumerate(captions, start=first)
        ],
        SCHEMA,
    )


@examples(40)
@given(st.lists(st.sampled_from([None, "mine", ""]), max_size=7), st.integers(1, 3), st.none() | st.integers(0, 5))
def test_only_null_captions_change(captions: list[str | None], batch: int, limit: int | None) -> None:
    table = rows(captions)
    filled = caption_table(table, Echo(), batch, limit)
    assert filled.schema.equals(table.schema, check_metadata=True)
    assert filled.drop_columns("caption").equals(table.drop_columns("caption"))
    expected, left = list(captions), len(captions) if limit is None else limit
    for number, caption in enumerate(captions):
        if caption is None and left > 0:
            expected[number] = f"{photo(number)[0, 0].tolist()} sky+tag{number}"
            left -= 1
    assert filled.column("caption").to_pylist() == expected


def test_equal_backgrounds_are_captioned_once() -> None:
    table = pa.concat_tables([rows([None, None]), rows([None, None])])
    echo = Echo()
    told: list[int] = []
    filled = caption_table(table, echo, report=told.append)
    assert echo.batches == [1, 1]
    assert sum(told) == 4
    assert filled.column("caption").to_pylist()[:2] == filled.column("caption").to_pylist()[2:]


def dataset(out: Path) -> list[Path]:
    """Three shards: rows 0-2 none captioned, rows 3-4 all captioned, rows 5-6 one captioned."""
    (out / "data").mkdir(parents=True)
    tables = [rows([None] * 3), rows(["a", "b"], 3), rows(["c", None], 5)]
    paths = [out / "data" / f"train-{i:05d}-of-00003.parquet" for i in range(3)]
    for path, table in zip(paths, tables, strict=True):
        pq.write_table(table, path)
    return paths


def test_shards(tmp_path: Path) -> None:
    paths, written = dataset(tmp_path), []

    def rewrite(path: Path, table: pa.Table) -> None:
        written.append(path.name)
        pq.write_table(table, path)

    assert [count_missing(path) for path in paths] == [3, 0, 1]
    assert caption_shards(paths, Echo(), rewrite, limit=2) == 2
    assert [count_missing(path) for path in paths] == [1, 0, 1]
    assert caption_shards(paths, Echo(), rewrite, batch=4) == 2
    assert caption_shards(paths, Echo(), rewrite) == 0
    assert written == [paths[0].name, paths[0].name, paths[2].name]
    assert pq.read_table(paths[2]).column("caption")[0].as_py() == "c"


def test_dataset_end_to_end(tmp_path: Path, llava: Path, capsys: Any) -> None:
    paths = dataset(tmp_path)
    options: dict[str, Any] = {"checkpoint": str(llava), "device": "cpu", "max_new_tokens": 6}

    def rewrite(path: Path, table: pa.Table) -> None:
        pq.write_table(table, path)

    first = caption_dataset(tmp_path, rewrite, limit=1, batch=2, **options)
    assert (first["captioned"], first["without_caption"], first["shards"]) == (1, 3, 3)
    second = caption_dataset(tmp_path, rewrite, batch=2, **options)
    assert (second["captioned"], second["without_caption"]) == (3, 0)
    direct = Captioner(str(llava), device="cpu", max_new_tokens=6)
    expected = direct.caption([photo(0)], [["sky", "tag0"]])
    assert pq.read_table(paths[0]).column("caption")[0].as_py() == expected[0]
    # Nothing to do: the checkpoint is not even looked at.
    third = caption_dataset(tmp_path, rewrite, checkpoint=str(tmp_path / "nowhere"))
    assert third["captioned"] == 0
    assert capsys.readouterr().out == ""


def test_clear_errors(tmp_path: Path) -> None:
    def rewrite(path: Path, table: pa.Table) -> None:
        raise AssertionError

    with pytest.raises(SourceError, match="found no shard"):
        caption_dataset(tmp_path, rewrite)
    with pytest.raises(UsageError, match="batch 0"):
        caption_dataset(tmp_path, rewrite, batch=0)
    paths = dataset(tmp_path)
    with pytest.raises(SourceError, match="cannot be loaded"):
        caption_dataset(tmp_path, rewrite, checkpoint=str(tmp_path / "no-checkpoint"))
    broken = rows([None]).set_column(2, SCHEMA.field(2), pa.array([{"bytes": b"x", "path": None}], PICTURE))
    with pytest.raises(IntegrityError, match="row r0: its background cannot be read"):
        caption_table(broken, Echo())
    pq.write_table(rows([None]).drop_columns("background"), paths[0])
    with pytest.raises(SourceError, match=r"lacks \['background'\]"):
        count_missing(paths[0])
    paths[0].write_bytes(b"no parquet")
    with pytest.raises(SourceError, match="not a readable Parquet file"):
        count_missing(paths[0])
