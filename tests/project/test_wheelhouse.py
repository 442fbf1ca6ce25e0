"""A machine without any network installs and runs the project from the folder that `make wheelhouse` writes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT
from speech import clips

from shared.wer import word_errors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
HEAR = """
import sys
from shared.checkpoint import Checkpoint
from shared.inference import Transcriber
for engine in ("ctranslate2", "torch"):
    transcriber = Transcriber(Checkpoint.parse("embedded:whisper-base"), engine=engine)
    print(transcriber.transcribe(sys.argv[1], language="en").text)
"""


def offline(*command: str | Path, cwd: Path) -> str:
    """Run in a network namespace of its own, which holds no network at all; gives what it printed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "HF_", "PYTHONPATH"))}
    env |= {"HOME": str(cwd), "XDG_CACHE_HOME": str(cwd / "cache"), "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(["unshare", "--map-root-user", "--net", *command], cwd=cwd, env=env, capture_output=True,
                          text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def alone() -> None:
    """Skip where a network namespace cannot be made, or where there is no index to fill the folder from."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "--map-root-user", "--net", "true"]).returncode:
        pytest.skip("no network namespace may be made here (unshare --net), so nothing is shown about offline machines")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, alone: None) -> Path:
    """A copy of the repository with its wheelhouse."""
    folder = tmp_path_factory.mktemp("machine") / "repo"
    heavy = {".git", ".venv", "runs", "bundles", "wheelhouse", "data", "build", "dist"}
    shutil.copytree(ROOT, folder, ignore=lambda place, names: heavy & {*names} if Path(place) == ROOT else ())
    probe = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", folder.parent / "probe", "filelock"]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("no package index can be reached from here, so there is nothing to fill a wheelhouse from")
    subprocess.run([folder / ".ci" / "wheelhouse", "wheelhouse", sys.executable], cwd=folder, check=True, timeout=900)
    yield folder
    shutil.rmtree(folder)


def test_it_installs_and_transcribes_without_a_network(checkout):
    with pytest.raises(AssertionError, match="unreachable"):
        offline(sys.executable, "-c", "import socket; socket.create_connection(('192.0.2.1', 80), 5)", cwd=checkout)
    assert not (checkout / "build").exists()
    offline(sys.executable, "-m", "venv", ".venv", cwd=checkout)
    python = checkout / ".venv" / "bin" / "python"
    offline(python, "-m", "pip", "install", "--no-compile", "--no-index", "--find-links", "wheelhouse",
            "-e", ".", cwd=checkout)
    offline(python, "-m", "pip", "check", cwd=checkout)
    clip = clips("en")[0]
    texts = offline(python, "-c", HEAR, str(clip.path), cwd=checkout.parent).strip().splitlines()
    assert len(texts) == 2
    for text in texts:
        assert word_errors(clip.text, text, clip.language).wer <= 0.35, (clip.text, text)
