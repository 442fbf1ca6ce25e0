"""How far each language of a recipe came, kept as one JSON file a language.

Enters: a recipe. Leaves: outcomes/LANGUAGE.json under its folder, written whole or not at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

from feature_pipeline.settings import plain, read
from shared.system.files import write_text
from training.languages.recipe import Recipe


@dataclass(frozen=True)
class Outcome:
    """How far one language came.

    Attributes:
        language: ISO 639-1 code.
        done: whether its scores are there.
        problem: why it failed; empty if it did not.
        seconds: wall-clock time of each command, over all starts, without those that were killed.
        n_clips: number of clips in the train split.
        hours: of audio in the train split, as a number of hours.
        settings: of the recipe, as far as they concern the language; with others it is not done.
    """

    language: str
    done: bool = False
    problem: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    n_clips: int = 0
    hours: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)


def outcomes(recipe: Recipe) -> list[Outcome]:
    """How far each language came, in the recipe's order.

    Args:
        recipe: as `load` gives it.

    Returns:
        One outcome for each language, also where nothing was begun.
    """
    return [outcome_of(recipe, language) for language in recipe.languages]


def _settings(recipe: Recipe, language: str) -> dict[str, Any]:
    """What of the recipe a language's scores depend on."""
    parts = plain(recipe)
    kept = ("data", "passes", "min_steps", "max_steps", "runs", "training", "evaluation")
    return {key: parts[key] for key in kept} | {"data_options": list(recipe.options(language)),
                                                "unseen": recipe.unseen.get(language)}


def outcome_of(recipe: Recipe, language: str) -> Outcome:
    now = json.loads(json.dumps(_settings(recipe, language)))
    path = recipe.folder / "outcomes" / f"{language}.json"
    if not path.is_file():
        return Outcome(language, settings=now)
    found = read(Outcome, json.loads(path.read_text(encoding="utf-8")), path.name)
    there = (recipe.folder / language / "evaluation" / "scores.json").is_file()
    return replace(found, done=found.done and found.settings == now and there, settings=now)


def note(recipe: Recipe, outcome: Outcome) -> None:
    write_text(recipe.folder / "outcomes" / f"{outcome.language}.json",
               json.dumps(plain(outcome), indent=2, ensure_ascii=False) + "\n")
