"""What a program is told when its call cannot be answered: a sentence, without paths of this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.errors import UserError
from shared.ui.server.messages import without_paths


def sentence(error: UserError, arguments: Mapping[str, Any]) -> str:
    """The error's text, in which a path that the call named is cut to its last part, as every other one is."""
    text = str(error)
    for given in arguments.values():
        if isinstance(given, str) and given.startswith((os.sep, "~")) and len(given) < 4096:
            for path in (str(Path(os.path.expanduser(given))), given):
                text = text.replace(path, Path(path).name)
    return without_paths(text)
