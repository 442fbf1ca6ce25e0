"""Several checkpoints on the same clips: WER of each, and the paired difference from the first.

    python -m benchmarks.checkpoints data/asterisk-ru embedded:whisper-base runs/ru/model --splits train,validation,test
    python -m benchmarks.checkpoints data/asterisk-es embedded:whisper-base runs/es/model --no-accents

Enters: a data set of feature_pipeline and checkpoints as the apps take them; for one that was trained here, splits that
it did not learn from. Leaves: a line for each, with 95 % bootstrap intervals. The language is that of the rows, one
for all. Clips are decoded in batches, as `transcribe FOLDER` does: `training.evaluation` hears them one by one, as a
visitor's would be, and its base at its full 30 s.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets

from shared.audio import Waveform, load_audio
from shared.checkpoint import Checkpoint
from shared.errors import UserError
from shared.inference import Transcriber
from shared.options import DICTIONARY_BEAM
from shared.wer import WordErrors, compare, interval, pooled, without_accents, word_errors
from training.config import Data
from training.data import first_rows, open_split


def counted(transcriber: Transcriber, waveforms: Sequence[Waveform], rows: datasets.Dataset, accents: bool,
            **search: Any) -> list[WordErrors]:
    """Of each row; a clip that cannot be decoded counts as one without text. accents: whether they count.

    search: beam_size, dictionary.
    """
    found: list[WordErrors] = []
    (language,) = rows.unique("language")
    texts = transcriber.transcribe_each(waveforms, language=language, **search)
    for text, heard in zip(rows["text"], texts, strict=True):
        hypothesis = "" if isinstance(heard, UserError) else heard.text
        if not accents:
            text, hypothesis = without_accents(text), without_accents(hypothesis)
        found.append(word_errors(text, hypothesis, language))
    return found


def shown(value: float, low: float | None, high: float | None, sign: str = "") -> str:
    """Rates as per cent, with their interval where there is one: of fewer than 20 clips there is none."""
    ends = "" if low is None or high is None else f" ({100 * low:{sign}.1f} … {100 * high:{sign}.1f})"
    return f"{100 * value:{sign}.1f}{ends}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA_SET")
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT")
    parser.add_argument("--splits", type=lambda text: text.split(","), default=["test"])
    parser.add_argument("--clips", type=int, default=0, help="at most, the first ones; 0: all")
    parser.add_argument("--no-accents", action="store_true", help="of Latin letters, for texts that leave them out")
    parser.add_argument("--beam-size", type=int, default=1, metavar="N")
    parser.add_argument("--dictionary", metavar="NAMES", help="as `transcribe` takes it; rows for it and for its beam")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON")
    options = parser.parse_args()
    source = Data(str(options.data))
    rows = first_rows(datasets.concatenate_datasets([open_split(source, split) for split in options.splits]),
                      options.clips)
    if len(languages := rows.unique("language")) != 1:
        parser.error(f"the clips are in several languages ({', '.join(languages)}): one at a time can be compared")
    waveforms = [load_audio(row["audio"]["bytes"]) for row in rows]
    print(f"{options.data.name}, {','.join(options.splits)}: {len(rows)} clips\n\n"
          "| checkpoint | WER % | difference from the first, points | seconds |\n|" + " --- |" * 4)
    first: list[WordErrors] | None = None
    kept: list[dict[str, Any]] = []
    searches: list[dict[str, Any]] = [{"beam_size": options.beam_size}]
    if options.dictionary:
        searches += [{"beam_size": max(options.beam_size, DICTIONARY_BEAM)},
                     {"beam_size": options.beam_size, "dictionary": options.dictionary}]
    for name in options.checkpoints:
        engine = "torch" if options.dictionary else "auto"
        transcriber = Transcriber(Checkpoint.parse(name), engine=engine, device="cpu")
        transcriber.load()
        for search in searches:
            begun = time.perf_counter()
            errors = counted(transcriber, waveforms, rows, not options.no_accents, **search)
            seconds = time.perf_counter() - begun
            rate = pooled(errors).wer, *(interval(errors) or (None, None))
            found = None if first is None else compare(first, errors)
            difference = (found.difference, found.low, found.high) if found is not None else None
            first = first or errors
            kept.append({"checkpoint": name, "search": search, "wer": rate, "difference": difference,
                         "seconds": seconds})
            how = ", dictionary" if "dictionary" in search else f", beam {search['beam_size']}"
            print(f"| {name}{'' if len(searches) == 1 else how} | {shown(*rate)} | "
                  f"{shown(*difference, sign='+') if difference else ''} | {seconds:.0f} |", flush=True)
    if options.out:
        options.out.write_text(json.dumps({"data": str(options.data), "splits": options.splits, "clips": len(rows),
                                           "rows": kept, "python": platform.python_version()}, indent=1) + "\n",
                               encoding="utf-8")


if __name__ == "__main__":
    main()
