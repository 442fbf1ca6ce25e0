"""A build's settings: YAML plus `key=value`, into frozen dataclasses; a wrong key is answered with the legal ones.

Enters: a file's path and overrides such as `clean.max_seconds=20` or `sources.0.path=/data/x`. Leaves: a `Config`.
Knows the shape of a build and nothing of how it is done. `read` serves any dataclass.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from feature_pipeline.sources import CORPORA
from shared.errors import UserError


@dataclass(frozen=True)
class Clean:
    """What is dropped; every drop is counted under its reason."""

    min_seconds: float = 0.3  # shorter clips hold no word
    max_seconds: float = 30.0  # Whisper's window
    max_label_tokens: int = 448  # the decoder's positions
    min_letters_per_second: float = 0.7  # below: the text is missing words, or the clip is mostly silence
    max_letters_per_second: float = 30.0  # above: the clip is cut off, or the text is another clip's
    silent_below_dbfs: float = -60.0  # loudest tenth of a second
    max_clipped: float = 0.02  # share of samples at full scale
    min_script_share: float = 0.6  # share of letters in the language's own script
    brackets: tuple[str, ...] = ("[]", "{}", "()", "**", "♪♪")  # what stands between them is not spoken
    max_same_sentence: int = 10  # rows of train with one sentence; 0: no cap
    max_same_name: int = 100  # rows of train with one name-like word; 0: no cap
    tokenizer: str | None = None  # folder of a checkpoint whose tokenizer counts label tokens; None: embedded Whisper


@dataclass(frozen=True)
class Split:
    """Who learns and who is tested. A corpus's own splits are kept; what has none is divided here."""

    validation: float = 0.05  # share of hours carved out for choosing a checkpoint
    test: float = 0.1  # share of hours of a corpus without a test split of its own
    by: tuple[Literal["speaker", "sentence"], ...] = ("speaker", "sentence")  # what may not stand on two sides
    join_validation: bool = False  # official train + validation are joined, then `validation` is carved out anew
    drop_leaks: bool = True  # official splits: rows of train that leak are dropped; False: only reported
    held_out: tuple[str, ...] = ()  # CSV files (column `text` or `id`) or sentences that must lie in test
    seed: int = 1


@dataclass(frozen=True)
class LabelCheck:
    """A model transcribes every clip and its text is compared with the label."""

    checkpoint: str = "embedded:whisper-base"
    drop_wer_above: float | None = None  # rows of train whose WER is higher are dropped; None: only listed
    drop_worst: float = 0.0  # share of train dropped, worst first
    listed: int = 100  # clips on the page to check by ear
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


@dataclass(frozen=True)
class Source:
    """One corpus of the build: its kind's own options, and these."""

    kind: str
    corpus: Any  # one of CORPORA
    name: str  # begins every id
    weight: float | None = None  # share of the training hours relative to the other sources; None: all there is


@dataclass(frozen=True)
class Config:
    """One build."""

    name: str
    sources: tuple[Source, ...]
    out: str = ""  # folder; default data/<name>
    title: str = ""
    licence: str = "other"  # as the Hub names it: cc-by-3.0, cc0-1.0, …
    credit: str = ""  # who is to be named, for the card
    keep: tuple[str, ...] = ()  # further columns of the corpora to keep; personal ones (age, gender) go unless named
    verdicts: tuple[str, ...] = ()  # CSV files id,verdict,text from the label page; relative to the config
    clean: Clean = field(default_factory=Clean)
    split: Split = field(default_factory=Split)
    label_check: LabelCheck | None = None
    output: Output = field(default_factory=Output)
    workers: int = 0  # processes; 0: one per core


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The build described by a YAML file, with `key=value` overrides on top. Raises UserError."""
    path = Path(path)
    data = parsed(path, overrides, Path(__file__).with_name("configs"))
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


def parsed(path: Path, overrides: Sequence[str], examples: Path) -> dict:
    """A YAML file's table with `key=value` overrides on top, for `read`. examples: folder of configs to point to.

    Raises UserError: no such file, not YAML, not a table, an override that leads nowhere.
    """
    if not path.is_file():
        near = sorted(file.name for file in examples.glob("*.yaml"))
        raise UserError("There is no such config", got=path, hint=f"choose a file, or one of {', '.join(near)}")
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError("The config is not valid YAML", got=" ".join(str(error).split()), hint="mend it") from None
    if not isinstance(data, dict):
        raise UserError("The config is not a table of keys", got=path,
                        hint=f"start from a file in {examples.parent.name}/{examples.name}")
    for override in overrides:
        _override(data, override)
    return data


def read(kind: type, data: object, where: str) -> Any:
    """A dataclass filled from parsed YAML. Raises UserError naming the place, and the legal keys for an unknown one."""
    if kind is Source:
        return _source(data, where)
    if not isinstance(data, Mapping):
        raise UserError(f"{where} must be a table of keys", got=repr(data), hint=f"legal keys: {_legal(kind)}")
    hints = _hints(kind)
    for key in data:
        if key not in hints:
            raise _unknown(key, hints, where)
    missing = [f.name for f in dataclasses.fields(kind) if f.name not in data and not _has_default(f)]
    if missing:
        raise UserError(f"{where} lacks {', '.join(missing)}", hint=f"add it; legal keys: {_legal(kind)}")
    return kind(**{key: _value(hints[key], value, f"{where}: {key}") for key, value in data.items()})


def plain(value: object) -> Any:
    """A config as plain lists and dicts, for YAML or JSON."""
    if isinstance(value, Source):
        options = {key: item for key, item in plain(value.corpus).items()}
        return {"kind": value.kind, "name": value.name, "weight": value.weight, **options}
    if dataclasses.is_dataclass(value):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    return value


def settings(config: Config) -> dict[str, Any]:
    """What decides the data set's content, without where it lies or goes; files by name, see `named_files`."""
    found = {key: value for key, value in plain(config).items() if key not in ("out", "workers", "verdicts")}
    found["output"] = {key: found["output"][key] for key in ("audio", "shard_mb", "opus_kbps")}
    found["split"]["held_out"] = [Path(name).name if name.endswith(".csv") else name for name in config.split.held_out]
    return found


def named_files(config: Config) -> dict[str, Path]:
    """The files a config names beside its sources, by name; their content belongs to its state."""
    paths = map(Path, [*config.verdicts, *(name for name in config.split.held_out if name.endswith(".csv"))])
    return {path.name: path for path in paths}


def _source(data: object, where: str) -> Source:
    if not isinstance(data, Mapping) or "kind" not in data:
        raise UserError(f"{where} must say its kind", got=repr(data), hint=f"kind: one of {', '.join(CORPORA)}")
    kind = data["kind"]
    if kind not in CORPORA:
        raise UserError(f"{where} is of an unknown kind", got=kind, hint=f"choose one of {', '.join(CORPORA)}")
    own = {key: value for key, value in data.items() if key not in ("kind", "name", "weight")}
    hints = _hints(CORPORA[kind])
    for key in own:
        if key not in hints:
            raise _unknown(key, {"kind": 1, "name": 1, "weight": 1, **hints}, f"{where} ({kind})")
    weight = _value(float | None, data.get("weight"), f"{where}: weight")
    return Source(kind, read(CORPORA[kind], own, f"{where} ({kind})"), str(data.get("name", kind)), weight)


def _value(hint: Any, value: object, where: str) -> Any:
    """`value` as the type says, or a UserError. Whole numbers pass for fractions, one item for a list of one."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _value(next(i for i in inner if i is not type(None)), value, where)
    if origin is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(_value(inner[0], item, f"{where} {n}") for n, item in enumerate(items))
    if origin is Literal:
        if value not in inner:
            raise UserError(f"{where} is not one of its values", got=value,
                            hint=f"choose from {', '.join(map(str, inner))}")
        return value
    if dataclasses.is_dataclass(hint):
        return read(hint, value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is dict or hint in (dict, Any):
        return value
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise UserError(f"{where} must be of type {hint.__name__}", got=repr(value), hint="write it so")
    return value


def _override(data: dict, override: str) -> None:
    """Set `a.b.0.c=value` in parsed YAML; the value is read as YAML too."""
    key, equals, text = override.partition("=")
    if not equals:
        raise UserError("An override must read key=value", got=override, hint="for example clean.max_seconds=20")
    *parents, last = key.split(".")
    place: Any = data
    for name in parents:
        if isinstance(place, list):
            place = place[_position(place, name, key)]
        else:
            if place.get(name) is None:
                place[name] = {}
            place = place[name]
        if not isinstance(place, (dict, list)):
            raise UserError("An override reaches into a plain value", got=key, hint="name a key that holds keys")
    value = yaml.safe_load(text) if text else None
    if isinstance(place, list):
        place[_position(place, last, key)] = value
    else:
        place[last] = value


def _position(items: list, name: str, key: str) -> int:
    if not name.isdigit() or int(name) >= len(items):
        raise UserError("An override names an item that is not there", got=key, limit=f"0 to {len(items) - 1}",
                        hint="count from 0")
    return int(name)


def _beside(config: Path, name: str) -> Path:
    """A file named in a config: from where the command runs, else beside the config."""
    found = Path(name) if Path(name).is_file() else config.parent / name
    if not found.is_file():
        raise UserError("A file named in the config is not there", got=name, hint=f"put it beside {config.name}")
    return found


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}


def _has_default(f: dataclasses.Field) -> bool:
    return f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING


def _legal(kind: type) -> str:
    return ", ".join(_hints(kind))


def _unknown(key: object, legal: Mapping[str, object], where: str) -> UserError:
    near = difflib.get_close_matches(str(key), list(legal), n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    return UserError(f"{where} has an unknown key", got=key, hint=f"{hint}legal keys: {', '.join(legal)}")
