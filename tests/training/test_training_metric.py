"""training.metric: the `evaluate` module loads offline from its folder and gives this project's numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from shared import wer
from training.metric import write_metric

REFERENCES = ["हमने उस उम्मीदवार को चुना", "Guten Tag, Frau Müller!", "l'ami dell'acqua"] * 8
PREDICTIONS = ["हमने उस उम्मीदवार चुना", "guten tag frau Müller", "l'ami della acqua"] * 8
LOAD = """
import evaluate, json, sys
metric = evaluate.load(sys.argv[1])
given = json.loads(sys.stdin.read())
print(json.dumps(metric.compute(**given)))
"""


def test_the_module_gives_the_same_numbers_without_this_project_on_the_path(tmp_path):
    folder = write_metric(tmp_path / "honest_wer")
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", LOAD, str(folder)], cwd=tmp_path, env=env, text=True, timeout=120,
                          input=json.dumps({"references": REFERENCES, "predictions": PREDICTIONS, "language": "hi"}),
                          capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(done.stdout.splitlines()[-1])
    ours = wer.score([wer.utterance_errors(one, other, "hi")
                      for one, other in zip(REFERENCES, PREDICTIONS, strict=True)], seed=0)
    assert theirs["wer"] == pytest.approx(ours.wer) and theirs["cer"] == pytest.approx(ours.cer)
    assert theirs["interval_95"] == pytest.approx(list(ours.words.interval))
    assert theirs["words"] == ours.words.errors.reference_length
