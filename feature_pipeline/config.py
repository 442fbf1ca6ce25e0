"""The settings of a build: the dataclasses that a YAML file and `key=value` overrides are read into.

Enters: a file's path and overrides such as `clean.max_seconds=20` or `sources.0.path=/data/x`. Leaves: a `Config`.
Knows the shape of a build and nothing of how it is done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from feature_pipeline.settings import Language, Many, parsed, plain, read, unknown_key
from feature_pipeline.sources import CORPORA
from shared.errors import UserError
from shared.whisper_constants import DECODER_POSITIONS, WINDOW_SECONDS


@dataclass(frozen=True)
class Clean:
    """What is dropped; every drop is counted under its reason."""

    min_seconds: float = 0.3  # shorter clips hold no word
    max_seconds: float = WINDOW_SECONDS
    max_label_tokens: int = DECODER_POSITIONS
    min_letters_per_second: float = 0.7  # below: the text is missing words, or the clip is mostly silence
    max_letters_per_second: float = 30.0  # above: the clip is cut off, or the text is another clip's
    silent_below_dbfs: float = -60.0  # loudest tenth of a second
    max_clipped: float = 0.02  # share of samples at full scale
    min_script_share: float = 0.6  # share of letters in the script in which most of the source's letters are
    brackets: Many[str] = ("[]", "{}", "()", "**", "♪♪")  # what stands between them is not spoken
    max_same_sentence: int = 10  # rows of train with one sentence; 0: no cap
    max_same_name: int = 100  # rows of train with one name-like word; 0: no cap
    tokenizer: str | None = None  # folder of a checkpoint whose tokenizer counts label tokens; None: embedded Whisper


@dataclass(frozen=True)
class Split:
    """Who learns and who is tested. A corpus's own splits are kept; what has none is divided here."""

    validation: float = 0.05  # share of hours carved out for choosing a checkpoint
    test: float = 0.1  # share of hours of a corpus without a test split of its own
    by: Many[Literal["speaker", "sentence"]] = ("speaker", "sentence")  # what may not stand on two sides
    join_validation: bool = False  # official train + validation are joined, then `validation` is carved out anew
    drop_leaks: bool = True  # official splits: rows of train that leak are dropped; False: only reported
    held_out: Many[str] = ()  # CSV files (column `text` or `id`) or sentences that must lie in test
    seed: int = 1


@dataclass(frozen=True)
class LabelCheck:
    """A model transcribes every clip and its text is compared with the label."""

    checkpoint: str = "embedded:whisper-base"
    drop_wer_above: float | None = None  # rows of train whose WER is higher are dropped; None: only listed
    drop_worst: float = 0.0  # share of train dropped, worst first
    listed: int = 100  # clips on the page that a person listens to
    beam_size: int = 1


@dataclass(frozen=True)
class Output:
    """The form and the place of what is written."""

    audio: Literal["original", "flac", "opus"] = "original"  # flac, opus: 16 kHz mono
    shard_mb: int = 200
    opus_kbps: int = 32
    zip: str | None = None  # a path: the whole data set as one .zip file too
    copy_to: str | None = None  # an fsspec URL (s3://bucket/folder, file:///mnt/x) it is copied to
    hub: str | None = None  # user/name of a data set on the Hub it is pushed to
    hub_private: bool = True


COMMON = ("kind", "name", "weight", "text_language")  # what every source may set


@dataclass(frozen=True)
class Source:
    """One corpus of the build: its kind's own options, and these."""

    kind: str
    corpus: Any  # one of CORPORA
    name: str  # begins every id
    weight: float | None = None  # share of the training hours relative to the other sources; None: all there is
    # Of the texts, where it is not the speech's: translations, or speech that goes by a related language's code.
    text_language: Language | None = None


@dataclass(frozen=True)
class Config:
    """One build."""

    name: str
    sources: Many[Source]
    out: str = ""  # folder; default data/<name>
    title: str = ""
    licence: str = "other"  # as the Hub names it: cc-by-3.0, cc0-1.0, …
    credit: str = ""  # who is to be named, for the card
    keep: Many[str] = ()  # further columns of the corpora to keep; personal ones (age, gender) go unless named
    verdicts: Many[str] = ()  # CSV files id,verdict,text from the label page; relative to the config
    clean: Clean = field(default_factory=Clean)
    split: Split = field(default_factory=Split)
    label_check: LabelCheck | None = None
    output: Output = field(default_factory=Output)
    workers: int = 0  # processes; 0: one per core


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The build described by a YAML file, with `key=value` overrides on top. Raises UserError."""
    path = Path(path)
    data = parsed(path, overrides, Path(__file__).with_name("configs"))
    sources = data.get("sources") or ()
    if "sources" in data:
        items = sources if isinstance(sources, (list, tuple)) else [sources]
        data["sources"] = [_source(item, f"{path.name}: sources.{n}") for n, item in enumerate(items)]
    config = read(Config, data, path.name)
    if not config.sources:
        raise UserError("The config names no source", got=path.name, hint="add one under sources:")
    names = [source.name for source in config.sources]
    if len(set(names)) != len(names):
        raise UserError("Two sources have one name", got=", ".join(names), hint="give each its own `name`")
    return dataclasses.replace(
        config,
        out=config.out or f"data/{config.name}",
        verdicts=tuple(str(_beside(path, name)) for name in config.verdicts),
        split=dataclasses.replace(
            config.split, held_out=tuple(str(_beside(path, name)) if name.endswith(".csv") else name
                                         for name in config.split.held_out)),
    )


def plain_source(source: Source) -> dict[str, Any]:
    """A source as plain values, its kind's options beside the common ones, as a config file has them."""
    common = {key: getattr(source, key) for key in COMMON}
    return {**common, **plain(source.corpus)}


def settings(config: Config) -> dict[str, Any]:
    """What decides the data set's content, without where it lies or goes; files by name, see `named_files`."""
    found = {key: value for key, value in plain(config).items() if key not in ("out", "workers", "verdicts")}
    found["sources"] = [plain_source(source) for source in config.sources]
    found["output"] = {key: found["output"][key] for key in ("audio", "shard_mb", "opus_kbps")}
    found["split"]["held_out"] = [Path(name).name if name.endswith(".csv") else name for name in config.split.held_out]
    return found


def named_files(config: Config) -> dict[str, Path]:
    """The files a config names beside its sources, by name; their content belongs to its state."""
    paths = map(Path, [*config.verdicts, *(name for name in config.split.held_out if name.endswith(".csv"))])
    return {path.name: path for path in paths}


def _source(data: object, where: str) -> Source:
    if not isinstance(data, Mapping) or "kind" not in data:
        raise UserError(f"{where} needs a kind", got=repr(data), hint=f"kind: one of {', '.join(CORPORA)}")
    kind = data["kind"]
    if kind not in CORPORA:
        raise UserError(f"{where} is of an unknown kind", got=kind, hint=f"choose one of {', '.join(CORPORA)}")
    common: dict[str, Any] = {"name": kind, "corpus": None, **{key: data[key] for key in COMMON if key in data}}
    own = {key: value for key, value in data.items() if key not in COMMON}
    legal = [*COMMON, *(f.name for f in dataclasses.fields(CORPORA[kind]))]
    for key in data:
        if key not in legal:
            raise unknown_key(key, legal, f"{where} ({kind})")
    corpus: object = read(CORPORA[kind], own, f"{where} ({kind})")
    return dataclasses.replace(read(Source, common, where), corpus=corpus)


def _beside(config: Path, name: str) -> Path:
    """A file named in a config: from where the command runs, else beside the config."""
    found = Path(name) if Path(name).is_file() else config.parent / name
    if not found.is_file():
        raise UserError("A file named in the config is not there", got=name, hint=f"put it beside {config.name}")
    return found
