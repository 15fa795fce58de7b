"""The RAI fields of a dataset in Croissant: how it was made, what is missing, what it is for, and what may be wrong.

http://mlcommons.org/croissant/RAI/1.0 defines the fields, and Croissant 1.1 how W3C's PROV names where data come from.
The texts state what build.json and the rows say; they make no promise for whoever publishes the dataset.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from olrd.config import OBJECTS, BuildConfig
from olrd.dataset import seen_words
from olrd.dataset.record import BuildRecord
from olrd.licenses import is_permissive
from olrd.sources import SEEN
from olrd.trust import counted, one_line, printable

PEOPLE = frozenset({"person", "man", "woman", "boy", "girl", "child", "human", "pedestrian", "rider"})
"""Names of classes of people in COCO, LVIS, Cityscapes and Open Images."""
MOST = 10
"""Classes and reasons that a text lists."""
USES = [
    "Training and evaluating the removal of objects from photos, and inpainting: the truth under the object is known.",
    "Not for judging how a method treats cast shadows, reflections or what people want to see in a hole.",
    "Not for detecting manipulated photos in the wild: all composites are made by one program.",
]
LIMITATIONS = [
    "Objects are moved without their cast shadow or reflection.",
    "Where an object is pasted into its own photo, the original stays visible in the ground truth.",
    "Masks are those of the annotations: where they are inaccurate, parts of objects are pasted.",
    "Pasted objects can float, or have a size that does not fit their place.",
    "Composites can be told from photos at the edge of the paste; `olrd audit` measures how well.",
]
_WHOLE = (
    "Only objects are used that are whole, that the frame does not cut and that fit on free background, so classes are not as "
    "frequent as in the source."
)
IMPACT = (
    "Object removal can falsify photos, for example by taking people or evidence out of them. The rows hold the author and "
    "the licence of every photo, where the source has them."
)


class Facts(NamedTuple):
    """Counts over all rows.

    Attributes:
        licenses: triplets by licence code and address; a triplet of two photos counts for both.
        categories: triplets by class of the object, of the first one where there are several.
        photos: number of background photos; of clips or places where the background was seen.
        refused: triplets with a photo whose licence does not allow derivatives to be published.
    """

    licenses: Counter[tuple[str, str]]
    categories: Counter[str]
    photos: int
    refused: int


def is_refused(row: Mapping[str, Any]) -> bool:
    """Whether a row has a photo whose licence does not allow derivatives to be published, or is unknown."""
    return not all(is_permissive(str(row[name])) for name in ("license", "donor_license"))


def refused_triplets(facts: Facts) -> str:
    """How many triplets have such a photo."""
    triplets = counted(facts.refused, "triplet has", "triplets have")
    return f"{triplets} a photo whose licence does not allow derivatives to be published, or is unknown."


def photos_of(record: BuildRecord, facts: Facts) -> str:
    """The number of background photos, or of what takes their place where the background was seen."""
    if record.source.background_kind == SEEN:
        return seen_words.places(facts.photos, SEEN)
    return counted(facts.photos, "background photo")


def responsible(record: BuildRecord, facts: Facts, derived_from: Sequence[str] = ()) -> dict[str, Any]:
    """The RAI fields and the provenance, as JSON values.

    derived_from: addresses of the datasets that the photos and annotations come from.
    """
    totals, source = record.totals, plain(record.source.name)
    seen = seen_words.fields(source) if record.source.background_kind == SEEN else {}
    several, shaded = record.settings().several, record.settings().shadow != "none"
    what, hashed = ("Pictures", "pictures") if seen else ("Photos and their annotations", "annotations")
    return {
        "rai:dataCollection": (
            f"No photo was taken for this dataset. {what} come from the source {source} "
            f"({photos_of(record, facts)} in {counted(totals.triplets, 'triplet')}). The command, the seed and the sha256 of the "
            f"{hashed} are in build.json."
        ),
        "rai:dataCollectionType": ["Secondary Data Analysis"],
        "rai:dataCollectionRawData": (
            f"Photos and segment annotations of {source}; annotations with the sha256 {plain(record.source.fingerprint)}."
        ),
        "rai:dataCollectionMissingData": missing_data(record),
        "rai:dataImputationProtocol": "Nothing is imputed: a photo or object that lacks what is needed is left out and counted.",
        "rai:dataPreprocessingProtocol": steps(record),
        "rai:dataManipulationProtocol": (
            "Every composite is a manipulated photo: an object was cut out and pasted at another place. The pixels outside the "
            f"{'effect' if shaded else 'mask'} are those of the photo, and the recipe in each row makes the composite again."
        ),
        "rai:dataAnnotationProtocol": [
            f"Objects, classes and backgrounds are the annotations of {source}, unchanged. The mask of a triplet is computed: it "
            "holds every pixel that the paste touched. No person labelled anything for this dataset."
        ],
        "rai:dataAnnotationAnalysis": [
            "`olrd verify` compares every mask with composite and photo, pixel by pixel. `olrd audit` measures how well composites "
            "can be told from photos. The annotations of the source were not checked by people for this dataset."
        ],
        "rai:annotationsPerItem": "1 mask, computed from the paste"
        + (", 1 of its effect" if shaded else "")
        + (", and 1 per pasted object" if several else ""),
        "rai:annotatorDemographics": [f"Who annotated the photos of {source} is not recorded in the build."],
        "rai:machineAnnotationTools": _tools(record),
        "rai:dataBiases": _biases(record, facts),
        "rai:dataLimitations": LIMITATIONS,
        "rai:dataUseCases": USES,
        "rai:dataSocialImpact": IMPACT,
        "rai:personalSensitiveInformation": personal_information(record, facts),
        "rai:dataReleaseMaintenancePlan": (
            f"build.json lists the sha256 of every file; another build has another identity than {plain(record.identity)[:16]}. "
            "Whoever publishes the dataset maintains it."
        ),
        "rai:hasSyntheticData": True,
        "prov:wasDerivedFrom": _origins(record, derived_from),
        "prov:wasGeneratedBy": _activities(record),
        **seen,
    }


def _most(counts: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent values, equal counts by name: a record from a file has another order than the build's own."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST]


def plain(text: str) -> str:
    """A text of a record as one line without control characters."""
    return printable(one_line(text))


def _origins(record: BuildRecord, addresses: Sequence[str]) -> list[dict[str, Any]]:
    """What the dataset was made from, in the terms of PROV. The annotations are named by their hash."""
    source, fingerprint = plain(record.source.name), plain(record.source.fingerprint)
    photos = {
        "@type": "prov:Entity",
        "@id": f"urn:sha256:{fingerprint}",
        "prov:label": f"photos and annotations of the source {source}"
        if record.source.background_kind != SEEN
        else f"pictures of the source {source}",
    }
    return [photos, *({"@type": "prov:Entity", "@id": plain(one), "prov:atLocation": plain(one)} for one in addresses)]


def _activities(record: BuildRecord) -> list[dict[str, Any]]:
    """What made the dataset, in the terms of PROV: the build, and the model that wrote captions."""
    libraries = ", ".join(f"{plain(name)} {plain(version)}" for name, version in record.versions.items())
    found = [_activity("build", "Compositing", f"{plain(record.command)} ({libraries})", f"olrd {plain(record.olrd)}")]
    if record.captions:
        model = plain(str(record.captions.get("checkpoint", "a model")))
        found.append(_activity("captions", "Captioning", "A model described the backgrounds.", model))
    return found


def _activity(name: str, label: str, description: str, agent: str) -> dict[str, Any]:
    return {
        "@type": "prov:Activity",
        "@id": f"activity-{name}",
        "prov:label": label,
        "sc:description": description,
        "prov:wasAssociatedWith": {"@type": "prov:SoftwareAgent", "@id": f"agent-{name}", "prov:label": agent},
    }


def missing_data(record: BuildRecord) -> str:
    """What was read and what was left out, with the most frequent reasons."""
    totals = record.totals
    without = "a triplet" if record.source.background_kind == SEEN else "an object that can be moved"
    reasons = Counter(totals.photos_rejected) + Counter(totals.objects_rejected)
    listed = ", ".join(f"{plain(code)} {count:,}" for code, count in _most(reasons))
    return (
        f"Photos: {totals.photos_read:,} read, {totals.photos_used:,} used, {totals.photos_without_triplet:,} without "
        f"{without}. Objects: {totals.objects_read:,} read, {totals.objects_used:,} used."
        + (f" Left out, by reason: {listed}." if listed else "")
    )


def steps(record: BuildRecord) -> list[str]:
    """How a triplet is made, in the order of the steps."""
    if record.source.background_kind == SEEN:
        return seen_words.STEPS
    settings = record.settings()
    share = f"{100 * settings.rules.min_area:g} % to {100 * settings.rules.max_area:g} %"
    ground = "labelled background" if record.source.background_kind == "stuff" else "background without labels"
    more = (
        [f"Each photo has {OBJECTS.write(settings.objects)} objects, pasted in the same way."]
        if settings.several
        else []
    )
    drawn = [_drawn_masks(settings)] if set(settings.mask_style) != {"exact"} or settings.mask_grow else []
    shaded = settings.shadow != "none"
    shadows = [_shadows(settings)] if shaded else []
    return [
        f"An object of {share} of its photo was cut out by its mask and pasted at another place (placement "
        f"{plain(settings.placement)}) on {ground}, with the blend {plain(settings.blend)}.",
        *more,
        *drawn,
        *shadows,
        f"Outside the {'effect' if shaded else 'mask'}, the composite equals the photo bit for bit. The photo is stored as its own file, or as a lossless "
        "copy where it was resized or rotated.",
        "Splits are by photo.",
    ]


def _drawn_masks(settings: BuildConfig) -> str:
    grown = f", grown by {counted(settings.mask_grow, 'pixel')}" if settings.mask_grow else ""
    return f"Masks are drawn as users draw them ({plain(', '.join(settings.mask_style))}{grown}), around all that the paste touched."


def _shadows(settings: BuildConfig) -> str:
    cast = (
        ", and its cast shadow on the ground, in the direction that the photo's own things show, else in a drawn one"
        if settings.shadow == "cast"
        else ""
    )
    return f"A soft contact shadow is drawn below every object that stands on ground{cast}. The effect holds all that is darkened."


def _tools(record: BuildRecord) -> list[str]:
    tools = [f"olrd {plain(record.olrd)}"]
    if record.captions:
        tools.append(f"captions: {plain(str(record.captions.get('checkpoint', 'a model')))}")
    return tools


def _biases(record: BuildRecord, facts: Facts) -> list[str]:
    total = sum(facts.categories.values())
    first = " (the first of each triplet)" if record.settings().several else ""
    common = ", ".join(f"{plain(name)} {100 * n / total:.0f} %" for name, n in _most(facts.categories))
    return [
        f"Places, people and things are those of the photos of {plain(record.source.name)}, with the biases of that collection.",
        f"Objects by class{first}: {common}." if total else "There is no object.",
        seen_words.BIAS if record.source.background_kind == SEEN else _WHOLE,
    ]


def personal_information(record: BuildRecord, facts: Facts) -> list[str]:
    """What photos may show of people, and whose licences ask for care."""
    people = sum(n for name, n in facts.categories.items() if name.lower() in PEOPLE)
    kind = "object" if record.source.background_kind == SEEN else "moved object"
    texts = [
        f"Photos may show people, faces, number plates and addresses; nothing was blurred or removed. In {counted(people, 'triplet')} the "
        f"{'first ' if record.settings().several else ''}{kind} is a person."
    ]
    return texts + [refused_triplets(facts)] * bool(facts.refused)
