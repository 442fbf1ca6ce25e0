"""Where an engine's time goes: encoding, and decoding a token, for short and long inputs alone and in batches.

    python -m benchmarks.engines [CHECKPOINT]         # embedded:whisper-base by default

Real speech of tests/data: one prompt cropped to its own length, and prompts joined to 28 s. The engines take
turns; the least of the rounds counts, since other work on the machine only ever adds. Prints a Markdown table.
The rule of `shared.engines.plan_engine` stands on it.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

from shared.audio import SAMPLE_RATE, load_audio
from shared.audio.features import log_mel, pad_or_trim
from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.inference import Transcriber
from shared.whisper_constants import N_FRAMES_FULL

ROUNDS = 3
DATA = Path(__file__).parents[1] / "tests" / "data"
SYSTEMS = [("torch", "int8"), ("ctranslate2", "int8")]


def inputs(n_mels: int) -> dict[str, tuple[np.ndarray, int]]:
    """Log-mel of even length and the batch size, by what it is."""
    with (DATA / "clips.csv").open(encoding="utf-8") as file:
        clips = [load_audio(DATA / row["file"]).samples for row in csv.DictReader(file) if row["language"] == "en"]
    joined = np.concatenate(clips * 4)[: 28 * SAMPLE_RATE]
    short, long = (log_mel(samples, n_mels) for samples in (clips[0], joined))
    short = pad_or_trim(short, short.shape[1] // 2 * 2 + 40)
    return {"4 s": (short, 1), "4 s × 16": (short, 16), "30 s": (pad_or_trim(long, N_FRAMES_FULL), 1),
            "30 s × 8": (pad_or_trim(long, N_FRAMES_FULL), 8)}


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default="embedded:whisper-base")
    checkpoint = Checkpoint.parse(parser.parse_args(arguments).checkpoint)
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
