"""Where an engine's time goes: encoding, and decoding a token, for short and long inputs alone and in batches.

    python -m benchmarks.engines [CHECKPOINT]         # embedded:whisper-base by default
    python -m benchmarks.engines --recordings 600     # whole recordings in place of that, as `Transcriber` reads them

Real speech of tests/data: one prompt cropped to its own length, and prompts joined to 28 s. The engines take
turns; the least of the rounds counts, since other work on the machine only ever adds. Prints a Markdown table.
`--recordings` takes the benchmark sets of `benchmarks.peers.sets`: prompts one by one, the same in batches, and so many
seconds of the long recording, with processor time (which other work disturbs least) and WER.
The rule of `shared.engines.plan_engine` stands on both.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.sets import bench_set
from shared.audio import SAMPLE_RATE, Waveform, load_audio
from shared.audio.features import log_mel, pad_or_trim
from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.inference import Transcriber
from shared.system.hardware import cpu_flags
from shared.wer import pooled, word_errors
from shared.whisper_constants import N_FRAMES_FULL

ROUNDS = 3
DATA = Path(__file__).parents[1] / "tests" / "data"
SYSTEMS = [("torch", "int8"), ("ctranslate2", "int8")]
RECORDED = [*SYSTEMS, ("torch", "float32")]
N_PROMPTS = 24
FLAGS = frozenset(("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"))


def inputs(n_mels: int) -> dict[str, tuple[np.ndarray, int]]:
    """Log-mel of even length and the batch size, by what it is."""
    with (DATA / "clips.csv").open(encoding="utf-8") as file:
        clips = [load_audio(DATA / row["file"]).samples for row in csv.DictReader(file) if row["language"] == "en"]
    joined = np.concatenate(clips * 4)[: 28 * SAMPLE_RATE]
    short, long = (log_mel(samples, n_mels) for samples in (clips[0], joined))
    short = pad_or_trim(short, short.shape[1] // 2 * 2 + 40)
    return {"4 s": (short, 1), "4 s × 16": (short, 16), "30 s": (pad_or_trim(long, N_FRAMES_FULL), 1),
            "30 s × 8": (pad_or_trim(long, N_FRAMES_FULL), 8)}


def in_batches(transcriber: Transcriber, clips: list[Waveform], language: str) -> list[str]:
    """The text of each clip, all of them recognised together."""
    texts = []
    for found in transcriber.transcribe_each(clips, language=language):
        if isinstance(found, UserError):
            raise found
        texts.append(found.text)
    return texts


def recordings(checkpoint: Checkpoint, seconds: float) -> None:
    """Seconds of audio for each second of processor time, and WER, of whole recordings. Prints a Markdown table."""
    prompts, long = bench_set("short-en", N_PROMPTS), bench_set("long-en").clips[0]
    clips = [load_audio(clip.path) for clip in prompts.clips]
    recording = Waveform(load_audio(long.path).samples[: int(seconds * SAMPLE_RATE)])
    n_short = sum(clip.duration for clip in clips)
    print(f"prompts {n_short:.0f} s, recording {recording.duration:.0f} s, flags of use: "
          f"{' '.join(sorted(cpu_flags() & FLAGS))}", flush=True)
    print("| | one by one | WER | in batches | WER | long | words of the first system's text that differ |")
    print("| --- " * 7 + "|", flush=True)
    first: str | None = None
    for name in RECORDED:
        one = Transcriber(checkpoint, engine=name[0], compute_type=name[1], device="cpu")
        one.transcribe(clips[0], language="en")
        cells = []
        for texts, spent in (timed(lambda clip: one.transcribe(clip, language="en").text, clips),  # noqa: B023
                             timed(lambda several: in_batches(one, several, "en"), [clips])):  # noqa: B023
            texts = texts[0] if len(texts) == 1 else texts
            errors = pooled(word_errors(clip.reference, text, "en")
                            for clip, text in zip(prompts.clips, texts, strict=True))
            cells += [f"{n_short / spent:.1f}", f"{errors.wer:.1%}"]
        (text,), spent = timed(lambda whole: one.transcribe(whole, language="en").text, [recording])  # noqa: B023
        first = text if first is None else first
        cells += [f"{recording.duration / spent:.1f}", f"{word_errors(first, text, 'en').wer:.1%}"]
        print(f"| {' '.join(name)} | {' | '.join(cells)} |", flush=True)


def timed(read: Callable[[Any], Any], inputs: list) -> tuple[list[Any], float]:
    """What `read` makes of each input, and the processor seconds for all of them."""
    begun = time.process_time()
    return [read(one) for one in inputs], time.process_time() - begun


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default="embedded:whisper-base")
    parser.add_argument("--recordings", type=float, metavar="SECONDS", help="of the long recording, up to 600")
    asked = parser.parse_args(arguments)
    checkpoint = Checkpoint.parse(asked.checkpoint)
    if asked.recordings:
        recordings(checkpoint, asked.recordings)
        return
    loaded = {name: Transcriber(checkpoint, engine=name[0], compute_type=name[1], device="cpu") for name in SYSTEMS}
    least: dict[tuple, float] = defaultdict(lambda: float("inf"))
    for _ in range(ROUNDS):
        for name, one in loaded.items():
            prompt = one.tokens.prompt("en", "transcribe", timestamps=False)
            for kind, (mel, n) in inputs(one.engine.n_mels).items():
                begun = time.perf_counter()
                states = one.engine.encode([mel])
                encoded = time.perf_counter()
                batch = one.engine.join([states] * n)
                joined = time.perf_counter()
                found = one.engine.decode(batch, prompt, beam_size=1, max_tokens=120)
                per_token = (time.perf_counter() - joined) / (len(found[0].tokens) + 1)
                least[name, kind, "encode"] = min(least[name, kind, "encode"], encoded - begun)
                least[name, kind, "token"] = min(least[name, kind, "token"], per_token)
    print("ms, least of", ROUNDS, "| encode 4 s | encode 30 s | a token: 4 s | 4 s × 16 | 30 s | 30 s × 8 |")
    print("| --- " * 7 + "|")
    for name in SYSTEMS:
        cells = [least[name, kind, "encode"] for kind in ("4 s", "30 s")]
        cells += [least[name, kind, "token"] for kind in ("4 s", "4 s × 16", "30 s", "30 s × 8")]
        print(f"| {' '.join(name)} | " + " | ".join(f"{1000 * cell:.1f}" for cell in cells) + " |")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
