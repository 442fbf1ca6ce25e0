"""python -m training.export RUN [key=value ...]: a run's model for other programs, each form proven.

Enters: a run's folder. Leaves RUN/export/: ctranslate2-int8/, ctranslate2-float16/, ggml-model.bin and export.json;
where asked for ggml-model-q5_1.bin, onnx-float32/, onnx-float16/ and onnx-int8/. With checkpoint=base the same of the
run's base, in RUN/export-base/. Every form is opened in the real program (faster-whisper, whisper.cpp by pywhispercpp,
onnxruntime) and its WER on real clips is held against the original's in float32 at 30 s, as those programs read; one
that is worse by more than a bound is an error, and its file is removed. The original is also scored as it is served: on
the same clips that is the number of `training.evaluation` and of the card.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets
import numpy as np
import torch

from feature_pipeline.settings import Many, options_of
from shared import wer
from shared.audio import Waveform, load_audio
from shared.audio.features import frames_for
from shared.checkpoint import EMBEDDED, WITH_ROOM, Checkpoint, files
from shared.checkpoint.to_ctranslate2 import to_ctranslate2
from shared.errors import UserError
from shared.inference import Transcriber
from shared.system import processes
from shared.system.command import reported
from shared.whisper_constants import CROPPED_SILENCE_SECONDS, FRAMES_PER_POSITION, SAMPLE_RATE
from training import config as settings
from training.card import write_card
from training.config import Config
from training.data import open_sets
from training.evaluation import Plan, rate_as_served
from training.facts import gather
from training.ggml import write_ggml
from training.model import small_adapter
from training.onnx_form import PRECISIONS, OnnxRecogniser, write_onnx

ONNX = tuple(f"onnx-{precision}" for precision in PRECISIONS)
GGML = {"ggml": "ggml-model.bin", "ggml-q5_1": "ggml-model-q5_1.bin"}
FORMS = ("ctranslate2-int8", "ctranslate2-float16", "ggml", "ggml-q5_1", "adapter", *ONNX)
Recognise = Callable[[np.ndarray, str], str]  # samples, language of the speech -> text
CHILD_SECONDS = 600  # a large model takes its time to load
CHILD_MEMORY = 4 << 30  # bytes beside the weights: Python and whisper.cpp's buffers


@dataclass(frozen=True)
class Options:
    """What is exported, and how well it must do."""

    forms: Many[str] = FORMS[:3]  # and 'adapter': the LoRA adapter in float16 with its card; 'onnx': all of its three
    checkpoint: Literal["fine-tuned", "base"] = "fine-tuned"  # the run's model, or what it was trained from
    split: str = "test"
    max_clips: int = 50  # clips the forms are compared on; 0: all
    bound: float = 2.0  # points of WER that a form may be worse than the original


def export(run: str | Path, options: Options = Options(), *, say: Callable[[str], None] = print) -> dict[str, Any]:
    """Write the forms asked for, compare each with the original, return and save the figures. Raises UserError."""
    run = Path(run)
    if not (run / "model" / "run.json").is_file():
        raise UserError("The run has no model yet", got=run, hint="let `python -m training.finetune` end first")
    config = settings.of_run(run)
    forms = _forms(options)
    model = run / "model" if options.checkpoint == "fine-tuned" else _base(config)
    if config.added_tokens and options.checkpoint == "fine-tuned" and set(forms) - {"adapter", *ONNX}:
        raise UserError("faster-whisper and whisper.cpp know only Whisper's own languages",
                        got=f"added tokens: {', '.join(config.added_tokens)}",
                        hint="serve the run's model with this project, or train with add_tokens=false")
    rows = open_sets(config, options.split, options.max_clips)
    is_base = options.checkpoint == "base"
    served = rate_as_served(Plan(Checkpoint.parse(config.base if is_base else str(model)), rows, is_base, config))
    say(f"{'as served':24s}{served:7.2f} % WER on {len(rows)} clips")
    clips = list(_clips(rows, config))
    original = _rate(_original(model, config), clips)
    say(f"{'original, float32, 30 s':24s}{original:7.2f} % WER")
    found = {"served": served, "original": original, "clips": len(clips), "split": options.split}
    folder = run / ("export" if options.checkpoint == "fine-tuned" else "export-base")
    folder.mkdir(exist_ok=True)
    for form, path in _all_written(forms, model, folder, room=model != run / "model" and config.base in WITH_ROOM):
        rate = _rate(_opened(form, path, model, config), clips)
        say(f"{form:24s}{rate:7.2f} % WER, {rate - original:+.2f}")
        if rate - original > options.bound:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            raise UserError(f"The {form} export is worse than the original", got=f"{rate - original:+.2f} points",
                            limit=f"+{options.bound:g}", hint="use another form, or raise bound")
        found[form] = rate
    (folder / "export.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return found


def _forms(options: Options) -> list[str]:
    """What was asked for, 'onnx' as its three precisions. Raises UserError."""
    forms = [form for named in options.forms for form in (ONNX if named == "onnx" else (named,))]
    unknown = set(forms) - set(FORMS)
    if unknown:
        raise UserError("There is no such form", got=", ".join(unknown), limit=", ".join((*FORMS, "onnx")),
                        hint="choose one")
    if options.checkpoint == "base" and "adapter" in forms:
        raise UserError("The base has no adapter", got="checkpoint=base", hint="export the other forms")
    return forms


def _base(config: Config) -> Path:
    return files(Checkpoint.parse(config.base), "transformers")[1]


def _all_written(forms: list[str], model: Path, folder: Path, *, room: bool) -> Iterator[tuple[str, Path]]:
    """Each form and its file or folder, one after the other; those of ONNX share the work of torch's exporter."""
    precisions = tuple(form.removeprefix("onnx-") for form in forms if form in ONNX)
    with tempfile.TemporaryDirectory(prefix=".onnx-", dir=folder) as graphs:
        if precisions:
            write_onnx(model, Path(graphs), precisions, room=room)
        for form in forms:
            yield form, _written(form, model, folder, Path(graphs) / form.removeprefix("onnx-"))


def _written(form: str, model: Path, folder: Path, graph: Path) -> Path:
    """The form's file or folder; it appears whole or not at all."""
    path = folder / GGML.get(form, form)
    draft = folder / f".{path.name}.draft"
    if draft.is_dir():
        shutil.rmtree(draft)
    if form in ONNX:
        graph.replace(draft)
    elif form in GGML:
        write_ggml(model, draft, five_bits=form == "ggml-q5_1")
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
    name = f"{facts.run['base'].removeprefix(EMBEDDED).rsplit('/', 1)[-1]}-{facts.languages[0]}"
    (folder / "README.md").write_text(write_card(facts, name, adapter=True), encoding="utf-8")


def _opened(form: str, path: Path, model: Path, config: Config) -> Recognise:
    if form in ONNX:
        recogniser = OnnxRecogniser(path, model)
        return lambda samples, language: recogniser.text(samples, language, config.task)
    if form == "adapter":
        return _original(path, config)  # as the original is: this form differs in its float16 alone
    if form in GGML:
        return in_whisper_cpp(path, config)
    return in_faster_whisper(path, form.rpartition("-")[2], config)


def _original(model: Path, config: Config) -> Recognise:
    """At full context, as the other programs use it."""
    transcriber = Transcriber(Checkpoint.parse(str(model)), engine="torch", compute_type="float32", full_context=True)

    def recognise(samples: np.ndarray, language: str) -> str:
        return transcriber.transcribe(Waveform(samples), language=language, task=config.task).text

    return recognise


def in_faster_whisper(folder: Path, compute_type: str, config: Config) -> Recognise:
    from faster_whisper import WhisperModel

    model = WhisperModel(str(folder), device="cpu", compute_type="int8" if compute_type == "int8" else "float32")

    def recognise(samples: np.ndarray, language: str) -> str:
        segments, _ = model.transcribe(samples, language=config.token_of(language), task=config.task, beam_size=1,
                                       without_timestamps=True, condition_on_previous_text=False)
        return " ".join(segment.text.strip() for segment in segments)

    return recognise


def in_whisper_cpp(path: Path, config: Config, *, cropped: bool = False) -> Recognise:
    """The file in whisper.cpp. cropped: with the context that a clip lasts (`audio_ctx`), not 30 s.

    Raises UserError where whisper.cpp refuses it.
    """
    model = opened_in_whisper_cpp(path)

    def recognise(samples: np.ndarray, language: str) -> str:
        padded = np.pad(samples, (0, max(0, 17_600 - len(samples))))  # whisper.cpp finds nothing in less than 1 s
        frames = frames_for(len(samples) / SAMPLE_RATE + CROPPED_SILENCE_SECONDS)
        found = model.transcribe(padded, language=config.token_of(language), translate=config.task == "translate",
                                 audio_ctx=frames // FRAMES_PER_POSITION if cropped else 0)
        return " ".join(segment.text.strip() for segment in found)

    return recognise


def opened_in_whisper_cpp(path: Path) -> Any:
    """The file as a model of pywhispercpp. Raises UserError where whisper.cpp refuses it."""
    from pywhispercpp.model import Model

    check_in_whisper_cpp(path)
    # Its threads wait for each other by spinning: more than there are cores take time from all. Its own choice is 4.
    return Model(str(path), n_threads=torch.get_num_threads(), print_progress=False, print_realtime=False,
                 no_timestamps=True, no_context=True)


def check_in_whisper_cpp(path: Path) -> None:
    """Open the file and read two seconds of silence in another process: where whisper.cpp refuses one, it ends its own.

    Raises UserError, and removes the file.
    """
    code = ("import sys, numpy; from pywhispercpp.model import Model; "
            "Model(sys.argv[1], n_threads=int(sys.argv[2]), print_progress=False)"
            ".transcribe(numpy.zeros(32000, numpy.float32))")
    limits = processes.Limits(memory=CHILD_MEMORY + 4 * path.stat().st_size, seconds=CHILD_SECONDS)
    tried = processes.run([sys.executable, "-c", code, str(path), str(torch.get_num_threads())], limits)
    if tried.code:
        path.unlink(missing_ok=True)
        lines = [line for line in tried.messages.splitlines() if line.strip()] or ["no message"]
        status = f"not done after {CHILD_SECONDS} s" if tried.ended_by else f"exit status {tried.code}"
        raise UserError("whisper.cpp refuses this model", got=f"{lines[-1][:160]} ({status})",
                        hint="export the other forms: forms=[ctranslate2-int8,ctranslate2-float16]")


def _clips(rows: datasets.Dataset, config: Config) -> Iterator[tuple[np.ndarray, str, str, str]]:
    """(samples, text, language of the speech, language of the text) of the clips to compare on."""
    for row in rows:
        samples = load_audio(row["audio"]["bytes"]).samples
        yield samples, row["text"], row["language"], config.text_of(row["language"])


def _rate(recognise: Recognise, clips: list[tuple[np.ndarray, str, str, str]]) -> float:
    errors = (wer.word_errors(text, recognise(samples, spoken), written) for samples, text, spoken, written in clips)
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
