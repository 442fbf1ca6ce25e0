"""What is done for each of many languages: YAML plus `key=value`, as the configs of one run.

Enters: a file's path and overrides. Leaves: a `Recipe`, and from it the data set's config and the run's of a language.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feature_pipeline import config as features
from feature_pipeline.settings import Language, Many, options_of, parsed, read
from shared.errors import UserError
from shared.lexicon import dictionary_of
from training import config as settings
from training.config import Config
from training.evaluation import Options

OWN = ("name", "out", "data", "language")  # keys of a run that follow from the language
MAX_RUNS = 10  # of one language: what a mixture gains levels off before


@dataclass(frozen=True)
class Recipe:
    """One recipe for many languages.

    Attributes:
        name: of the folder under `out` that holds a run for each language, and the table.
        languages: ISO 639-1 codes, in the order in which they are worked on.
        data: path of a config of feature_pipeline, used for each language.
        data_options: key=value of that config, with {language} for the code and {data} for the config's name.
        passes: how often training uses each clip; the steps follow from it and from the number of clips.
        min_steps: the fewest steps, however few clips there are.
        max_steps: the most steps, however many there are.
        runs: how many runs, which differ in their seed, become one checkpoint (`training.soup`); 1 is served as it is.
        training: a config of training.finetune without name, out, data, language and number of steps.
        evaluation: key=value options of training.evaluation, with {language} for the code: dictionary={language}.
        unseen: by language, the path of a config of feature_pipeline with speech of voices that are not in `data`.
        out: folder, relative to the working folder.
    """

    name: str
    languages: Many[Language]
    data: str
    data_options: Many[str] = ("name={data}-{language}", "sources.0.language={language}")
    passes: float = 6.0
    min_steps: int = 40
    max_steps: int = 400
    runs: int = 1
    training: dict[str, Any] = field(default_factory=dict)
    evaluation: Many[str] = ()
    unseen: dict[Language, str] = field(default_factory=dict)
    out: str = "runs"

    @property
    def folder(self) -> Path:
        """Where the runs, the logs and the table are."""
        return Path(self.out) / self.name

    def options(self, language: str) -> tuple[str, ...]:
        """What is said to the data set's config for a language.

        Args:
            language: ISO 639-1 code.

        Returns:
            key=value words.
        """
        name = Path(self.data).stem
        return tuple(option.replace("{language}", language).replace("{data}", name) for option in self.data_options)

    def scoring(self, language: str) -> tuple[str, ...]:
        """What is said to the evaluation of a language.

        Args:
            language: ISO 639-1 code.

        Returns:
            key=value words.
        """
        return tuple(option.replace("{language}", language) for option in self.evaluation)

    def features(self, language: str) -> features.Config:
        """The config of a language's data set, as it is built.

        Args:
            language: ISO 639-1 code.

        Returns:
            The config.

        Raises:
            UserError: no such config, or an option that it does not know.
        """
        return features.load(self.data, self.options(language))

    def parts(self, language: str) -> tuple[str, ...]:
        """The names of a language's runs; where there is only one it is the language's own.

        Args:
            language: ISO 639-1 code.

        Returns:
            Names of folders under `folder`.
        """
        return (language,) if self.runs == 1 else tuple(f"{language}-{n}" for n in range(1, self.runs + 1))

    def run(self, language: str, n_clips: int, n: int = 0) -> Config:
        """The config of one of a language's runs.

        Args:
            language: ISO 639-1 code.
            n_clips: of the data set's train split; the number of steps follows from it.
            n: which of `parts` it is; the seed follows from it.

        Returns:
            The config.

        Raises:
            UserError: `training` holds what a run does not know, or a value out of range.
        """
        own = {"name": self.parts(language)[n], "out": str(self.folder), "language": language,
               "data": [{"path": self.features(language).out}], **({"seed": n + 1} if self.runs > 1 else {})}
        config = read(Config, {**self.training, **own}, "training")
        steps = {**self.training.get("steps", {}), "max_steps": self._steps(n_clips, config.steps)}
        steps.setdefault("eval_steps", max(1, -(-steps["max_steps"] // 4)))
        return settings.checked(read(Config, {**self.training, **own, "steps": steps}, "training"))

    def _steps(self, n_clips: int, steps: settings.Steps) -> int:
        wanted = round(self.passes * n_clips / (steps.batch_size * steps.accumulation))
        return min(max(wanted, self.min_steps), self.max_steps)


def load(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a YAML file, every language's configs read once, so that a wrong one is refused before any work.

    Args:
        path: the file.
        overrides: words such as `languages=[da,el]`.

    Returns:
        The recipe.

    Raises:
        UserError: an unknown key or value in it, no language, one language twice, a config or a dictionary that is not
            there.
    """
    path = Path(path)
    recipe = read(Recipe, parsed(path, overrides, Path(__file__).parents[1] / "configs"), path.name)
    if not recipe.languages or len(set(recipe.languages)) != len(recipe.languages):
        raise UserError("languages must name each language once", got=", ".join(recipe.languages) or "none",
                        hint="for example languages=[da,el]")
    if recipe.passes <= 0 or not 1 <= recipe.min_steps <= recipe.max_steps:
        raise UserError("The number of steps cannot be told", hint="set them so",
                        got=f"passes {recipe.passes:g}, min_steps {recipe.min_steps}, max_steps {recipe.max_steps}",
                        limit="passes above 0, 1 ≤ min_steps ≤ max_steps")
    if not 1 <= recipe.runs <= MAX_RUNS:
        raise UserError("runs is how many runs become one checkpoint", got=recipe.runs, limit=f"1 to {MAX_RUNS}",
                        hint="3 is usual; 1 mixes nothing")
    taken = sorted({*OWN, *(("seed",) if recipe.runs > 1 else ())} & {*recipe.training})
    if taken or "max_steps" in recipe.training.get("steps", {}):
        raise UserError("training holds what follows from the language", got=", ".join(taken) or "steps.max_steps",
                        hint="leave it out")
    if Path(recipe.name).name != recipe.name or recipe.name in (".", ".."):
        raise UserError("name is the name of a folder", got=recipe.name, hint="name it without / and ..; out is where")
    places = [recipe.features(language).out for language in recipe.languages]
    if len(set(places)) != len(places):
        raise UserError("Two languages would write one data set", got=places[0],
                        hint="put {language} into the name or out of data_options")
    for language in recipe.languages:
        dictionary_of(options_of(Options, recipe.scoring(language)).dictionary or None)
    for config in recipe.unseen.values():
        features.load(config)
    recipe.run(recipe.languages[0], 1)
    return recipe
