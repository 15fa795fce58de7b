"""Edge leak for a small trained network: the same question as `olrd.audit.edge_leak`, without designed features.

The network sees the pixels around an outline point in the frame of `olrd.audit.rim`: rows along the outward normal,
columns along the tangent. It is trained in seconds on one core, so what it finds is a lower bound: a larger network with
more photos would find more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from olrd.arrays import Image
from olrd.audit.classifier import Floats, Interval, Ints, clustered_auc
from olrd.audit.edge_leak import LEAST_POINTS
from olrd.audit.rim import Outline
from olrd.audit.twins import LeakPair, paired_points

_FOLDS, _EPOCHS, _BATCH, _RATE = 5, 6, 64, 4e-3

Patches = npt.NDArray[np.float32]


class NetworkLeak(NamedTuple):
    """The edge leak for the network: AUC per patch, and per object by its mean score."""

    auc: Interval
    auc_objects: Interval
    objects: int
    photos: int


class Rims(NamedTuple):
    """Patches of pairs; patch k of `pasted` and patch k of `natural` are the same point of one object.

    pasted, natural: float32 [n, 4, 21, 15], see `patches`. object, photo: int [n], numbers from 0.
    """

    pasted: Patches
    natural: Patches
    object: Ints
    photo: Ints


def collect(pairs: Iterable[LeakPair]) -> Rims:
    """The patches of all pairs with enough outline points. Raises `ValueError` if there are none."""
    pasted, natural, owner, photo = [], [], [], []
    names: dict[str, int] = {}
    for number, pair in enumerate(pairs):
        here, there = paired_points(pair.pasted_mask, pair.natural_mask)
        if len(here.points) < LEAST_POINTS:
            continue
        pasted.append(patches(pair.pasted_image, here))
        natural.append(patches(pair.natural_image, there))
        owner += [number] * len(here.points)
        photo += [names.setdefault(pair.group, len(names))] * len(here.points)
    numbers = np.unique(np.array(owner, np.int64), return_inverse=True)[1]
    return Rims(np.concatenate(pasted), np.concatenate(natural), numbers, np.array(photo, np.int64))


def patches(image: Image, outline: Outline) -> Patches:
    """float32 [n, 4, 21, 15]: Laplacian of the luma, and Y, Cr and Cb less their means over the patch.

    All grids must lie inside the frame.
    """
    x, y = outline.grid()
    ycc = cv2.cvtColor(image, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    colours = ycc[y, x]
    colours -= colours.mean(axis=(1, 2), keepdims=True)
    fine = np.clip(cv2.Laplacian(ycc[..., 0], cv2.CV_32F)[y, x], -60, 60)
    return np.concatenate([fine[:, None] / 16, colours.transpose(0, 3, 1, 2) / 32], axis=1)


def network_leak(rims: Rims, seed: int = 0) -> NetworkLeak:
    """Train and test by photo, five folds. Equal rims give equal results on one machine."""
    from sklearn.model_selection import GroupKFold

    count = len(rims.photo)
    scores = np.zeros((2, count))
    for fold, (train, test) in enumerate(GroupKFold(_FOLDS).split(rims.photo, rims.photo, rims.photo)):
        net = trained(rims.pasted[train], rims.natural[train], seed + fold)
        scores[:, test] = scored(net, rims.natural[test]), scored(net, rims.pasted[test])
    return leak_of(scores[1], scores[0], rims.object, rims.photo, seed)


def held_out_leak(seen: Rims, unseen: Rims, seed: int = 0) -> NetworkLeak:
    """Train on the rims `seen`, and test on the rims `unseen`."""
    net = trained(seen.pasted, seen.natural, seed)
    pasted, natural = scored(net, unseen.pasted), scored(net, unseen.natural)
    return leak_of(pasted, natural, unseen.object, unseen.photo, seed)


def leak_of(pasted: Floats, natural: Floats, owner: Ints, photo: Ints, seed: int = 0) -> NetworkLeak:
    """AUC per patch and per object of the scores of both sides, float64 [n] each."""
    sizes = np.bincount(owner)
    means = [np.bincount(owner, scores) / sizes for scores in (natural, pasted)]
    home = photo[np.unique(owner, return_index=True)[1]]
    return NetworkLeak(
        clustered_auc(np.concatenate([natural, pasted]), np.repeat([0, 1], len(photo)), np.tile(photo, 2), seed),
        clustered_auc(np.concatenate(means), np.repeat([0, 1], len(home)), np.tile(home, 2), seed),
        len(home),
        int(photo.max()) + 1,
    )


def trained(pasted: Patches, natural: Patches, seed: int) -> Any:
    """A network of two convolutions. The columns are averaged, because a seam lies along them; the rows are not.

    The loss is that of a classifier plus that of the pairs: a paste has to score above its twin. Patches are mirrored
    along the outline at random.
    """
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(
            *(nn.Conv2d(4, 16, 3), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.Conv2d(16, 16, 3, (1, 2)), nn.BatchNorm2d(16), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d((17, 1)), nn.Flatten(), nn.Dropout(0.3), nn.Linear(16 * 17, 1)),
        )
        both = torch.from_numpy(np.stack([natural, pasted]))
        steps = _EPOCHS * -(-len(natural) // _BATCH)
        optimizer = torch.optim.AdamW(net.parameters(), _RATE, weight_decay=0.1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
        for _ in range(_EPOCHS):
            for batch in torch.randperm(len(natural)).split(_BATCH):
                if len(batch) < 2:  # batch normalisation needs two
                    continue
                part = both[:, batch]
                part = part.flip(4) if torch.rand(()) < 0.5 else part
                low, high = net(part.flatten(0, 1))[:, 0].view(2, -1)
                loss = nn.functional.softplus(torch.cat([low, -high, low - high])).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return net.eval()


def scored(net: Any, patches: Patches) -> Floats:
    """The scores of patches, float64 [n]: larger for those that look pasted."""
    import torch

    with torch.inference_mode():
        found: Floats = net(torch.from_numpy(patches))[:, 0].double().numpy()
    return found
