"""The commands of each language, one after the other, in child processes: what is done is not done again.

Enters: a recipe. Leaves under its folder: a run for each language (where the recipe has several of each, their mixture
by the language's name and each run by a number behind it), outcomes/LANGUAGE.json, logs/LANGUAGE.txt and
table.md, which is written anew after each language. A language that fails is noted and the next one begun.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock, Timeout

from feature_pipeline import config as features
from shared.errors import UserError
from shared.system.files import write_text
from training import config as settings
from training.commands import followed, problem, started
from training.config import COMPLETE
from training.languages.outcome import Outcome, note, outcome_of, outcomes
from training.languages.recipe import Recipe
from training.languages.table import table

Say = Callable[[str], None]
DATA, UNSEEN, TRAINING, MIXTURE, EVALUATION = "data set", "voices not in training", "training", "mixture", "evaluation"


def work(recipe: Recipe, say: Say = print) -> list[Outcome]:
    """Build, train and compare every language that is not done, and write the table.

    Args:
        recipe: as `load` gives it.
        say: takes each line of progress.

    Returns:
        The outcome of each language of the recipe; a failure is told there, and does not stop the others.

    Raises:
        UserError: another process is at work on this recipe.
    """
    folder = recipe.folder
    for name in ("outcomes", "logs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        for language in recipe.languages:
            before = outcome_of(recipe, language)
            if before.done:
                say(f"{language}: done already")
                continue
            after = _worked(recipe, replace(before, problem=""), say)
            if after.problem:
                say(f"{language}: failed, {after.problem}")
            write_text(folder / "table.md", table(recipe, outcomes(recipe)))
        found = outcomes(recipe)
        write_text(folder / "table.md", table(recipe, found))
    return found


def _worked(recipe: Recipe, outcome: Outcome, say: Say) -> Outcome:
    """One language to its end, or to its first failure; noted after every command."""
    language = outcome.language
    try:
        for step, words in _commands(recipe, language):
            say(f"{language}: {step}")
            begun = time.monotonic()
            code, messages = _done(recipe.folder, language, words)
            spent = {step: round(outcome.seconds.get(step, 0.0) + time.monotonic() - begun, 1)}
            outcome = replace(outcome, seconds=outcome.seconds | spent)
            if code:
                raise UserError(f"{step}: {problem(messages, words[0], code)}")
            note(recipe, outcome)
        trained = _trained(recipe.features(language).out)
        outcome = replace(outcome, done=True, n_clips=trained["rows"], hours=trained["hours"])
    except UserError as error:
        outcome = replace(outcome, problem=str(error))
    note(recipe, outcome)
    return outcome


def _commands(recipe: Recipe, language: str) -> Iterator[tuple[str, list[str]]]:
    """Each step and its command. The run's config can be told once its data set is there.

    A run that has begun keeps the data it began with.
    """
    data = recipe.features(language).out
    runs = [recipe.folder / name for name in recipe.parts(language)]
    if not any(_has_begun(run) for run in runs):
        yield DATA, ["feature_pipeline.build", recipe.data, *recipe.options(language)]
    evaluation = ["training.evaluation", str(recipe.folder / language), *recipe.scoring(language)]
    if other := recipe.unseen.get(language):
        yield UNSEEN, ["feature_pipeline.build", other]
        place = features.load(other).out
        evaluation += [f"canary={place}", f"canary_split={','.join(splits(place))}"]
    n_clips = _trained(data)["rows"]
    for n, run in enumerate(runs):
        config = recipe.run(language, n_clips, n)
        if n_clips < config.steps.batch_size:
            raise UserError("Too few clips are left to learn from", got=f"{n_clips} in {data}",
                            limit=f"{config.steps.batch_size}, one batch",
                            hint="its report.html says why others were dropped")
        path = run.with_name(f"{run.name}.yaml")
        settings.save(config, path)
        yield TRAINING, ["training.finetune", str(path)]
    if len(runs) > 1:
        yield MIXTURE, ["training.soup", str(recipe.folder / language), *map(str, runs), "base_shares=[0]"]
    yield EVALUATION, evaluation


def _has_begun(run: Path) -> bool:
    return any(run.glob(f"checkpoint-*/{COMPLETE}")) or (run / "model" / COMPLETE).is_file()


def _trained(data: str) -> dict[str, Any]:
    return splits(data).get("train", {"rows": 0, "hours": 0.0})


def splits(data: str) -> dict[str, dict[str, Any]]:
    """The splits of a data set on disk that have clips, with their `rows` and `hours`. Raises UserError."""
    path = Path(data, "manifest.json")
    if not path.is_file():
        raise UserError("The data set is gone", got=data, hint="remove the run too, and both are made anew")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    return {name: part for name, part in manifest["splits"].items() if part["rows"]}


def _done(folder: Path, language: str, words: list[str]) -> tuple[int, str]:
    """Run a command to its end; what it prints goes into the language's log."""
    with (folder / "logs" / f"{language}.txt").open("a", encoding="utf-8") as log:
        def keep(text: str) -> None:
            log.write(text + "\n")
            log.flush()

        keep(f"$ python -m {' '.join(words)}")
        with started(words, Path.cwd()) as child, _remembered(folder, child.process.pid):
            code, messages = followed(child, keep)
        if code:
            keep(messages[-20_000:])
    return code, messages


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else works on the recipe within the block: not another start, nor what a killed one left running."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError("This recipe is being worked on already", got=folder, hint="wait for its end, or stop it"
                        ) from None
    with lock:
        with suppress(OSError, ValueError, KeyError, psutil.Error):
            child = json.loads((folder / ".child").read_text(encoding="utf-8"))
            left = psutil.Process(child["pid"])
            if abs(left.create_time() - child["begun"]) < 1:
                left.kill()
                left.wait(20)
        yield


@contextmanager
def _remembered(folder: Path, pid: int) -> Iterator[None]:
    """A killed start leaves its child running: the next one must know which it is."""
    path = folder / ".child"
    with suppress(psutil.Error):
        write_text(path, json.dumps({"pid": pid, "begun": psutil.Process(pid).create_time()}))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
