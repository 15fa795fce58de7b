"""FID, KID and MIND: distances between features of the Inception network of the FID paper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from baselines.weights import locate, revision_of
from benchmark.metrics import Features, MetricInfo, MetricSpec, Score
from benchmark.metrics.encoders import check_installed, exact, load_tensors
from benchmark.metrics.fidelity import compared, frechet, kernel_distance, sliced_distance
from benchmark.metrics.pictures import as_batch, batches, check_picture, resize_float
from benchmark.metrics.pinned import INCEPTION
from olrd.arrays import Image
from olrd.errors import SourceError
from olrd.models.checkpoints import choose_device

SIDE = 299
WIDTH = 2048
FEATURES = (
    "2048 pool features of the TensorFlow Inception 2015-12-05, input stretched to 299 x 299 by a float "
    "antialiased bicubic filter"
)


class InceptionDistance:
    """A set metric on Inception's features, which FID, KID and MIND share."""

    def __init__(self, info: MetricInfo, device: str, weights: Path, compare: Callable[..., Score]) -> None:
        self.info, self._device, self._weights, self._compare = info, device, weights, compare

    def features(self, images: Sequence[Image]) -> Features:
        """Features, float64 [n, 2048]."""
        rows = [np.empty((0, WIDTH))]
        for some in batches(images):
            for image in some:
                check_picture(self.info.name, image)
            device = choose_device(self._device, self.info.name)
            network = load_network(self._weights, device)
            with exact():
                x = as_batch([resize_float(image, (SIDE, SIDE)) for image in some], device)
                rows.append(network((x - 128) / 128).cpu().double().numpy())
        return np.concatenate(rows)

    def compare(self, outputs: Features, truths: Features) -> Score:
        """FID and MIND are 0 for equal sets. KID is below 0 for them: see `kernel_distance`."""
        return self._compare(self.info.name, outputs, truths)


@lru_cache(maxsize=2)  # all three share the network
def load_network(weights: Path, device: str) -> Any:
    """Inception v3 without its last layer: [n, 3, 299, 299] in -1..1 to [n, 2048].

    It is torchvision's network with the pooling of the TensorFlow graph where the two differ: averages leave out the
    padding, and the last block takes the maximum. The weights of pytorch-fid use torchvision's names.
    """
    import torch
    from torch.nn import functional
    from torchvision.models import Inception3

    network = Inception3(1008, aux_logits=False, transform_input=False, init_weights=False)
    try:
        network.load_state_dict(load_tensors(weights))
    except RuntimeError as error:
        raise SourceError(
            f"{weights} does not hold the Inception of FID: expected {INCEPTION.file_name} ({error})"
        ) from error
    average = partial(functional.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
    for name in ("5b", "5c", "5d", "6b", "6c", "6d", "6e", "7b"):
        _pool_by(getattr(network, f"Mixed_{name}"), average)
    maximum = partial(functional.max_pool2d, kernel_size=3, stride=1, padding=1)
    _pool_by(network.Mixed_7c, maximum)
    network.fc = torch.nn.Identity()
    return network.eval().requires_grad_(False).to(device)


def _pool_by(block: Any, pool: Callable[[Any], Any]) -> None:
    """Replace the pooling of an Inception block by `pool`."""
    pooled: list[Any] = []
    block.register_forward_pre_hook(lambda _, inputs: pooled.append(pool(inputs[0])))
    block.branch_pool.register_forward_pre_hook(lambda _, inputs: (pooled.pop(),))


def _fid(metric: str, outputs: Features, truths: Features) -> Score:
    """FID, with a warning for small sets."""
    score, n = compared(metric, outputs, truths, frechet), min(len(outputs), len(truths))
    if score.value is None or n >= WIDTH:
        return score
    return Score(score.value, f"biased below n={WIDTH}")


def _kid(metric: str, outputs: Features, truths: Features) -> Score:
    return compared(metric, outputs, truths, kernel_distance)


def _mind(metric: str, outputs: Features, truths: Features) -> Score:
    return compared(metric, outputs, truths, lambda a, b: sliced_distance(a, b, mind_directions(a.shape[1])))


@lru_cache(maxsize=2)
def mind_directions(width: int) -> Features:
    """MIND's random directions, float64 [1000, width]: those that torch-fidelity draws with its usual seed."""
    import torch

    drawn = torch.randn(PROJECTIONS, width, generator=torch.Generator().manual_seed(MIND_SEED))
    unit: Features = (drawn / drawn.norm(dim=1, keepdim=True).clamp_min(1e-12)).double().numpy()
    return unit


def _open(spec: MetricSpec, definition: str, compare: Callable[..., Score], region: str = "full") -> InceptionDistance:
    check_installed(spec.name, "torch", "torchvision")
    weights = locate(INCEPTION, variable="FID_INCEPTION")
    revision = f"1+{revision_of(weights)}"
    info = MetricInfo(
        spec.name,
        "set",
        higher_is_better=False,
        unit="",
        definition=f"{definition}{OF_BOX if region == 'box' else ''}; {FEATURES}",
        revision=revision,
        network=f"inception {revision} {region}",
        region=region,
    )
    return InceptionDistance(info, spec.device, weights, compare)


OF_BOX = ", of the mask's box, grown"
FID_DEFINITION = f"FID, biased upward below n = {WIDTH}: compare at equal n only"
KID_DEFINITION = (
    "KID as published, cubic kernel, all pictures in one set; outputs and truths are pairs, which it takes for "
    "independent, so ground truth is below 0"
)
PROJECTIONS, MIND_SEED = 1000, 2020
MIND_DEFINITION = (
    f"MIND (2026, new: few studies use it), 3 x 2048 x the squared 2-Wasserstein distance along {PROJECTIONS} random "
    "directions; biased upward at small n: compare at equal n only"
)


def open_fid(spec: MetricSpec) -> InceptionDistance:
    """Open `fid`. It needs the FID paper's Inception: $FID_INCEPTION, or `benchmark fetch fid-inception`."""
    return _open(spec, FID_DEFINITION, _fid)


def open_kid(spec: MetricSpec) -> InceptionDistance:
    """Open `kid`. It needs what `fid` needs."""
    return _open(spec, KID_DEFINITION, _kid)


def open_fid_box(spec: MetricSpec) -> InceptionDistance:
    """Open `fid-box`. It needs what `fid` needs."""
    return _open(spec, FID_DEFINITION, _fid, "box")


def open_kid_box(spec: MetricSpec) -> InceptionDistance:
    """Open `kid-box`. It needs what `fid` needs."""
    return _open(spec, KID_DEFINITION, _kid, "box")


def open_mind(spec: MetricSpec) -> InceptionDistance:
    """Open `mind`. It needs what `fid` needs."""
    return _open(spec, MIND_DEFINITION, _mind)


def open_mind_box(spec: MetricSpec) -> InceptionDistance:
    """Open `mind-box`. It needs what `fid` needs."""
    return _open(spec, MIND_DEFINITION, _mind, "box")
