"""Raw results into tables: medians over the rounds, word error with its interval, and who differs from whom.

    python -m benchmarks.peers.report benchmarks/results/….json

Enters: what `store` keeps. Leaves: Markdown. Words are counted by `shared.wer`, normalised, over all clips of a set
together; of a long recording each prompt counts as one utterance, by the alignment of the whole.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.peers.sets import SETS, BenchSet, bench_set
from benchmarks.peers.systems import EXTRAS, SYSTEMS
from shared.wer import WordErrors, compare, interval, normalise, pooled, word_errors

DISTURBED = 0.05  # a share of CPU time that went elsewhere: speeds of such runs count only where there are no others
MODE_NAMES = {"single": "one by one", "batch": "in batches", "long": "10 minutes"}
MORE = {system for system in EXTRAS if not SYSTEMS[system].listed}  # only in the second table
ORIGINAL = "transformers"  # reads the weights as they were published


def tables(content: dict[str, Any]) -> str:
    """Every set and mode as a Markdown table."""
    found = [summary(content, name, mode, extras) for name in SETS for mode in MODE_NAMES for extras in (False, True)]
    machine = content["machine"]
    head = (f"{content['checkpoint']}, {machine['cpu']} (family {machine['family']}, model {machine['model']}), "
            f"{machine['cores']} cores, {', '.join(machine['flags'])}")
    missing = [f"{name} is missing: {why}" for name, why in content["missing"].items()]
    return "\n\n".join([head, *(_markdown(rows) for rows in found if rows), *missing]) + "\n"


def summary(content: dict[str, Any], name: str, mode: str, extras: bool = False) -> list[dict[str, Any]]:
    """One row a system, fastest first. extras: the second table, with word times and speakers, if that was run."""
    runs = [run for run in content["runs"] if run["set"] == name and run["mode"] == mode and (
        run["system"] in EXTRAS if extras else run["system"] not in MORE)]
    if not runs or (extras and not MORE & {run["system"] for run in runs}):
        return []
    whole = max((run["limit"] for run in runs), key=lambda limit: limit or 1e9)  # None: all prompts
    bench = bench_set(name, whole)
    by_system: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        if run["limit"] == whole:
            by_system.setdefault(run["system"], []).append(run)
    errors = {system: utterances(bench, texts_of(of)) for system, of in by_system.items()}
    rows = [_row(system, of, errors, bench) | {"set": name, "mode": mode} for system, of in by_system.items()]
    if ORIGINAL in by_system and bench.kind == "short":  # its chunks of a long recording are no measure for others
        original = texts_of(by_system[ORIGINAL])
        for row in rows:
            other = texts_of(by_system[row["system"]])
            row["unlike_original"] = pooled(word_errors(a, b, bench.language)
                                            for a, b in zip(original, other, strict=True)).wer
    return sorted(rows, key=lambda row: -row["rtfx"])


def _row(system: str, runs: list[dict[str, Any]], errors: dict[str, list[WordErrors]], bench: BenchSet
         ) -> dict[str, Any]:
    quiet = [run for run in runs if run["others"] <= DISTURBED]
    runs, disturbed = (quiet, False) if quiet else (runs, True)
    speeds = [run["audio_seconds"] / sum(run["seconds"]) for run in runs]
    firsts = [median(run["first"]) for run in runs if run["first"]]
    bounds = interval(errors[system])
    row = {"system": system, "label": SYSTEMS[system].label if system in SYSTEMS else system, "rounds": len(runs),
           "rtfx": median(speeds), "slowest": min(speeds), "fastest": max(speeds), "wer": pooled(errors[system]).wer,
           "low": bounds and bounds.low, "high": bounds and bounds.high, "first": median(firsts) if firsts else None,
           "peak_mb": median(run["peak_mb"] for run in runs), "words": pooled(errors[system]).reference_length,
           "ours": None, "disturbed": disturbed,
           "per_cpu": median(run["audio_seconds"] / run["cpu_seconds"] for run in runs)}
    if "ours" in errors and system != "ours":
        row["ours"] = compare(errors[system], errors["ours"])  # negative: ours errs less
    return row


def texts_of(runs: list[dict[str, Any]]) -> list[str]:
    """What a system reported when it was last measured."""
    return [run["texts"] for run in runs if run["texts"] != "as before"][-1]


def utterances(bench: BenchSet, texts: list[str]) -> list[WordErrors]:
    """One count a prompt."""
    if bench.kind == "short":
        return [word_errors(clip.reference, text, bench.language)
                for clip, text in zip(bench.clips, texts, strict=True)]
    return by_part(bench.clips[0].parts, texts[0], bench.language)


def by_part(parts: tuple[str, ...], text: str, language: str) -> list[WordErrors]:
    """Errors of a recording, each given to the prompt whose words it stands among; what is too much goes to the
    prompt before it."""
    normal = [normalise(part, language) for part in parts]
    ends = [sum(len(part.split()) for part in normal[: n + 1]) for n in range(len(normal))]
    counts = [{"hit": 0, "substitution": 0, "deletion": 0, "insertion": 0} for _ in normal]
    at, place = 0, 0
    for step in word_errors(" ".join(normal), text, language).alignment:
        if step.kind != "insertion":
            at += 1
            while ends[place] < at:
                place += 1
        counts[place][step.kind] += 1
    return [WordErrors(c["hit"], c["substitution"], c["deletion"], c["insertion"]) for c in counts]


def _markdown(rows: list[dict[str, Any]]) -> str:
    first = rows[0]
    more = any(row["system"] in MORE for row in rows)
    title = f"{first['set']}, {MODE_NAMES[first['mode']]}{', and more than text' if more else ''}"
    lines = [f"**{title}** ({first['words']} words)", "",
             "| | × real time (median, range, rounds) | per CPU second | word error % (95 %) | unlike the original % | "
             "first text, s | peak MB | ours − it, WER points |", "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    lines += [_line(row) for row in rows]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    speed = f"{row['rtfx']:.1f} ({row['slowest']:.1f}–{row['fastest']:.1f}, {row['rounds']})"
    speed += " disturbed" if row["disturbed"] else ""
    wer = f"{100 * row['wer']:.1f}" + (f" ({100 * row['low']:.1f}–{100 * row['high']:.1f})" if row["low"] is not None
                                       else "")
    unlike = f"{100 * row['unlike_original']:.1f}" if "unlike_original" in row else ""
    first = f"{row['first']:.2f}" if row["first"] is not None else ""
    against = row["ours"]
    paired = "" if against is None else f"{100 * against.difference:+.1f}" + (
        f" ({100 * against.low:+.1f} to {100 * against.high:+.1f})" if against.low is not None else "")
    label = f"**{row['label']}**" if row["system"].startswith("ours") else row["label"]
    cells = (label, speed, f"{row['per_cpu']:.1f}", wer, unlike, first, f"{row['peak_mb']:.0f}", paired)
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path, metavar="FILE")
    for path in parser.parse_args().results:
        print(tables(json.loads(path.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
