"""What a clip's context costs and saves: a checkpoint as it is served against the same at 30 s, on real prompts.

    python -m benchmarks.context embedded:whisper-base data/asterisk-en data/asterisk-it data/fillets-cs --clips 100
    python -m benchmarks.context embedded:whisper-base-it data/asterisk-it --splits test,validation
    python -m benchmarks.context embedded:whisper-base data/asterisk-it --silence 5,3,2       # other lengths of silence

Every clip is transcribed alone, one after the other, as a visitor's would be: once as the checkpoint's
`short_context` says, once at full context. Prints a line for each data set: words, WER of both, the paired difference
with its 95 % interval, how many clips were decoded again at full context, and seconds for both. A checkpoint is not to
be asked for what it was trained on: for one trained here, take the splits that it did not learn from.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shared.audio import load_audio
from shared.checkpoint import Checkpoint
from shared.inference import Transcriber
from shared.inference.context import UNSURE_LOGPROB
from shared.wer import WordErrors, compare, pooled, word_errors
from training.config import Data
from training.data import open_split

SECONDS = (1.0, 15.0)  # of a clip, as in the benchmark beside other programs


def clips(folder: Path, splits: list[str], n: int) -> list[dict]:
    """At most n rows, taken evenly from the whole of the splits."""
    rows = [row for split in splits for row in open_split(Data(path=str(folder)), split)
            if SECONDS[0] <= row["duration"] <= SECONDS[1]]
    return [rows[i * len(rows) // n] for i in range(n)] if len(rows) > n else rows


def transcribed(transcriber: Transcriber, rows: list[dict]) -> tuple[list[WordErrors], float]:
    """Word errors of each clip, and the seconds for all of them."""
    errors, seconds = [], 0.0
    for row in rows:
        waveform = load_audio(row["audio"]["bytes"])
        begun = time.perf_counter()
        transcript = transcriber.transcribe(waveform, language=row["language"])
        seconds += time.perf_counter() - begun
        errors.append(word_errors(row["text"], transcript.text, row["language"]))
    return errors, seconds


def measured(transcriber: Transcriber, full: Transcriber, rows: list[dict], silences: Sequence[float | None]
             ) -> list[dict]:
    decoder = transcriber.window_decoder
    whole, whole_seconds = transcribed(full, rows)
    found = []
    for silence in silences or [decoder.context.silence]:
        decoder.context = replace(decoder.context, silence=silence)
        decoder.n_windows = decoder.n_again = 0
        errors, seconds = transcribed(transcriber, rows)
        paired = compare(whole, errors)
        found.append({
            "clips": len(rows), "words": pooled(whole).reference_length, "silence": silence,
            "wer": pooled(errors).wer, "wer_full": pooled(whole).wer,
            "difference": paired.difference, "low": paired.low, "high": paired.high,
            "again": decoder.n_again, "seconds": round(seconds, 1), "seconds_full": round(whole_seconds, 1),
        })
    return found


def difference(row: dict) -> str:
    """In points, with its interval where there are clips enough for one."""
    bounds = "" if row["low"] is None else f" ({100 * row['low']:+.1f} … {100 * row['high']:+.1f})"
    return f"{100 * row['difference']:+.1f}{bounds}"


def line(row: dict) -> str:
    after = "30 s" if row["silence"] is None else f"{row['silence']:g} s"
    rates = f"{100 * row['wer']:.1f} | {100 * row['wer_full']:.1f} | {difference(row)}"
    cost = f"{row['again']} | {row['seconds']} | {row['seconds_full']}"
    return f"| {row['data']} | {row['clips']} | {row['words']} | {after} | {rates} | {cost} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("data", nargs="+", type=Path, metavar="DATA_SET")
    parser.add_argument("--splits", type=lambda text: text.split(","), default=["test"])
    parser.add_argument("--clips", type=int, default=100, help="of each data set, at most (100)")
    parser.add_argument("--silence", type=lambda text: [float(x) for x in text.split(",")], default=[],
                        help="seconds after a clip, in place of what the checkpoint asks for")
    parser.add_argument("--unsure", type=float, metavar="LOGPROB", default=UNSURE_LOGPROB,
                        help=f"below it a clip is done again at full context ({UNSURE_LOGPROB})")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    asked = parser.parse_args()
    checkpoint = Checkpoint.parse(asked.checkpoint)
    transcriber = Transcriber(checkpoint, engine=asked.engine)
    decoder = transcriber.window_decoder
    if decoder.context.unsure_logprob is not None:
        decoder.context = replace(decoder.context, unsure_logprob=asked.unsure)
    full = Transcriber(checkpoint, engine=asked.engine, full_context=True)
    print("| data | clips | words | silence | WER % | at 30 s | difference | again | seconds | at 30 s |")
    print("|" + " --- |" * 10)
    used = {"checkpoint": str(transcriber.checkpoint), "engine": transcriber.engine.name, "splits": asked.splits,
            "compute_type": transcriber.engine.compute_type, "unsure": asked.unsure}
    rows = []
    for folder in asked.data:
        for one in measured(transcriber, full, clips(folder, asked.splits, asked.clips), asked.silence):
            rows.append({"data": folder.name} | one)
            print(line(rows[-1]), flush=True)
            if asked.out:
                _save(asked.out, used | {"rows": rows})


def _save(path: Path, figures: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures | {"python": platform.python_version()}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
