"""python -m training.evaluation RUN [key=value ...]: base and fine-tuned on the test split, by the code that serves.

Enters: a run's folder. Leaves in RUN/evaluation/: hypotheses-*.jsonl (raw, one line a clip, written as they come; a
second start goes on after the last), scores.json, report.html and trn/ for sclite. Transcribing is `shared.inference`,
counting is `shared.wer`; this module knows neither models nor what a word is.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import datasets

from feature_pipeline.settings import Many, options_of, plain
from shared import wer
from shared.audio import SAMPLE_RATE, load_audio
from shared.checkpoint import Checkpoint, weight_files
from shared.errors import UserError
from shared.inference import Transcriber
from shared.lexicon import dictionary_of, serves
from shared.system.command import reported
from shared.system.files import digests, write_text
from training import config as settings
from training.config import Config, Data
from training.data import first_rows, open_sets, open_split
from training.report import NO_ACCENTS, write_report

SHORT, LONG = 3.0, 8.0  # seconds: the edges of the three lengths that are scored apart


@dataclass(frozen=True)
class Options:
    """How a run is evaluated; all of it is recorded beside the scores."""

    split: str = "test"
    engine: str = "auto"
    device: str = "auto"
    compute_type: str = "auto"
    beam_size: int = 1
    vad_onset: float = 0.5
    dictionary: Many[str] = ()  # of the words that are spelled right, for both systems: names, paths
    full_context: bool = True  # score the fine-tuned one at 30 s context too, where it is served cropped
    canary: str = ""  # a data set in another language, to see what was forgotten
    canary_split: str = "test"  # several, separated by commas, for a longer one: "test,validation"
    max_clips: int = 0  # 0: all
    accents: bool = True  # False: not counted, for data sets whose texts leave them out
    seed: int = 0  # of the resampling behind the intervals


@dataclass(frozen=True)
class Plan:
    """What one system transcribes. full: at the 30 s of stock Whisper. config: says the task, and tokens and texts."""

    checkpoint: Checkpoint
    rows: datasets.Dataset
    full: bool
    config: Config

    def asked(self, spoken: str, known: Collection[str]) -> str:
        """The language this checkpoint is asked for: a related one where it has no token. known: those with one."""
        return spoken if spoken in known else self.config.language_tokens.get(spoken, spoken)


@dataclass(frozen=True)
class Line:
    """One clip and what one system made of it.

    language: of the speech; text_language: of the texts, by which they are compared. duration, seconds: of the audio,
    and of the work. set: the data set's short name.
    """

    id: str
    reference: str
    hypothesis: str
    language: str
    speaker: str | None
    duration: float
    seconds: float
    text_language: str = ""
    set: str = ""


def evaluate(run: str | Path, options: Options = Options(), *, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Transcribe what is not yet transcribed, score all, write scores.json, report.html and trn/, return the scores.

    Raises UserError if the run has no model yet, or a data set is missing.
    """
    run = Path(run)
    config = settings.of_run(run)
    if not (run / "model" / "run.json").is_file():
        raise UserError("The run has no model yet", got=run, hint="let `python -m training.finetune` end first")
    dictionary_of(options.dictionary or None)  # before any work
    folder = run / "evaluation"
    folder.mkdir(exist_ok=True)
    rows = open_sets(config, options.split, options.max_clips)
    base, tuned = Checkpoint.parse(config.base), Checkpoint.parse(str(run / "model"))
    plans = {"base": Plan(base, rows, True, config), "fine-tuned": Plan(tuned, rows, False, config)}
    if options.full_context and config.context.crop:
        plans["fine-tuned, full context"] = Plan(tuned, rows, True, config)
    if options.canary:
        splits = [open_split(Data(options.canary), split) for split in options.canary_split.split(",")]
        canary = first_rows(datasets.concatenate_datasets(splits), options.max_clips)
        canary = canary.add_column("set", [Path(options.canary).name] * len(canary))
        plain_task = replace(config, task="transcribe", text_language=None)
        plans |= {"base, canary": Plan(base, canary, True, plain_task),
                  "fine-tuned, canary": Plan(tuned, canary, False, plain_task)}
    lines: dict[str, list[Line]] = {}
    used = {}
    for name, plan in plans.items():
        path = folder / f"hypotheses-{_file_name(name)}-{_key(plan, options)}.jsonl"
        say(f"{name}: {len(plan.rows)} clips")
        texts, used[name] = _transcribed(path, plan, options, say)
        lines[name] = texts if options.accents else [_without_accents(line) for line in texts]
    scores = _scores(lines, options) | {
        "run": config.name, "data": config.data[0].path, "options": plain(options), "used": used,
        "sets": sorted(rows.unique("set")), "languages": sorted(rows.unique("language")), "task": config.task,
        "data_digest": _digest(rows), "weights": digests(weight_files(run / "model")),
    }
    write_text(folder / "scores.json", json.dumps(scores, indent=2, ensure_ascii=False) + "\n")
    write_report(folder / "report.html", scores, lines, rows)
    for name, some in lines.items():
        wer.write_trn(folder / "trn" / _file_name(name),
                      [(line.reference, line.hypothesis, line.text_language) for line in some])
    return scores


def rate_as_served(plan: Plan, options: Options = Options()) -> float:
    """The normalised WER in % that `evaluate` gives of one system, by the same code; keeps no texts."""
    transcriber = _transcriber(plan, options)
    lines = [_line(transcriber, row, plan, options) for row in plan.rows]
    return _system(_counted(lines), lines, options)["wer"]


def _file_name(system: str) -> str:
    return system.replace(", ", "-").replace(" ", "-")


def summary(scores: dict[str, Any]) -> str:
    """The scores as a few lines for a terminal."""
    lines = [f"{'':28s}{'WER':>7s}  {'95 % interval':16s}{'CER':>7s}{'raw WER':>9s}{'RTFx':>7s}"]
    for name, one in scores["systems"].items():
        spread = "too short to tell" if one["wer_low"] is None else f"{one['wer_low']:.1f} … {one['wer_high']:.1f}"
        rates = f"{one['cer']:7.2f}{one['raw_wer']:9.2f}{one['rtfx']:7.1f}"
        lines.append(f"{name:28s}{one['wer']:7.2f}  {spread:16s}{rates}")
    for name, one in scores["differences"].items():
        spread = f" ({one['low']:+.1f} … {one['high']:+.1f})" if one["low"] is not None else ""
        lines.append(f"{name}: {one['difference']:+.2f}{spread}, {one['verdict']}")
    if not scores["options"].get("accents", True):
        lines.append(NO_ACCENTS)
    return "\n".join(lines)


def _transcribed(path: Path, plan: Plan, options: Options, say: Callable[[str], None]
                 ) -> tuple[list[Line], dict[str, Any]]:
    """Every row's line, taken from the file where it is there already; and what was used."""
    rows = plan.rows
    lines = {line.id: line for line in _lines(path)}
    todo = [i for i, row_id in enumerate(rows["id"]) if row_id not in lines]
    about = path.with_suffix(".json")
    if todo:
        transcriber = _transcriber(plan, options)
        engine = transcriber.engine
        write_text(about, json.dumps({"checkpoint": str(transcriber.checkpoint), "engine": engine.name,
                                 "device": engine.device, "compute_type": engine.compute_type,
                                 "short_context": transcriber.facts.short_context}))
        with path.open("a", encoding="utf-8") as out:
            for done, i in enumerate(todo):
                line = _line(transcriber, rows[i], plan, options)
                out.write(json.dumps(plain(line), ensure_ascii=False) + "\n")
                out.flush()
                lines[line.id] = line
                if done % 50 == 49:
                    say(f"  {len(lines)} of {len(rows)}")
    return [lines[row_id] for row_id in rows["id"]], json.loads(about.read_text(encoding="utf-8"))


def _transcriber(plan: Plan, options: Options) -> Transcriber:
    return Transcriber(plan.checkpoint, engine=options.engine, device=options.device,
                       compute_type=options.compute_type, full_context=plan.full)


def _line(transcriber: Transcriber, row: dict[str, Any], plan: Plan, options: Options) -> Line:
    waveform = load_audio(row["audio"]["bytes"])
    start = time.perf_counter()
    language = plan.asked(row["language"], transcriber.known_languages)
    dictionary = dictionary_of(options.dictionary or None)
    if not serves(dictionary, "en" if plan.config.task == "translate" else language):
        dictionary = ()
    transcript = transcriber.transcribe(waveform, language=language, task=plan.config.task,
                                        beam_size=options.beam_size, vad_onset=options.vad_onset,
                                        dictionary=dictionary or None)
    seconds = time.perf_counter() - start
    spoken, duration = row["language"], len(waveform.samples) / SAMPLE_RATE
    return Line(row["id"], row["text"], transcript.text, spoken, row["speaker"], duration, seconds,
                plan.config.text_of(spoken), row.get("set") or "")


def _lines(path: Path) -> Iterator[Line]:
    """What a file holds already; a last line cut off by a kill is forgotten."""
    if not path.is_file():
        return
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_text(path, whole)
    for line in whole.splitlines():
        yield Line(**json.loads(line))


def _without_accents(line: Line) -> Line:
    return replace(line, reference=wer.without_accents(line.reference), hypothesis=wer.without_accents(line.hypothesis))


def _scores(lines_of: dict[str, list[Line]], options: Options) -> dict[str, Any]:
    counted = {name: _counted(lines) for name, lines in lines_of.items()}
    systems = {name: _system(counted[name], lines_of[name], options) for name in lines_of}
    pairs = [("fine-tuned", "base"), ("fine-tuned, full context", "base"), ("fine-tuned", "fine-tuned, full context"),
             ("fine-tuned, canary", "base, canary")]
    differences = {}
    for name, against in pairs:
        if name in counted and against in counted:
            found = wer.compare([one.words for one in counted[against]], [one.words for one in counted[name]],
                                seed=options.seed)
            differences[f"{name} against {against}"] = {
                "difference": 100 * found.difference, "low": _percent(found.low), "high": _percent(found.high),
                "verdict": found.verdict}
    return {"systems": systems, "differences": differences}


def _counted(lines: Sequence[Line]) -> list[wer.UtteranceErrors]:
    return [wer.utterance_errors(line.reference, line.hypothesis, line.text_language) for line in lines]


def _system(counted: Sequence[wer.UtteranceErrors], lines: Sequence[Line], options: Options) -> dict[str, Any]:
    score = wer.score(counted, seed=options.seed)
    words = score.words.errors
    by: dict[str, dict[str, list[Any]]] = {"length": {}, "speaker": {}, "language": {}, "set": {}}
    for one, line in zip(counted, lines, strict=True):
        length = f"under {SHORT:g} s" if line.duration < SHORT else f"{SHORT:g} to {LONG:g} s" if (
            line.duration < LONG) else f"{LONG:g} s and more"
        by["length"].setdefault(length, []).append(one.words)
        by["speaker"].setdefault(line.speaker or "unknown", []).append(one.words)
        by["language"].setdefault(line.language, []).append(one.words)
        by["set"].setdefault(line.set or "unknown", []).append(one.words)
    audio, work = sum(line.duration for line in lines), sum(line.seconds for line in lines)
    interval = score.words.interval
    return {
        "wer": 100 * score.wer, "wer_low": _percent(interval and interval.low),
        "wer_high": _percent(interval and interval.high), "cer": 100 * score.cer, "raw_wer": 100 * score.raw_wer,
        "raw_cer": 100 * score.raw_cer, "substitutions": words.substitutions, "deletions": words.deletions,
        "insertions": words.insertions, "words": words.reference_length, "clips": len(lines), "audio_seconds": audio,
        "rtfx": audio / max(work, 1e-9),
        "by": {kind: {key: {"wer": 100 * wer.pooled(some).wer, "clips": len(some)} for key, some in parts.items()}
               for kind, parts in by.items()},
    }


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _identity(checkpoint: Checkpoint) -> str:
    """The checkpoint, and for a folder also its weights' size and time, so that a retrained run is transcribed anew."""
    if checkpoint.origin != "folder":
        return str(checkpoint)
    weights = weight_files(Path(checkpoint.model_id))
    return " ".join([str(checkpoint), *(f"{path.stat().st_size} {path.stat().st_mtime_ns}" for path in weights)])


def _key(plan: Plan, options: Options) -> str:
    """Changes when another text would come out: by weights, clips or decoding, not by what is scored beside it."""
    how = (options.engine, options.device, options.compute_type, options.beam_size, options.vad_onset, plan.config.task,
           sorted(plan.config.language_tokens.items()), *([*options.dictionary] if options.dictionary else ()))
    what = [_identity(plan.checkpoint), _digest(plan.rows), plan.full, *how]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:8]


def _digest(rows: datasets.Dataset) -> str:
    """Of the clips' ids and texts."""
    return hashlib.sha256(json.dumps([rows["id"][:], rows["text"][:]]).encode()).hexdigest()[:16]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.evaluation", description="Score a run on its test split.")
    parser.add_argument("run", help="a run's folder, for example runs/italian-lora")
    parser.add_argument("options", nargs="*", metavar="key=value", help="for example engine=torch")
    given = parser.parse_args(arguments)
    return reported("training.evaluation",
                    lambda: print(summary(evaluate(given.run, options_of(Options, given.options)))))


if __name__ == "__main__":
    sys.exit(main())
