"""The whole way: recordings, data set, 20 steps, evaluation, the Hub, and the compare bundle that pins the commit."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from gradio_client import handle_file
from hub_server import HubServer, environment
from test_bundles_run import serving
from training_world import small_base

from shared import wer
from shared.audio import ffmpeg_executable
from training import config as settings
from training.config import Config, Data, Steps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parent.parent
CLIPS = ROOT / "tests" / "data"
SPLITS = {"it_vm-mailboxfull.flac": "train", "it_priv-introsaved.flac": "train", "en_austen-0880.flac": "train",
          "en_austen-0890.ogg": "validation", "it_vm-tmpexists.flac": "test", "en_austen-0930.flac": "test"}


def recordings(folder: Path) -> Path:
    """A person's recordings: audio and a table that says who learns and who is tested."""
    folder.mkdir()
    with (CLIPS / "clips.csv").open(encoding="utf-8") as file, (folder / "metadata.csv").open(
            "w", encoding="utf-8", newline="") as out:
        table = csv.writer(out)
        table.writerow(["file_name", "text", "language", "split"])
        for row in csv.DictReader(file):
            if row["file"] in SPLITS:
                shutil.copyfile(CLIPS / row["file"], folder / row["file"])
                table.writerow([row["file"], row["text"], row["language"], SPLITS[row["file"]]])
    return folder


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
            answers = [compared(client, row) for row in heard_rows(tmp_path / "mine")]
    assert all(side["checkpoint"] == pinned for side, _ in answers)
    stated = yaml.safe_load(card.split("---\n")[1])["model-index"][0]["results"][0]["metrics"][0]["value"]
    counted = wer.pooled(wer.word_errors(row["reference"], side["text"], row["language"]) for side, row in answers)
    assert round(100 * counted.wer, 2) == stated


def heard_rows(run: Path) -> list[dict]:
    """The clips of the test split, as the evaluation lists them."""
    (path,) = (run / "evaluation").glob("hypotheses-fine-tuned-*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def compared(client, row: dict) -> tuple[dict, dict]:
    """The app's fine-tuned side of one clip, and the row."""
    (file,) = [CLIPS / name for name in SPLITS if Path(name).stem in row["id"]]
    answer = client.predict(clip=handle_file(file), language=row["language"], engine="auto", names="", base="",
                            fine_tuned="", reference=row["reference"], api_name="/compare")[0]
    return answer["sides"][1], row
