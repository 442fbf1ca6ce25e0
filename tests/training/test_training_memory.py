"""What a run gives back to the system, and the peak of memory that it writes down."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest
from paths import ROOT

from training.batch_fit import STEPS_BETWEEN_RELEASES, ReleaseFreeMemory, growth_mb, peak_mb


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems' allocators keep nothing")
def test_holes_in_the_heap_go_back_to_the_system():
    held = [b"x" * 100_000 for _ in range(3000)]
    kept = held[::50]  # what lives on among what is freed
    del held
    before = psutil.Process().memory_info().rss
    ReleaseFreeMemory().on_step_end(None, SimpleNamespace(global_step=STEPS_BETWEEN_RELEASES), None)
    assert before - psutil.Process().memory_info().rss > 200e6
    assert len(kept) == 60


@pytest.mark.slow  # a start of torch and transformers
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux says what one process held at most")
def test_the_peak_of_a_run_is_its_own_and_not_that_of_the_program_which_started_it():
    """The page Train starts runs from a process that holds models."""
    code = ("import subprocess, sys; held = b'x' * (2 << 30); "
            "subprocess.run([sys.executable, '-c', 'from training.batch_fit import peak_mb; print(peak_mb())'])")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
                          timeout=200)
    assert 50 < int(done.stdout) < 1800


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux counts a peak anew")
def test_a_peak_that_was_counted_anew_is_not_forgotten():
    """The preflight counts anew what one batch takes; opening the model may have taken more."""
    held = b"x" * (400 << 20)
    before = peak_mb()
    del held
    assert growth_mb(lambda: None) < 300
    assert peak_mb() >= before >= 400
