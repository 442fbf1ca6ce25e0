"""The profile of what surrounds the model: every step has its own time, and nothing is counted twice."""

from __future__ import annotations

import pytest
from speech import clips

from benchmarks.profile import STEPS, Clock, processor_seconds, profiled, table


def test_each_step_of_a_real_clip_has_processor_time(base_torch):
    begun = processor_seconds()
    steps = profiled(base_torch, clips("en")[0].path, "en")
    spent = processor_seconds() - begun
    assert set(steps) == set(STEPS) and min(steps[step] for step in STEPS if step != "everything else") > 0
    assert 0.9 * spent < sum(steps.values()) <= spent
    assert base_torch.engine.encode.__func__ is type(base_torch.engine).encode, "the engine is as it was"


def test_a_step_within_another_is_not_counted_twice():
    clock = Clock()

    def busy(seconds: float) -> None:
        until = processor_seconds() + seconds
        while processor_seconds() < until:
            pass

    with clock.step("outer"):
        busy(0.05)
        clock.timed("inner", busy)(0.1)
    assert clock.seconds["inner"] == pytest.approx(0.1, abs=0.03)
    assert clock.seconds["outer"] == pytest.approx(0.05, abs=0.03)


def test_the_table_says_what_is_around_the_model():
    shown = table([{"encoder": 0.3, "decoder": 0.5, "header": 0.2}, {"encoder": 0.1, "decoder": 0.7, "header": 0.2}])
    assert "| around the model | 200.0 | 20.0% |" in shown and "| encoder | 200.0 | 20.0% |" in shown
