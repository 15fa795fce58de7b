"""The eraser, metrics and dataset that a request names, opened and checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from baselines import open_eraser
from baselines.eraser import Eraser
from benchmark.datasets import DataSet, check_file_names, open_dataset
from benchmark.disturbances import Disturbance, parsed
from benchmark.protocol import Protocol, load_protocol
from benchmark.runner.request import Request
from benchmark.runner.summary import DatasetIdentity, MethodIdentity, RunIdentity
from benchmark.scoring import Metrics, open_metrics, score_columns
from olrd.errors import UsageError
from olrd.models.checkpoints import choose_device


class Inputs(NamedTuple):
    """Everything that a run needs. ids: of the samples to erase. identity: what run.json will hold.

    disturbance: of the mask or the map that the eraser gets; None for nothing.
    """

    eraser: Eraser
    metrics: Metrics
    data: DataSet
    protocol: Protocol
    ids: list[str]
    identity: RunIdentity
    disturbance: Disturbance | None = None

    @property
    def columns(self) -> list[str]:
        """The names of the score columns."""
        return score_columns(self.metrics, getattr(self.data, "effects", False))


def open_inputs(request: Request) -> Inputs:
    """Open the eraser, the metrics and the dataset of a request. Raises `OlrdError` if something is missing."""
    if request.device not in ("auto", "cpu"):
        choose_device(
            request.device, f"--device {request.device}"
        )  # some metrics would notice it at their first sample
    disturbance = parsed(request.disturbance) if request.disturbance else None
    protocol = load_protocol(request.protocol)
    seed = protocol.seed if request.seed is None else request.seed
    eraser = open_eraser(request.method, _options(request), request.device, seed)
    metrics = open_metrics(protocol, request.device)
    info = eraser.info
    data = open_dataset(request.dataset, request.root, request.data_options)
    ids = data.ids()[: request.limit]
    if request.save:
        check_file_names(ids)
    hints = sorted(info.wants & getattr(data, "offers", frozenset()))  # with and without maps are two runs
    identity = RunIdentity(
        MethodIdentity(info.name, info.revision, info.device, dict(info.options or {})),
        DatasetIdentity(data.name, data.fingerprint, len(ids), len(data.ids())),
        protocol=protocol.id,
        seed=seed,
        metrics={metric.name: metric.revision for metric in metrics.infos()},
        saved=request.save,
        hints=tuple(hints) or None,
    )
    return with_disturbance(Inputs(eraser, metrics, data, protocol, ids, identity), disturbance)


def with_disturbance(inputs: Inputs, disturbance: Disturbance | None) -> Inputs:
    """The same inputs with another disturbance.

    Raises:
        UsageError: it disturbs the panoptic map, and the eraser gets none.
    """
    if disturbance and disturbance.of_map and "panoptic" not in (inputs.identity.hints or ()):
        taken = "panoptic" in inputs.eraser.info.wants
        raise UsageError(
            f"{disturbance.spelled} disturbs the panoptic map, but "
            + (f"{inputs.data.name} has no maps" if taken else f"{inputs.eraser.info.name} takes no map")
        )
    spelled = disturbance.spelled if disturbance else ""
    return inputs._replace(identity=replace(inputs.identity, disturbance=spelled), disturbance=disturbance)


def _options(request: Request) -> dict[str, str]:
    """The eraser's options. `folder` reads the results that the dataset names, unless the option `path` names others.

    Raises:
        UsageError: the dataset names results, and the method makes its own.
    """
    options, results = dict(request.options), request.data_options.get("results")
    if not results:
        return options
    if request.method != "folder":
        raise UsageError(
            f"results={results} are finished results, and {request.method} makes its own: use --method folder, or leave "
            "out results="
        )
    return {"path": str(Path(request.root or ".") / results)} | options
