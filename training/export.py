"""python -m training.export RUN [key=value ...]: a run's model for CTranslate2 and whisper.cpp, each proven.

Enters: a run's folder. Leaves RUN/export/: ctranslate2-int8/, ctranslate2-float16/, ggml-model.bin and export.json.
Every form is opened in the real program (faster-whisper, whisper.cpp by pywhispercpp) and its WER on real clips is
held against the original's; one that is worse by more than a bound is an error, and its file is removed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feature_pipeline.settings import Many, options_of
from shared import wer
from shared.audio import Waveform, load_audio
from shared.checkpoint import EMBEDDED, Checkpoint
from shared.checkpoint.to_ctranslate2 import to_ctranslate2
from shared.command import reported
from shared.errors import UserError
from shared.inference import Transcriber
from training import config as settings
from training.card import gather, write_card
from training.data import open_split
from training.ggml import write_ggml
from training.model import small_adapter

FORMS = ("ctranslate2-int8", "ctranslate2-float16", "ggml", "adapter")
Hear = Callable[[np.ndarray, str], str]  # samples, language -> text


@dataclass(frozen=True)
class Options:
    """What is exported, and how well it must do."""

    forms: Many[str] = FORMS[:3]  # and 'adapter': the LoRA adapter in float16 with its card
    split: str = "test"
    max_clips: int = 50  # clips the forms are compared on; 0: all
    bound: float = 2.0  # points of WER that a form may be worse than the original


def export(run: str | Path, options: Options = Options(), *, say=print) -> dict:
    """Write the forms asked for, compare each with the original, return and save the figures. Raises UserError."""
    run = Path(run)
    model = run / "model"
    if not (model / "run.json").is_file():
        raise UserError("The run has no model yet", got=run, hint="let `python -m training.finetune` end first")
    unknown = set(options.forms) - set(FORMS)
    if unknown:
        raise UserError("There is no such form", got=", ".join(unknown), limit=", ".join(FORMS), hint="choose one")
    clips = list(_clips(run, options))
    original = _rate(_original(model), clips)
    say(f"{'original (torch)':24s}{original:7.2f} % WER on {len(clips)} clips")
    found = {"original": original, "clips": len(clips), "split": options.split}
    folder = run / "export"
    folder.mkdir(exist_ok=True)
    for form in options.forms:
        path = _written(form, model, folder)
        rate = _rate(_opened(form, path), clips)
        say(f"{form:24s}{rate:7.2f} % WER, {rate - original:+.2f}")
        if rate - original > options.bound:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            raise UserError(f"The {form} export is worse than the original", got=f"{rate - original:+.2f} points",
                            limit=f"+{options.bound:g}", hint="use another form, or raise bound")
        found[form] = rate
    (folder / "export.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def _written(form: str, model: Path, folder: Path) -> Path:
    """The form's file or folder; it appears whole or not at all."""
    path = folder / ("ggml-model.bin" if form == "ggml" else form)
    draft = folder / f".{path.name}.draft"
    if draft.is_dir():
        shutil.rmtree(draft)
    if form == "ggml":
        write_ggml(model, draft)
    elif form == "adapter":
        _write_adapter(model.parent, draft)
    else:
        to_ctranslate2(model, draft, quantization=form.rpartition("-")[2])
    if path.is_dir():
        shutil.rmtree(path)
    draft.replace(path)
    return path


def _write_adapter(run: Path, folder: Path) -> None:
    if not (run / "adapter").is_dir():
        raise UserError("The run has no adapter", got=run, hint="train with method.kind=lora")
    small_adapter(run / "adapter", folder)
    facts = gather(run)
    name = f"{facts.run['base'].removeprefix(EMBEDDED).rsplit('/', 1)[-1]}-{facts.config.language}"
    (folder / "README.md").write_text(write_card(facts, name, adapter=True), encoding="utf-8")


def _opened(form: str, path: Path) -> Hear:
    if form == "adapter":
        return _original(path, engine="auto", compute_type="auto", full=False)
    return _in_whisper_cpp(path) if form == "ggml" else _in_faster_whisper(path, form.rpartition("-")[2])


def _original(model: Path, engine: str = "torch", compute_type: str = "float32",
              full: bool = True) -> Hear:
    """full: at full context, as the other programs use it."""
    transcriber = Transcriber(Checkpoint.parse(str(model)), engine=engine, compute_type=compute_type, full_context=full)

    def hear(samples: np.ndarray, language: str) -> str:
        return transcriber.transcribe(Waveform(samples), language=language).text

    return hear


def _in_faster_whisper(folder: Path, compute_type: str) -> Hear:
    from faster_whisper import WhisperModel

    model = WhisperModel(str(folder), device="cpu", compute_type="int8" if compute_type == "int8" else "float32")

    def hear(samples: np.ndarray, language: str) -> str:
        segments, _ = model.transcribe(samples, language=language, beam_size=1, without_timestamps=True,
                                       condition_on_previous_text=False)
        return " ".join(segment.text.strip() for segment in segments)

    return hear


def _in_whisper_cpp(path: Path) -> Hear:
    from pywhispercpp.model import Model

    model = Model(str(path), print_progress=False, print_realtime=False, no_timestamps=True, no_context=True)

    def hear(samples: np.ndarray, language: str) -> str:
        padded = np.pad(samples, (0, max(0, 17_600 - len(samples))))  # whisper.cpp hears nothing in less than 1 s
        return " ".join(segment.text.strip() for segment in model.transcribe(padded, language=language))

    return hear


def _clips(run: Path, options: Options) -> Iterator[tuple[np.ndarray, str, str]]:
    """(samples, text, language) of the clips to compare on."""
    config = settings.load(run / "config.yaml")
    rows = open_split(config.data[0], options.split)
    for row in rows.select(range(min(options.max_clips or len(rows), len(rows)))):
        yield load_audio(row["audio"]["bytes"]).samples, row["text"], row["language"]


def _rate(hear: Hear, clips: list[tuple[np.ndarray, str, str]]) -> float:
    errors = (wer.word_errors(text, hear(samples, language), language) for samples, text, language in clips)
    return 100 * wer.pooled(errors).wer


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.export", description="Export a run's model.")
    parser.add_argument("run", help="a run's folder, for example runs/italian-lora")
    parser.add_argument("options", nargs="*", metavar="key=value", help="for example forms=[ggml]")
    given = parser.parse_args(arguments)

    def work() -> None:  # which says its figures as it goes
        export(given.run, options_of(Options, given.options))

    return reported("training.export", work)


if __name__ == "__main__":
    sys.exit(main())
