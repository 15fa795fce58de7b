"""Which classes are things (countable, may be erased) and which are stuff (background): the one rule for all readers.

In this order, the first that answers decides:

1. the options `things=` and `stuff=`,
2. `isthing` of the category,
3. `isthing` of its segments (as detectron2 and mmdetection write it),
4. the class names of COCO, Cityscapes and ADE20K.

Some tools write `isthing: 0` for every class, because they cannot store it. So a list that calls all classes the
same is believed only if the names do not say better.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from olrd.errors import SourceError, did_you_mean
from olrd.models.coco_categories import coco_categories
from olrd.panoptic import Category
from olrd.progress import say_once
from olrd.trust import counted, shown

_SHOWN = 5

# Names by dataset. Where ADE20K has several words for a class, the first is here.
_CITYSCAPES_THINGS = "person, rider, car, truck, bus, caravan, trailer, train, motorcycle, bicycle"
_CITYSCAPES_STUFF = (
    "road, sidewalk, parking, rail track, building, wall, fence, guard rail, bridge, tunnel, pole, polegroup, "
    "traffic light, traffic sign, vegetation, terrain, sky"
)
_ADE20K_THINGS = (
    "bed, window, cabinet, person, door, table, curtain, chair, car, painting, sofa, shelf, mirror, armchair, seat, "
    "fence, desk, wardrobe, lamp, tub, rail, cushion, box, column, signboard, chest of drawers, counter, sink, "
    "fireplace, refrigerator, stairs, case, pool table, pillow, screen door, bookcase, coffee table, toilet, flower, "
    "book, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, arcade machine, bus, towel, "
    "light, truck, chandelier, awning, street lamp, booth, tv, plane, clothes, pole, bannister, ottoman, bottle, van, "
    "ship, fountain, washer, plaything, stool, barrel, basket, bag, minibike, oven, ball, food, step, trade name, "
    "microwave, pot, animal, bicycle, dishwasher, screen, sculpture, hood, sconce, vase, traffic light, tray, "
    "trash can, fan, plate, monitor, bulletin board, radiator, glass, clock, flag"
)
_ADE20K_STUFF = (
    "wall, building, sky, floor, tree, ceiling, road, grass, sidewalk, earth, mountain, plant, water, house, sea, rug, "
    "field, rock, base, sand, skyscraper, grandstand, path, runway, stairway, river, bridge, blind, hill, bar, hovel, "
    "tower, dirt track, land, escalator, buffet, poster, stage, conveyer belt, canopy, pool, falls, tent, cradle, "
    "tank, lake, blanket, pier, crt screen, shower"
)


class Declared(NamedTuple):
    """A class as a file lists it. isthing: None if the file does not say it."""

    id: int
    name: str
    supercategory: str
    isthing: bool | None


def read_isthing(value: object) -> bool | None:
    """What a field `isthing` says: 0, 1, true, "0", "1" or "true". Anything else counts as missing: None."""
    text = str(value).strip().lower() if isinstance(value, bool | int | float | str) else ""
    if text in ("1", "1.0", "true"):
        return True
    return False if text in ("0", "0.0", "false") else None


def decide_things(
    where: object,
    declared: Iterable[Declared],
    things: Collection[str] | None = None,
    stuff: Collection[str] | None = None,
    need_both: bool = True,
) -> dict[int, Category]:
    """The classes by id, each known as thing or stuff.

    Args:
        where: the file, for messages.
        declared: the classes as the file lists them.
        things: names that are things. Without `stuff`, all others are stuff.
        stuff: names that are stuff. Without `things`, all others are things.
        need_both: whether a set without a thing or without a stuff class is an error. Triplets need both.

    Raises:
        SourceError: it is not known what a class is, or all are the same.
        UsageError: an option names a class that does not exist.
    """
    kinds = list(declared)
    for option, names in (("things", things), ("stuff", stuff)):
        for unknown in sorted(set(names or ()) - {kind.name for kind in kinds}):
            raise did_you_mean(f"class of {where} in {option}=", unknown, [kind.name for kind in kinds])
    if both := set(things or ()) & set(stuff or ()):
        raise SourceError(f"{where}: things= and stuff= both name {shown(min(both))}: leave it out of one of them")
    if things is not None or stuff is not None:
        kinds = [kind._replace(isthing=_chosen(kind, things, stuff)) for kind in kinds]
    else:
        kinds = _by_names(where, kinds)
    if unknown_names := [kind.name for kind in kinds if kind.isthing is None]:
        raise SourceError(
            f"{where}: it is not known whether {_some(unknown_names)} can be counted (things) or not (stuff): "
            f"categories[].isthing is missing: {_advice(kinds)}"
        )
    if need_both and not any(kind.isthing for kind in kinds):
        raise SourceError(f"{where}: no category is a thing: {_advice(kinds)}")
    if need_both and all(kind.isthing for kind in kinds):
        raise SourceError(
            f"{where}: no category is stuff (background to paste on): say --source-option stuff=NAME,NAME; the "
            f"classes are {_some([kind.name for kind in kinds])}. A set of objects without any background is read by "
            "--source instances"
        )
    return {kind.id: Category(kind.id, kind.name, kind.supercategory, bool(kind.isthing)) for kind in kinds}


def _chosen(kind: Declared, things: Collection[str] | None, stuff: Collection[str] | None) -> bool | None:
    """What the options say of a class. With both options, a class in neither keeps what its file says."""
    if things is not None and kind.name in things:
        return True
    if stuff is not None and kind.name in stuff:
        return False
    if things is not None and stuff is not None:
        return kind.isthing
    return things is None


def _by_names(where: object, kinds: list[Declared]) -> list[Declared]:
    """The classes, with what their names say where the file says nothing or calls all the same."""
    told = {kind.isthing for kind in kinds}
    if told == {True, False}:
        return kinds
    known = _known([kind.name for kind in kinds])
    if len(told) == 1 and None not in told:
        # Names overrule what is said only if they know every class, and know both sides.
        if len(known) < len({kind.name for kind in kinds}) or len(set(known.values())) < 2:
            return kinds
        found = [kind._replace(isthing=known[kind.name]) for kind in kinds]
        reason = f"isthing is {int(kinds[0].isthing or False)} for all"
    else:
        found = [k if k.isthing is not None else k._replace(isthing=known.get(k.name)) for k in kinds]
        if any(kind.isthing is None for kind in found):
            return found
        reason = "isthing is missing"
    names = [kind.name for kind in found if kind.isthing]
    say_once(
        f"{where}: {reason}, so the class names decide: {counted(len(names), 'thing')} ({_some(names)}), "
        f"{len(found) - len(names)} stuff; --source-option things=NAME,NAME says it otherwise"
    )
    return found


def _known(names: Collection[str]) -> dict[str, bool]:
    """What is known of names, from the table that knows most of them, and then from the others."""
    found: dict[str, bool] = {}
    for table in sorted(_tables(), key=lambda table: -sum(_plain(name) in table for name in names)):
        for name in names:
            if (isthing := table.get(_plain(name))) is not None:
                found.setdefault(name, isthing)
    return found


@cache
def _tables() -> tuple[Mapping[str, bool], ...]:
    coco: dict[str, bool] = {}
    for category in coco_categories().values():
        # A short form ('grass' of 'grass-merged') never hides a full name.
        coco.setdefault(_plain(category.label), category.isthing)
    coco |= {_plain(category.name): category.isthing for category in coco_categories().values()}
    pairs = ((_CITYSCAPES_THINGS, _CITYSCAPES_STUFF), (_ADE20K_THINGS, _ADE20K_STUFF))
    return coco, *(dict.fromkeys(t.split(", "), True) | dict.fromkeys(s.split(", "), False) for t, s in pairs)


def _plain(name: str) -> str:
    """A name as the tables have it: 'road' for ADE20K's 'road, route', 'rail track' for 'rail_track'."""
    return name.partition(",")[0].strip().lower().replace("_", " ")


def _advice(kinds: list[Declared]) -> str:
    return f"say --source-option things=NAME,NAME; the classes are {_some([kind.name for kind in kinds])}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(shown(name) for name in names[:_SHOWN]) + more


def given_names(text: str) -> list[str]:
    """The names of an option: separated by commas, or the lines of a file.

    Raises:
        SourceError: the file cannot be read.
    """
    path = Path(text).expanduser()
    try:
        if not path.is_file():
            return [name.strip() for name in text.split(",") if name.strip()]
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise SourceError(f"things= or stuff=: {shown(text)} cannot be read as a file of names: {error}") from error
    return [line.strip() for line in lines if line.strip()]
