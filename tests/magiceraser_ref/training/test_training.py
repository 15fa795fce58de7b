"""The training: what changes and what does not, exact resume, the folder, the demo's loss falls."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from synthetic_dataset import write_dataset

from magiceraser_ref.model.checkpoint import load
from magiceraser_ref.model.settings import Settings
from magiceraser_ref.model.token import TOKEN
from magiceraser_ref.small.architecture import MICRO, build_pipeline
from magiceraser_ref.training.config import Running, TrainConfig, micro_batches
from magiceraser_ref.training.denoiser import Denoiser, check_base
from magiceraser_ref.training.log import read_losses
from magiceraser_ref.training.rows import TrainingRows
from magiceraser_ref.training.state import Checkpoints
from magiceraser_ref.training.train import train
from olrd.builder.cached import demo_triplets
from olrd.errors import IntegrityError, OutputError, SourceError, UsageError

pytestmark = pytest.mark.slow

FAST = {"resolution": 32, "batch": 4, "lr_lora": 1e-2, "lr_token": 1e-2}


def running(**changes: Any) -> Running:
    standard: dict[str, Any] = {"device": "cpu", "micro_batch": 2, "fixed_samples": 2, "tensorboard": False}
    return Running(**standard | changes)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> TrainingRows:
    folder = write_dataset(tmp_path_factory.mktemp("triplets") / "t", photos=4, splits=("train",))
    return TrainingRows(str(folder))


def trained(out: Path, rows: TrainingRows, config: TrainConfig, *runs: Running) -> tuple[Any, Any]:
    """(the pipeline of the last run, its record); one run after the other, each with a new pipeline."""
    for how in runs:
        pipeline = build_pipeline(MICRO)
        record = train(pipeline, rows, config, out, how, base="micro", settings=Settings(base="micro"))
    return pipeline, record


def state(out: Path) -> dict[str, Any]:
    found = Checkpoints(out, 1).latest()
    assert found is not None
    return found


def same(one: Any, other: Any) -> bool:
    """Bit for bit, through dicts and lists."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_four_steps_are_two_and_two_more(tmp_path: Path, rows: TrainingRows, ema: float) -> None:
    config = TrainConfig(steps=4, ema=ema, warmup=2, **FAST)
    _, whole = trained(tmp_path / "a", rows, config, running())
    _, parts = trained(tmp_path / "b", rows, config, running(stop_at=2, workers=1), running(checkpoint_every=1))
    assert same(state(tmp_path / "a"), state(tmp_path / "b"))
    assert whole == parts
    for name in ("pytorch_lora_weights.safetensors", "learned_embeds.safetensors"):
        one, other = (tmp_path / x / "model" / name for x in "ab")
        assert one.read_bytes() == other.read_bytes()
    logs = [read_losses(tmp_path / x / "losses.csv") for x in "ab"]
    columns = ("step", "loss", "grad_norm", "lr_lora", "lr_token")
    assert [[r[c] for c in columns] for r in logs[0]] == [[r[c] for c in columns] for r in logs[1]]
    assert [row["step"] for row in logs[1]] == [str(n) for n in range(1, 5)]


def test_a_kill_loses_only_the_steps_since_the_checkpoint(
    tmp_path: Path, rows: TrainingRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(steps=5, **FAST)
    _, wanted = trained(tmp_path / "a", rows, config, running())
    from magiceraser_ref.training.trainer import Trainer

    step = Trainer.step

    def dying(self: Trainer, number: int, batches: Any) -> Any:
        if number == 3:
            raise KeyboardInterrupt
        return step(self, number, batches)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "step", dying)
        trained(tmp_path / "b", rows, config, running(checkpoint_every=2))
    assert [p.name for p in Checkpoints(tmp_path / "b", 1).all()] == ["step-00000002.pt"]
    assert len(read_losses(tmp_path / "b" / "losses.csv")) == 3  # the third is dropped on resume
    (tmp_path / "b" / "checkpoints" / ".step-00000004.pt.1.tmp").write_bytes(b"half")
    _, got = trained(tmp_path / "b", rows, config, running(checkpoint_every=2, max_checkpoints=1))
    assert got == wanted and same(state(tmp_path / "a"), state(tmp_path / "b"))
    assert sorted(p.name for p in (tmp_path / "b" / "checkpoints").iterdir()) == ["step-00000005.pt"]


def test_only_the_lora_and_the_row_of_the_token_change(tmp_path: Path, rows: TrainingRows) -> None:
    before = build_pipeline(MICRO)
    after, _ = trained(tmp_path, rows, TrainConfig(steps=3, prompt_dropout=0.0, **FAST), running())
    for part in ("vae", "text_encoder", "unet"):
        old = getattr(before, part).state_dict()
        new = {k.replace(".base_layer", ""): v for k, v in getattr(after, part).state_dict().items()}
        for name, values in old.items():
            if "token_embedding" in name:  # R* is one more row at the end
                assert new[name].shape[0] == values.shape[0] + 1
                assert torch.equal(new[name][:-1], values)
                start = before.tokenizer("background", add_special_tokens=False).input_ids
                assert not torch.equal(new[name][-1], values[start].mean(0))
            else:
                assert torch.equal(new[name], values), name
    lora = {k: v for k, v in after.unet.state_dict().items() if "lora_B" in k}
    assert lora and all(values.abs().max() > 0 for values in lora.values())
    assert all(".attn1." in k or ".attn2." in k for k in lora)


def test_without_the_token_prompts_go_without_it(tmp_path: Path, rows: TrainingRows) -> None:
    after, record = trained(tmp_path, rows, TrainConfig(steps=2, token=False, **FAST), running())
    assert TOKEN not in after.tokenizer.get_vocab()
    assert not (tmp_path / "model" / "learned_embeds.safetensors").exists()
    settings = json.loads((tmp_path / "model" / "magiceraser.json").read_text())
    assert settings["token"] is None and settings["base"] == "micro"
    assert record["trained_parameters"] == 21504


def test_the_full_form_is_a_model_of_its_own(tmp_path: Path, rows: TrainingRows) -> None:
    after, _ = trained(tmp_path, rows, TrainConfig(steps=2, **FAST), running(form="full"))
    loaded = load(tmp_path / "model", device="cpu")
    assert loaded.token == TOKEN and loaded.settings.resolution == 32
    number = loaded.pipeline.tokenizer.convert_tokens_to_ids(TOKEN)
    rows_of = [p.text_encoder.get_input_embeddings().weight[number] for p in (loaded.pipeline, after)]
    assert torch.equal(*rows_of)
    lora = [{k: v for k, v in p.unet.state_dict().items() if "lora_" in k} for p in (loaded.pipeline, after)]
    assert sorted(v.sum().item() for v in lora[0].values()) == sorted(v.sum().item() for v in lora[1].values())


def test_twelve_steps_on_the_embedded_demo_lower_the_loss(tmp_path: Path) -> None:
    rows = TrainingRows(str(demo_triplets()))
    config = TrainConfig(resolution=32, steps=12, batch=4, lr_lora=2e-2, lr_token=2e-2)
    _, record = trained(tmp_path, rows, config, running(fixed_samples=4, micro_batch=4))
    assert record["fixed_loss"]["after"] < 0.95 * record["fixed_loss"]["before"]


def test_the_record_says_how_many_prompts_are_long(
    tmp_path: Path, rows: TrainingRows, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, record = trained(tmp_path / "none", rows, TrainConfig(steps=1, **FAST), running())
    assert record["long_prompts"] == {"triplets": len(rows), "captioned": 0, "share": 0.0}
    assert json.loads((tmp_path / "none" / "done.json").read_text())["long_prompts"] == record["long_prompts"]
    said = capsys.readouterr().err
    assert said.count("0% of the prompts are long, not 50%") == 1 and "olrd caption" in said
    monkeypatch.setitem(vars(rows), "captioned", len(rows) // 2)
    _, record = trained(tmp_path / "half", rows, TrainConfig(steps=1, **FAST), running())
    assert record["long_prompts"]["share"] == 0.25
    assert "25% of the prompts are long, not 50%" in capsys.readouterr().err
    for name, captioned, share in (("all", len(rows), 0.5), ("short", 0, 0.0)):
        monkeypatch.setitem(vars(rows), "captioned", captioned)
        _, record = trained(tmp_path / name, rows, TrainConfig(steps=1, long_share=share, **FAST), running())
        assert record["long_prompts"]["share"] == share
        assert "have a caption" not in capsys.readouterr().err


def test_others_may_read_the_trained_weights(tmp_path: Path, rows: TrainingRows) -> None:
    before = os.umask(0o022)
    try:
        trained(tmp_path, rows, TrainConfig(steps=1, **FAST), running(form="full"))
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name: path.stat().st_mode & 0o777 for path in files if path.stat().st_mode & 0o777 != 0o644} == {}
    assert len([path for path in files if path.suffix == ".safetensors"]) == 5


def test_validation_pictures_change_nothing(tmp_path: Path, rows: TrainingRows) -> None:
    config = TrainConfig(steps=2, ema=0.5, **FAST)
    trained(tmp_path / "a", rows, config, running())
    how = running(validate_every=1, validation_count=2, validation_steps=2)
    trained(tmp_path / "b", rows, config, how)
    assert same(state(tmp_path / "a"), state(tmp_path / "b"))
    folders = sorted((tmp_path / "b" / "validation").iterdir())
    assert [p.name for p in folders] == ["step-00000001", "step-00000002"]
    assert len(list(folders[0].glob("*.png"))) == 2


def test_random_masks_and_accumulation_train_too(tmp_path: Path, rows: TrainingRows) -> None:
    config = TrainConfig(steps=2, masks="random", **FAST)
    losses = []
    for size in (1, 4):
        out = tmp_path / str(size)
        trained(out, rows, config, running(micro_batch=size))
        losses.append([float(row["loss"]) for row in read_losses(out / "losses.csv")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_finished_training_is_not_repeated_and_another_is_refused(
    tmp_path: Path, rows: TrainingRows, capsys: pytest.CaptureFixture[str]
) -> None:
    config = TrainConfig(steps=1, **FAST)
    _, record = trained(tmp_path / "a", rows, config, running())
    _, again = trained(tmp_path / "a", rows, config, running())
    assert again == record and "complete already" in capsys.readouterr().err
    with pytest.raises(OutputError, match=r"config\.rank"):
        trained(tmp_path / "a", rows, TrainConfig(steps=1, rank=2, **FAST), running())
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        trained(tmp_path / "other", rows, config, running())


def test_damaged_checkpoints_are_named(tmp_path: Path, rows: TrainingRows) -> None:
    config = TrainConfig(steps=2, **FAST)
    trained(tmp_path, rows, config, running(stop_at=1))
    path = tmp_path / "checkpoints" / "step-00000001.pt"
    foreign = torch.load(path, weights_only=True) | {"trained": [torch.ones(2)]}
    torch.save(foreign, path)
    with pytest.raises(IntegrityError, match="of another training"):
        trained(tmp_path, rows, config, running())
    path.write_bytes(b"PK\x03\x04 no")
    with pytest.raises(IntegrityError, match="delete them to begin again"):
        trained(tmp_path, rows, config, running())


def test_a_kill_while_the_model_is_written_goes_on_from_the_checkpoint(
    tmp_path: Path, rows: TrainingRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TrainConfig(steps=2, **FAST)
    _, wanted = trained(tmp_path / "a", rows, config, running())
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("magiceraser_ref.training.train._write_model", _killed)
        trained(tmp_path / "b", rows, config, running())
    leftover = tmp_path / "b" / ".model.123.tmp"
    (leftover / "unet").mkdir(parents=True)
    (leftover / "unet" / "config.json").write_text("{")
    _, got = trained(tmp_path / "b", rows, config, running())
    assert got == wanted and not leftover.exists()
    assert (tmp_path / "b" / "model" / "magiceraser.json").is_file()


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_loss_that_is_no_number_stops(tmp_path: Path, rows: TrainingRows) -> None:
    pipeline = build_pipeline(MICRO)
    pipeline.unet.conv_out.bias.data[:] = float("nan")
    with pytest.raises(IntegrityError, match="lower --lr-lora"):
        train(pipeline, rows, TrainConfig(steps=1, **FAST), tmp_path, running(), settings=Settings(base="x"))


@pytest.mark.parametrize("what", ["gradient", "weights"])
def test_weights_that_are_no_numbers_are_never_a_checkpoint(
    tmp_path: Path, rows: TrainingRows, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    from magiceraser_ref.training.trainer import Trainer

    step = Trainer.step

    def broken(self: Trainer, number: int, batches: Any) -> Any:
        loss, norm = step(self, number, batches)
        if number < 2:
            return loss, norm
        if what == "gradient":
            return loss, float("nan")
        next(iter(self.denoiser.trained())).data[:] = float("inf")
        return loss, norm

    monkeypatch.setattr(Trainer, "step", broken)
    config = TrainConfig(steps=4, **FAST)
    with pytest.raises(IntegrityError, match="step 3"):
        trained(tmp_path, rows, config, running(checkpoint_every=1))
    assert state(tmp_path)["step"] == 2
    assert not (tmp_path / "model").exists()


def test_another_kind_of_base_is_refused() -> None:
    pipeline = build_pipeline(MICRO)
    pipeline.unet.register_to_config(in_channels=4)
    with pytest.raises(SourceError, match="9 input channels"):
        check_base(pipeline, "toy")


def test_the_stand_in_gives_the_gradient_to_the_vector_alone() -> None:
    pipeline = build_pipeline(MICRO)
    pipeline.text_encoder.requires_grad_(False)
    denoiser = Denoiser(pipeline.unet, pipeline.text_encoder, 7)
    ids = torch.tensor([[3, 7, 5, 7]])
    pipeline.text_encoder(ids)[0].square().sum().backward()
    assert denoiser.vector is not None and denoiser.vector.grad.abs().max() > 0
    assert pipeline.text_encoder.get_input_embeddings().weight.grad is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank": 0}, "--rank"),
        ({"masks": "olrdd"}, "Did you mean 'olrd'"),
        ({"precision": "bf61"}, "Did you mean 'bf16'"),
        ({"ema": 1.0}, "--ema"),
        ({"targets": ()}, "--targets"),
        ({"lr_lora": float("nan")}, "--lr-lora"),
    ],
)
def test_bad_configurations_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        TrainConfig(**changes)


def test_micro_batches_share_a_batch() -> None:
    assert micro_batches(16, 4, 1) == (4, 4)
    assert micro_batches(16, 3, 2) == (2, 4)
    assert micro_batches(6, 100, 1) == (6, 1)
    with pytest.raises(UsageError, match="multiple of 3"):
        micro_batches(16, 4, 3)
