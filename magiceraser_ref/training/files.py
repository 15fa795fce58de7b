"""From the names on `magiceraser train`'s command line to a model and rows, and through the training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from magiceraser_ref.model.checkpoint import load_base
from magiceraser_ref.model.locate import Located, locate
from magiceraser_ref.model.settings import Settings
from magiceraser_ref.training.config import Running, TrainConfig
from magiceraser_ref.training.estimate import estimate
from magiceraser_ref.training.rows import TrainingRows
from magiceraser_ref.training.train import train

DEMO = "demo"
Base = tuple[str, str | None]
"""(folder or hub id, revision of a hub id)."""
Chosen = tuple[str, str, str | None, str | None]
"""(triplets, split, split of the validation pictures, photos for recipes)."""


def estimated(base: Base, chosen: Chosen, config: TrainConfig, running: Running) -> dict[str, Any]:
    """What `trained` would do; writes nothing."""
    return estimate(locate(*base).base, config, running, len(_rows(chosen, chosen[1])))


def trained(base: Base, chosen: Chosen, config: TrainConfig, running: Running, out: Path) -> dict[str, Any]:
    """Train, or finish training, into `out`. The base's own LoRA and token, if it has any, are left out."""
    located = locate(*base)
    rows = _rows(chosen, chosen[1])
    shown = _rows(chosen, chosen[2]) if chosen[2] else None
    pipeline = load_base(located.base, "cpu", "float32")
    return train(
        pipeline,
        rows,
        config,
        out,
        running,
        base=f"{Path(base[0]).name} {located.revision}",
        data=rows.fingerprint,
        settings=_settings(base, located),
        shown=shown,
    )


def _rows(chosen: Chosen, split: str) -> TrainingRows:
    triplets, _, _, photos = chosen
    if triplets == DEMO:
        from olrd.builder.cached import demo_triplets

        triplets = str(demo_triplets())
    return TrainingRows(triplets, split, photos)


def _settings(base: Base, located: Located) -> Settings:
    """How the trained model is to be used: as its base is. `base` then says where that is."""
    name, revision = base
    local = Path(name).is_dir()
    return replace(
        located.settings or Settings(),
        base=str(located.base.resolve()) if local else name,
        revision=None if local else revision,
    )
