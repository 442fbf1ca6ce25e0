"""Each app's bundle runs as a Space would run it, and hears what the local app hears.

A fresh environment gets the bundle's own requirements and the gradio that its card names; SPACE_ID is set, and the
checkpoint comes from the local Hub. Two things differ from a Space: torch is the version these tests run with, because
`torch<2.12` would fetch a CUDA build of several GB, and Python is this one.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from hub_server import HubServer, environment
from huggingface_hub import SpaceCard
from speech import Clip, clips

from shared.audio import ffmpeg_executable
from shared.embedded import embedded_base_transformers
from shared.wer import word_errors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ROOT = Path(__file__).resolve().parent.parent
APPS = ("microphone", "upload", "youtube", "compare", "suite")


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with HubServer() as server:
        commit = server.add("model", "tester/whisper-base", embedded_base_transformers())
        server.add("model", "tester/whisper-base", {"pytorch_model.bin": b"not to be fetched"})
        server.name = f"tester/whisper-base@{commit}"
        yield server


@pytest.fixture(scope="module")
def python_of(tmp_path_factory: pytest.TempPathFactory):
    """A bundle's own Python; bundles with equal requirements share it."""
    made: dict[tuple[str, ...], Path] = {}

    def make(bundle: Path) -> Path:
        wanted = (bundle / "requirements.txt").read_text().splitlines()
        wanted = [f"torch=={importlib.metadata.version('torch')}" if line.startswith("torch>") else line
                  for line in wanted]
        card = SpaceCard.load(bundle / "README.md")
        wanted.append(f"gradio[oauth,mcp]=={card.data.sdk_version}")  # as the Space's builder adds it
        if tuple(wanted) not in made:
            folder = tmp_path_factory.mktemp("venv")
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=300)
            subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile", *wanted],
                           check=True, timeout=1500)
            made[tuple(wanted)] = folder / "bin" / "python"
        return made[tuple(wanted)]

    yield make
    for python in made.values():
        shutil.rmtree(python.parent.parent)


@contextlib.contextmanager
def serving(python: Path | str, folder: Path, env: dict[str, str]) -> Iterator[Client]:
    """Run the folder's app.py until the end of the body, with a client of it."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    env = env | {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    process = subprocess.Popen([python, "app.py"], cwd=folder, env=env, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    watch = threading.Timer(300, process.kill)
    watch.start()
    said: list[str] = []
    try:
        for line in process.stdout:
            said.append(line)
            if f":{port}" in line:
                break
        assert process.poll() is None and said, "".join(said)
        threading.Thread(target=process.stdout.read, daemon=True).start()  # so that it never waits for a reader
        yield Client(f"http://127.0.0.1:{port}", verbose=False)
    finally:
        watch.cancel()
        process.terminate()
        process.wait(30)


def heard(client: Client, app: str, clip: Clip) -> str:
    """What the app reads in a clip, by the engine that a Space uses."""
    how = {"language": clip.language, "task": "transcribe", "engine": "transformers", "names": ""}
    return client.predict(handle_file(clip.path), api_name="/transcribe_microphone", **how)[0]


@pytest.mark.parametrize("app", APPS)
def test_a_space_hears_what_the_local_app_hears(app, hub, python_of, tmp_path):
    subprocess.run([sys.executable, "spaces/deploy.py", "build", app, "--out", tmp_path, "--base", hub.name,
                    "--fine-tuned", hub.name], cwd=ROOT, check=True, timeout=300)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ffmpeg").symlink_to(ffmpeg_executable())  # what packages.txt installs
    env = environment(hub, tmp_path / "home", SPACE_ID=f"tester/whisper-{app}", BASE=hub.name, FINE_TUNED=hub.name,
                      XDG_CACHE_HOME=str(tmp_path / "cache"))
    env["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{env['PATH']}"
    for name in ("WHISPER_SPACES_CACHE", "PYTHONPATH"):
        env.pop(name, None)
    said = [clips("en")[0], clips("it")[0]]
    hub.requests.clear()
    with serving(python_of(tmp_path / app), tmp_path / app, env) as client:
        hosted = [heard(client, app, clip) for clip in said]
    assert "model.safetensors" in hub.downloads() and "pytorch_model.bin" not in hub.downloads()
    local = {name: value for name, value in os.environ.items() if name != "SPACE_ID"}
    local |= {"BASE": "embedded:whisper-base", "FINE_TUNED": "embedded:whisper-base", "PYTHONPATH": str(ROOT)}
    with serving(sys.executable, ROOT / "spaces" / app, local) as client:
        here = [heard(client, app, clip) for clip in said]
    for clip, there, text in zip(said, hosted, here, strict=True):
        assert word_errors(text, there, clip.language).wer <= 0.1, (text, there)
        assert word_errors(clip.text, there, clip.language).wer <= 0.35, (clip.text, there)
