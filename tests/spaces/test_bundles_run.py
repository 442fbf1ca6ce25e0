"""Each app's bundle runs as a Space would run it, and hears what the local app hears.

A fresh environment gets the bundle's own requirements and the gradio that its card names; SPACE_ID is set, and the
checkpoint comes from the local Hub. Two things differ from a Space: torch is the version these tests run with, because
`torch<2.12` would fetch a CUDA build of several GB, and Python is this one.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from app_process import serving
from gradio_client import handle_file
from hub_server import HubServer, environment
from huggingface_hub import SpaceCard
from page_client import PageClient
from paths import DATA, ROOT
from speech import Clip, clips

from shared.audio import ffmpeg_executable
from shared.checkpoint.embedded import embedded_base_transformers
from shared.wer import word_errors

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
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
    """A bundle's own Python.

    Bundles with equal requirements share it; one whose requirements include an earlier one's stands on that one's
    packages, so that pip installs the rest only.
    """
    made: dict[frozenset[str], Path] = {}

    def make(bundle: Path) -> Path:
        wanted = frozenset(installed(bundle))
        if wanted not in made:
            folder = tmp_path_factory.mktemp("venv")
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=300)
            below = max((lines for lines in made if lines < wanted), key=len, default=None)
            if below:
                (packages(folder) / "below.pth").write_text(str(packages(made[below])))
            subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile",
                            *sorted(wanted)], check=True, timeout=1500)
            made[wanted] = folder
        return made[wanted] / "bin" / "python"

    yield make
    for folder in made.values():
        shutil.rmtree(folder)


def packages(venv: Path) -> Path:
    return next(venv.glob("lib/python*/site-packages"))


def installed(bundle: Path) -> list[str]:
    """What a Space's builder installs for the bundle, with another torch."""
    lines = (bundle / "requirements.txt").read_text().splitlines()
    torch = f"torch=={importlib.metadata.version('torch')}"
    card = SpaceCard.load(bundle / "README.md")
    gradio = f"gradio[oauth,mcp]=={card.data.sdk_version}"
    return [*(torch if line.startswith("torch>") else line for line in lines), gradio]


@pytest.fixture(scope="module")
def media() -> Iterator[str]:
    """A host on loopback with the clips, for links; the address that visitors would give."""
    handler = functools.partial(QuietHandler, directory=DATA)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def transcribed(client: PageClient, app: str, clip: Clip, media: str) -> str:
    """What the app reads in a clip, by the engine that a Space uses."""
    how = {"language": clip.language, "task": "transcribe", "engine": "torch", "initial_prompt": ""}
    sound = handle_file(clip.path)
    if app == "upload":
        return client.predict(files=[sound], api_name="/transcribe_files", **how)[0]
    if app == "youtube":
        return client.predict(link=f"http://{media}/{clip.path.name}", start="", end="", api_name="/transcribe_video",
                              **how)[0]
    if app == "compare":
        del how["task"]
        how |= {"base": "", "fine_tuned": "", "reference": clip.text}  # "": the configured ones
        return client.predict(clip=sound, api_name="/compare_clip", **how)[0]["sides"][0]["text"]
    return client.predict(recording=sound, api_name="/transcribe_microphone", **how)[0]


@pytest.mark.parametrize("app", APPS)
def test_a_space_transcribes_as_the_local_app_does(app, hub, media, python_of, tmp_path, monkeypatch):
    monkeypatch.setenv("ALLOWED_HOSTS", media)
    monkeypatch.setenv("LINK_ALLOW_LOOPBACK", "1")  # the override for tests
    subprocess.run([sys.executable, "spaces/deploy.py", "build", app, "--out", tmp_path, "--base", hub.name,
                    "--fine-tuned", hub.name], cwd=ROOT, check=True, timeout=300)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "ffmpeg").symlink_to(ffmpeg_executable())  # what packages.txt installs
    env = environment(hub, tmp_path / "home", SPACE_ID=f"tester/whisper-{app}", BASE=hub.name, FINE_TUNED=hub.name,
                      XDG_CACHE_HOME=str(tmp_path / "cache"))
    env["PATH"] = f"{tmp_path / 'bin'}{os.pathsep}{env['PATH']}"
    for name in ("WHISPER_SPACES_CACHE", "PYTHONPATH"):
        env.pop(name, None)
    spoken = [clips("en")[0], clips("it")[0]]
    hub.requests.clear()
    with serving(python_of(tmp_path / app), tmp_path / app, env) as client:
        hosted = [transcribed(client, app, clip, media) for clip in spoken]
    assert "model.safetensors" in hub.downloads() and "pytorch_model.bin" not in hub.downloads()
    local = {name: value for name, value in os.environ.items() if name != "SPACE_ID"}
    local |= {"BASE": "embedded:whisper-base", "FINE_TUNED": "embedded:whisper-base", "PYTHONPATH": str(ROOT)}
    with serving(sys.executable, ROOT / "spaces" / app, local) as client:
        here = [transcribed(client, app, clip, media) for clip in spoken]
    for clip, there, text in zip(spoken, hosted, here, strict=True):
        assert word_errors(text, there, clip.language).wer <= 0.1, (text, there)
        assert word_errors(clip.text, there, clip.language).wer <= 0.35, (clip.text, there)
