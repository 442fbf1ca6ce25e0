"""`transcribe serve` as a person starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import openai
from paths import ROOT
from speech import clips

from shared.wer import word_errors

CLIP = clips("it")[1]


def free_port() -> int:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def test_it_answers_and_ends_when_told_to():
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "shared.cli", "serve", "--port", str(port)], cwd=ROOT,
                               env=os.environ | {"API_KEY": "k"}, stderr=subprocess.PIPE, text=True)
    try:
        lines = []
        while not any("Listening" in line for line in lines):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        client = openai.OpenAI(api_key="k", base_url=f"http://127.0.0.1:{port}/v1", max_retries=8)
        found = client.audio.transcriptions.create(model="whisper-1", file=CLIP.path, language="it")
        assert word_errors(CLIP.text, found.text, "it").wer < 0.3
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            done = subprocess.run([sys.executable, "-m", "shared.cli", "serve", "--port", str(taken.getsockname()[1])],
                                  cwd=ROOT, capture_output=True, text=True, timeout=120)
            assert done.returncode == 2 and "cannot listen" in done.stderr and len(done.stderr.splitlines()) == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, 128 + signal.SIGTERM)
    finally:
        process.kill()
        process.stderr.close()
