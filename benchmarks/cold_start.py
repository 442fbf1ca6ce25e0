"""A cold start of the command line: `transcribe CLIP` as a process of its own, on checkpoints that are in the cache.

    python -m benchmarks.cold_start [--runs 5] [--threads 1]

Each row is a command: processor seconds (user and system, of the process and the ffmpeg processes it waits for), which
other work on the machine disturbs least, and seconds on the clock until the text is there, which need an idle machine.
The first run of a row fills the disk's cache and does not count; of the others the median counts. `import torch` and
`--help` are there to compare with: the one cannot be avoided, the other is all that comes before it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.profile import processor_seconds

ROOT = Path(__file__).parents[1]
DATA = ROOT / "tests" / "data"
TRANSCRIBE = ["-m", "shared.cli"]
ENGLISH, ITALIAN = str(DATA / "en_austen-0880.flac"), str(DATA / "it_vm-mailboxfull.flac")  # 2.8 and 4.4 s
COMMANDS = {
    "import torch": ["-c", "import torch; print(torch.__version__)"],
    "transcribe --help": [*TRANSCRIBE, "--help"],
    "transcribe CLIP, English": [*TRANSCRIBE, ENGLISH],
    "transcribe CLIP, Italian": [*TRANSCRIBE, ITALIAN],
    "transcribe CLIP --language en": [*TRANSCRIBE, ENGLISH, "--language", "en"],
    "transcribe CLIP --language it": [*TRANSCRIBE, ITALIAN, "--language", "it"],
}


def measured(arguments: list[str], threads: int) -> tuple[float, float]:
    """Processor seconds of a run of Python, and seconds until its first line."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    before, begun = processor_seconds(), time.monotonic()
    with subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=environment) as running:
        assert running.stdout is not None and running.stderr is not None
        first = running.stdout.readline()
        until_text = time.monotonic() - begun
        running.stdout.read()
        complaint = running.stderr.read().decode(errors="replace")
    if running.returncode or not first.strip():
        raise SystemExit(f"{' '.join(arguments)} ended with {running.returncode}: {complaint.strip()[-500:]}")
    return processor_seconds() - before, until_text


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, metavar="N")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of torch, as OMP_NUM_THREADS (1)")
    parser.add_argument("--only", metavar="TEXT", default="", help="rows whose name holds this")
    asked = parser.parse_args(arguments)
    print("| command | processor seconds | seconds to the text |\n| --- | --- | --- |")
    for name, command in COMMANDS.items():
        if asked.only not in name:
            continue
        runs = [measured(command, asked.threads) for _ in range(asked.runs + 1)][1:]
        processor, clock = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"| {name} | {processor:.2f} | {clock:.2f} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
