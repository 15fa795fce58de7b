"""The questions of a datasheet, answered from build.json and the rows.

The seven parts and what they ask follow Gebru et al., "Datasheets for Datasets", arXiv 1803.09010. What only a publisher
can know is named as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from olrd.dataset import seen_words
from olrd.dataset.record import BuildRecord
from olrd.dataset.responsible import (
    Facts,
    missing_data,
    personal_information,
    photos_of,
    plain,
    refused_triplets,
    responsible,
    steps,
)
from olrd.sources import SEEN
from olrd.trust import counted

PUBLISHER = "Not recorded in the build. Whoever publishes the dataset says it on its page."


class Answer(NamedTuple):
    """A question, and the sentences of its answer as plain text without markup."""

    question: str
    texts: list[str]


def datasheet(record: BuildRecord, facts: Facts) -> Iterator[tuple[str, list[Answer]]]:
    """(name of the part, its questions with answers)."""
    rai = responsible(record, facts)
    yield (
        "Motivation",
        [
            Answer("What is it for?", [rai["rai:dataUseCases"][0]]),
            Answer("Who made it, and who paid for it?", [PUBLISHER]),
        ],
    )
    yield (
        "Composition",
        [
            Answer("What is a row, and how many are there?", [_rows(record, facts)]),
            Answer("Is it all there is, or a sample?", [missing_data(record)]),
            Answer("Are there errors, noise or redundancy?", rai["rai:dataLimitations"]),
            Answer("Does it need anything else?", [_needs(record)]),
            Answer("Which groups are over-represented?", rai["rai:dataBiases"]),
            Answer("Does it show people, or anything private?", personal_information(record, facts)),
        ],
    )
    yield (
        "Collection",
        [
            Answer("How were the data acquired?", [rai["rai:dataCollection"]]),
            Answer("Who annotated them?", [*rai["rai:dataAnnotationProtocol"], *rai["rai:annotatorDemographics"]]),
            Answer("Did the people in the photos agree?", ["Not recorded: the sources have no such field."]),
        ],
    )
    yield (
        "Processing",
        [
            Answer("What was done to the data?", steps(record)),
            Answer("Are the raw data kept?", [_raw(record)]),
            Answer("Is the software available?", [f"olrd {plain(record.olrd)} with the command above."]),
        ],
    )
    yield (
        "Uses",
        [
            Answer("What should it not be used for?", rai["rai:dataUseCases"][1:]),
            Answer("Can its use harm people?", [rai["rai:dataSocialImpact"]]),
        ],
    )
    yield ("Distribution", [Answer("Under which licences?", [_licences(facts)])])
    yield (
        "Maintenance",
        [
            Answer("How are versions told apart?", [rai["rai:dataReleaseMaintenancePlan"], _versions()]),
            Answer("Whom can one ask, and who corrects errors?", [PUBLISHER]),
        ],
    )


def _rows(record: BuildRecord, facts: Facts) -> str:
    seen = record.source.background_kind == SEEN
    full = seen_words.ROW if seen else "a triplet: composite, mask, photo"
    photos = photos_of(record, facts) if seen else counted(facts.photos, "photo")
    what = "a recipe of a triplet, without pixels" if record.form == "recipes" else full
    splits = ", ".join(f"{plain(name)} {rows:,}" for name, rows in record.splits.items())
    return f"A row is {what}. {counted(record.rows, 'row')} of {photos}" + (f": {splits}." if splits else ".")


def _needs(record: BuildRecord) -> str:
    if record.form == "recipes":
        if record.source.background_kind == SEEN:
            return f"Yes: the pictures or videos of {plain(record.source.name)}, which the recipes name by file hash."
        return f"Yes: the photos of {plain(record.source.name)}, in which the recipes find their objects by file hash."
    return "No: every row holds its pictures."


def _raw(record: BuildRecord) -> str:
    if record.form == "recipes":
        return "No photo is stored. Every recipe names its photos by the sha256 of their files."
    if record.source.background_kind == SEEN:
        return seen_words.RAW
    return "The photo of a row is stored unchanged, or as a lossless copy if it was resized, rotated or converted."


def _licences(facts: Facts) -> str:
    if not facts.refused:
        return "Those of the photos, listed above; each allows derivatives to be published."
    return f"Those of the photos, listed above; {refused_triplets(facts)}"


def _versions() -> str:
    return "olrd diff OLD NEW lists the triplets that came, went and changed."
