"""The plot of quality against time: what is drawn, the axes, and the front."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_records import record, sections_of

from benchmark.board.axes import Range, log_ticks_of, shown_range, ticks_of
from benchmark.board.plot import Point, pareto, plot


def test_the_plot_shows_what_is_ranked_and_says_what_it_leaves_out() -> None:
    only = {"protocol__metrics": ["psnr"]}
    made = [
        record("a", 20.0, **only),
        record("b", 30.0, times__median_seconds=40.0, **only),
        record("t", None, **only),
        record("cut", 9.0, n=3, **only),
        record("c", 20.0, method__control=True, **only),
        record("far", 2.0, method__control=True, **only),
    ]
    text = plot(sections_of(*made))
    tree = ET.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    dots = tree.findall(f".//{space}circle")
    assert len(dots) == 3 and sum(d.get("fill") == "#fff" for d in dots) == 1
    words = "".join(tree.itertext())
    assert "= truth: t" in words and "1 partial run not shown" in words
    assert "outside the plot: far (2)" in words  # a control does not stretch the axes
    # More seconds are farther right, a higher score is higher up.
    by_x = sorted(dots, key=lambda d: float(d.get("cx", "")))
    assert float(by_x[-1].get("cy", "")) == min(float(d.get("cy", "")) for d in dots)
    assert tree.find(f".//{space}polyline") is not None
    assert "no ranked run" in plot(sections_of(record("t", None, **only)))


@given(st.floats(-1e3, 1e3), st.floats(0, 1e3))
def test_an_axis_starts_where_the_data_is(low: float, span: float) -> None:
    shown = shown_range([low, low + span])
    assert shown.low < low <= low + span < shown.high
    if span > 1e-3:
        assert low - shown.low < 0.07 * span
    ticks = ticks_of(shown)
    assert 2 <= len(ticks) <= 9
    slack = 1e-6 * (shown.high - shown.low)
    assert shown.low - slack <= ticks[0] and ticks[-1] <= shown.high + slack


def test_ticks_of_time_by_hand() -> None:
    assert log_ticks_of(Range(-2.1, 0.5)) == pytest.approx([0.01, 0.1, 1])
    assert log_ticks_of(Range(-0.8, 0.4)) == pytest.approx([0.2, 0.5, 1, 2])


@pytest.mark.parametrize("higher", [True, False])
def test_the_front_against_the_plain_loop(higher: bool) -> None:
    generator = np.random.Generator(np.random.Philox(2))
    points = [Point(f"{k}", k % 5 == 0, *map(float, generator.integers(1, 9, 2)), 0, 0) for k in range(30)]
    methods = [p for p in points if not p.control]
    gain = {p.name: p.y if higher else -p.y for p in methods}
    beaten = {
        p.name
        for p in methods
        for q in methods
        if q.x <= p.x and gain[q.name] >= gain[p.name] and (q.x, q.y) != (p.x, p.y)
    }
    found = pareto(points, higher)
    assert {(p.x, p.y) for p in found} == {(p.x, p.y) for p in methods if p.name not in beaten}
    assert [p.x for p in found] == sorted(p.x for p in found)
