"""DreamSim (Fu et al., "DreamSim: Learning New Dimensions of Human Visual Similarity", NeurIPS 2023).

The network is that of the authors' package `dreamsim` (MIT). Its branches `open_clip_vitb32` and `clip_vitb32` are offered.
The ensemble is not: to load it, the package downloads the main branch of another repository and runs its code.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

from baselines.eraser import WeightsMissingError
from baselines.weights import hash_of_ends
from benchmark.metrics import MetricInfo, MetricSpec, Score
from benchmark.metrics.encoders import exact
from benchmark.metrics.pictures import check_pairs
from olrd.arrays import Image, Mask
from olrd.models.checkpoints import check_installed, choose_device

VARIABLE = "DREAMSIM_MODEL"
BRANCHES = ("open_clip_vitb32", "clip_vitb32")
"""The networks that can be used, the better one first."""
RELEASE = "https://github.com/ssundaram21/dreamsim/releases/download/v0.2.0-checkpoints"


class Dreamsim:
    """1 - the cosine of two whole pictures' embeddings, tuned to what people call alike. It has no regions."""

    def __init__(self, spec: MetricSpec, folder: Path, branch: str) -> None:
        self.info = MetricInfo(
            spec.name,
            "sample",
            higher_is_better=False,
            unit="",
            definition=(
                f"DreamSim, branch {branch} of the authors' package (their table: the ensemble), input stretched to "
                "224 x 224 by Pillow's bicubic filter, whole picture"
            ),
            revision=f"1+{hash_of_ends(folder, weights_of(folder, branch))}",
        )
        self._device, self._folder, self._branch = spec.device, folder, branch

    @cached_property
    def _network(self) -> tuple[str, Any, Any]:
        """Device, model, and what turns a Pillow picture into its input [1, 3, 224, 224]."""
        from dreamsim import dreamsim

        device = choose_device(self._device, self.info.name)
        with redirect_stdout(StringIO()):  # it prints where it found the weights
            model, prepare = dreamsim(
                pretrained=True, device=device, cache_dir=str(self._folder), dreamsim_type=self._branch
            )
        return device, model, prepare

    def scores(self, outputs: Sequence[Image], mask: Mask, truth: Image | None) -> list[Score]:
        """0 for equal pictures, at most 2. The mask is not used."""
        import torch

        truth = check_pairs(self.info.name, outputs, truth)
        if not outputs:
            return []
        device, model, prepare = self._network
        with exact():
            x = torch.cat([prepare(Pillow.fromarray(picture)) for picture in (truth, *outputs)]).to(device)
            embedded = model.embed(x).cpu().double()
            unit = embedded / embedded.norm(dim=1, keepdim=True)
            # Half the squared distance of unit vectors is 1 - cosine, and exactly 0 for equal ones.
            distances = (unit[1:] - unit[:1]).square().sum(1) / 2
        return [Score(float(distance)) for distance in distances]


def weights_of(folder: Path, branch: str) -> list[Path]:
    """The files of a branch in the folder where its archive was unpacked; empty if some are missing."""
    backbone, adapter = folder / f"{branch}_pretrain.pth.tar", folder / f"{branch}_single_lora"
    tuned = sorted(path for path in adapter.glob("adapter_*") if path.suffix in (".json", ".safetensors", ".bin"))
    complete = backbone.is_file() and len(tuned) >= 2
    return [backbone, *tuned] if complete else []


def open_dreamsim(spec: MetricSpec) -> Dreamsim:
    """Open `dreamsim`. It needs the extra `dreamsim`, and $DREAMSIM_MODEL, a folder with an unpacked branch."""
    check_installed(["dreamsim"], f"the metric {spec.name}", "dreamsim")
    chosen = os.environ.get(VARIABLE, "")
    for branch in BRANCHES if chosen else ():
        if weights_of(Path(chosen), branch):
            return Dreamsim(spec, Path(chosen), branch)
    where = f"{VARIABLE} names {chosen}, which" if chosen else f"{VARIABLE} names no folder that"
    raise WeightsMissingError(
        f"{spec.name}: {where} holds {BRANCHES[0]}_pretrain.pth.tar and {BRANCHES[0]}_single_lora/. To get them, unpack\n"
        f"  {RELEASE}/dreamsim_{BRANCHES[0]}_checkpoint.zip\nand set {VARIABLE}=FOLDER"
    )
