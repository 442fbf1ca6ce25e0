"""The Makefile: what a person names relative to where they stand is looked for there."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from paths import ROOT


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_a_relative_checkpoint_means_the_same_to_make_app_as_to_the_person():
    """`make app FINE_TUNED=runs/my-language/model`: the app must not be started from another folder."""
    done = subprocess.run(["make", "-n", "app", "FINE_TUNED=runs/my-language/model"], cwd=ROOT, text=True,
                          capture_output=True, timeout=60, check=True)
    (start,) = [line for line in done.stdout.splitlines() if "app.py" in line]
    assert start.split()[-1] == "spaces/suite/app.py" and "cd " not in start
