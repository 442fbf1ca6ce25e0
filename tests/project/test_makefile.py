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


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
@pytest.mark.parametrize(("given", "command"), [
    ([], "training.finetune training/configs/italian-lora.yaml"),
    (["TRAIN=a.yaml", "ARGS=seed=2"], "training.finetune a.yaml seed=2"),
    (["WHERE=hf-jobs", "CONFIG=a.yaml", "OWNER=me"], "training.jobs a.yaml --flavor t4-small --hours 6 --owner me"),
    (["WHERE=hf-jobs", "CONFIG=a.yaml", "FLAVOR=l4x1", "HOURS=2", "ARGS=--yes"],
     "training.jobs a.yaml --flavor l4x1 --hours 2 --yes"),
])
def test_make_train_runs_here_or_in_a_job(given, command):
    done = subprocess.run(["make", "-n", "train", *given], cwd=ROOT, text=True, capture_output=True, timeout=60,
                          check=True)
    (start,) = [line for line in done.stdout.splitlines() if "-m training." in line]  # under make it says more
    assert " ".join(start.split()).endswith(f"-m {command}")


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_make_train_knows_no_other_place():
    done = subprocess.run(["make", "-n", "train", "WHERE=moon"], cwd=ROOT, text=True, capture_output=True, timeout=60)
    assert done.returncode and "WHERE is here or hf-jobs, not moon" in done.stderr
