"""python -m benchmarks.browser BUNDLE CLIP …: the page without a server, a clip as it is beside padded to 30 s.

Enters: a folder that `python spaces/deploy.py build browser` made, and sound files. Leaves: what a first visit fetches,
for each clip the processor seconds of the whole browser (medians of rounds taken in turn, one thread) and the two
texts, and the most memory that the page's process had. Processor seconds, because a machine that does something else
changes them least. Needs Linux, Chromium and playwright.
"""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import statistics
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

from shared.audio import load_audio
from shared.system.command import reported

ROUNDS = 3
PATIENCE_MS = 300_000
# A worker of the page's own, asked as the page asks it.
ASK = """async ([kind, given]) => {
  window.worker ??= new Worker("worker.js", {type: "module"});
  const bundle = await (await fetch("bundle.json")).json();
  const model = bundle.models.find(({key}) => key === given.model);
  const bytes = Uint8Array.from(atob(given.samples ?? ""), (letter) => letter.charCodeAt(0));
  return await new Promise((resolve, reject) => {
    window.worker.onmessage = ({data}) => {
      if ("failed" in data) reject(new Error(data.failed));
      if ("done" in data) resolve(data.done);
    };
    window.worker.postMessage({...given, id: 1, kind, model, vad: bundle.vad, samples: new Float32Array(bytes.buffer)});
  });
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Nothing is printed for a request."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder's address. Without the headers that threads need: one thread is measured."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def processor_seconds() -> float:
    """Of this process's children and theirs, which are the browser."""
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:  # it ended meanwhile
            continue
        total += times.user + times.system
    return total


def measure(page: Any, samples: str, language: str, model: str) -> tuple[tuple[float, str], tuple[float, str]]:
    """(median processor seconds, text) of the clip as it is and of it padded. samples: float32 as base64."""
    spent: dict[bool, list[float]] = {False: [], True: []}
    texts = {}
    for _ in range(ROUNDS + 1):
        for full in spent:
            before = processor_seconds()
            found = page.evaluate(ASK, ["transcribe", {"model": model, "samples": samples, "language": language,
                                                       "task": "transcribe", "full": full}])
            spent[full].append(processor_seconds() - before)
            texts[full] = found["text"]
    own, padded = ((statistics.median(spent[full][1:]), texts[full]) for full in spent)  # the first round compiles
    return own, padded


def first_visit(folder: Path, model: str) -> tuple[int, int]:
    """Bytes of the page with its libraries, and of one checkpoint with the speech detector."""
    bundle = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    page = sum((folder / name).stat().st_size for name in bundle["page"] if name != "./")
    chosen = next(one for one in bundle["models"] if one["key"] == model)
    return page, sum(file["bytes"] for file in [*chosen["files"], bundle["vad"]])


def peak_memory() -> int:
    """Bytes that the largest of the browser's page processes ever had in memory."""
    peaks = [0]
    for child in psutil.Process().children(recursive=True):
        try:
            if "--type=renderer" in child.cmdline():
                status = Path(f"/proc/{child.pid}/status").read_text(encoding="utf-8")
                peaks.append(1024 * int(status.partition("VmHWM:")[2].split()[0]))
        except (psutil.Error, OSError):  # it ended meanwhile
            continue
    return max(peaks)


def run(bundle: Path, clips: list[Path], language: str, model: str) -> None:
    from playwright.sync_api import sync_playwright

    with served(bundle) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(address)
        page.evaluate(ASK, ["load", {"model": model}])
        fetched, weights = first_visit(bundle, model)
        print(f"first visit: {fetched / 1e6:.1f} MB of page, {weights / 1e6:.1f} MB of weights; most memory of the "
              f"page's process while they were opened: {peak_memory() / 1e6:.0f} MB", flush=True)
        for clip in clips:
            sound = load_audio(clip)
            samples = base64.b64encode(sound.samples.astype("<f4").tobytes()).decode()
            (own, text), (padded, other) = measure(page, samples, language, model)
            print(f"{clip.name}: {sound.duration:.1f} s of sound, {own:.2f} s, padded to 30 s {padded:.2f} s, "
                  f"{padded / own:.1f} times\n  {text}\n  {other}", flush=True)
        print(f"most memory of the page's process: {peak_memory() / 1e6:.0f} MB", flush=True)
        browser.close()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.browser",
                                     description="Measure the page without a server.")
    parser.add_argument("bundle", type=Path, help="made by `python spaces/deploy.py build browser`")
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--language", default="it")
    parser.add_argument("--model", default="fine-tuned", choices=("fine-tuned", "base"))
    given = parser.parse_args(arguments)
    return reported("benchmarks.browser", lambda: run(given.bundle, given.clips, given.language, given.model))


if __name__ == "__main__":
    sys.exit(main())
