"""Before a run starts: what would fail after hours fails now, and what it will take is reported.

Enters: the config, the model and the rows. Leaves: lines for the person, the config with the batch size that fits, or
a UserError. Changes no weight and writes nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from itertools import islice
from pathlib import Path
from typing import TypeVar

import datasets
import torch
from transformers import WhisperTokenizer

from shared.errors import UserError
from shared.units import spoken_time
from shared.wer import normalise
from shared.whisper_constants import DECODER_POSITIONS
from training.batch_fit import N_MEASURED, SECONDS_UNSAID, Trial, device_of_this_process, fitted, free_mb
from training.config import Config, usual_rate
from training.data import Clips, Collator, open_split, set_name
from training.model import plain

FAR_RATE = 5  # times the usual learning rate, or a fifth of it: the runs of docs/training.md stay within 2
ROWS_CHECKED = 20_000  # of text; more would take longer than the answer is worth
Say = Callable[[str], None]
T = TypeVar("T")


def check_data(config: Config, tokenizer: WhisperTokenizer, train: datasets.Dataset, validation: datasets.Dataset,
               tests: list[datasets.Dataset], multilingual: bool, say: Say = print) -> None:
    """Languages, labels, leaks and held-out clips. Raises UserError for what makes the run worthless."""
    _check_language(config, tokenizer, train, multilingual)
    _check_labels(config, tokenizer, train.select(range(min(ROWS_CHECKED, len(train)))), say)
    _check_held_out(config, train, validation)
    learned = set(_sentences(config, train, "train", say))
    for kind, other in [("validation", validation), *(("test", test) for test in tests)]:
        _check_leaks(config, train, learned, other, kind, say)


def measure(config: Config, model: torch.nn.Module, clips: Clips, collator: Collator, say: Say = print) -> Config:
    """Time a few steps on the longest and on usual clips, halving the batch until they fit; report time and memory."""
    say("trying a few batches, to see what fits into memory and how long the run will take")
    config, seconds, held_mb = fitted(config, Trial(model, clips, collator, device_of_this_process(), say))
    steps = config.steps
    parameters = list(model.parameters())
    n_trained = sum(p.numel() for p in parameters if p.requires_grad)
    n_all = sum(p.numel() for p in parameters)
    say(f"trained: {config.method.kind}, {n_trained / 1e6:.2f} of {n_all / 1e6:.1f} M parameters, from {config.base}")
    _say_rate(config, model, say)
    say(f"data: {len(clips)} clips, {spoken_time(float(clips.durations.sum()))}; {steps.max_steps} steps of "
        f"{steps.batch_size} x {steps.accumulation} hear each {_passes(config, len(clips)):.1f} times")
    needed = steps.max_steps * steps.accumulation * seconds
    say(f"time: about {spoken_time(needed)} by {N_MEASURED} measured batches ({steps.batch_size / seconds:.1f} clips a "
        "second); evaluation comes on top")
    state_mb = n_trained * (4 + 8) / 1e6  # gradient, and AdamW's two moments
    available = free_mb()
    say(f"memory: {held_mb:.0f} MB with the largest batch, {state_mb:.0f} MB more for the optimiser; "
        f"{available:.0f} MB free")
    if state_mb > available:
        raise UserError("There is too little memory for the optimiser", got=f"{available:.0f} MB free",
                        limit=f"{state_mb:.0f} MB", hint="use LoRA, adafactor or a smaller base")
    _check_disk(config, n_all, n_trained, say)
    return config


def _say_rate(config: Config, model: torch.nn.Module, say: Say) -> None:
    """The learning rate, and where it is far from the usual one: that of another method or size is soon left in."""
    usual = usual_rate(plain(model).config.d_model, config.method.kind)
    rate = config.steps.learning_rate or usual
    say(f"learning rate: {rate:.3g}; precision: {config.steps.precision}")
    if not 1 / FAR_RATE <= rate / usual <= FAR_RATE:
        say(f"note: that is {rate / usual:.2g} times the {usual:.3g} which is usual for {config.method.kind} on a base "
            "of this size")


def _check_disk(config: Config, n_all: int, n_trained: int, say: Say) -> None:
    weights = n_trained if config.method.kind == "lora" else n_all
    checkpoint = 4 * weights + 8 * n_trained  # float32, and AdamW's two moments
    needed = 3 * checkpoint + 4 * n_all  # best, last and the one being written; then the model itself
    place = next(path for path in (config.folder, *config.folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    say(f"disk: up to {needed / 1e6:.0f} MB under {config.folder}, {free / 1e6:.0f} MB free")
    if needed > free:
        raise UserError("There is too little space for the run", got=f"{free / 1e6:.0f} MB free",
                        limit=f"{needed / 1e6:.0f} MB", hint="free some, or set out=FOLDER on another disk")


def _check_language(config: Config, tokenizer: WhisperTokenizer, train: datasets.Dataset, multilingual: bool) -> None:
    if not multilingual:
        spoken = {str(code) for code in train.unique("language")} | {config.language or "en"}
        if spoken != {"en"} or config.task != "transcribe":
            raise UserError("The base checkpoint knows English only", got=f"{', '.join(sorted(spoken))}, {config.task}",
                            hint="choose a multilingual base")
        return
    vocabulary = tokenizer.get_vocab()
    languages = set(islice(train.unique("language"), 1000))
    wanted = {str(code) for code in languages} | ({config.language} if config.language else set())
    unknown = sorted(code for code in wanted if f"<|{config.token_of(code)}|>" not in vocabulary)
    if unknown:
        raise UserError("Whisper has no token for the language", got=", ".join(unknown),
                        hint=f"name a related language whose token is used: language_tokens={{{unknown[0]}: …}}; with "
                             "add_tokens=true it gets one of its own")
    if config.language is not None and config.language not in languages:
        raise UserError("No clip is in the run's language", got=", ".join(sorted(languages)), limit=config.language,
                        hint="set language, or data.0.language")


def counted(items: Iterable[T], n_items: int, what: str, say: Say) -> Iterator[T]:
    """The items, with a line each time some seconds have passed, so that nobody takes the program for stuck."""
    reported = time.monotonic()
    for done, item in enumerate(items):
        if time.monotonic() - reported > SECONDS_UNSAID:
            say(f"{what}: {done} of {n_items}")
            reported = time.monotonic()
        yield item


def _check_labels(config: Config, tokenizer: WhisperTokenizer, rows: datasets.Dataset, say: Say) -> None:
    """Tokens give the text back, labels fit the decoder, and something is left of each after normalising."""
    texts, languages, lengths = rows["text"][:], rows["language"][:], []
    for text in counted(texts, len(texts), "checking labels", say):
        ids = tokenizer(" " + text.strip(), add_special_tokens=False).input_ids
        lengths.append(len(ids))
        if tokenizer.decode(ids).strip() != text.strip():
            raise UserError("The tokenizer does not give the text back", got=text[:80], hint="choose another base, or "
                            "clean the text (feature_pipeline)")
    too_long = sum(length > DECODER_POSITIONS - 5 for length in lengths)
    if too_long:
        raise UserError("Labels are longer than the decoder", got=f"{too_long} of {len(texts)} clips",
                        limit=f"{DECODER_POSITIONS} tokens", hint="build the data set again; it drops such clips")
    empty = [text for text, spoken in zip(texts, languages, strict=True)
             if text.strip() and not normalise(text, config.text_of(spoken))]
    if len(empty) > 0.05 * len(texts):
        raise UserError("The normaliser leaves nothing of the labels", got=f"{len(empty)} of {len(texts)}, such as "
                        f"{empty[0][:40]!r}", hint="check that the text and the language belong together")
    words = sum(len(text.split()) for text in texts)
    say(f"labels: {sum(lengths) / max(words, 1):.1f} tokens a word, "
        f"at most {max(lengths)} of {DECODER_POSITIONS} in one clip")


def _check_held_out(config: Config, *parts: datasets.Dataset) -> None:
    for rows in parts:
        for name in config.held_out:
            found = [row_id for row_id in rows["id"] if row_id.rsplit("/", 1)[-1] == name]
            if found:
                raise UserError("A held-out clip is in the data to learn from", got=found[0],
                                hint="name it in the build's split.held_out and build the data set again")


def apart(config: Config, sources: Sequence[datasets.Dataset], say: Say = print) -> list[datasets.Dataset]:
    """Train splits without the sentences that another data set holds back for validation or test.

    A build keeps a set's own splits apart; of another set it knows nothing, and short sentences are in many.

    Args:
        config: of the run.
        sources: the train split of each of its data sets.
        say: told how many clips go.

    Returns:
        The rows to learn from, of each set.

    Raises:
        UserError: nothing is left of one.
    """
    if len(sources) == 1:
        return list(sources)
    held = []
    for source in config.data:
        splits = [open_split(source, split) for split in ("validation", "test") if source.files(split)]
        name = f"{set_name(config, source)}, validation and test"
        held.append({key for rows in splits for key in _sentences(config, rows, name, say)})
    found = []
    for number, (source, rows) in enumerate(zip(config.data, sources, strict=True)):
        others = set().union(*held[:number], *held[number + 1 :])
        keys = list(_sentences(config, rows, set_name(config, source), say))
        shared = {key for key in keys if key[0] and key in others}
        if shared:
            kept = [place for place, key in enumerate(keys) if key not in shared]
            say(f"note: {len(keys) - len(kept)} of {len(keys)} clips of {set_name(config, source)} are not learned "
                f"from: their sentences, such as {min(shared)[0][:60]!r}, are in another data set's validation or test")
            if not kept:
                raise UserError("Nothing is left to learn from of a data set", got=source.path,
                                hint="all its sentences are in another's validation or test split: leave it out")
            rows = rows.select(kept)
        found.append(rows)
    return found


def _sentences(config: Config, rows: datasets.Dataset, name: str, say: Say) -> Iterator[tuple[str, str]]:
    """Normalised, with their language: a letter's name is written alike in two and spoken differently."""
    pairs = zip(rows["text"], rows["language"], strict=True)
    for text, spoken in counted(pairs, len(rows), f"comparing sentences of {name}", say):
        yield normalise(text, config.text_of(spoken)), spoken


def _check_leaks(config: Config, train: datasets.Dataset, learned: Set[tuple[str, str]], other: datasets.Dataset,
                 kind: str, say: Say) -> None:
    """learned: the sentences of train."""
    leaked = {key for key in _sentences(config, other, kind, say) if key[0] and key in learned}
    if leaked:
        raise UserError(f"Sentences of the {kind} split are in train",
                        got=f"{len(leaked)}, such as {min(leaked)[0][:60]!r}",
                        hint="build the data set again; it keeps them apart")
    speakers = ({name for name in train.unique("speaker") if name} & {name for name in other.unique("speaker") if name})
    if speakers and "speaker" in _kept_apart(config):
        raise UserError(f"Speakers of the {kind} split are in train", got=f"{len(speakers)}, such as {min(speakers)}",
                        hint="build the data set again; it keeps them apart" if len(config.data) == 1 else
                        "build one data set of both sources, which keeps them apart, or name other people otherwise")
    if speakers:
        say(f"note: {len(speakers)} speaker(s) of the {kind} split are in train; its WER is that of known voices")


def _kept_apart(config: Config) -> tuple[str, ...]:
    """What the data sets say they keep apart; both where they say nothing."""
    kept: set[str] = set()
    for source in config.data:
        manifest = Path(source.path, "manifest.json")
        split = json.loads(manifest.read_text(encoding="utf-8")).get("config", {}).get("split", {}) if (
            manifest.is_file()) else {}
        kept |= set(split.get("by", ("speaker", "sentence")))
    return tuple(kept)


def _passes(config: Config, n_clips: int) -> float:
    steps = config.steps
    world = int(os.environ.get("WORLD_SIZE", "1"))
    return steps.max_steps * steps.batch_size * steps.accumulation * world / max(n_clips, 1)

