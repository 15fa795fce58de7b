"""What to run, and everything that it needs, opened and checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from baselines import open_eraser
from baselines.eraser import Eraser
from benchmark.datasets import DataSet, check_file_names, open_dataset
from benchmark.protocol import Protocol, load_protocol
from benchmark.scoring import Metrics, open_metrics


@dataclass(frozen=True)
class Request:
    """What to run. limit: only so many samples, from the first. batch: samples per call of the eraser;
    it changes speed, not results. save: keep the method's pictures."""

    method: str
    dataset: str = "olrd"
    root: str | None = None
    protocol: str = "native"
    options: dict[str, str] = field(default_factory=dict)
    data_options: dict[str, str] = field(default_factory=dict)
    device: str = "auto"
    batch: int = 1
    limit: int | None = None
    save: bool = False
    seed: int | None = None


class Inputs(NamedTuple):
    """Everything a run needs, opened and checked before any work."""

    eraser: Eraser
    metrics: Metrics
    data: DataSet
    protocol: Protocol
    ids: list[str]
    identity: dict[str, Any]


def open_inputs(request: Request) -> Inputs:
    """Open method, metrics and data; raises the error that says what is missing."""
    protocol = load_protocol(request.protocol)
    seed = protocol.seed if request.seed is None else request.seed
    eraser = open_eraser(request.method, request.options, request.device, seed)
    metrics = open_metrics(protocol, request.device)
    info = eraser.info
    data = open_dataset(request.dataset, request.root, request.data_options)
    ids = data.ids()[: request.limit]
    if request.save:
        check_file_names(ids)
    method = {"name": info.name, "revision": info.revision, "options": dict(info.options or {}), "device": info.device}
    identity = {
        "method": method,
        "dataset": {"name": data.name, "fingerprint": data.fingerprint, "n": len(ids), "total": len(data.ids())},
        "protocol": protocol.id,
        "seed": seed,
        "metrics": {m.name: m.revision for m in metrics.infos()},
        "saved": request.save,
    }
    if hinted := sorted(info.wants & getattr(data, "offers", frozenset())):
        identity["hints"] = hinted  # with and without maps are two runs
    return Inputs(eraser, metrics, data, protocol, ids, identity)
