"""What `magiceraser train` does: open the model and the triplets, then train or estimate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from magiceraser_ref.model.checkpoint import load_base
from magiceraser_ref.model.locate import Located, locate
from magiceraser_ref.model.settings import Settings
from magiceraser_ref.training.config import Running, TrainConfig, TrainingInputs
from magiceraser_ref.training.estimate import estimate
from magiceraser_ref.training.rows import TrainingRows
from magiceraser_ref.training.train import train

DEMO = "demo"


def estimated(inputs: TrainingInputs, config: TrainConfig, running: Running) -> dict[str, Any]:
    """Return what `trained` would do, see `estimate`. Nothing is written."""
    base = locate(inputs.base, inputs.revision).base
    return estimate(base, config, running, len(_rows(inputs, inputs.split)))


def trained(inputs: TrainingInputs, config: TrainConfig, running: Running, out: Path) -> dict[str, Any]:
    """Train into `out`, or continue a training run there. A LoRA and a token that the base has are left out."""
    located = locate(inputs.base, inputs.revision)
    rows = _rows(inputs, inputs.split)
    shown = _rows(inputs, inputs.validation_split) if inputs.validation_split else None
    pipeline = load_base(located.base, "cpu", "float32")
    return train(
        pipeline,
        rows,
        config,
        out,
        running,
        base=f"{Path(inputs.base).name} {located.revision}",
        data=rows.fingerprint,
        settings=_settings(inputs, located),
        shown=shown,
    )


def _rows(inputs: TrainingInputs, split: str) -> TrainingRows:
    triplets = inputs.triplets
    if triplets == DEMO:
        from olrd.builder.cached import demo_triplets

        triplets = str(demo_triplets())
    return TrainingRows(triplets, split, inputs.photos)


def _settings(inputs: TrainingInputs, located: Located) -> Settings:
    """Return the base's settings for the trained model; their `base` says where the base is."""
    local = Path(inputs.base).is_dir()
    return replace(
        located.settings or Settings(),
        base=str(located.base.resolve()) if local else inputs.base,
        revision=None if local else inputs.revision,
    )
