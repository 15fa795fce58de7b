"""One folder for a model: round trip, diffusers' readers, and every way it can be wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from micro_model import PLAIN, SETTINGS, trained_pipeline, unet_output, write_model, write_plain
from safetensors.torch import save_file

from baselines.eraser import WeightsMissingError
from magiceraser_ref.model.checkpoint import load, save
from magiceraser_ref.model.locate import TOKEN_FILE, locate
from magiceraser_ref.model.lora import FILE as LORA_FILE
from magiceraser_ref.model.settings import FILE, Settings
from magiceraser_ref.model.token import save_token
from magiceraser_ref.refocus.settings import Refocus
from magiceraser_ref.small.architecture import MICRO, build_pipeline
from olrd.errors import OutputError, SourceError, UsageError

PROMPT = "A photo of R* sky"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shared: do not write into it."""
    return write_model(tmp_path_factory.mktemp("model") / "micro")


@pytest.fixture
def copied(model: Path, tmp_path: Path) -> Path:
    """A private copy, to damage."""
    return shutil.copytree(model, tmp_path / "copy")


# --- round trip ----------------------------------------------------------------------------------


def test_a_model_comes_back_whole(model: Path) -> None:
    parts = load(model, device="cpu")
    assert parts.token == "R*" and parts.located is not None
    assert replace(parts.settings, base_unet={}) == SETTINGS
    assert parts.settings.base_unet["block_out_channels"] == [16, 32]
    expected = unet_output(trained_pipeline(), PROMPT)
    torch.testing.assert_close(unet_output(parts.pipeline, PROMPT), expected, rtol=0, atol=1e-6)
    assert type(parts.pipeline.scheduler).__name__ == "DDIMScheduler"


@pytest.mark.slow
def test_diffusers_users_can_load_our_lora_and_token(model: Path) -> None:
    diffusers = pytest.importorskip("diffusers", reason="pip install '.[magiceraser]'")
    pipe = diffusers.StableDiffusionInpaintPipeline.from_pretrained(model)
    assert "R*" not in pipe.tokenizer.get_vocab()
    bare = unet_output(build_pipeline(MICRO), PROMPT)
    torch.testing.assert_close(unet_output(pipe, PROMPT), bare, rtol=0, atol=1e-6)
    pipe.load_lora_weights(model)
    pipe.load_textual_inversion(str(model / TOKEN_FILE))
    ours = unet_output(load(model, device="cpu").pipeline, PROMPT)
    torch.testing.assert_close(unet_output(pipe, PROMPT), ours, rtol=0, atol=1e-5)
    assert (ours - bare).abs().max() > 1e-3


def test_saving_leaves_the_pipeline_as_it_was(tmp_path: Path) -> None:
    pipeline = trained_pipeline()
    before = unet_output(pipeline, PROMPT)
    save(tmp_path / "m", pipeline, SETTINGS)
    assert torch.equal(unet_output(pipeline, PROMPT), before)
    assert "R*" in pipeline.tokenizer.get_vocab()


def test_a_loaded_model_saves_to_the_same_bytes(model: Path, tmp_path: Path) -> None:
    parts = load(model, device="cpu")
    save(tmp_path / "again", parts.pipeline, parts.settings)
    for path in sorted(p for p in model.rglob("*") if p.is_file()):
        again = tmp_path / "again" / path.relative_to(model)
        if path.suffix == ".safetensors" or path.name == FILE:
            assert again.read_bytes() == path.read_bytes(), path.name
    assert locate(model).revision == locate(model).revision


def test_a_model_does_not_say_where_it_was_loaded_from(model: Path, tmp_path: Path) -> None:
    parts = load(model, device="cpu")
    save(tmp_path / "again", parts.pipeline, parts.settings)
    for path in (tmp_path / "again").rglob("*.json"):
        assert str(model) not in path.read_text("utf-8"), path


@pytest.mark.slow
def test_adapters_alone_name_their_base(tmp_path: Path) -> None:
    base = write_plain(tmp_path / "base")
    for named in (str(base), "../base"):
        stored = save(tmp_path / "adapters", trained_pipeline(), replace(SETTINGS, base=named), adapters_only=True)
        assert stored.base == named
        assert sorted(p.name for p in (tmp_path / "adapters").iterdir()) == sorted([FILE, TOKEN_FILE, LORA_FILE])
        parts = load(tmp_path / "adapters", device="cpu")
        expected = unet_output(trained_pipeline(), PROMPT)
        torch.testing.assert_close(unet_output(parts.pipeline, PROMPT), expected, rtol=0, atol=1e-6)
    first = locate(tmp_path / "adapters").revision
    path = base / "scheduler" / "scheduler_config.json"
    path.write_text(path.read_text() + " ")
    assert locate(tmp_path / "adapters").revision != first


def test_a_plain_inpainting_checkpoint_loads_without_training(tmp_path: Path) -> None:
    parts = load(write_plain(tmp_path / "plain"), device="cpu")
    assert parts.token is None and parts.settings.lora is None
    assert parts.settings.resolution == 32 and parts.settings.refocus == Refocus()
    assert parts.located is not None and parts.located.settings is None


def test_half_precision_is_a_choice(model: Path) -> None:
    assert load(model, device="cpu", dtype="bfloat16").pipeline.unet.dtype == torch.bfloat16
    with pytest.raises(UsageError, match="no dtype is called 'float23'"):
        load(model, device="cpu", dtype="float23")


def test_settings_survive_json() -> None:
    for settings in (SETTINGS, PLAIN, Settings(refocus=None), Settings(refocus=Refocus(resolutions=(1, 2)))):
        assert Settings.from_json(settings.to_json()) == settings


# --- writing -------------------------------------------------------------------------------------


def test_a_model_replaces_a_model_and_nothing_else(model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model, tmp_path / "m")
    (tmp_path / "link").symlink_to(folder)
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_text("")  # of an earlier model
    save(tmp_path / "link", build_pipeline(MICRO), PLAIN)
    assert not list(folder.glob("unet/*.fp16.*")) and not (folder / LORA_FILE).exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "m"] and (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("mine", ["thesis.txt", "unet/notes.txt", "photos/a.png", "unet/inner/config.json"])
@pytest.mark.parametrize("is_model", [True, False])
def test_what_is_no_part_of_a_model_is_never_replaced(model: Path, tmp_path: Path, mine: str, is_model: bool) -> None:
    folder = tmp_path / "m"
    if is_model:
        shutil.copytree(model, folder)
    (folder / mine).parent.mkdir(parents=True, exist_ok=True)
    (folder / mine).write_text("precious")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(OutputError, match="is not part of a model" if is_model else "contains no model"):
        save(folder, build_pipeline(MICRO), PLAIN)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_place_that_cannot_be_written_is_an_error(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("precious")
    for folder in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(OutputError):
            save(folder, build_pipeline(MICRO), PLAIN)
    assert (tmp_path / "file").read_text() == "precious"
    folder = shutil.copytree(model, tmp_path / "m")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".tmp"):
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OutputError, match="cannot be written there"):
        save(folder, build_pipeline(MICRO), PLAIN)
    assert (folder / LORA_FILE).is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "m"]


def test_a_failed_save_leaves_the_old_model(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("magiceraser_ref.model.checkpoint.save_token", fail)
    with pytest.raises(KeyboardInterrupt):
        save(copied, trained_pipeline(), SETTINGS)
    assert load(copied, device="cpu").token == "R*"
    assert [p.name for p in copied.parent.iterdir()] == ["copy"]


@pytest.mark.parametrize(
    ("settings", "adapters", "message"),
    [
        (replace(SETTINGS, lora=None), False, "it has one"),
        (replace(SETTINGS, token="<bg>"), False, "does not have the token '<bg>'"),
        (SETTINGS, True, "must name their base"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: Settings, adapters: bool, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        save(tmp_path / "m", trained_pipeline(), settings, adapters_only=adapters)
    assert not any(tmp_path.iterdir())


# --- what can be wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["nowhere/at/all", "./nowhere", "nobody/no-such-model"])
def test_a_model_that_is_nowhere_says_how_to_get_one(name: str) -> None:
    with pytest.raises(WeightsMissingError, match=r"no folder|hf download"):
        load(name)


def _unlink(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _write(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def _edit(name: str, **changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        found = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(found | changes))

    return edit


def _pickled(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))


def _truncated(folder: Path) -> None:
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def _other_lora(folder: Path) -> None:
    save_file({f"unet.mid_block.x.to_q.lora_{x}.weight": torch.zeros(4, 4) for x in "AB"}, folder / LORA_FILE)


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "no index": (_unlink("model_index.json"), r"model_index\.json"),
    "broken index": (_write("model_index.json", "{"), r"model_index\.json is not valid JSON"),
    "index of something else": (_write("model_index.json", "[]"), "expected an object of JSON"),
    "no pipeline": (_write("model_index.json", "{}"), "names no diffusers pipeline"),
    "broken settings": (_write(FILE, "{"), r"magiceraser\.json is not valid JSON"),
    "settings of something else": (_write(FILE, "3"), "is not a record"),
    "settings of another format": (_edit(FILE, format=9), "expected format 1, got 9"),
    "unknown setting": (_edit(FILE, colour="red"), "unknown settings colour"),
    "setting out of range": (_edit(FILE, strength=2), "strength is a number"),
    "revision out of the cache": (_edit(FILE, revision="../../x"), "revision is a commit"),
    "refocus out of range": (_edit(FILE, refocus={"lambda_pos": 7}), "lambda_pos"),
    "no unet weights": (_unlink("unet/diffusion_pytorch_model.safetensors"), "unet has no weights"),
    "no config": (_unlink("vae/config.json"), r"vae/config\.json is missing"),
    "pickled weights": (_pickled, "pickled and could run code"),
    "truncated weights": (_truncated, "cannot be loaded as an inpainting pipeline"),
    "no lora": (_unlink(LORA_FILE), "pytorch_lora_weights.safetensors is missing"),
    "no token": (_unlink(TOKEN_FILE), "learned_embeds.safetensors is missing"),
    "token of another width": (
        lambda folder: save_token(folder / TOKEN_FILE, "R*", torch.zeros(8)),
        "8 numbers, the text encoder's have 16",
    ),
    "lora of another base": (_other_lora, r"another base: it changes the module mid_block\.x\.to_q"),
    "another base": (_edit(FILE, base_unet={"cross_attention_dim": 768}), "another base: its cross"),
    "text to image": (_edit("unet/config.json", in_channels=4), "an ordinary text-to-image model"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_named(damage: str, copied: Path) -> None:
    spoil, message = DAMAGES[damage]
    spoil(copied)
    with pytest.raises(SourceError, match=message) as caught:
        load(copied, device="cpu")
    assert copied.name in str(caught.value)


@pytest.mark.slow
def test_adapters_whose_base_is_gone_say_so(tmp_path: Path) -> None:
    settings = replace(SETTINGS, base="nobody/no-such-model", revision="abc")
    save(tmp_path / "a", trained_pipeline(), settings, adapters_only=True)
    with pytest.raises(WeightsMissingError, match="hf download nobody/no-such-model --revision abc"):
        load(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    save(tmp_path / "a", trained_pipeline(), replace(SETTINGS, base="../empty"), adapters_only=True)
    with pytest.raises(SourceError, match="is not a diffusers pipeline"):
        load(tmp_path / "a")
