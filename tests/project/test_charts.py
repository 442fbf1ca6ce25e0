"""Charts: what is drawn stands where its number says, and what a stranger named is escaped."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from shared import charts

SVG = "{http://www.w3.org/2000/svg}"


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text[text.index("<svg") : text.rindex("</svg>") + 6])


def test_columns_are_as_high_as_their_counts_and_stand_on_each_other():
    counts = [(0, "train", 30), (2, "train", 10), (2, "test", 5)]
    found = parsed(charts.histogram(counts, ("train", "test"), 0.5, "seconds"))
    first, second, third = found.iter(f"{SVG}rect")
    heights = [float(rect.get("height", 0)) for rect in (first, second, third)]
    assert heights[0] == pytest.approx(3 * heights[1], abs=0.2) and heights[1] == pytest.approx(2 * heights[2], abs=0.2)
    assert float(third.get("y", 0)) + heights[2] == pytest.approx(float(second.get("y", 0)), abs=0.1)
    assert third.get("class") == "test" and third.findtext(f"{SVG}title") == "1–1.5 seconds: 5 test"
    assert charts.histogram([], ("train",), 1, "seconds") == ""


def test_rates_stand_on_their_axis_with_their_intervals():
    found = parsed(charts.rates(["base", "a<b"], [0.2, 0.1], [(0.1, 0.3), None], "WER"))
    base, tuned = [float(dot.get("cx", 0)) for dot in found.iter(f"{SVG}circle")]
    zero = next(float(text.get("x", 0)) for text in found.iter(f"{SVG}text") if text.text == "0%")
    assert base - zero == pytest.approx(2 * (tuned - zero), abs=0.3)
    (line,) = [line for line in found.iter(f"{SVG}line") if line.get("class") == "base"]
    assert (float(line.get("x1", 0)) + float(line.get("x2", 0))) / 2 == pytest.approx(base, abs=0.1)
    assert "a<b" in [text.text for text in found.iter(f"{SVG}text")]


def test_a_difference_shows_the_line_of_no_difference():
    found = parsed(charts.difference(-0.05, (-0.1, 0.0), "Difference"))
    (axis,) = [line for line in found.iter(f"{SVG}line") if line.get("class") == "axis"]
    (dot,) = found.iter(f"{SVG}circle")
    assert float(dot.get("cx", 0)) < float(axis.get("x1", 0))


def test_clips_of_equal_rates_share_a_dot_and_names_are_escaped():
    text = charts.scatter([0.5, 0.5, 0.2], [0.1, 0.1, 0.4], ["a", "<img src=x>", "c"], "clips")
    titles = [dot.findtext(f"{SVG}title") for dot in parsed(text).iter(f"{SVG}circle")]
    assert titles == ["a, <img src=x>: base 50%, fine-tuned 10%", "c: base 20%, fine-tuned 40%"]
    assert "<img" not in text


def test_lines_leave_out_what_has_no_two_points():
    loss = {"train": [(1, 2.0), (9, 1.0)], "validation": [(9, 1.5)]}
    text = charts.line_panels({"loss": loss, "WER": {}}, "steps", "x")
    assert len(list(parsed(text).iter(f"{SVG}polyline"))) == 1 and "WER" not in text and "9 steps; train: blue" in text
    assert len(re.findall(r"[\d.]+,[\d.]+", text)) >= 2
