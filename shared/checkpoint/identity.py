"""Naming a checkpoint: a Hub repository at a commit, a local folder, or an embedded model."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from shared.errors import UserError

EMBEDDED = "embedded:"
BASE, FINE_TUNED = "base", "fine-tuned"  # names of the two configured checkpoints
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
# As it stands in a browser's address line.
HUB_ADDRESS = re.compile(r"(?:(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/|hf://)(?:models/)?"
                         r"(?P<id>(?!datasets/|spaces/)[\w.-]+/[\w.-]+)"
                         r"(?:/(?:tree|blob|commit)/(?P<revision>[\w.-]+)(?:/[^?#]*)?)?/?(?:[?#].*)?")
SIZES = frozenset({"tiny", "tiny.en", "base", "base.en", "small", "small.en", "medium", "medium.en", "large",
                   "large-v2", "large-v3", "large-v3-turbo"})  # of stock Whisper: https://huggingface.co/openai
CONFIGS = ("config.json", "adapter_config.json")
COMMIT = re.compile(r"[0-9a-f]{40}")
MODELS = Path(__file__).parents[1] / "models"  # adapters this project ships


@dataclass(frozen=True)
class Account:
    """A visitor's account on the Hub. What is read with its token is for nobody else.

    Attributes:
        name: of the account; the Hub has it once.
        token: what the visitor allowed this app to read with.
    """

    name: str
    token: str = field(repr=False)


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
        text = text.strip().strip("\"'")  # an env file keeps its quotes
        if text.startswith(EMBEDDED):
            name = text.removeprefix(EMBEDDED)
            known = ["whisper-base", *sorted(path.name for path in MODELS.glob("*") if path.is_dir())]
            if name not in known:
                raise UserError("There is no such embedded model", got=name, limit=", ".join(known),
                                hint="choose one of those")
            return cls(text)
        folder = Path(os.path.expanduser(text))  # leaves ~nobody as it is, where Path.expanduser raises
        if text and folder.is_dir():
            return cls(str(_model_in(folder).resolve()))
        if folder.is_file():
            raise UserError("A checkpoint is a folder, and this is a file", got=text, hint=_about_file(folder))
        if text.startswith((".", "/", "~")):
            raise UserError("There is no such folder", got=text, hint="check the path of the checkpoint")
        return cls.on_hub(text)

    @classmethod
    def on_hub(cls, text: str) -> Checkpoint:
        """Read the name of a checkpoint on the Hub; whether this machine has a folder of that name is not looked at.

        Args:
            text: "owner/name", "owner/name@commit", or an address of huggingface.co.

        Returns:
            The checkpoint; whether the Hub has it is not asked.

        Raises:
            UserError: it is none of these.
        """
        text = text.strip().strip("\"'")
        if address := HUB_ADDRESS.fullmatch(text):
            text = address["id"] + (f"@{address['revision']}" if address["revision"] else "")
        model_id, _, revision = text.partition("@")
        if text.lower().removeprefix("whisper-") in SIZES:
            raise UserError("This names no checkpoint", got=text,
                            hint=f"openai/whisper-{text.lower().removeprefix('whisper-')} is its id on the Hub")
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


def _model_in(folder: Path) -> Path:
    """The folder itself, or the model of the training run that it holds. Raises UserError where one must be chosen."""
    def is_checkpoint(path: Path) -> bool:
        return any((path / name).is_file() for name in CONFIGS)

    if is_checkpoint(folder) or not any(path.is_dir() for path in folder.iterdir()):
        return folder
    if is_checkpoint(folder / "model"):
        return folder / "model"
    inside = sorted((path.name for path in folder.iterdir() if path.is_dir() and is_checkpoint(path)),
                    key=lambda name: (len(name), name))
    if inside:
        raise UserError("This folder is no checkpoint, but holds some", got=folder, limit=", ".join(inside[-5:]),
                        hint=f"name one of them, such as {folder / inside[-1]}")
    return folder


def _about_file(path: Path) -> str:
    if path.suffix in (".safetensors", ".json") or path.name in ("model.bin", "pytorch_model.bin"):
        return "name the folder it lies in"
    return ("convert it to transformers' form, or name the checkpoint it was made from: OpenAI's .pt, GGML and GGUF "
            "are not read here")


def configured() -> tuple[str, str]:
    """The pair that an app answers with, from its environment.

    Returns:
        (base, fine-tuned) as text: BASE and FINE_TUNED, else the Hub's on a Space, the embedded pair elsewhere.
    """
    on_space = bool(os.environ.get("SPACE_ID"))
    base = os.environ.get("BASE") or ("openai/whisper-small" if on_space else f"{EMBEDDED}whisper-base")
    tuned = os.environ.get("FINE_TUNED") or ("KBLab/kb-whisper-small" if on_space else f"{EMBEDDED}whisper-base-it")
    return base, tuned


def named(name: str) -> str:
    """What a person names: "base" and "fine-tuned" stand for the configured pair (a folder of that name is ./base).

    Args:
        name: one of the two, or as `Checkpoint.parse` reads it.

    Returns:
        A text that `Checkpoint.parse` reads, or refuses in its own words.

    Raises:
        UserError: the environment's variable for one of the two names no checkpoint.
    """
    pair = dict(zip((BASE, FINE_TUNED), configured(), strict=True))
    asked = pair.get(name.strip().lower())
    if asked is None:
        return name
    variable = {BASE: "BASE", FINE_TUNED: "FINE_TUNED"}[name.strip().lower()]
    try:
        Checkpoint.parse(asked)
    except UserError as problem:
        raise UserError(f"No {name.strip().lower()} checkpoint is configured", got=f"{variable}={asked}",
                        hint=f"set {variable} to a Hub id or to a folder that exists, or leave it out") from problem
    return asked
