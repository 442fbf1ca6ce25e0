"""How time and memory grow with the length of a recording, and with the number of short clips.

    python -m benchmarks.growth [CHECKPOINT] [--minutes 1 10 60 180] [--clips 1 4 16 64] [--out JSON] [--plot SVG]
    python -m benchmarks.growth --from JSON --plot SVG

Each length in a process of its own, so that its peak memory is its own: from a WAV file to the whole transcript, as
`Transcriber.transcribe` gives it; the long English recording of `benchmarks.peers.sets`, over and over. Clips: the
short English prompts, all recognised together. Counted is processor time of all threads and of ffmpeg, which other work
on the machine disturbs least, and the time on the clock. Weights are read before the clock starts; memory counts them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

from benchmarks.engines import FLAGS, in_batches
from benchmarks.peers.sets import bench_set
from benchmarks.profile import processor_seconds
from shared.audio import load_audio
from shared.charts import line_panels
from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.inference import Transcriber
from shared.system.files import write_text
from shared.system.hardware import cpu_flags


def repeated(path: Path, seconds: float, into: Path) -> None:
    """A WAV file of this length, of the samples of another one, from its start over and over."""
    with wave.open(str(path)) as file, wave.open(str(into), "wb") as out:
        out.setparams(file.getparams())
        samples, left = file.readframes(file.getnframes()), round(seconds * file.getframerate())
        while left > 0:
            out.writeframes(samples[: left * file.getsampwidth() * file.getnchannels()])
            left -= file.getnframes()


def measured(checkpoint: str, kind: str, given: str) -> dict[str, Any]:
    """kind: "recording", given: its path; or "clips", given: how many. Runs in a process of its own."""
    one = Transcriber(Checkpoint.parse(checkpoint), device="cpu")
    clips = [load_audio(clip.path) for clip in bench_set("short-en", int(given) if kind == "clips" else 1).clips]
    one.transcribe(clips[0], language="en")
    begun, spent = time.monotonic(), processor_seconds()
    if kind == "clips":
        n_words = sum(len(text.split()) for text in in_batches(one, clips, "en"))
        seconds = sum(clip.duration for clip in clips)
    else:
        transcript = one.transcribe(Path(given), language="en")
        n_words, seconds = len(transcript.text.split()), transcript.duration
    return {"kind": kind, "audio_seconds": seconds, "n_clips": len(clips), "n_words": n_words,
            "seconds": time.monotonic() - begun, "processor_seconds": processor_seconds() - spent,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def child(checkpoint: str, kind: str, given: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.growth", checkpoint, "--one", kind, given]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # its messages are shown
    if done.returncode != 0:
        raise UserError("A measurement failed", got=" ".join(command[1:]), hint="run it by itself")
    return json.loads(done.stdout)


def table(found: list[dict[str, Any]]) -> str:
    lines = ["| | × real time | audio for each processor second | peak MB | words |", "| --- | --- | --- | --- | --- |"]
    for one in found:
        name = f"{one['n_clips']} clips" if one["kind"] == "clips" else f"{one['audio_seconds'] / 60:g} min"
        speeds = " | ".join(f"{one['audio_seconds'] / one[by]:.1f}" for by in ("seconds", "processor_seconds"))
        lines.append(f"| {name} | {speeds} | {one['peak_mb']:.0f} | {one['n_words']} |")
    return "\n".join(lines)


def plot(found: list[dict[str, Any]]) -> str:
    long = [one for one in found if one["kind"] == "recording"]
    minutes = [one["audio_seconds"] / 60 for one in long]
    return line_panels({
        "Seconds of audio for each processor second": {"this project": [
            (x, one["audio_seconds"] / one["processor_seconds"]) for x, one in zip(minutes, long, strict=True)]},
        "Peak memory, MB": {"this project": [(x, one["peak_mb"]) for x, one in zip(minutes, long, strict=True)]},
    }, "min", "Speed and memory by length of the recording", from_zero=True) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default="embedded:whisper-base")
    parser.add_argument("--minutes", type=float, nargs="*", default=[1, 10, 60, 180])
    parser.add_argument("--clips", type=int, nargs="*", default=[1, 4, 16, 64])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--from", type=Path, dest="known")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    try:
        if asked.one:
            print(json.dumps(measured(asked.checkpoint, *asked.one)))
            return 0
        found = json.loads(asked.known.read_text(encoding="utf-8"))["runs"] if asked.known else run(asked)
        print(table(found))
        if asked.plot:
            write_text(asked.plot, plot(found))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run(asked: argparse.Namespace) -> list[dict[str, Any]]:
    flags = sorted(cpu_flags() & FLAGS)
    print(f"{asked.checkpoint}, flags of use: {' '.join(flags)}", flush=True)
    found, long = [], bench_set("long-en").clips[0].path
    for n in asked.clips:
        found.append(child(asked.checkpoint, "clips", str(n)))
        print(table(found[-1:]).splitlines()[-1], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for minutes in asked.minutes:
            path = Path(folder) / "recording.wav"
            repeated(long, 60 * minutes, path)
            found.append(child(asked.checkpoint, "recording", str(path)))
            print(table(found[-1:]).splitlines()[-1], flush=True)
            if asked.out:  # hours of work are kept as they come
                write_text(asked.out, json.dumps({"checkpoint": asked.checkpoint, "flags": flags, "runs": found},
                                                       indent=1) + "\n")
    return found


if __name__ == "__main__":
    sys.exit(main())
