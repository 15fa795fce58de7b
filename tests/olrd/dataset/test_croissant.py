"""Croissant: MLCommons' own library validates what we write and reads the rows by it."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from drawn_pairs import three, write_pairs
from drawn_sets import DrawnSets
from synthetic_dataset import write_dataset

from olrd.builder.build import build
from olrd.cli.main import main
from olrd.config import BuildConfig
from olrd.dataset.card import card_text
from olrd.dataset.croissant import Publication, croissant
from olrd.dataset.folder import Dataset
from olrd.dataset.schema import features
from olrd.errors import UsageError
from olrd.sources import SourceSpec
from olrd.storage.files import sha256_file

NEEDED = (
    "rai:dataLimitations",
    "rai:dataBiases",
    "rai:personalSensitiveInformation",
    "rai:dataUseCases",
    "rai:dataSocialImpact",
    "rai:hasSyntheticData",
    "prov:wasDerivedFrom",
    "prov:wasGeneratedBy",
)
"""The minimal fields that NeurIPS asks of every dataset since 2026 (Evaluations and Datasets Track, hosting guidelines)."""
SPECIFIED = (
    "dataCollection",
    "dataCollectionType",
    "dataCollectionMissingData",
    "dataCollectionRawData",
    "dataImputationProtocol",
    "dataManipulationProtocol",
    "dataPreprocessingProtocol",
    "dataAnnotationProtocol",
    "dataAnnotationAnalysis",
    "dataReleaseMaintenancePlan",
    "annotationsPerItem",
    "annotatorDemographics",
    "machineAnnotationTools",
)
"""Fields of the RAI specification beside the minimal ones of NeurIPS. Without those that only a publisher knows."""
PUBLISHED = Publication(
    "toy",
    "https://huggingface.co/datasets/me/toy",
    "Somebody",
    "2026-11-30",
    "1.0.0",
    "@misc{toy}",
    ("https://cocodataset.org",),
)


@pytest.fixture(scope="module")
def folder(drawn: DrawnSets) -> Path:
    """Drawn triplets in several shards. Shared: do not write into it."""
    return drawn.built(BuildConfig(SourceSpec("coco", str(drawn.photos())), per_object=1, shard_bytes=500_000))


def described(folder: Path, publication: Publication = PUBLISHED) -> dict[str, Any]:
    return croissant(Dataset(folder), publication)


def test_every_file_has_its_address_size_and_hash(folder: Path) -> None:
    files = [one for one in described(folder)["distribution"] if one["@type"] == "cr:FileObject"]
    assert [one["@id"] for one in files] == [shard.file for shard in Dataset(folder).record.shards]
    for one in files:
        assert one["sha256"] == sha256_file(folder / one["@id"])
        assert one["contentSize"] == f"{(folder / one['@id']).stat().st_size} B"
        assert one["contentUrl"] == f"{PUBLISHED.url}/resolve/main/{one['@id']}"


def test_every_column_is_a_field_and_the_rai_fields_are_there(folder: Path) -> None:
    values = described(folder)
    for records in values["recordSet"]:
        assert [field["name"] for field in records["field"]] == list(features("full"))
    assert all(values[name] for name in NEEDED) and all(values[f"rai:{name}"] for name in SPECIFIED)
    assert values["rai:hasSyntheticData"] is True
    record = Dataset(folder).record
    assert values["prov:wasDerivedFrom"][0]["@id"] == f"urn:sha256:{record.source.fingerprint}"
    assert values["prov:wasDerivedFrom"][1]["prov:atLocation"] == "https://cocodataset.org"
    (activity,) = values["prov:wasGeneratedBy"]
    assert record.command in activity["sc:description"]
    assert activity["prov:wasAssociatedWith"]["prov:label"] == f"olrd {record.olrd}"
    rows = list(Dataset(folder).rows(["category"]))
    common = max({row["category"] for row in rows}, key=[row["category"] for row in rows].count)
    assert f"Objects by class: {common} " in values["rai:dataBiases"][1]


def test_a_triplet_of_two_refused_photos_counts_once(tmp_path: Path) -> None:
    terms = {"license": "CC-BY-NC-2.0", "donor_license": "CC-BY-ND-2.0"}
    mixed = write_dataset(tmp_path / "set", photos=3, donor="other", meta=terms)
    said = "6 triplets have a photo whose licence does not allow derivatives"
    assert said in described(mixed)["rai:personalSensitiveInformation"][1]
    assert card_text(Dataset(mixed)).count(said) == 2  # under people, and under licences


def test_a_set_of_seen_backgrounds_is_not_described_as_pasted(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "pairs", three())
    build(BuildConfig(SourceSpec("pairs", str(root), options={"license": "CC0-1.0"})), tmp_path / "set")
    dataset = Dataset(tmp_path / "set")
    values = described(tmp_path / "set")
    said = json.dumps([value for name, value in values.items() if name.startswith(("rai:", "prov:", "desc"))])
    for text in (said, card_text(dataset)):
        assert f"3 clips or places in {len(dataset)} triplets" in text
        for word in (
            "movable",
            "moved object",
            "can be moved",
            "background photos",
            "segment annotations",
            "pasted",
            "composite",
        ):
            assert word not in text, word


def test_nothing_is_said_that_was_not_given(folder: Path) -> None:
    assert not {"url", "creator", "datePublished", "citeAs"} & described(folder, Publication()).keys()
    with pytest.raises(UsageError, match="must start with https://"):
        described(folder, Publication(url="file:///etc/passwd"))
    with pytest.raises(UsageError, match="a source must start with https://"):
        described(folder, Publication(derived_from=("coco",)))
    for wrong in ("2026-13-45", "20260102", "soon"):
        with pytest.raises(UsageError, match="--date expects a day as YYYY-MM-DD"):
            described(folder, Publication(date=wrong))
    with pytest.raises(UsageError, match="--dataset-version expects numbers"):
        described(folder, Publication(version="one"))
    assert PUBLISHED.not_given() == []


@pytest.mark.slow
def test_mlcroissant_finds_no_error_and_reads_the_rows(folder: Path, tmp_path: Path) -> None:
    mlc = pytest.importorskip("mlcroissant", reason="MLCommons' library validates Croissant: pip install mlcroissant")
    file = Path(shutil.copytree(folder, tmp_path / "set")) / "croissant.json"
    local = Publication(creator="Somebody", date="2026-11-30", citation="@misc{toy}")
    file.write_text(json.dumps(described(folder, local)))
    dataset = mlc.Dataset(jsonld=str(file))
    assert not dataset.metadata.ctx.issues.errors and not dataset.metadata.ctx.issues.warnings
    assert dataset.metadata.data_biases and dataset.metadata.personal_sensitive_information
    expected = list(Dataset(folder).rows(["id", "bbox"]))
    name = dataset.metadata.record_sets[0].uuid
    rows = list(itertools.islice(dataset.records(name), 2))
    assert [row[f"{name}/id"].decode() for row in rows] == [row["id"] for row in expected[:2]]
    assert list(rows[0][f"{name}/bbox"]) == expected[0]["bbox"]
    assert rows[0][f"{name}/image"].size == rows[0][f"{name}/background"].size


def test_the_command_writes_a_file_or_prints(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "croissant.json"
    assert main(["croissant", str(folder), "--name", "toy", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["name"] == "toy"
    assert "--url, --creator, --date, --citation, --derived-from" in capsys.readouterr().err
    assert main(["croissant", str(folder), "--name", "toy"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())
