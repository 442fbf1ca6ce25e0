"""whisper.cpp in float16 and in 5 bits (q5_1), and CTranslate2 in 8 bits: size, WER and processor time.

    python -m benchmarks.five_bits embedded:whisper-base-it data/asterisk-it

Enters: a checkpoint and a data set. Every clip of the split is read alone: by whisper.cpp at 30 s and with the context
that it lasts (`audio_ctx`), by faster-whisper at 30 s, by this project as it serves the checkpoint. Leaves a line for
each: megabytes, WER, the paired difference to float16 at 30 s with its 95 % interval, processor seconds for all clips.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import datasets
import numpy as np

from shared.audio import Waveform, load_audio
from shared.checkpoint import Checkpoint, files
from shared.checkpoint.to_ctranslate2 import to_ctranslate2
from shared.inference import Transcriber
from shared.system.command import reported
from shared.wer import WordErrors, compare, pooled, word_errors
from training.config import Config, Data
from training.data import open_split
from training.export import Recognise, in_faster_whisper, in_whisper_cpp
from training.ggml import write_ggml


def systems(checkpoint: Checkpoint, config: Config, folder: Path) -> Iterator[tuple[str, Path, Recognise]]:
    """Each program and form, the file or folder that it reads, and the program; the first is what others stand beside.

    folder: empty; the forms are written to it.
    """
    _, model = files(checkpoint, "transformers")
    for name, five_bits in (("whisper.cpp, float16", False), ("whisper.cpp, 5 bits", True)):
        path = folder / f"{five_bits}.bin"
        write_ggml(model, path, five_bits=five_bits)
        for context, cropped in (("30 s", False), ("as long as the clip", True)):
            yield f"{name}, {context}", path, in_whisper_cpp(path, config, cropped=cropped)
    to_ctranslate2(model, folder / "int8", quantization="int8")
    yield "faster-whisper, int8, 30 s", folder / "int8", in_faster_whisper(folder / "int8", "int8", config)
    served = Transcriber(checkpoint)

    def recognise(samples: np.ndarray, language: str) -> str:
        return served.transcribe(Waveform(samples), language=language).text

    yield "this project, as served", model, recognise


def measured(recognise: Recognise, rows: datasets.Dataset) -> tuple[list[WordErrors], float]:
    """Word errors of each clip, and the processor seconds of all."""
    errors, seconds = [], 0.0
    for row in rows:
        samples = load_audio(row["audio"]["bytes"]).samples
        begun = time.process_time()
        text = recognise(samples, row["language"])
        seconds += time.process_time() - begun
        errors.append(word_errors(row["text"], text, row["language"]))
    return errors, seconds


def megabytes(path: Path) -> float:
    return sum(one.stat().st_size for one in ([path] if path.is_file() else path.rglob("*")) if one.is_file()) / 1e6


def run(checkpoint: str, data: Path, split: str, n_clips: int) -> None:
    rows = open_split(Data(path=str(data)), split)
    rows = rows.select(range(min(n_clips or len(rows), len(rows))))
    first: list[WordErrors] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path, recognise in systems(Checkpoint.parse(checkpoint), Config("five-bits", ()), Path(folder)):
            errors, seconds = measured(recognise, rows)
            first = first or errors
            all_of_them, paired = pooled(errors), compare(first, errors)
            interval = ""
            if paired.low is not None and paired.high is not None:
                interval = f" ({100 * paired.low:+.1f} … {100 * paired.high:+.1f})"
            print(f"| {name} | {megabytes(path):.0f} | {100 * all_of_them.wer:.1f} | "
                  f"{100 * paired.difference:+.1f}{interval} | {seconds:.0f} |", flush=True)
    print(f"{len(rows)} clips, {pooled(first).reference_length} words")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.five_bits",
                                     description="whisper.cpp in 5 bits beside float16.")
    parser.add_argument("checkpoint", help="for example embedded:whisper-base-it")
    parser.add_argument("data", type=Path, help="a data set that the feature pipeline made")
    parser.add_argument("--split", default="test")
    parser.add_argument("--clips", type=int, default=0, help="at most so many; 0: all")
    given = parser.parse_args(arguments)
    return reported("benchmarks.five_bits", lambda: run(given.checkpoint, given.data, given.split, given.clips))


if __name__ == "__main__":
    sys.exit(main())
