"""Once installed, the suite asks no network for anything: it runs with every socket but loopback refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

from gradio_client import Client, handle_file
from paths import ROOT
from speech import clips

from shared.wer import word_errors

# Runs before anything of the app is imported. An audit hook cannot be undone or overlooked by Python code.
GUARD = """
import ipaddress, runpy, sys
def refuse(event, args):
    if event in ("socket.connect", "socket.sendto"):
        address = args[1]
        if isinstance(address, tuple) and not ipaddress.ip_address(address[0]).is_loopback:
            print("REFUSED", address, file=sys.stderr, flush=True)
            raise OSError("no network in this test")
    if event == "socket.getaddrinfo" and args[0] not in (None, "", "localhost", "127.0.0.1", "0.0.0.0", "::1"):
        print("REFUSED", args[0], file=sys.stderr, flush=True)
        raise OSError("no network in this test")
sys.addaudithook(refuse)
runpy.run_path("app.py", run_name="__main__")
"""


def test_the_suite_starts_and_transcribes_without_a_network(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {name: value for name, value in os.environ.items()
           if name not in ("BASE", "FINE_TUNED", "SPACE_ID", "HF_ENDPOINT", "HF_HUB_OFFLINE")}
    log = (tmp_path / "log").open("w+")
    app = subprocess.Popen([sys.executable, "-c", GUARD], cwd=ROOT / "spaces" / "suite", stdout=log,
                           stderr=subprocess.STDOUT, env=env | {"GRADIO_SERVER_PORT": str(port)})
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(port, app)
        clip = clips("it")[1]
        text = Client(address, verbose=False).predict(audio=handle_file(clip.path), language="it",
                                                      api_name="/transcribe")["text"]
        assert word_errors(clip.text, text, "it").wer < 0.3
        log.seek(0)
        output = log.read()
        assert "REFUSED" not in output
        assert "whisper-base (comes with this program)" in output and f"Listening on {address}" in output
    finally:
        app.terminate()
        app.wait(30)
        log.close()


def wait_for(port: int, app: subprocess.Popen) -> None:
    for _ in range(600):
        assert app.poll() is None, "the app ended"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.25)
    raise AssertionError("the app did not answer")
