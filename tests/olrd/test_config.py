"""The configuration: every wrong value has its error, and every way back gives the same thing."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from property_examples import examples

from olrd.config import BLENDS, LATER, PRESETS, BuildConfig, CandidateRules, parse_splits, with_preset
from olrd.errors import UsageError
from olrd.options import add_options, from_arguments, from_values
from olrd.sources import SourceSpec

SPEC = SourceSpec("coco", "/data/coco")
CONFIG = BuildConfig(SPEC)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"form": "ful"}, "form.*'ful'.*Did you mean 'full'"),
        ({"placement": "suported"}, "placement.*Did you mean 'supported'"),
        ({"donor": "others"}, "donor.*Did you mean 'other'"),
        ({"blend": "mating"}, "blend.*Did you mean 'matting'"),
        ({"on_error": "halt"}, "--on-error.*skip, stop"),
        ({"match": ("noise", "sharp")}, "match.*Did you mean 'sharpness'"),
        ({"licenses": "permisive"}, "licence.*Did you mean 'permissive'"),
        ({"params": {"bend": 3}}, "parameter.*guided.*Did you mean 'band'"),
        ({"params": {"band": -1}}, "--blend-param band"),
        ({"params": {"band": float("nan")}}, "--blend-param band"),
        ({"params": {"band": 10_001}}, "--blend-param band"),
        ({"blend": "hard", "params": {"band": 3}}, "parameter.*hard"),
        ({"size": 15}, "--size must be between 16 and 32768, got 15"),
        ({"size": 0}, "--size must be between 16 and 32768, got 0"),
        ({"size": -512}, "--size"),
        ({"margin": -1}, "--margin"),
        ({"per_object": 0}, "--per-object"),
        ({"max_per_photo": 0}, "--max-per-photo"),
        ({"limit": 0}, "--limit"),
        ({"limit": -3}, "--limit"),
        ({"shard_bytes": 0}, "--shard-bytes"),
        ({"scale": (0.0, 1.0)}, "--scale"),
        ({"scale": (2.0, 1.0)}, "--scale"),
        ({"scale": (1.0, 21.0)}, "--scale"),
        ({"scale": (float("nan"), 1.0)}, "--scale"),
        ({"min_area": 0}, "--min-area"),
        ({"min_area": 0.3}, "--min-area.*--max-area"),
        ({"max_area": 1.1}, "--max-area"),
        ({"max_area": float("nan")}, "--max-area"),
        ({"max_contact": -0.1}, "--max-contact"),
        ({"max_contact": 1.5}, "--max-contact"),
        ({"max_contact": float("nan")}, "--max-contact"),
        ({"splits": ()}, "splits"),
        ({"mask_style": ("hul",)}, "mask style.*Did you mean 'hull'"),
        ({"mask_style": ()}, "--mask-style needs at least one"),
        ({"objects": (0, 2)}, "--objects must be LOW-HIGH.*got 0-2"),
        ({"objects": (3, 1)}, "--objects must be LOW-HIGH"),
        ({"objects": (1, 9)}, "--objects must be LOW-HIGH"),
        ({"objects": "many"}, "--objects expects N or LOW-HIGH, got 'many'"),
        ({"mask_grow": 257}, "--mask-grow must be between 0 and 256"),
        ({"max_pixels": 0}, "--max-pixels must be at least 1, got 0"),
        ({"max_pixels": -1}, "--max-pixels"),
    ],
)
def test_a_wrong_value_names_its_option(change: dict[str, Any], said: str) -> None:
    values = {{"params": "blend_param"}.get(name, name): value for name, value in change.items()}
    with pytest.raises(UsageError, match=said):
        from_values(BuildConfig, values)


def test_the_params_of_the_blend_are_filled_in() -> None:
    for name in BLENDS.names():
        assert BuildConfig(SPEC, blend=name).blend_params == BLENDS.get(name).defaults
    matting = BLENDS.get("matting").defaults
    five = BuildConfig(SPEC, blend="matting", params={"band": 5})
    assert five.blend_params == {**matting, "band": 5}


shares = st.integers(1, 999_999).map(lambda n: n / 1_000_000)


@st.composite
def configs(draw: st.DrawFn) -> BuildConfig:
    """Any valid configuration, with values as people would type them."""
    blend = draw(st.sampled_from(BLENDS.names()))
    known = sorted(BLENDS.get(blend).defaults)
    params = {name: draw(st.integers(0, 500) | shares) for name in known if draw(st.booleans())}
    low = draw(st.integers(1, 40)) / 20
    areas = sorted(draw(st.lists(shares, min_size=2, max_size=2, unique=True)))
    splits = st.sampled_from(["train=0.8,validation=0.1,test=0.1", "all=1", "a=3,b=1", "a=9,b=1"])
    names = st.sampled_from(["dog", "potted plant", "cat", "wine glass"])
    return BuildConfig(
        source=SourceSpec(
            draw(st.sampled_from(["coco", "openimages"])),
            draw(st.sampled_from([None, "/a b/c"])),
            draw(st.sampled_from([None, "val2017"])),
            draw(st.dictionaries(st.sampled_from("abc"), st.sampled_from(["1", "x=y", "", "é 'q'"]))),
            draw(st.sampled_from([64_000_000, 1234])),
        ),
        seed=draw(st.integers(-5, 1 << 40)),
        form=draw(st.sampled_from(["full", "recipes"])),
        size=draw(st.none() | st.integers(16, 2000)),
        placement=draw(st.sampled_from(["centroid", "uniform", "supported"])),
        donor=draw(st.sampled_from(["same", "other"])),
        blend=blend,
        params=params,
        match=draw(st.sampled_from([(), ("jpeg",), ("noise",), ("noise", "sharpness", "jpeg")])),
        mask_style=draw(st.sampled_from([("exact",), ("box",), ("grown", "hull", "brush")])),
        mask_grow=draw(st.sampled_from([0, 3])),
        objects=draw(st.sampled_from([(1, 1), (2, 2), (1, 3)])),
        margin=draw(st.integers(0, 50)),
        scale=(low, low + draw(st.integers(0, 40)) / 20),
        flip=draw(st.booleans()),
        per_object=draw(st.integers(1, 9)),
        max_per_photo=draw(st.integers(1, 30)),
        rules=CandidateRules(
            min_area=areas[0],
            max_area=areas[1],
            cut_objects=draw(st.booleans()),
            groups=draw(st.booleans()),
            allow_truncated=draw(st.booleans()),
            max_contact=draw(shares),
            min_edge=draw(shares),
            categories=tuple(draw(st.lists(names, max_size=3, unique=True))),
        ),
        licenses=draw(st.sampled_from(["any", "permissive", "4,7", "cc-by, unknown"])),
        splits=parse_splits(draw(splits)),
        limit=draw(st.none() | st.integers(1, 1000)),
        shard_bytes=draw(st.integers(1, 1 << 40)),
        on_error=draw(st.sampled_from(["skip", "stop"])),
    )


def normal(config: BuildConfig) -> BuildConfig:
    """The same build: no path, every blend parameter spelled out, --on-error (no byte) left out."""
    root = None if config.source.root is None else "ROOT"
    source = replace(config.source, root=root)
    return replace(config, source=source, params=config.blend_params, on_error="skip")


@examples(60)
@given(configs())
@pytest.mark.slow
def test_resolved_values_give_the_configuration_back(config: BuildConfig) -> None:
    values = json.loads(json.dumps(config.resolved()))
    back = BuildConfig.from_resolved(values)
    assert back == replace(normal(config), on_error=config.on_error)
    assert back.resolved() == values
    assert back.hash("f") == config.hash("f")


def test_resolved_values_hold_no_private_path() -> None:
    assert "/data/coco" not in json.dumps(CONFIG.resolved())


def parse(command: str) -> BuildConfig:
    """A configuration from a command line, as `olrd-build` makes it."""
    program, *words = shlex.split(command)
    assert program == "olrd-build"
    parser = argparse.ArgumentParser()
    add_options(parser, BuildConfig)
    parser.add_argument("--out")
    return from_arguments(BuildConfig, parser.parse_args(words))


@examples(60)
@given(configs())
@pytest.mark.slow
def test_the_canonical_command_gives_the_configuration_back(config: BuildConfig) -> None:
    assert normal(parse(config.command())) == normal(config)


@pytest.mark.parametrize(
    "change",
    [
        {"splits": parse_splits("a=1,b=2")},
        {"splits": parse_splits("train=0.1234567,test=0.8765433")},
        {"blend": "matting", "params": {"trust": 300.1234567}},
        {"rules": CandidateRules(min_area=0.00212345678)},
        {"scale": (0.333333333333, 1.66666666667)},
    ],
)
def test_the_canonical_command_keeps_every_digit(change: dict[str, Any]) -> None:
    """The card promises the exact command: it must give the same hash."""
    config = replace(CONFIG, **change)
    assert parse(config.command()).hash("f") == config.hash("f")


def test_the_canonical_command_is_short_for_the_defaults() -> None:
    assert CONFIG.command() == "olrd-build --source coco --root ROOT --out OUT"
    assert BuildConfig(SourceSpec("demo")).command() == "olrd-build --source demo --out OUT"
    assert parse("olrd-build --source coco") == BuildConfig(SourceSpec("coco"))


def test_every_option_of_a_build_is_on_the_command_line() -> None:
    """A field that cannot be typed could not be reproduced by the command in the card."""
    parser = argparse.ArgumentParser()
    add_options(parser, BuildConfig)
    known = {action.dest for action in parser._actions}
    own = {field.name for field in fields(BuildConfig)} - {"source", "rules", "params", "rules_version"}
    rules = {field.name for field in fields(CandidateRules)}
    assert own | rules | {"source", "root", "subset", "max_pixels", "source_option", "blend_param"} <= known


def test_options_at_their_defaults_keep_the_identity_of_older_builds() -> None:
    """Datasets that were built before these options came are still what their build.json says."""
    older = {name: value for name, value in CONFIG.resolved().items() if name not in LATER}
    assert BuildConfig.from_resolved(older).hash("f") == CONFIG.hash("f")


def test_builds_that_name_no_version_of_the_rules_are_of_the_first() -> None:
    """So a folder of older rules is another build than one of today's with the same options."""
    older = {name: value for name, value in CONFIG.resolved().items() if name != "rules_version"}
    assert BuildConfig.from_resolved(older).rules_version == 1 != CONFIG.rules_version


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_set_of_options(name: str) -> None:
    config = from_values(BuildConfig, with_preset({"source": "demo", "preset": name}))
    assert parse(config.command()) == config
    assert {name: config.resolved()[name] for name in ("placement", "blend")} == (
        {"placement": "centroid", "blend": "hard"} if name == "paper" else {"placement": "supported", "blend": "guided"}
    )
    assert (config == BuildConfig(SourceSpec("demo"))) == (name == "default")


def test_options_that_are_given_win_over_a_preset() -> None:
    values = {"preset": "paper", "blend": "guided", "min_area": 0.1}  # guided is the default, and was asked for
    config = from_values(BuildConfig, with_preset(values))
    assert (config.blend, config.placement, config.rules.min_area) == ("guided", "centroid", 0.1)
    with pytest.raises(UsageError, match="hard-cases"):
        with_preset({"preset": "hardcases"})


CHANGES: list[dict[str, Any]] = [
    {"mask_style": ("hull",)},
    {"mask_grow": 2},
    {"shadow": "cast"},
    {"objects": (1, 3)},
    {"seed": 1},
    {"form": "recipes"},
    {"size": 512},
    {"placement": "uniform"},
    {"donor": "other"},
    {"blend": "hard", "params": {}},
    {"params": {"band": 5}},
    {"match": ("noise",)},
    {"margin": 5},
    {"scale": (1.0, 1.5)},
    {"flip": True},
    {"per_object": 1},
    {"max_per_photo": 7},
    {"perspective": False},
    {"rules_version": 1},
    {"rules": CandidateRules(groups=False)},
    {"rules": CandidateRules(cut_objects=False)},
    {"rules": CandidateRules(min_edge=0.6)},
    {"rules": CandidateRules(min_area=0.003)},
    {"rules": CandidateRules(max_area=0.2)},
    {"rules": CandidateRules(allow_truncated=True)},
    {"rules": CandidateRules(max_contact=0.3)},
    {"rules": CandidateRules(categories=("dog",))},
    {"licenses": "permissive"},
    {"splits": (("train", 1.0),)},
    {"limit": 10},
    {"shard_bytes": 1_000_000},
    {"source": replace(SPEC, subset="val2017")},
    {"source": replace(SPEC, name="openimages")},
    {"source": replace(SPEC, max_pixels=1000)},
    {"source": replace(SPEC, options={"a": "1"})},
]


@pytest.mark.parametrize("value", [3, "3", (3, 3), [3, 3], np.int64(3)])
def test_one_number_of_objects_stands_for_both(value: Any) -> None:
    assert from_values(BuildConfig, {"source": "coco", "objects": value}).objects == (3, 3)
    assert type(from_values(BuildConfig, {"source": "coco", "objects": value}).objects[0]) is int


@pytest.mark.parametrize("value", [2, 2.0, "2"])
def test_one_scale_stands_for_both(value: Any) -> None:
    """It has the hash that `--scale 2` has."""
    config = from_values(BuildConfig, {"source": "coco", "scale": value})
    assert config.hash("f") == from_values(BuildConfig, {"source": "coco", "scale": (2.0, 2.0)}).hash("f")


@pytest.mark.parametrize("value", [3.5, True, None, (3,), 0, 9])
def test_a_wrong_number_of_objects_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match=r"^--objects (expects|must be) "):
        from_values(BuildConfig, {"source": "coco", "objects": value})


@pytest.mark.parametrize("value", [5, 2.5])
def test_a_number_is_no_list_of_names(value: Any) -> None:
    with pytest.raises(UsageError, match=r"^--categories expects a list of texts"):
        from_values(BuildConfig, {"source": "coco", "categories": value})


@pytest.mark.parametrize(
    "version, blend, max_contact, sha256",
    [
        (2, "matting", 0.25, "9f889422b35565690f42ab165f07a2355781efcaf1753b63b69deb8e9034e90f"),
        (3, "guided", 0.15, "a11b6d186a1097b5e679f2f53622067d18da396ab3ed49980d069f912f04feff"),
        (4, "guided", 0.15, "a11b6d186a1097b5e679f2f53622067d18da396ab3ed49980d069f912f04feff"),
    ],
)
def test_the_hash_of_the_defaults_stays_while_the_rules_do(
    version: int, blend: str, max_contact: float, sha256: str
) -> None:
    """A finished build is recognised by it, those of earlier rules with the defaults of their time too."""
    config = replace(CONFIG, rules_version=version, blend=blend, rules=replace(CONFIG.rules, max_contact=max_contact))
    assert config.hash("f") == sha256


def test_version_4_changed_only_builds_with_other_donors() -> None:
    former = replace(CONFIG, rules_version=3)
    assert former.hash("f") == CONFIG.hash("f")
    assert replace(former, donor="other").hash("f") != replace(CONFIG, donor="other").hash("f")


def test_the_hash_changes_with_everything_that_matters() -> None:
    hashes = [replace(CONFIG, **change).hash("f") for change in CHANGES]
    assert len({*hashes, CONFIG.hash("f"), CONFIG.hash("g")}) == len(CHANGES) + 2
    changed = {name for change in CHANGES for name in change}
    assert changed == {field.name for field in fields(BuildConfig)} - {"on_error"}


def test_the_hash_does_not_change_with_what_does_not_matter() -> None:
    elsewhere = replace(CONFIG, source=replace(SPEC, root="/mnt/coco"))
    assert elsewhere.hash("f") == CONFIG.hash("f")
    assert replace(CONFIG, on_error="stop").hash("f") == CONFIG.hash("f")
    spelled = replace(CONFIG, params=dict(BLENDS.get(CONFIG.blend).defaults))
    assert spelled.hash("f") == CONFIG.hash("f")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--scale big", "--scale expects LOW,HIGH"),
        ("--scale 1,2,3", "--scale expects LOW,HIGH"),
        ("--blend-param band", "--blend-param expects KEY=VALUE"),
        ("--blend-param band=wide", "--blend-param expects a number"),
        ("--source-option =3", "--source-option expects KEY=VALUE"),
        ("--splits a=1,a=2", "--splits"),
        ("--match nose", "Did you mean 'noise'"),
    ],
)
def test_a_value_that_does_not_parse_names_its_option(words: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse(f"olrd-build --source coco {words}")


def test_the_record_of_a_build_names_no_folder_of_this_machine() -> None:
    """Equal builds on two machines have equal records and identities."""
    records = []
    for home in ("/home/a/my photos", "C:\\Users\\b", "file:///data/c"):
        options = {"panoptic": f"{home}/corrected maps", "threshold": "0.5"}
        config = BuildConfig(SourceSpec("images", f"{home}/photos", options=options))
        records.append((config.resolved(), config.command(), config.hash("x")))
        assert home not in str(records[-1])
    assert records[0] == records[1] == records[2]
    assert records[0][0]["source"]["options"]["panoptic"] == "corrected maps"
