"""An archive of short clips on one and several workers: `feature_pipeline.transcribe` on Ray; a worker that is killed.

    pip install -e '.[ray]'
    python -m benchmarks.archive [CHECKPOINT] [--clips 480] [--workers 1 2] [--rounds 2] [--kill]

Enters: the Italian clips of tests/data under as many names as are asked for. Leaves: seconds of audio for each second
on the clock from the first finished chunk to the last, so that neither starting Ray nor loading weights counts, and
the same for each worker. A cluster of so many cores of this machine stands for so many machines: each worker has one
core and one thread. --kill: one more run, in which a worker is killed after the first chunk; it must end with a line
for each clip all the same.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from benchmarks.profile import clips_of_tests
from feature_pipeline import config as features
from feature_pipeline.on_ray import run_on_ray
from feature_pipeline.stages import Job, Stage
from feature_pipeline.transcribe import transcribe
from shared.audio import load_audio
from shared.errors import UserError
from shared.system.command import reported

CONFIG = Path(__file__).parents[1] / "feature_pipeline" / "configs" / "my-recordings.yaml"
LANGUAGE = "it"


def archive(folder: Path, n_clips: int) -> float:
    """So many names for the clips, in a folder; gives seconds of audio."""
    clips = [Path(path) for path, language in clips_of_tests() if language == LANGUAGE]
    seconds = [load_audio(path).duration for path in clips]
    folder.mkdir()
    for n in range(n_clips):
        clip = clips[n % len(clips)]
        shutil.copy(clip, folder / f"{n:06d}{clip.suffix}")
    return sum(seconds[n % len(clips)] for n in range(n_clips))


def kill_a_worker() -> int:
    """End one of Ray's worker processes as a machine that goes away does; gives its number."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and "_Worker" in (entry / "cmdline").read_text():
                os.kill(int(entry.name), signal.SIGKILL)
                return int(entry.name)
        except OSError:  # it has ended, or is somebody else's
            continue
    raise UserError("No worker was found that could be killed", hint="this needs Linux")


class Timed:
    """Ray's runner with the moment of each finished chunk."""

    def __init__(self, after_first: Callable[[], object] | None = None) -> None:
        self.finished: list[tuple[float, int]] = []
        self._after_first = after_first

    def __call__(self, stage: Stage, jobs: Iterable[Job]) -> Iterator[int]:
        for n_rows in run_on_ray(stage, jobs):
            self.finished.append((time.monotonic(), n_rows))
            if len(self.finished) == 1 and self._after_first is not None:
                self._after_first()
            yield n_rows

    @property
    def clips_a_second(self) -> float:
        """From the first chunk to the last."""
        (begun, _), (ended, _) = self.finished[0], self.finished[-1]
        return sum(n for _, n in self.finished[1:]) / (ended - begun)


def run(checkpoint: str, folder: Path, n_workers: int, timed: Timed) -> list[dict]:
    """Transcribe the archive on so many workers; gives the lines."""
    try:
        import ray
    except ImportError:
        raise UserError("Ray is not installed", got="no module ray", hint="pip install -e '.[ray]'") from None
    with tempfile.TemporaryDirectory() as out:
        config = features.load(CONFIG, [f"out={out}", f"sources.0.path={folder}", f"sources.0.language={LANGUAGE}",
                                        f"label_check.checkpoint={checkpoint}"])
        ray.init(num_cpus=n_workers, log_to_driver=False, include_dashboard=False)
        try:
            result = transcribe(config, timed, say=lambda text: None)
            return [json.loads(line) for line in result.read_text(encoding="utf-8").splitlines()]
        finally:
            ray.shutdown()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default="embedded:whisper-base-it")
    parser.add_argument("--clips", type=int, default=480)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kill", action="store_true")
    asked = parser.parse_args()
    return reported("benchmarks.archive", lambda: measure(asked))


def measure(asked: argparse.Namespace) -> int:
    """Print the table; gives the exit code."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "recordings"
        seconds = archive(folder, asked.clips) / asked.clips
        found: dict[int, list[float]] = {n: [] for n in asked.workers}
        for _ in range(asked.rounds):
            for n in asked.workers:
                timed = Timed()
                run(asked.checkpoint, folder, n, timed)
                found[n].append(seconds * timed.clips_a_second)
                print(f"{n} workers: {found[n][-1]:.1f} × real time", file=sys.stderr, flush=True)
        print("| workers | × real time | for each worker |\n| --- | --- | --- |")
        for n, speeds in found.items():
            print(f"| {n} | {statistics.median(speeds):.1f} | {statistics.median(speeds) / n:.1f} |", flush=True)
        return after_a_kill(asked, folder, seconds) if asked.kill else 0


def after_a_kill(asked: argparse.Namespace, folder: Path, seconds: float) -> int:
    """1 if a clip has no line, or more than one. seconds: of a clip, on average."""
    timed = Timed(kill_a_worker)
    lines = run(asked.checkpoint, folder, max(asked.workers), timed)
    texts = sum("text" in line for line in lines)
    print(f"A worker was killed after the first chunk: {len(lines)} lines for {asked.clips} clips, {texts} with text, "
          f"{seconds * timed.clips_a_second:.1f} × real time")
    return 0 if len({line["id"] for line in lines}) == len(lines) == asked.clips else 1


if __name__ == "__main__":
    sys.exit(main())
