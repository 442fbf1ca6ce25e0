"""What came out for each language, as a table in Markdown: from run.json and scores.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from shared.languages import language_name
from shared.units import spoken_time
from training.languages.outcome import Outcome
from training.languages.recipe import Recipe

HEAD = ("language", "trained on", "steps", "test", "base", "fine-tuned", "paired difference", "time")
UNSEEN = ("voices not in training", "base there", "fine-tuned there", "paired difference there")


def table(recipe: Recipe, found: Sequence[Outcome]) -> str:
    """The results of a recipe as Markdown: WER in %, normalised, with 95 % intervals where there are enough clips.

    Args:
        recipe: as `load` gives it.
        found: how far each language came.

    Returns:
        A table of the languages that are done, one of their voices that training did not use where the recipe has
        such, how many halved their WER, and what is not done, with the reason.
    """
    scores = {outcome.language: _scores(recipe, outcome.language) for outcome in found if outcome.done}
    rows = [_row(recipe, outcome, scores[outcome.language]) for outcome in found if outcome.done]
    parts = [_markdown(HEAD, rows)] if rows else []
    unseen = [_unseen(recipe, language, one) for language, one in scores.items() if "base, canary" in one["systems"]]
    if unseen:
        parts.append(_markdown(("language", *UNSEEN), unseen))
    if scores:
        halved = [language for language, one in scores.items() if _is_halved(one)]
        parts.append(f"WER halved in {len(halved)} of {len(scores)}"
                     f"{': ' + ', '.join(halved) if halved else ''}.\n")
    parts += [f"- {language_name(outcome.language)} ({outcome.language}): "
              f"{'failed, ' + outcome.problem if outcome.problem else 'not done yet'}\n"
              for outcome in found if not outcome.done]
    return "\n".join(parts)


def _row(recipe: Recipe, outcome: Outcome, scores: dict[str, Any]) -> list[str]:
    run = recipe.folder / outcome.language
    config = json.loads((run / "run.json").read_text(encoding="utf-8"))["config"]
    base = scores["systems"]["base"]
    return [f"{language_name(outcome.language)} ({outcome.language})",
            f"{outcome.n_clips} clips, {spoken_time(3600 * outcome.hours)}", str(config["steps"]["max_steps"]),
            f"{base['clips']} clips, {base['words']} words", _rate(base), _rate(scores["systems"]["fine-tuned"]),
            _difference(scores["differences"]["fine-tuned against base"]), spoken_time(sum(outcome.seconds.values()))]


def _unseen(recipe: Recipe, language: str, scores: dict[str, Any]) -> list[str]:
    base = scores["systems"]["base, canary"]
    return [f"{language_name(language)} ({language})",
            f"{Path(scores['options']['canary']).name}, {base['clips']} clips, {base['words']} words",
            _rate(base), _rate(scores["systems"]["fine-tuned, canary"]),
            _difference(scores["differences"]["fine-tuned, canary against base, canary"])]


def _is_halved(scores: dict[str, Any]) -> bool:
    return scores["systems"]["fine-tuned"]["wer"] <= scores["systems"]["base"]["wer"] / 2


def _scores(recipe: Recipe, language: str) -> dict[str, Any]:
    return json.loads((recipe.folder / language / "evaluation" / "scores.json").read_text(encoding="utf-8"))


def _rate(system: dict[str, Any]) -> str:
    spread = "" if system["wer_low"] is None else f" ({system['wer_low']:.1f} … {system['wer_high']:.1f})"
    return f"{system['wer']:.1f}{spread}"


def _difference(found: dict[str, Any]) -> str:
    spread = "" if found["low"] is None else f" ({_signed(found['low'])} … {_signed(found['high'])})"
    return f"{_signed(found['difference'])}{spread}, {found['verdict']}"


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−")


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(_lines(head, rows)) + "\n"


def _lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
