"""docs/your-language.md and the notebook, every command as it stands, with the smallest settings and a local Hub."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from hub_server import HubServer, environment
from nbclient import NotebookClient
from paths import ROOT
from recordings import recordings
from training_world import small_base

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PAGE = (ROOT / "docs/your-language.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"<!-- test -->\n    python (.+)\n", PAGE)
SMALLEST = ["method.lora_rank=2", "steps.max_steps=6", "steps.batch_size=3", "steps.eval_steps=3",
            "extra.join=0"]


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture
def home(tmp_path) -> Path:
    """The repository as a newcomer has it, but for what the commands write."""
    for name in ("feature_pipeline", "training", "spaces", "shared", "requirements.txt", "LICENSE", "NOTICE"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def test_every_command_of_the_page(home, hub):
    recordings(home / "recordings")
    base, repository = str(small_base(home / "base")), hub.add("model", "tester/base", {"README.md": b"A base."})
    env = environment(hub, home / "hub-home", OMP_NUM_THREADS="1", XDG_CACHE_HOME=str(home / "cache"))
    output = ""
    for line in COMMANDS:
        line = line.replace("USER/", "tester/").replace("USER", "tester").replace("=sv", "=it")
        line = line.replace("COMMIT", output.rpartition("@")[2])
        words = shlex.split(line)
        if "feature_pipeline.build" in words:
            words.append("split.by=sentence")
        if "training.finetune" in words:
            words += [f"base={base}", *SMALLEST]
        if "upload" in words:
            words += ["--base", f"tester/base@{repository}", "--yes"]  # a reader is asked, a test cannot be
        if "training.export" in words:
            words.append("bound=1000")  # a model of two layers and six steps says nothing twice the same way
        done = subprocess.run([sys.executable, *words], cwd=home, env=env, text=True, capture_output=True, timeout=600)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        output = done.stdout.strip()
    assert (home / "runs/my-language/evaluation/report.html").is_file()
    assert (home / "runs/my-language/export/adapter/adapter_model.safetensors").is_file()
    assert "app.py" in hub.read("space", "tester/whisper-suite")


def test_the_notebook_runs_and_goes_on_after_a_lost_session(home, hub, monkeypatch):
    recordings(home / "recordings")
    commit = hub.add("model", "tester/base", {path.name: path.read_bytes()
                                              for path in small_base(home / "base").iterdir()})
    monkeypatch.setattr(os, "environ", environment(hub, home / "hub-home", OMP_NUM_THREADS="1"))
    given = {
        "LANGUAGE": "it", "BASE": f"tester/base@{commit}", "DATA": "feature_pipeline/configs/my-recordings.yaml",
        "DATA_SETTINGS": [f"sources.0.path={home / 'recordings'}", "sources.0.language=it", "split.by=sentence"],
        "TRAIN_SETTINGS": ["method.kind=lora", *SMALLEST], "MODEL": "tester/whisper-mine", "SPACE": True,
        "REPOSITORY": "", "STORAGE": str(home / "storage"),
    }
    first = executed(home, given)
    assert re.search(r"tester/whisper-mine@[0-9a-f]{40}", first)
    assert "app.py" in hub.read("space", "tester/whisper-suite")
    assert "is done already" in executed(home, given)


def executed(home: Path, given: dict) -> str:
    """All that the notebook printed, its parameters replaced by these."""
    notebook = nbformat.read(ROOT / "notebooks/fine_tune.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    assert set(re.findall(r"^([A-Z_]+) =", cell.source, re.MULTILINE)) == set(given)
    cell.source = "\n".join(f"{name} = {value!r}" for name, value in given.items())
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(home)}}).execute()
    return "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
