"""What surrounds the model: processor time of each step from a file to its subtitles, for short clips one by one.

    python -m benchmarks.profile [CHECKPOINT] [FILE …]          # embedded:whisper-base on tests/data by default

Processor time of this process and of the ffmpeg processes it waits for (getrusage), so other work on the machine
disturbs it little; the least of the rounds counts for each step. Prints a Markdown table: milliseconds a clip, and the
share of all. "Around the model" is everything but encoder and decoder.
"""

from __future__ import annotations

import argparse
import csv
import resource
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from shared.audio import AudioSource, probe
from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.inference import Transcriber
from shared.options import Options
from shared.transcript import to_srt

ROUNDS = 2
DATA = Path(__file__).parents[1] / "tests" / "data"
STEPS = ("header", "decoding", "speech", "log-mel", "encoder", "decoder", "words", "everything else")
MODEL = ("encoder", "decoder")


def processor_seconds() -> float:
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


class Clock:
    """Processor seconds by step; a step within another is not counted in that one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._open: list[list[float]] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        begun, within = processor_seconds(), [0.0]
        self._open.append(within)
        try:
            yield
        finally:
            self._open.pop()
            spent = processor_seconds() - begun
            self.seconds[name] += spent - within[0]
            if self._open:
                self._open[-1][0] += spent

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with self.step(name):
                return function(*arguments, **options)

        return call


def clips_of_tests() -> list[tuple[Path, str]]:
    """The clips that come with the project, and the language of each."""
    with (DATA / "clips.csv").open(encoding="utf-8") as file:
        return [(DATA / row["file"], row["language"]) for row in csv.DictReader(file)]


def profiled(transcriber: Transcriber, path: Path, language: str) -> dict[str, float]:
    """Processor seconds of each step for one file, word times and subtitles included."""
    clock, engine, options = Clock(), transcriber.engine, Options(language=language, words=True)
    methods = {"log_mel": "log-mel", "encode": "encoder", "decode": "decoder", "align": "words"}
    for method, step in methods.items():
        setattr(engine, method, clock.timed(step, getattr(engine, method)))
    try:
        with clock.step("everything else"):
            with clock.step("header"):
                info = probe(path)
            with clock.step("decoding"):
                blocks = list(AudioSource(info))
            with clock.step("speech"):
                parts = list(transcriber.windows(AudioSource(blocks), options))
            found = [new for _, _, new in transcriber.recognise(parts, options)]
            for new in found:
                to_srt(new)
    finally:
        for method in methods:
            delattr(engine, method)  # the class's own again
    return dict(clock.seconds)


def table(rows: list[dict[str, float]]) -> str:
    """Milliseconds a clip by step. rows: of each clip."""
    mean = {step: 1000 * sum(row.get(step, 0.0) for row in rows) / len(rows) for step in STEPS}
    every, model = sum(mean.values()), sum(mean[step] for step in MODEL)
    lines = ["| step | ms a clip | share |", "| --- | --- | --- |"]
    lines += [f"| {step} | {mean[step]:.1f} | {mean[step] / every:.1%} |" for step in STEPS]
    return "\n".join([*lines, f"| around the model | {every - model:.1f} | {1 - model / every:.1%} |"])


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default="embedded:whisper-base")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--language", default="en", help="of the files named (en)")
    parser.add_argument("--engine", default="auto")
    asked = parser.parse_args(arguments)
    clips = [(path, asked.language) for path in asked.files] or clips_of_tests()
    torch.set_num_threads(1)
    transcriber = Transcriber(Checkpoint.parse(asked.checkpoint), engine=asked.engine, device="cpu")
    clips = [(path, language) for path, language in clips if language in transcriber.known_languages]
    rounds = [[profiled(transcriber, path, language) for path, language in clips] for _ in range(ROUNDS + 1)]
    least = [{step: min(row.get(step, 0.0) for row in of_clip) for step in STEPS}
             for of_clip in zip(*rounds[1:], strict=True)]  # the first round warms up
    print(f"{asked.checkpoint}, {transcriber.engine.name} {transcriber.engine.compute_type}, {len(clips)} clips\n")
    print(table(least))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
