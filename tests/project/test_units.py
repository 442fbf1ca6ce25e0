"""Times printed and times typed."""

from __future__ import annotations

import doctest

import pytest

from shared import units
from shared.errors import UserError
from shared.units import clock_time, parse_time, short_clock, spoken_time


def test_the_examples_of_the_docstrings():
    assert doctest.testmod(units) == (0, 4)


@pytest.mark.parametrize("seconds", [0, 0.001, 0.9996, 59.9996, 60, 3599.9996, 3600, 86_399.999, 360_000])
def test_what_is_printed_as_a_clock_is_read_back(seconds):
    assert parse_time(clock_time(seconds)) == pytest.approx(seconds, abs=0.0006)
    assert parse_time(clock_time(seconds, ",")) == parse_time(clock_time(seconds))
    assert 0 <= seconds - parse_time(short_clock(seconds)) < 1


@pytest.mark.parametrize("seconds, text", [
    (59.96, "1 min"), (59.94, "59.9 s"), (119.7, "2 min"), (3599.6, "1 h 00 min"), (0, "0 s"), (45, "45 s"),
    (7325, "2 h 02 min")])
def test_no_length_of_time_says_sixty(seconds, text):
    assert spoken_time(seconds) == text


@pytest.mark.parametrize("text, seconds", [
    ("90", 90), (" 90 s ", 90), ("2.5", 2.5), ("1:30", 90), ("1:75", 135), ("90:00", 5400), ("1:02:03", 3723),
    ("01:02:03,250", 3723.25), ("1h", 3600), ("1h2m3s", 3723), ("1m30s", 90), ("1 min 30 sec", 90), ("1H 2MIN", 3720)])
def test_typed_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "soon", "-4", "1:2:3:4", "1m30", "h", "inf", "nan", "1e3", "9" * 400, ":30"])
def test_what_is_no_time(text):
    with pytest.raises(UserError, match="not a time"):
        parse_time(text)
