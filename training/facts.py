"""What is known of a finished and evaluated run.

Enters: a run's folder. Leaves: its config, run.json, scores.json and the manifests of its data sets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.errors import UserError
from shared.languages import language_name
from training import config as settings
from training.config import Config


@dataclass(frozen=True)
class Facts:
    """All that a card and the Hub's metadata are written from."""

    config: Config
    run: dict[str, Any]
    scores: dict[str, Any]
    manifests: dict[str, dict[str, Any]]  # by the path of the data set

    @property
    def languages(self) -> list[str]:
        """Codes of the speech it was trained on, the main one first."""
        return list(self.run["finetuned_languages"])

    @property
    def does(self) -> str:
        """What it does, for a title: "Italian speech recognition"."""
        names = [language_name(code) for code in self.languages]
        spoken = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        texts = {self.config.text_of(code) for code in self.languages}
        if texts == set(self.languages):
            return f"{spoken} speech recognition"
        into = " and ".join(sorted(language_name(code) for code in texts))
        return f"{spoken} speech to {into} text"

    @property
    def licence(self) -> str:
        """The data's own licence where all sets agree, else "other"."""
        found = {manifest.get("licence", "other") for manifest in self.manifests.values()}
        return found.pop() if len(found) == 1 else "other"

    @property
    def sets(self) -> str:
        """Short names of the data sets that were scored, for a sentence."""
        return ", ".join(self.scores.get("sets") or [Path(self.scores["data"]).name])

    @property
    def asked(self) -> str:
        """What transformers gets as the main language: a code, or the token where it was added."""
        code = self.config.token_of(self.languages[0])
        return f"<|{code}|>" if f"<|{code}|>" in self.config.added_tokens else code


def gather(folder: str | Path) -> Facts:
    """Read a finished and evaluated run. Raises UserError if it is not."""
    folder = Path(folder)
    scores = folder / "evaluation" / "scores.json"
    if not scores.is_file():
        raise UserError("The run has not been evaluated", got=folder, hint=f"python -m training.evaluation {folder}")
    config = settings.of_run(folder)
    manifests = {source.path: Path(source.path, "manifest.json") for source in config.data}
    return Facts(config, _json(folder / "run.json"), _json(scores),
                 {source: _json(path) for source, path in manifests.items() if path.is_file()})


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
