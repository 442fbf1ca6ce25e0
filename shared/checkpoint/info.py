"""What a checkpoint says of itself, read from its config.json or its card."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from shared.checkpoint.weights import read_json
from shared.errors import UserError
from shared.languages import language_code

Task = Literal["transcribe", "translate"]
ShortContext = Literal["full", "room", "any"]
MANY_LANGUAGES = 20  # a card that lists so many describes a base checkpoint, not one tuned for them
# Keys of config.json that say what a checkpoint was tuned for; merging, converting and saving carry them along.
FACTS = ("finetuned_languages", "finetuned_task", "text_language", "language_tokens", "short_context", "timestamps")
CODE = re.compile(r"[a-z]{2,3}(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Facts:
    """What a checkpoint says of itself.

    Attributes:
        languages: codes of the speech it was tuned for, None for all.
        short_context: how its input may be cropped ("full", "room", "any"; see `shared.inference`).
        timestamps: whether it still gives times.
        task: what it was tuned to do, "transcribe" or "translate".
        text_language: code of what it writes where that is not the language spoken.
        related: languages that Whisper has no token for, each with the one whose token it was given, or began as.
    """

    languages: tuple[str, ...] | None = None
    short_context: ShortContext = "full"
    timestamps: bool = True
    task: Task = "transcribe"
    text_language: str | None = None
    related: tuple[tuple[str, str], ...] = ()

    def tuned_for(self, detected: str) -> str:
        """The language to ask this checkpoint for, where the base, which may lack the token, detected a related one.

        Args:
            detected: code of the language that the base detected.

        Returns:
            A code; `detected` itself where there is nothing to change.
        """
        own = [code for code, like in self.related if like == detected]
        return own[0] if own and self.languages is not None and detected not in self.languages else detected

    def writes(self, spoken: str | None, task: str | None = None) -> str | None:
        """The language of the text, by which WER and scripts are judged.

        Args:
            spoken: code of the speech; None where it is not known.
            task: as it was asked; None: the checkpoint's own.

        Returns:
            Its code. Translation is into English unless the checkpoint says more.
        """
        task = task or self.task
        if task == self.task and self.text_language is not None:
            return self.text_language
        return "en" if task == "translate" else spoken


def facts(folder: Path) -> Facts:
    """Read a checkpoint folder of either form.

    Args:
        folder: with a config.json.

    Returns:
        What its configuration, or else its card, says.

    Raises:
        UserError: its configuration is damaged.
    """
    config = read_json(folder / "config.json")
    tuned = config.get("finetuned_languages")
    if "finetuned_languages" in config and (not isinstance(tuned, list) or not all(_is_code(code) for code in tuned)):
        raise _damaged("finetuned_languages", tuned)
    languages = tuple(tuned) or None if tuned is not None else _card_languages(folder)
    short_context = config.get("short_context", "full")
    if short_context == "tail":  # of version 0.1, which gave such checkpoints a learned end
        short_context = "full"
    timestamps, named_task = config.get("timestamps", True), config.get("finetuned_task") or "transcribe"
    task: Task = "translate" if named_task == "translate" else "transcribe"
    text_language = config.get("text_language")
    for key, value, right in (("short_context", short_context, short_context in ("full", "room", "any")),
                              ("timestamps", timestamps, isinstance(timestamps, bool)),
                              ("finetuned_task", named_task, named_task == task),
                              ("text_language", text_language, text_language is None or _is_code(text_language))):
        if not right:
            raise _damaged(key, value)
    borrowed = config.get("language_tokens") or {}
    if not isinstance(borrowed, dict) or not all(_is_code(code) for pair in borrowed.items() for code in pair):
        raise _damaged("language_tokens", borrowed)
    return Facts(languages, short_context, timestamps, task, text_language, tuple(sorted(borrowed.items())))


def copy_facts(source: Mapping[str, Any], config: Path) -> None:
    """Write what `source` (run.json, or another config.json) says of the checkpoint into this config.json."""
    update_json(config, {key: source[key] for key in FACTS if key in source})


def update_json(path: Path, values: Mapping[str, Any]) -> None:
    """Change some keys of a JSON file that is there already."""
    if values and path.is_file():
        known = read_json(path)
        path.write_text(json.dumps(known | dict(values), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def copy_files(names: Iterable[str], source: Path, target: Path) -> None:
    """Those of the named files that `source` has."""
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _card_languages(folder: Path) -> tuple[str, ...] | None:
    """Other people's checkpoints name their language in the card's front matter, if anywhere."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    front = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)\r?\n---", card.read_text(encoding="utf-8", errors="replace"),
                     re.DOTALL)
    try:  # BaseLoader: every scalar is text, so that Norwegian's `no` is not False
        values = yaml.load(front[1], Loader=yaml.BaseLoader) if front else None
    except (yaml.YAMLError, RecursionError, ValueError):
        return None
    named = values.get("language") if isinstance(values, dict) else None
    names = named if isinstance(named, list) else [named]
    codes: dict[str, None] = {}
    for name in names:
        if isinstance(name, str) and name.strip():
            try:
                codes[language_code(name)] = None
            except UserError:  # "multilingual", or a language without a code
                continue
    return tuple(codes) if codes and len(names) < MANY_LANGUAGES else None


def _is_code(value: object) -> bool:
    return isinstance(value, str) and CODE.fullmatch(value) is not None


def _damaged(key: str, value: object) -> UserError:
    return UserError("The checkpoint's configuration is damaged", got=f"{key} = {str(value)[:80]} in config.json",
                     hint="mend it, or fetch the checkpoint again")
