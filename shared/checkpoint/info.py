"""What a checkpoint says of itself, read from its config.json or its card."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from shared.errors import UserError

MANY_LANGUAGES = 20  # a card that lists so many describes a base checkpoint, not one tuned for them


@dataclass(frozen=True)
class Facts:
    """What a checkpoint says of itself.

    languages: ISO codes it was tuned for, None for all. short_context: how its input may be cropped ("full", "room",
    "tail", "any"; see `recognition`). timestamps: whether it still gives times.
    """

    languages: tuple[str, ...] | None = None
    short_context: Literal["full", "room", "tail", "any"] = "full"
    timestamps: bool = True


def facts(folder: Path) -> Facts:
    """Read a checkpoint folder of either form. Raises UserError if its configuration is damaged."""
    config = read_json(folder / "config.json")
    short_context = config.get("short_context", "full")
    if "finetuned_languages" in config:
        return Facts(tuple(config["finetuned_languages"]) or None, short_context, config.get("timestamps", True))
    return Facts(_card_languages(folder), short_context, config.get("timestamps", True))


def _card_languages(folder: Path) -> tuple[str, ...] | None:
    """Other people's checkpoints name their language in the card's front matter, if anywhere."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    front = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    found = re.search(r"^language:[ \t]*(.*(?:\n[ \t]*- .*)*)", front[1], re.MULTILINE) if front else None
    codes = tuple(re.findall(r"[a-z]{2,3}\b", found[1])) if found else ()
    return codes if 0 < len(codes) < MANY_LANGUAGES else None


def read_json(path: Path) -> dict:
    if not path.is_file():
        raise UserError("The checkpoint is not complete", got=f"no {path.name} in {path.parent.name}",
                        hint="fetch it again, or choose a folder saved by save_pretrained")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError):
        raise UserError("The checkpoint's configuration is damaged", got=path.name, hint="fetch it again") from None
