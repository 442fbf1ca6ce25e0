"""Naming a checkpoint: a Hub repository at a commit, a local folder, or an embedded model."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.errors import UserError

EMBEDDED = "embedded:"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
COMMIT = re.compile(r"[0-9a-f]{40}")
MODELS = Path(__file__).parents[1] / "models"  # adapters this project ships


@dataclass(frozen=True)
class Checkpoint:
    """Which weights.

    Attributes:
        model_id: Hub id, path of a local folder, or "embedded:NAME".
        revision: a Hub commit (or branch); None: not known yet, or not of the Hub.
    """

    model_id: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a checkpoint's name.

        Args:
            text: "owner/name", "owner/name@commit", a folder, or "embedded:whisper-base".

        Returns:
            The checkpoint; whether the Hub has it is not asked.

        Raises:
            UserError: it is none of these.
        """
        text = text.strip()
        if text.startswith(EMBEDDED):
            name = text.removeprefix(EMBEDDED)
            known = ["whisper-base", *sorted(path.name for path in MODELS.glob("*") if path.is_dir())]
            if name not in known:
                raise UserError("There is no such embedded model", got=name, limit=", ".join(known),
                                hint="choose one of those")
            return cls(text)
        folder = Path(os.path.expanduser(text))  # leaves ~nobody as it is, where Path.expanduser raises
        if text and folder.is_dir():
            return cls(str(folder.resolve()))
        model_id, _, revision = text.partition("@")
        if not HUB_ID.fullmatch(model_id):
            raise UserError("This names no checkpoint", got=text or "nothing",
                            hint="give a Hub id (owner/name, or owner/name@commit), a folder that exists, or "
                                 "embedded:whisper-base")
        return cls(model_id, revision or None)

    @property
    def origin(self) -> Literal["embedded", "folder", "Hub"]:
        """Where it comes from."""
        if self.model_id.startswith(EMBEDDED):
            return "embedded"
        return "folder" if Path(self.model_id).is_absolute() else "Hub"

    @property
    def name(self) -> str:
        """Short name for a person."""
        return Path(self.model_id).name if self.origin == "folder" else self.model_id.removeprefix(EMBEDDED)

    def __str__(self) -> str:
        return f"{self.model_id}@{self.revision}" if self.revision else self.model_id

    def describe(self) -> str:
        """One phrase: what it is and where it came from."""
        if self.origin == "embedded":
            return f"{self.name} (comes with this program)"
        if self.origin == "folder":
            return f"{self.name} (folder {self.model_id})"
        commit = f" at commit {self.revision[:8]}" if self.revision else ""
        return f"{self.model_id} (Hugging Face Hub{commit})"


def configured() -> tuple[str, str]:
    """The pair that an app answers with, from its environment.

    Returns:
        (base, fine-tuned) as text: BASE and FINE_TUNED, else the Hub's on a Space, the embedded pair elsewhere.
    """
    on_space = bool(os.environ.get("SPACE_ID"))
    base = os.environ.get("BASE") or ("openai/whisper-small" if on_space else f"{EMBEDDED}whisper-base")
    tuned = os.environ.get("FINE_TUNED") or ("KBLab/kb-whisper-small" if on_space else f"{EMBEDDED}whisper-base-it")
    return base, tuned
