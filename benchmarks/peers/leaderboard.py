"""The same texts by the rules of the Open ASR Leaderboard, beside our own count.

    python -m benchmarks.peers.leaderboard FILE.json            # a row a run
    python -m benchmarks.peers.leaderboard FILE.json --texts    # and the texts that are counted otherwise

Enters: what `store` keeps. Leaves: for each run normalised WER by `shared.wer`, by the leaderboard's normaliser, and
with its rule that a compound written apart is no error. `workers/by_leaderboard.py` has the rules and their source.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.peers.envs import python_of
from benchmarks.peers.sets import bench_set
from shared.wer import normalise, pooled, word_errors


def theirs(asked: list[dict[str, Any]], python: str | Path | None = None) -> list[dict[str, Any]]:
    """What `workers/by_leaderboard.py` counts, in its own environment."""
    script = Path(__file__).parent / "workers" / "by_leaderboard.py"
    done = subprocess.run([python or python_of("leaderboard"), str(script)], input=json.dumps(asked),
                          capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="+", type=Path)
    parser.add_argument("--texts", action="store_true", help="print texts in which the two counts differ")
    parser.add_argument("--python", type=Path, help="of an environment with peers/requirements/leaderboard.txt")
    given = parser.parse_args()
    read = cache(bench_set)  # each reading decodes every clip
    rows: list[dict[str, Any]] = []
    asked: list[dict[str, Any]] = []
    for run in (run for file in given.file for run in json.loads(file.read_text(encoding="utf-8"))["runs"]):
        bench = read(run["set"], run["limit"])
        if len(run["texts"]) == len(bench.clips):  # not a run over a part, for the curve of time over length
            rows.append(run)
            asked.append({"language": bench.language, "pairs": [
                [clip.reference, text] for clip, text in zip(bench.clips, run["texts"], strict=True)]})
    print("| set | program | words, ours | WER | words, theirs | WER | compounds apart are none | texts with A.B. |")
    print("|" + " --- |" * 8)
    for run, one, found in zip(rows, asked, theirs(asked, given.python), strict=True):
        ours = [word_errors(reference, text, one["language"]) for reference, text in one["pairs"]]
        print(f"| {run['set']} | {run['system']} | {pooled(ours).reference_length} | {100 * pooled(ours).wer:.2f} | "
              f"{found['words']} | {100 * found['errors'] / found['words']:.2f} | "
              f"{100 * found['errors_merged'] / found['words']:.2f} | {found['abbreviated']} |")
        if given.texts:
            for pair, texts in zip(one["pairs"], found["texts"], strict=True):
                mine = [normalise(text, one["language"]) for text in pair]
                if mine != texts and len(mine[0]) < 200:
                    print(f"    ours: {mine[0]} | {mine[1]}\n    theirs: {texts[0]} | {texts[1]}")


if __name__ == "__main__":
    main()
