"""The networks compute the same as the official ones, and official files are read without running their code."""

from __future__ import annotations

import collections
import hashlib
import io
import json
import os
import pickle
import re
import sys
import types
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="pip install '.[benchmark]'")
pytest.importorskip("safetensors", reason="pip install '.[benchmark]'")

from keyed_networks import KeyedDraws, keyed_inputs, keyed_state, names_hash, sampled  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from baselines.eraser import WeightsUnusableError  # noqa: E402
from baselines.nets import comodgan_generator, mat_generator  # noqa: E402
from baselines.nets.checkpoint import load_network, read_weights  # noqa: E402
from baselines.nets.official_pickle import read_pickle  # noqa: E402
from baselines.nets.stylegan_ops import Draws, Mapping  # noqa: E402
from olrd.errors import SourceError  # noqa: E402

FIXTURES = Path(__file__).parent / "fixtures"
REFERENCES = {name: json.loads((FIXTURES / f"{name}_reference.json").read_text()) for name in ("mat", "comodgan")}
CASES = [(name, case) for name, found in REFERENCES.items() for case in found["cases"]]


def small(name: str) -> Any:
    """The reference's small network, with random weights."""
    given = dict(REFERENCES[name]["small_shape"])
    if name == "comodgan":
        return comodgan_generator.Generator(comodgan_generator.Shape(**given)).eval()
    given["channels"] = {int(side): width for side, width in given["channels"].items()}
    return mat_generator.Generator(mat_generator.Shape(**given)).eval()


@pytest.mark.parametrize(("name", "case"), CASES, ids=lambda v: v if isinstance(v, str) else v["case"])
@pytest.mark.slow
def test_outputs_are_the_official_ones(name: str, case: dict[str, Any]) -> None:
    network = small(name)
    assert names_hash(network) == REFERENCES[name]["small_names_hash"]
    network.load_state_dict(keyed_state(network), strict=True)
    images, known, z = keyed_inputs(case["case"], case["height"], case["width"], z_size(network), case["share"])
    draws = KeyedDraws(case["case"], case["noise"])
    with torch.inference_mode():
        output = network(images, known, z, draws, case["truncation"])
    assert output.shape == images.shape
    assert sampled(output) == pytest.approx(case["values"], abs=1e-4)


def z_size(network: Any) -> int:
    return int(network.shape.latent)


@pytest.mark.parametrize(("name", "side"), [("mat", 512), ("comodgan", 256), ("comodgan", 512)])
def test_names_and_shapes_are_those_of_the_published_files(name: str, side: int) -> None:
    module: Any = {"mat": mat_generator, "comodgan": comodgan_generator}[name]
    with torch.device("meta"):
        network = module.Generator(module.Shape(side))
    state, published = network.state_dict(), REFERENCES[name]["published"][str(side)]
    assert len(state) == published["tensors"]
    assert sum(tensor.numel() for tensor in state.values()) == published["values"]
    assert names_hash(network) == published["names_hash"]


@pytest.mark.slow
def test_a_sample_of_a_batch_is_that_sample_alone() -> None:
    network = small("comodgan")
    network.load_state_dict(keyed_state(network))
    pairs = [keyed_inputs(case, 256, 256, 32, 0.5) for case in "ab"]
    images, known, z = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    with torch.inference_mode():
        both = network(images, known, z, Draws(0))
        alone = network(*pairs[1], Draws(0))
    assert torch.allclose(both[1:], alone, atol=1e-5)


def test_draws_depend_on_the_seed_alone() -> None:
    features, stored = torch.zeros(1, 3, 4, 4), torch.ones(4, 4)
    one, same, other = Draws(5), Draws(5), Draws(6)
    first = one.normal(7)
    assert torch.equal(first, same.normal(7))
    assert not torch.equal(first, other.normal(7))
    coins = one.coins(torch.zeros(100, 100))
    assert set(coins.unique().tolist()) == {0.0, 1.0} and 0.45 < coins.mean() < 0.55
    assert Draws(1, "const").noise_for(features, stored) is stored
    assert Draws(1, "const").noise_for(features, torch.ones(8, 8)).shape == (1, 1, 4, 4)
    assert Draws(1, "random").noise_for(features, stored).std() > 0
    assert Draws(1, "none").noise_for(features, stored) == 0


def test_truncation_zero_is_the_mean_of_training() -> None:
    mapping = Mapping(8, 8)
    mapping.load_state_dict(keyed_state(mapping))
    assert torch.allclose(mapping(torch.randn(2, 8), 0.0), mapping.w_avg.expand(2, 8))


# Official snapshots: a module in a pickle is a call of torch_utils.persistence with its state, and
# the source code that the official reader would execute.


class Saved:
    """Pickles a module in the manner of the official snapshots."""

    def __init__(self, module: Any) -> None:
        state = dict(module.__dict__)
        parts = state["_modules"].items()
        # torch's own containers are saved as plain objects of their class
        plain = (torch.nn.ModuleList, torch.nn.Sequential, torch.nn.AdaptiveAvgPool2d)
        state["_modules"] = {n: p if isinstance(p, plain) else Saved(p) for n, p in parts}
        self.state = {k: v for k, v in state.items() if k.startswith("_") or k == "training"}

    def __reduce__(self) -> Any:
        from torch_utils.persistence import _reconstruct_persistent_obj  # type: ignore

        source = "raise SystemExit('the source in a snapshot was executed')"
        meta = {"type": "class", "version": 6, "module_src": source, "class_name": "M", "state": self.state}
        return _reconstruct_persistent_obj, (meta,)


@pytest.fixture
def official_names(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Names that a snapshot refers to, there only while it is written."""
    written = types.ModuleType("torch_utils.persistence")
    exec("def _reconstruct_persistent_obj(meta): raise SystemExit('called')", written.__dict__)
    easy = types.ModuleType("dnnlib.util")
    exec("class EasyDict(dict): pass", easy.__dict__)
    for name, module in {
        "torch_utils": types.ModuleType("torch_utils"),
        "dnnlib": types.ModuleType("dnnlib"),
        "torch_utils.persistence": written,
        "dnnlib.util": easy,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    written._reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    easy.EasyDict.__module__ = "dnnlib.util"
    return monkeypatch, easy.EasyDict


@pytest.mark.parametrize("protocol", [3, 4])
def test_a_snapshot_is_read_and_its_source_is_not_run(tmp_path: Path, official_names: Any, protocol: int) -> None:
    import numpy as np

    monkeypatch, easy_dict = official_names
    network = torch.nn.ModuleDict(
        {
            "mapping": Mapping(4, 4),
            "list": torch.nn.ModuleList([Mapping(3, 3)]),
            "row": torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1)),
        }
    )
    network.register_buffer("none", None)
    path = tmp_path / "snapshot.pkl"
    snapshot = {"training_set_kwargs": easy_dict(gain=np.float64(2)), "G_ema": Saved(network)}
    list_like = network["list"]
    list_like._modules = {name: Saved(part) for name, part in list_like._modules.items()}
    path.write_bytes(pickle.dumps(snapshot, protocol))
    list_like._modules = {"0": Mapping(3, 3)}
    for name in ("torch_utils", "torch_utils.persistence", "dnnlib", "dnnlib.util"):
        monkeypatch.delitem(sys.modules, name)
    tensors = read_weights(path)
    assert {name: t.shape for name, t in tensors.items()} == {name: t.shape for name, t in network.state_dict().items()}
    assert torch.equal(tensors["mapping.fc3.weight"], network["mapping"].fc3.weight)
    assert list(tmp_path.iterdir()) == [path]  # nothing is written beside a user's file


def test_a_file_beside_a_snapshot_does_not_replace_it(tmp_path: Path) -> None:
    """Whatever it says of itself: results name the snapshot's hash, so the snapshot's tensors are loaded."""
    path = tmp_path / "snapshot.pkl"
    path.write_bytes(b"no snapshot")
    claim = {"sha256": hashlib.sha256(b"no snapshot").hexdigest()}
    save_file({"weight": torch.ones(1)}, tmp_path / "snapshot.G_ema.safetensors", metadata=claim)
    with pytest.raises(SourceError, match=r"snapshot\.pkl is not a snapshot"):
        read_weights(path)


@pytest.mark.parametrize("kind", ["header", "repeated", "compressed", "frame"])
def test_a_small_file_does_not_fill_the_memory(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"small.{ {'header': 'safetensors', 'frame': 'pkl'}.get(kind, 'pth') }"
    if kind == "header":
        path.write_bytes((1 << 60).to_bytes(8, "little") + b"{}")
    elif kind == "frame":
        path.write_bytes(b"\x80\x04\x95" + (1 << 60).to_bytes(8, "little") + b"\x8e" + (1 << 60).to_bytes(8, "little"))
    else:
        torch.save({"weight": torch.zeros(1 if kind == "repeated" else 1 << 20).expand(1 << 20)}, path)
    if kind == "compressed":
        with zipfile.ZipFile(path) as stored:
            parts = {name: stored.read(name) for name in stored.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in parts.items():
                archive.writestr(name, data)
    with pytest.raises(WeightsUnusableError, match=r"would become|small\.(safetensors|pkl)"):
        read_weights(path)


def test_torch_reads_no_file_with_its_code() -> None:
    """Every call of torch.load in the packages is the one that runs nothing."""
    for package in ("olrd", "baselines", "magiceraser_ref", "benchmark"):
        folder = Path(str(files(package)))
        for source in folder.rglob("*.py"):
            for call in re.findall(r"torch\.load\(.*", source.read_text("utf-8")):
                assert "weights_only=True" in call, f"{source}: {call}"


class Calls:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def storage_with(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("attack", ["system", "eval", "exec", "nested", "alters", "getattr"])
def test_a_hostile_pickle_is_refused(tmp_path: Path, attack: str, protocol: int) -> None:
    marker = tmp_path / "run"
    shell = f"touch {marker}"
    load = torch.storage._load_from_bytes
    hostile: Any = {
        "system": Calls(os.system, shell),
        "eval": Calls(eval, f"open({str(marker)!r}, 'w')"),
        "exec": Calls(exec, f"open({str(marker)!r}, 'w')"),
        "getattr": Calls(getattr, collections.OrderedDict, "fromkeys"),
        "nested": Calls(load, storage_with(Calls(os.system, shell))),
        "alters": None,
    }[attack]
    data = pickle.dumps({"G_ema": hostile}, protocol)
    if attack == "alters":  # an opcode that sets attributes, on the reader's own function
        data = b"\x80\x03ctorch.storage\n_load_from_bytes\n}X\x09\x00\x00\x00_functionK\x01sb."
    path = tmp_path / "hostile.pkl"
    path.write_bytes(data)
    with pytest.raises(SourceError, match="not a safe one"):
        read_pickle(path)
    assert not marker.exists()


def test_a_stand_in_does_nothing(tmp_path: Path) -> None:
    path = tmp_path / "hub.pkl"  # a function of torch that would download and run code
    path.write_bytes(b"\x80\x03}X\x05\x00\x00\x00G_emactorch.hub\nload\nX\x01\x00\x00\x00x\x85Rs.")
    with pytest.raises(SourceError, match="not a safe one"):
        read_pickle(path)


def test_weights_must_fit(tmp_path: Path) -> None:
    network = Mapping(4, 4)
    path = tmp_path / "weights.pth"
    torch.save(network.half().state_dict(), path)
    loaded = load_network(lambda: Mapping(4, 4), path, "cpu")
    assert loaded.fc0.weight.dtype == torch.float32 and not loaded.fc0.weight.requires_grad
    with pytest.raises(SourceError, match="does not fit"):
        load_network(lambda: Mapping(5, 4), path, "cpu")
    with pytest.raises(SourceError, match="does not fit"):
        load_network(lambda: torch.nn.ModuleDict({"a": Mapping(4, 4)}), path, "cpu")
    for suffix in ("pth", "safetensors", "pkl"):
        junk = tmp_path / f"junk.{suffix}"
        junk.write_bytes(b"junk")
        with pytest.raises(SourceError, match="junk"):
            read_weights(junk)
    torch.save(Calls(os.system, f"touch {tmp_path / 'run'}"), path)
    with pytest.raises(SourceError):
        read_weights(path)
    assert not (tmp_path / "run").exists()
