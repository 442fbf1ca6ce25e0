"""A training run's settings: YAML plus `key=value`, into frozen dataclasses.

Enters: a file's path and overrides such as `steps.max_steps=20`. Leaves: a `Config`, checked for what can be seen
without opening data or model. Knows nothing of how a run is done.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from feature_pipeline.settings import Language, Many, parsed, plain, read
from shared.errors import UserError
from shared.whisper_constants import WINDOW_SECONDS

# Files in a run's folder.
COMPLETE = "complete"  # an empty file, written last into a folder that is whole
PROGRESS = "progress.json"  # step, max_steps and the last loss and validation WER
PICTURE = "curves.svg"
# Whisper's own highest learning rates in pre-training by width of the model, tiny to large (arXiv:2212.04356, appendix
# F). An author of it is reported to have fine-tuned with 6.25e-6, a fortieth of medium's
# (https://github.com/bofenghuang/community-events/blob/main/whisper-fine-tuning-event/readme_bh.md). LoRA with 20 times
# that does well on whisper-base here (docs/training.md).
PRETRAINING_RATES = {384: 1.5e-3, 512: 1e-3, 768: 5e-4, 1024: 2.5e-4, 1280: 1.75e-4}
FULL_SHARE, LORA_FACTOR = 1 / 40, 20
Precision = Literal["float32", "bf16", "fp16"]


@dataclass(frozen=True)
class Data:
    """One speech data set on disk and its share of the training clips."""

    path: str  # a folder made by feature_pipeline, relative to the working directory
    weight: float | None = None  # share of the clips drawn, beside the other sets' weights; None: all, once an epoch
    language: Language | None = None  # ISO 639-1; None: each row's own

    def files(self, split: str) -> list[Path]:
        """The Parquet files of a split, in order; none where the set is not built or has no such split."""
        return sorted(Path(self.path, "data").glob(f"{split}-*.parquet"))


@dataclass(frozen=True)
class Context:
    """How much of the encoder's 30 s a batch uses."""

    crop: bool = True  # the batch's longest clip plus a tail, instead of 30 s
    tail_seconds: Many[float] = (0.2, 3.0)  # the tail's length is drawn between these two
    full_probability: float = 0.05  # batches that get 30 s all the same, so that the full context stays good


@dataclass(frozen=True)
class Augment:
    """Changes to the audio. Each is a probability per clip, 0 is off."""

    noise: float = 0.0  # white or pink noise, 10 to 30 dB below the speech
    gain: float = 0.0  # -12 to +6 dB
    speed: float = 0.0  # 0.9 to 1.1 times
    telephone: float = 0.0  # 300 to 3400 Hz
    reverb: float = 0.0  # of a room whose sound falls by 60 dB in 0.1 to 0.6 s
    spec_augment: float = 0.0  # time masks of at most 5 % and masks of at most 16 mel channels (arXiv:1904.08779)
    masks: int = 1  # of each of the two, where a clip gets some


@dataclass(frozen=True)
class Extra:
    """Kinds of example beside the plain sentence. Each is a probability per clip, 0 is off."""

    join: float = 0.0  # clips joined up to 30 s, with timestamp tokens
    timestamps: float = 0.0  # a single clip labelled with its start and end
    prompt: float = 0.0  # the text of another clip in the language given before, as previous text
    silence: float = 0.0  # silence or noise with empty text, against invented words


@dataclass(frozen=True)
class Method:
    """What of the model is trained."""

    kind: Literal["full", "frozen-encoder", "lora"] = "full"
    lora_rank: int = 16
    lora_alpha: int = 32  # the update is scaled by alpha / rank
    lora_dropout: float = 0.0
    lora_targets: Many[str] = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


@dataclass(frozen=True)
class Steps:
    """The optimisation."""

    max_steps: int = 1000
    batch_size: int = 16  # clips in one forward pass
    accumulation: int = 1  # forward passes to one step
    learning_rate: float | None = None  # at most, after the warmup; None: by the base's width and the method
    warmup: float = 0.1  # share of the steps
    schedule: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    optimizer: Literal["adamw", "adagrad", "adafactor", "adamw-8bit"] = "adamw"
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    eval_steps: int = 100  # WER and loss on the validation split, then a checkpoint
    patience: int = 5  # evaluations without a better WER before the run stops; 0: never
    precision: Precision | None = None  # of products; None: what the machine is fastest in
    gradient_checkpointing: bool = False
    loader_workers: int = 0  # processes that decode audio; 0: in the training process
    keep_decoded_mb: int = 1024  # decoded audio kept in memory, so that each file is decoded once


@dataclass(frozen=True)
class Config:
    """One run."""

    name: str  # also the folder under `out`
    data: Many[Data]
    language: Language | None = None  # of the speech: the run's main one; None: the one most rows are in
    base: str = "embedded:whisper-base"  # user/repo@commit, a folder, or embedded:…
    out: str = "runs"
    task: Literal["transcribe", "translate"] = "transcribe"
    text_language: Language | None = None  # of the texts; None: English where translated, else the speech's own
    # Languages Whisper has no token for, each with a related one that it has: {ga: cy}. Irish then uses Welsh's token,
    language_tokens: dict[Language, Language] = field(default_factory=dict)
    add_tokens: bool = False  # or each gets a token of its own, which begins as a copy of the related one
    seed: int = 1
    held_out: Many[str] = ()  # ids (their ending is enough) that must not be in train or validation
    eval_clips: int = 0  # validation clips used while training; 0: all
    method: Method = field(default_factory=Method)
    steps: Steps = field(default_factory=Steps)
    context: Context = field(default_factory=Context)
    augment: Augment = field(default_factory=Augment)
    extra: Extra = field(default_factory=Extra)

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return Path(self.out) / self.name

    def text_of(self, spoken: str) -> str:
        """Code of the language that speech in this language is labelled in: by it texts are judged and counted."""
        return self.text_language or ("en" if self.task == "translate" else spoken)

    def token_of(self, spoken: str) -> str:
        """The code within Whisper's token for this language: its own, or that of a related language."""
        return spoken if self.add_tokens else self.language_tokens.get(spoken, spoken)

    @property
    def added_tokens(self) -> dict[str, str]:
        """Tokens the model gets, each with the one it begins as: {"<|ga|>": "<|cy|>"}."""
        if not self.add_tokens:
            return {}
        return {f"<|{code}|>": f"<|{like}|>" for code, like in sorted(self.language_tokens.items())}


def usual_rate(d_model: int, kind: str) -> float:
    """The learning rate for a base of this width, by the method.

    A width between two of Whisper's own gets the rate of the next wider one; one beyond all, that of the widest.

    >>> [usual_rate(width, "full") for width in (512, 768, 1280)], round(usual_rate(768, "lora"), 6)
    ([2.5e-05, 1.25e-05, 4.375e-06], 0.00025)
    """
    width = min((known for known in PRETRAINING_RATES if known >= d_model), default=max(PRETRAINING_RATES))
    return PRETRAINING_RATES[width] * FULL_SHARE * (LORA_FACTOR if kind == "lora" else 1)


def with_rate(config: Config, d_model: int) -> Config:
    """The config with its learning rate written out, for a base of this width."""
    if config.steps.learning_rate is not None:
        return config
    return replace(config, steps=replace(config.steps, learning_rate=usual_rate(d_model, config.method.kind)))


def with_precision(config: Config, fastest: Precision) -> Config:
    """The config with its precision written out. fastest: on this machine."""
    return replace(config, steps=replace(config.steps, precision=config.steps.precision or fastest))


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """The run described by a YAML file, with `key=value` overrides on top. Raises UserError."""
    path = Path(path)
    values = parsed(path, overrides, Path(__file__).with_name("configs"))
    return checked(read(Config, values, path.name))


def of(values: dict[str, Any]) -> Config:
    """The config that `plain` made this of, as run.json holds it; also one of an earlier version. Raises UserError."""
    return checked(read(Config, _without_retired(values), "run.json"))


def of_run(folder: Path) -> Config:
    """The config that a run was made with, from its folder; also one of an earlier version. Raises UserError."""
    path = folder / "config.yaml"
    return checked(read(Config, _without_retired(parsed(path, (), Path(__file__).with_name("configs"))), str(path)))


def _without_retired(values: dict[str, Any]) -> dict[str, Any]:
    """A person's own config is refused where it has such a key; a run that is done cannot be asked to correct it."""
    kept = dict(values)
    for part, key in RETIRED:
        if isinstance(kept.get(part), dict):
            kept[part] = {name: value for name, value in kept[part].items() if name != key}
    return kept


def save(config: Config, path: Path) -> None:
    """Write the effective settings, every key written out, so that `load` gives them back."""
    path.write_text(yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True), encoding="utf-8")


def same_run(config: Config, before: Config) -> Config:
    """The config with the batch size and learning rate the run was given when it began. Raises UserError if another's.

    before: what the run's folder has.
    """
    fitted = replace(config.steps, batch_size=before.steps.batch_size, accumulation=before.steps.accumulation)
    if fitted.learning_rate is None:
        fitted = replace(fitted, learning_rate=before.steps.learning_rate)
    if fitted.precision is None:
        fitted = replace(fitted, precision=before.steps.precision)
    config = replace(config, steps=fitted)
    if config != before:
        now = plain(config)
        changed = sorted(key for key, value in plain(before).items() if value != now[key])
        raise UserError("The folder holds a run with other settings",
                        got=f"{config.folder}: {', '.join(changed)} differ",
                        hint="give the run another name, or remove the folder")
    return config


# Settings that runs of earlier versions have, and that say nothing of the model that came out.
RETIRED = (("steps", "eval_max_tokens"),)

# What each number may be: with others a run ends in a library's error, learns nothing, or learns nonsense.
RANGES: dict[str, tuple[float, float]] = {
    "steps.max_steps": (1, 10**9), "steps.batch_size": (1, 10**6), "steps.accumulation": (1, 10**6),
    "steps.eval_steps": (1, 10**9), "steps.learning_rate": (1e-12, 1e38), "steps.warmup": (0, 1),
    "steps.weight_decay": (0, 10), "steps.max_grad_norm": (0, 1e9), "steps.patience": (0, 10**6),
    "steps.loader_workers": (0, 1000), "steps.keep_decoded_mb": (0, 10**9), "context.full_probability": (0, 1),
    "method.lora_rank": (1, 4096), "method.lora_alpha": (1, 10**6), "method.lora_dropout": (0, 0.99),
    "augment.masks": (1, 20), "seed": (0, 2**32 - 1), "eval_clips": (0, 10**9),
}


def _check_ranges(config: Config) -> None:
    for key, (low, high) in RANGES.items():
        value = operator.attrgetter(key)(config)
        if value is not None and not low <= value <= high:  # NaN is in no range
            raise UserError(f"{key} is out of range", got=value, limit=f"{low:g} to {high:g}",
                            hint="set it within that")
    for source in config.data:
        if source.weight is not None and not 0 < source.weight < math.inf:
            raise UserError("A data set's weight is above 0", got=f"{source.weight} for {source.path}",
                            hint="leave the set out, or leave its weight out for all its clips")


def checked(config: Config) -> Config:
    """The config itself, if its values fit together. Raises UserError."""
    context = config.context
    if len(context.tail_seconds) != 2 or not 0 <= context.tail_seconds[0] <= context.tail_seconds[1] <= WINDOW_SECONDS:
        raise UserError("context.tail_seconds must be two lengths, the shorter first", got=context.tail_seconds,
                        limit=f"0 to {WINDOW_SECONDS:g} s", hint="for example [0.2, 3.0]")
    for name, part in (("augment", config.augment), ("extra", config.extra)):
        for key, value in plain(part).items():
            if f"{name}.{key}" not in RANGES and not 0 <= value <= 1:
                raise UserError(f"{key} is a probability", got=value, limit="0 to 1", hint="0 turns it off")
    _check_ranges(config)
    if Path(config.name).name != config.name or config.name in (".", ".."):
        raise UserError("name is the name of a folder", got=config.name, hint="name it without / and ..; out is where")
    if config.add_tokens and not config.language_tokens:
        raise UserError("add_tokens needs to know which", got="language_tokens is empty",
                        hint="for example language_tokens={ga: cy}: Irish, which begins as Welsh")
    if config.method.kind == "lora" and not config.method.lora_targets:
        raise UserError("LoRA needs modules to adapt", got="lora_targets is empty", hint="name some: q_proj, v_proj …")
    return config
