"""The 91 stuff classes of COCO-Stuff, for pixel maps, which have numbers alone."""

from __future__ import annotations

# One line per supercategory; numbers are those of COCO-Stuff.
_CLASSES = """
textile: 92 banner, 93 blanket, 104 cloth, 105 clothes, 109 curtain, 131 mat, 137 napkin, 141 pillow, 152 rug,
    167 textile-other, 168 towel
plant: 94 branch, 97 bush, 119 flower, 124 grass, 129 leaves, 134 moss, 142 plant-other, 163 straw, 169 tree
building: 95 bridge, 96 building-other, 128 house, 151 roof, 158 skyscraper, 166 tent
furniture-stuff: 98 cabinet, 107 counter, 108 cupboard, 110 desk-stuff, 112 door-stuff, 123 furniture-other, 130 light,
    133 mirror-stuff, 156 shelf, 161 stairs, 165 table
structural: 99 cage, 113 fence, 138 net, 146 railing, 164 structural-other
raw-material: 100 cardboard, 132 metal, 139 paper, 143 plastic
floor: 101 carpet, 114 floor-marble, 115 floor-other, 116 floor-stone, 117 floor-tile, 118 floor-wood
ceiling: 102 ceiling-other, 103 ceiling-tile
sky: 106 clouds, 157 sky-other
ground: 111 dirt, 125 gravel, 126 ground-other, 136 mud, 140 pavement, 144 platform, 145 playingfield, 147 railroad,
    149 road, 154 sand, 159 snow
water: 120 fog, 148 river, 155 sea, 178 water-other, 179 waterdrops
food-stuff: 121 food-other, 122 fruit, 153 salad, 170 vegetable
solid: 127 hill, 135 mountain, 150 rock, 160 solid-other, 162 stone, 182 wood
wall: 171 wall-brick, 172 wall-concrete, 173 wall-other, 174 wall-panel, 175 wall-stone, 176 wall-tile, 177 wall-wood
window: 180 window-blind, 181 window-other
"""


def stuff_names() -> dict[int, tuple[str, str]]:
    """The name and the supercategory of each class, by number, from 92 to 182."""
    found: dict[int, tuple[str, str]] = {}
    for line in _CLASSES.replace("\n    ", " ").strip().splitlines():
        group, _, classes = line.partition(": ")
        for entry in classes.split(", "):
            number, _, name = entry.strip().partition(" ")
            found[int(number)] = name, group
    return dict(sorted(found.items()))
