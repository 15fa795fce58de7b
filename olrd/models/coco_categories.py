"""Categories for the labels of a segmentation network: the 133 of COCO panoptic, or those of its configuration."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache

from olrd.errors import SourceError, UsageError, did_you_mean
from olrd.panoptic import Category
from olrd.trust import counted

# One line per supercategory ("name: id name, id name"); an indented line continues the line above.
_THINGS = """
person: 1 person
vehicle: 2 bicycle, 3 car, 4 motorcycle, 5 airplane, 6 bus, 7 train, 8 truck, 9 boat
outdoor: 10 traffic light, 11 fire hydrant, 13 stop sign, 14 parking meter, 15 bench
animal: 16 bird, 17 cat, 18 dog, 19 horse, 20 sheep, 21 cow, 22 elephant, 23 bear, 24 zebra,
    25 giraffe
accessory: 27 backpack, 28 umbrella, 31 handbag, 32 tie, 33 suitcase
sports: 34 frisbee, 35 skis, 36 snowboard, 37 sports ball, 38 kite, 39 baseball bat,
    40 baseball glove, 41 skateboard, 42 surfboard, 43 tennis racket
kitchen: 44 bottle, 46 wine glass, 47 cup, 48 fork, 49 knife, 50 spoon, 51 bowl
food: 52 banana, 53 apple, 54 sandwich, 55 orange, 56 broccoli, 57 carrot, 58 hot dog, 59 pizza,
    60 donut, 61 cake
furniture: 62 chair, 63 couch, 64 potted plant, 65 bed, 67 dining table, 70 toilet
electronic: 72 tv, 73 laptop, 74 mouse, 75 remote, 76 keyboard, 77 cell phone
appliance: 78 microwave, 79 oven, 80 toaster, 81 sink, 82 refrigerator
indoor: 84 book, 85 clock, 86 vase, 87 scissors, 88 teddy bear, 89 hair drier, 90 toothbrush
"""
_STUFF = """
textile: 92 banner, 93 blanket, 109 curtain, 141 pillow, 168 towel, 200 rug-merged
building: 95 bridge, 128 house, 151 roof, 166 tent, 197 building-other-merged
raw-material: 100 cardboard, 195 paper-merged
furniture-stuff: 107 counter, 112 door-stuff, 130 light, 133 mirror-stuff, 156 shelf,
    161 stairs, 188 cabinet-merged, 189 table-merged
floor: 118 floor-wood, 190 floor-other-merged
plant: 119 flower, 184 tree-merged, 193 grass-merged
food-stuff: 122 fruit, 196 food-other-merged
ground: 125 gravel, 144 platform, 145 playingfield, 147 railroad, 149 road, 154 sand, 159 snow,
    191 pavement-merged, 194 dirt-merged
structural: 138 net, 185 fence-merged
water: 148 river, 155 sea, 178 water-other
wall: 171 wall-brick, 175 wall-stone, 176 wall-tile, 177 wall-wood, 199 wall-other-merged
window: 180 window-blind, 181 window-other
ceiling: 186 ceiling-merged
sky: 187 sky-other-merged
solid: 192 mountain-merged, 198 rock-merged
"""


@cache
def coco_categories() -> dict[str, Category]:
    """The official categories by name, in the order of their ids (1 to 200, with gaps)."""
    found = sorted([*_read(_THINGS, True), *_read(_STUFF, False)])
    return {category.name: category for category in found}


def _read(table: str, isthing: bool) -> Iterator[Category]:
    for line in table.strip().replace("\n    ", " ").splitlines():
        supercategory, _, entries = line.partition(": ")
        for entry in entries.split(", "):
            number, _, name = entry.partition(" ")
            yield Category(int(number), name, supercategory, isthing)


def label_categories(
    checkpoint: str,
    id2label: Mapping[int, str],
    things: Collection[str] | None = None,
    stuff: Collection[int] | None = None,
) -> dict[int, Category]:
    """The category of each label number.

    Names of COCO give COCO's official categories. Other label sets keep their numbers as category ids.

    Args:
        labels: name by label number.
        things: the names that are things.
        stuff: without `things`, the numbers that are stuff (the checkpoint's `label_ids_to_fuse`).

    Raises:
        UsageError: it is not known which labels are things.
        SourceError: no label is stuff, so that there is no background to paste on.
    """
    names = {int(number): name.strip() for number, name in id2label.items()}
    official = coco_categories()
    if things is None and official.keys() >= set(names.values()):
        found = {number: official[name] for number, name in names.items()}
    elif things is not None:
        for unknown in sorted(set(things) - set(names.values())):
            raise did_you_mean(f"label of {checkpoint}", unknown, names.values())
        found = {n: Category(n, name, "", name in things) for n, name in names.items()}
    elif stuff is not None:
        found = {n: Category(n, name, "", n not in stuff) for n, name in names.items()}
    else:
        raise UsageError(
            f"{checkpoint} has {counted(len(names), 'label that is', 'labels that are')} not COCO's, and its config has no "
            "label_ids_to_fuse: say which labels are things (countable) with the option "
            "things=name1,name2 or things=FILE (one name a line)"
        )
    if all(category.isthing for category in found.values()):
        raise SourceError(
            f"{checkpoint} knows no background: all its labels ({len(found):,}) are things. Expected a "
            "panoptic checkpoint (things and stuff), not an instance one"
        )
    return found
