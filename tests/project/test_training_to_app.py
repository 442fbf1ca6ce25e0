"""The whole way: recordings, data set, 20 steps, evaluation, the Hub, and the compare bundle that pins the commit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from app_process import serving
from gradio_client import handle_file
from hub_server import HubServer, environment
from paths import ROOT
from recordings import SPLITS, recordings
from training_world import small_base

from shared import wer
from shared.audio import ffmpeg_executable
from training import config as settings
from training.config import Config, Data, Steps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
CLIPS = ROOT / "tests" / "data"


def stage(*command: object, env: dict[str, str]) -> str:
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, env=env, text=True, capture_output=True,
                          timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def test_from_recordings_to_the_app_that_shows_the_cards_number(tmp_path):
    local = {**os.environ, "OMP_NUM_THREADS": "1"}
    stage("-m", "feature_pipeline.build", "feature_pipeline/configs/my-recordings.yaml", f"out={tmp_path / 'set'}",
          f"sources.0.path={recordings(tmp_path / 'recordings')}", "sources.0.language=it",
          "split.by=sentence", env=local)
    steps = Steps(max_steps=20, batch_size=3, learning_rate=1e-3, eval_steps=10, patience=0)
    settings.save(Config(name="mine", data=(Data(str(tmp_path / "set")),), language="it", steps=steps,
                         base=str(small_base(tmp_path / "base")), out=str(tmp_path)), tmp_path / "mine.yaml")
    stage("-m", "training.finetune", tmp_path / "mine.yaml", env=local)
    stage("-m", "training.evaluation", tmp_path / "mine", "full_context=false", env=local)
    with HubServer() as hub:
        env = environment(hub, tmp_path / "home", token=hub.token)
        pinned = stage("-m", "training.publish", tmp_path / "mine", "tester/whisper-mine", env=env).strip()
        name, commit = pinned.split("@")
        card = hub.read("model", name, commit)["README.md"].decode()
        stage("spaces/deploy.py", "build", "compare", "--out", tmp_path, "--base", pinned, "--fine-tuned", pinned,
              env=env)
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "ffmpeg").symlink_to(ffmpeg_executable())
        env |= {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{env['PATH']}", "XDG_CACHE_HOME": str(tmp_path / "cache"),
                "BASE": pinned, "FINE_TUNED": pinned}
        with serving(sys.executable, tmp_path / "compare", env) as client:
            answers = [compared(client, row) for row in rows_of_test(tmp_path / "mine")]
    assert all(side["checkpoint"] == pinned for side, _ in answers)
    stated = yaml.safe_load(card.split("---\n")[1])["model-index"][0]["results"][0]["metrics"][0]["value"]
    counted = wer.pooled(wer.word_errors(row["reference"], side["text"], row["language"]) for side, row in answers)
    assert round(100 * counted.wer, 2) == stated


def rows_of_test(run: Path) -> list[dict]:
    """The clips of the test split, as the evaluation lists them."""
    (path,) = (run / "evaluation").glob("hypotheses-fine-tuned-*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def compared(client, row: dict) -> tuple[dict, dict]:
    """The app's fine-tuned side of one clip, and the row."""
    (file,) = [CLIPS / name for name in SPLITS if Path(name).stem in row["id"]]
    answer = client.predict(clip=handle_file(file), language=row["language"], engine="auto", initial_prompt="", base="",
                            fine_tuned="", reference=row["reference"], api_name="/compare_clip")[0]
    return answer["sides"][1], row
